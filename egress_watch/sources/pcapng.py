"""Read the pcapng format: sections of either byte order, several interfaces, drop counts.

In: bytes. Out: frames. Never: trust in a length field; a block that lies ends the file, all before it is kept.

Facts are from the Internet-Draft draft-ietf-opsawg-pcapng, sections 3 and 4. Blocks that are neither frames, interfaces
nor statistics are skipped. A Simple Packet Block has no time: it gets the time of the frame before it in its section, 0
at the start. Interfaces are numbered through all sections of a file.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

import numpy as np

from egress_watch.fast import accelerator
from egress_watch.model import PAD_BYTES
from egress_watch.sources.columns import NOTHING, Columns
from egress_watch.sources.section import MOST_BYTES, Section, Strangers
from egress_watch.sources.window import Stream, Taken, batches

if TYPE_CHECKING:
    from collections.abc import Iterator

    from egress_watch.model import Bytes, EasyTables, Frames, Ints

SECTION_BYTES = b"\x0a\x0d\x0d\x0a"
"""Type of a Section Header Block, the same in either byte order."""
SECTION = 0x0A0D0D0A
ORDER_OF_MAGIC = {b"\x4d\x3c\x2b\x1a": "<", b"\x1a\x2b\x3c\x4d": ">"}
VERSIONS = ((1, 0), (1, 2))
"""1.2 was written by mistake and means 1.0 (section 4.1)."""
LEAST_BYTES = 12


def knows(head: bytes) -> bool:
    """Tell whether the bytes start with a Section Header Block and, where they reach so far, a byte-order magic."""
    return head[:4] == SECTION_BYTES and (len(head) < 12 or head[8:12] in ORDER_OF_MAGIC)


def frames(stream: Stream, origin: str, _: EasyTables | None = None) -> Iterator[Frames]:
    """Yield the frames of a pcapng stream; what cannot be read is the `Damage` of the last batch."""
    return batches(stream, origin, PcapngParser())


class PcapngParser:
    """Walks blocks, and remembers the section it is in."""

    reads_on = False

    def __init__(self) -> None:
        self._order = ""
        self._strangers = Strangers()
        self._section = Section("<", 0, self._strangers)
        self._offset = 0

    def rest(self) -> tuple[str, int, int]:
        """Return what was passed over: frames of undescribed interfaces, offset of the first, their captured bytes."""
        count = self._strangers.frames
        reason = f"{count:,} frames name an interface that was never described" if count else ""
        return reason, self._strangers.first, self._strangers.bytes

    def take(self, data: Bytes, at: int, size: int, _: int = -1) -> Taken:
        """Read the whole blocks in ``data[at:size]``."""
        data, self._offset = data[: size + PAD_BYTES], self._offset - at
        steps = [Taken(NOTHING, at, need=0)]
        while not (steps[-1].stop or steps[-1].need):
            at = steps[-1].used
            new = not self._order or _starts_section(data, at)
            steps.append((self._open if new else self._read)(data, at, size))
        self._offset += steps[-1].used
        return _joined(steps)

    def _open(self, data: Bytes, at: int, size: int) -> Taken:
        """Open the section at ``at``, of which this window may hold only a part."""
        head = data[at : min(at + 16, size)].tobytes()
        if len(head) < 16:
            return Taken(NOTHING, at, need=16)
        order = ORDER_OF_MAGIC.get(head[8:12], "")
        length, major, minor = struct.unpack_from((order or "<") + "4xI4xHH", head)
        wrong = _wrong_section(order, length, (major, minor))
        if wrong:
            return Taken(NOTHING, at, stop=wrong)
        if at + length > size:
            return Taken(NOTHING, at, need=length)
        if struct.unpack_from(order + "I", data.data, at + length - 4)[0] != length:
            return Taken(NOTHING, at, stop="a block has two different lengths")
        before = self._section.interfaces
        self._order, self._section = order, Section(order, before.first + len(before), self._strangers)
        return Taken(NOTHING, at + length, need=0)

    def _read(self, data: Bytes, at: int, size: int) -> Taken:
        """Read blocks up to the next section, the first that lies, or the end of the window."""
        offsets, used, length = self._walk(data, at, size)
        need, stop = _why(data, used, length)
        if not len(offsets):
            return Taken(NOTHING, used, need, stop)
        run = self._section.read(data, offsets, self._offset)
        if run.wrong:
            used, need, stop = int(offsets[run.good]), 1, run.wrong
        return Taken(run.columns, used, need, stop, run.lost)

    def _walk(self, data: Bytes, at: int, size: int) -> tuple[Ints, int, int]:
        if fast := accelerator():
            return fast.pcapng(data, at, size, big=self._order == ">")
        offsets, used, length = walk(data, at, size, self._order)
        return np.fromiter(offsets, np.int64, len(offsets)), used, length


def walk(data: Bytes, at: int, size: int, order: str) -> tuple[list[int], int, int]:
    """Follow the blocks from ``at``: return their offsets, where the walk ended, and the length claimed there or -1.

    It ends at a section header, a length below 12, a block beyond the window, or fewer than 8 bytes.
    """
    view = data.data
    head_at = struct.Struct(order + "II").unpack_from
    offsets: list[int] = []
    add = offsets.append
    last, least, section = size - 8, LEAST_BYTES, SECTION
    length = -1
    while at <= last:
        kind, length = head_at(view, at)
        if length < least or kind == section:
            return offsets, at, length
        add(at)
        at += length
    if at > size:  # the last one reaches beyond the window
        return offsets, offsets.pop(), length
    return offsets, at, -1


def _starts_section(data: Bytes, at: int) -> bool:
    return data[at : at + 4].tobytes() == SECTION_BYTES


def _wrong_length(length: int) -> str:
    if length < LEAST_BYTES or length & 3 or length > MOST_BYTES:
        return f"a block claims a length of {length:,} bytes"
    return ""


def _wrong_section(order: str, length: int, version: tuple[int, int]) -> str:
    if not order:
        return "a section header has no byte-order magic"
    if version not in VERSIONS:
        return f"version {version[0]}.{version[1]} of the pcapng format is not known"
    return "a section header is too short" if length < 28 else _wrong_length(length)


def _why(data: Bytes, at: int, length: int) -> tuple[int, str]:
    """Return what a walk that ended at ``at`` needs to go on, 0 for nothing but a look, and why it cannot."""
    if length < 0:
        return 8, ""
    if _starts_section(data, at):
        return 0, ""
    return length, _wrong_length(length)


def _joined(steps: list[Taken]) -> Taken:
    parts = [step.columns for step in steps if len(step.columns.start)]
    columns = parts[0] if len(parts) == 1 else NOTHING
    if len(parts) > 1:
        columns = Columns(*(np.concatenate(column) for column in zip(*parts, strict=True)))
    return steps[-1]._replace(columns=columns, lost=sum(step.lost for step in steps))
