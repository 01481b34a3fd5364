"""A text file that a user wrote, read without surprises.

In: a path. Out: its text. Never: a wait for the writer of a FIFO, or more of a file than was asked for.
"""

from __future__ import annotations

import os
import stat

from egress_watch.errors import ConfigError


def user_text(path: str, most_bytes: int, remedy: str, wanted: str) -> str:
    """Return the text of a regular file of at most ``most_bytes`` in UTF-8; raises ConfigError.

    ``remedy`` is for a path that leads nowhere, ``wanted`` says what the file should be: ``a file of overrides``.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
        with open(descriptor, "rb") as file:  # noqa: PTH123 - of a descriptor
            if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                raise ConfigError("no regular file", where=path, remedy=remedy)
            content = file.read(most_bytes + 1)
    except (OSError, ValueError) as error:
        raise ConfigError(getattr(error, "strerror", None) or str(error), where=path, remedy=remedy) from error
    if len(content) > most_bytes:
        raise ConfigError(f"holds more than {most_bytes:,} bytes", where=path, remedy=f"give {wanted}")
    try:
        return content.decode("utf-8").removeprefix("\ufeff")
    except UnicodeDecodeError as error:
        raise ConfigError("no UTF-8 text", where=path, remedy="save it as UTF-8") from error
