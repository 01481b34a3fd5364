"""A ring of pcapng files: the oldest file goes when there are as many as configured.

In: frames with a comment. Out: files readable by their owner only. Never: more files or bytes than configured, or a
file of another make touched.

Facts are from the Internet-Draft draft-ietf-opsawg-pcapng, sections 3.5 (options), 4.1 (section), 4.2 (interface) and
4.3 (enhanced packet). A file is only appended to, block by block, so one that a kill cut is readable up to there.
"""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from struct import Struct

from egress_watch.errors import ConfigError
from egress_watch.evidence.waiting import Waits

OWNER_ONLY, FOLDER_OWNER_ONLY = 0o600, 0o700
NAME = re.compile(r"evidence-([0-9]{8})\.pcapng")
SECTION, INTERFACE, PACKET = 0x0A0D0D0A, 1, 6
END, COMMENT, IF_NAME, IF_TSRESOL, USER_APPLICATION = 0, 1, 2, 9, 4
NANOSECONDS = 9
MOST_TEXT_BYTES = 4096
_HEAD, _TAIL, _OPTION = Struct("<II"), Struct("<I"), Struct("<HH")
_SECTION, _INTERFACE, _PACKET = Struct("<IHHq"), Struct("<HHI"), Struct("<IIIII")


class Ring:
    """The files in ``folder``, which is made where there is none. Raises ConfigError where it cannot be used."""

    def __init__(self, folder: Path, file_bytes: int, files: int) -> None:
        self._folder, self._file_bytes, self._files = folder.absolute(), file_bytes, files
        self.trouble = ""
        self._path = self._folder
        self._bytes = file_bytes  # full: the first packet opens a file
        self._interfaces: dict[tuple[str, int], int] = {}
        try:
            self._folder.mkdir(mode=FOLDER_OWNER_ONLY, parents=True, exist_ok=True)
            usable = os.access(self._folder, os.W_OK | os.X_OK)
        except OSError as error:
            raise _no_good(folder, error.strerror or str(error)) from error
        if not usable:
            raise _no_good(folder, "cannot be written")

    def write(self, frames: Sequence[Waits], comment: str) -> tuple[str, int]:
        """Write the frames of one flow into one file; return its path and how many fitted, "" and 0 for none."""
        if not frames:
            return "", 0
        try:
            return self._write(frames, comment)
        except OSError as error:
            self.trouble = f"{self._path}: {error.strerror or error}"
            with suppress(OSError):  # no half block stays, and no full disk turns the ring
                os.truncate(self._path, self._bytes)
            return "", 0

    def _write(self, frames: Sequence[Waits], comment: str) -> tuple[str, int]:
        blocks = self._blocks(frames, comment)
        if self._bytes + sum(map(len, blocks)) > self._file_bytes:
            self._open()
            blocks = self._blocks(frames, comment)
        written, whole = 0, b""
        for block in blocks:
            if self._bytes + len(whole) + len(block) > self._file_bytes:
                break
            whole += block
            written += 1
        self._append(whole)
        for frame in frames[:written]:
            self._interfaces.setdefault((frame.interface, frame.link), len(self._interfaces))
        return (str(self._path), written) if written else ("", 0)

    def _blocks(self, frames: Sequence[Waits], comment: str) -> list[bytes]:
        """Return a block for each frame, behind that of its interface where the file does not have it yet."""
        known, blocks = dict(self._interfaces), []
        for frame in frames:
            key = (frame.interface, frame.link)
            described = b"" if key in known else _described(*key)
            blocks.append(described + _packet(frame, known.setdefault(key, len(known)), comment))
        return blocks

    def _append(self, whole: bytes) -> None:
        descriptor = os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC)
        with os.fdopen(descriptor, "wb") as file:
            file.write(whole)
        self._bytes += len(whole)

    def _open(self) -> None:
        """Begin the next file, and let the oldest ones go; another process may have written here meanwhile."""
        held = sorted(self._held(), key=_number)
        path = self._folder / f"evidence-{_number(held[-1]) + 1 if held else 1:08d}.pcapng"
        flags = os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC
        descriptor = os.open(path, flags, OWNER_ONLY)
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(head := _section())
        except OSError:
            path.unlink()
            raise
        self._path, self._interfaces, self._bytes = path, {}, len(head)
        for old in held[: max(len(held) + 1 - self._files, 0)]:
            old.unlink(missing_ok=True)

    def _held(self) -> list[Path]:
        return [path for path in self._folder.iterdir() if NAME.fullmatch(path.name)]


def _number(path: Path) -> int:
    return int(path.name[9:17])


def _no_good(folder: Path, what: str) -> ConfigError:
    return ConfigError(f"evidence.folder: {what}", where=str(folder), remedy="name a folder you can write")


def _section() -> bytes:
    return _block(SECTION, _SECTION.pack(0x1A2B3C4D, 1, 0, -1) + _options((USER_APPLICATION, b"egress-watch")))


def _described(name: str, link: int) -> bytes:
    told = (IF_NAME, _text(name)), (IF_TSRESOL, bytes([NANOSECONDS]))
    return _block(INTERFACE, _INTERFACE.pack(link, 0, 0) + _options(*told))


def _packet(frame: Waits, interface: int, comment: str) -> bytes:
    high, low = divmod(max(frame.time_ns, 0), 1 << 32)
    head = _PACKET.pack(interface, high, low, len(frame.data), min(frame.wire, 0xFFFFFFFF))
    return _block(PACKET, head + _padded(frame.data) + _options((COMMENT, _text(comment))))


def _options(*told: tuple[int, bytes]) -> bytes:
    return b"".join(_OPTION.pack(code, len(value)) + _padded(value) for code, value in told) + _OPTION.pack(END, 0)


def _block(kind: int, body: bytes) -> bytes:
    length = len(body) + 12
    return _HEAD.pack(kind, length) + body + _TAIL.pack(length)


def _padded(data: bytes) -> bytes:
    return data + bytes(-len(data) % 4)


def _text(text: str) -> bytes:
    """Return a text in UTF-8, whole characters only, that an option can hold; the name of a file may be any bytes."""
    return text.encode("utf-8", "backslashreplace")[:MOST_TEXT_BYTES].decode("utf-8", "ignore").encode()
