"""What can go wrong, said once: what, where, remedy, and the exit code that follows.

In: words. Out: exceptions that stop a command. Never: a traceback shown to the user, or an exception for a bad packet.

Trouble in data is counted and carried on (`model.Damage`, `Packets.skipped`); only what stops the work is raised here.
"""

from __future__ import annotations

DATA_TROUBLE = 1
USAGE = 2


class EgressWatchError(Exception):
    """A reason to stop, as ``where: what`` with a ``remedy`` a person can act on.

    The class decides the exit code: 1 for trouble in data, 2 for usage or configuration.
    """

    exit_code = DATA_TROUBLE

    def __init__(self, what: str, *, where: str = "", remedy: str = "") -> None:
        super().__init__(what)
        self.what = what
        self.where = where
        self.remedy = remedy

    def __str__(self) -> str:
        """Return ``where: what``, and the remedy on a line of its own."""
        head = f"{self.where}: {self.what}" if self.where else self.what
        return f"{head}\n  try: {self.remedy}" if self.remedy else head


class CaptureError(EgressWatchError):
    """A capture gave nothing at all: no capture, unreadable, or gone."""


class StoreError(EgressWatchError):
    """The database cannot be opened, read or written."""


class UsageError(EgressWatchError):
    """The command line asks for something that is not there."""

    exit_code = USAGE


class ConfigError(EgressWatchError):
    """The settings cannot be used."""

    exit_code = USAGE


class DataError(EgressWatchError):
    """A data file of places, owners or zones is missing, broken or foreign."""

    exit_code = USAGE


class UpdateError(EgressWatchError):
    """New data could not be had, or was refused; the data in use stays."""


class RuleError(EgressWatchError):
    """A rule cannot be used; ``line`` and ``column`` are 1-based, 0 where unknown."""

    exit_code = USAGE

    def __init__(self, what: str, *, where: str = "", remedy: str = "", line: int = 0, column: int = 0) -> None:
        spot = f"{where}:{line}:{column}" if line else where
        super().__init__(what, where=spot, remedy=remedy)
        self.line = line
        self.column = column
