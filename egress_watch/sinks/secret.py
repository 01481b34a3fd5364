"""A secret, from a file or from the environment, so that it stands in no settings, no list and no log.

In: settings. Out: the secret. Never: the secret in a message of error, or in the settings' own text.
"""

from __future__ import annotations

import os
from pathlib import Path

from egress_watch.config import SinkSettings
from egress_watch.errors import ConfigError

MOST_BYTES = 65_536


def secret(settings: SinkSettings) -> str:
    """Return the secret of a sink, "" where it has none; raises ConfigError where it is named and not there."""
    where = f"sink {settings.name}"
    if settings.secret_file and settings.secret_env:
        raise ConfigError("has secret_file and secret_env", where=where, remedy="leave one out")
    found = _of_file(settings.secret_file, where) if settings.secret_file else _of_environment(settings, where)
    if any(not character.isprintable() for character in found):
        raise ConfigError("the secret holds control characters", where=where, remedy="put it on one line")
    return found


def _of_file(path: str, where: str) -> str:
    try:
        with Path(path).open("rb") as file:
            found = file.read(MOST_BYTES).decode("utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        what = f"secret_file {path}: {getattr(error, 'strerror', None) or 'is no text'}"
        raise ConfigError(what, where=where, remedy="name a file that holds the secret alone") from None
    if not found:
        raise ConfigError(f"secret_file {path}: is empty", where=where, remedy="write the secret into it")
    return found


def _of_environment(settings: SinkSettings, where: str) -> str:
    if not settings.secret_env:
        return ""
    if not (found := os.environ.get(settings.secret_env, "").strip()):
        what = f"secret_env: {settings.secret_env} is not in the environment"
        raise ConfigError(what, where=where, remedy="set it for this process, or name a secret_file")
    return found
