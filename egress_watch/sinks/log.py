"""A file of lines that a shipper (Filebeat, Vector, Fluent Bit, a Wazuh agent) follows.

In: messages. Out: lines, on the disk (fsync) before they count; a file beyond its size or age is renamed and a new one
begun: ``alerts.json``, ``alerts.json.1`` (the newest before), ``alerts.json.2`` ... Never: half a line that stays,
a file that is truncated behind a reader's back, or one that others may read.
"""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from urllib.parse import unquote

from egress_watch.config import SinkSettings
from egress_watch.errors import ConfigError
from egress_watch.sinks.sink import WRITTEN, Kind, Message, Receipt, SinkDown

OWNER_ONLY = 0o600
TAIL_BYTES = 65_536


class Log:
    """One file that is written to, with those before it."""

    def __init__(self, settings: SinkSettings) -> None:
        self._settings = settings
        self._path = Path(unquote(settings.to.partition(":")[2])).absolute()
        self._file = -1
        self._size = 0
        self._slot = 0
        if not self._path.name or (self._path.exists() and not self._path.is_file()):
            what, where = f"to: {self._path} is no regular file", f"sink {settings.name}"
            raise ConfigError(what, where=where, remedy="name a file, such as file:/var/log/egress-watch/alerts.json")

    def deliver(self, messages: Sequence[Message]) -> Receipt:
        """Append a batch and wait for the disk; on a full disk what was half written is taken back."""
        data = b"".join(message.body + b"\n" for message in messages)
        try:
            self._turn(len(data))
            self._append(data)
        except OSError as error:
            self._take_back()
            self.close()
            raise SinkDown(f"{self._path}: {error.strerror or error}") from error
        return Receipt(len(messages), said=f"on the disk: {self._path}")

    def close(self) -> None:
        """Close the file."""
        if self._file >= 0:
            os.close(self._file)
            self._file = -1

    def _append(self, data: bytes) -> None:
        view = memoryview(data)
        while view:
            view = view[os.write(self._file, view) :]
        os.fsync(self._file)
        self._size += len(data)

    def _take_back(self) -> None:
        """Cut off what did not become whole, so that the next line begins at the beginning of one."""
        if self._file >= 0:
            try:
                os.ftruncate(self._file, min(self._size, os.fstat(self._file).st_size))
            except OSError:
                return  # the next `_open` does it

    def _turn(self, more_bytes: int) -> None:
        """Open the file, in a new one where this one is full, old, or was taken away."""
        if self._file >= 0 and self._moved():
            self.close()
        if self._file < 0:
            self._open()
        full = self._size and self._size + more_bytes > self._settings.rotate_bytes
        if full or (self._size and self._now() > self._slot):  # a clock that steps back begins no file
            self.close()
            self._shift()
            self._open()

    def _moved(self) -> bool:
        """Return whether the path leads to another file, or nowhere: logrotate, or a hand."""
        try:
            return self._path.stat().st_ino != os.fstat(self._file).st_ino
        except FileNotFoundError:
            return True

    def _open(self) -> None:
        flags = os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC
        opened = os.open(self._path, flags, OWNER_ONLY)
        try:
            fcntl.flock(opened, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            os.close(opened)  # it is not ours: nothing in it is taken back
            raise OSError(error.errno, "another process writes to it") from error
        self._file, self._size = opened, os.fstat(opened).st_size
        status = os.fstat(self._file)
        self._slot = int(status.st_mtime) // self._settings.rotate_s if status.st_size else self._now()
        self._size = self._whole(status.st_size)
        if self._size < status.st_size:
            os.ftruncate(self._file, self._size)
        _keep_name(self._path.parent)

    def _whole(self, size: int) -> int:
        """Return the size up to the last line's end: a kill may have left half a line, which is sent again whole."""
        end = size
        while end > 0:
            begin = max(end - TAIL_BYTES, 0)
            if (found := os.pread(self._file, end - begin, begin).rfind(b"\n")) >= 0:
                return begin + found + 1
            end = begin
        return 0

    def _shift(self) -> None:
        """Rename each file to the next number; the one beyond the last goes."""
        old = [self._path.with_name(f"{self._path.name}.{n}") for n in range(1, self._settings.keep + 1)]
        chain = [self._path, *old]
        for source, target in reversed(list(pairwise(chain))):
            if source.exists():
                source.replace(target)
        if not self._settings.keep:
            self._path.unlink()
        _keep_name(self._path.parent)

    def _now(self) -> int:
        return int(time.time()) // self._settings.rotate_s


def _keep_name(folder: Path) -> None:
    """Make the names in a folder last: fsync(2) of a file says nothing of the folder's entry."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


FILE = Kind(
    "file", "file:/var/log/egress-watch/alerts.json", "a file of lines, with rotation", WRITTEN, Log,
    ("rotate_bytes", "rotate_s", "keep"),
)  # fmt: skip
