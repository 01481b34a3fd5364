"""The key of pseudonyms: a file of random bytes that only its owner may read.

In: a path. Out: bytes. Never: a key too short to be worth the name, or one that others can read.
"""

from __future__ import annotations

import os
import stat

from egress_watch.errors import ConfigError

LEAST_BYTES, MOST_BYTES = 16, 4096
MAKE = "make one: (umask 077; head -c 32 /dev/urandom > {path})"


def key_of(path: str) -> bytes:
    """Return the bytes of a key file; raises ConfigError."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
        with open(descriptor, "rb") as file:  # noqa: PTH123 - of a descriptor
            status = os.fstat(descriptor)
            if not stat.S_ISREG(status.st_mode):
                raise ConfigError("no regular file", where=path, remedy="name a file")
            content = file.read(MOST_BYTES + 1)
    except (OSError, ValueError) as error:
        what = getattr(error, "strerror", None) or str(error)
        raise ConfigError(what, where=path, remedy=MAKE.format(path=path)) from error
    if status.st_mode & (stat.S_IRWXG | stat.S_IRWXO):
        raise ConfigError("others can read this key", where=path, remedy=f"chmod 600 {path}, or make a new one")
    if not LEAST_BYTES <= len(content) <= MOST_BYTES:
        what = f"a key has {LEAST_BYTES} to {MOST_BYTES} bytes"
        raise ConfigError(what, where=path, remedy=MAKE.format(path=path))
    return content
