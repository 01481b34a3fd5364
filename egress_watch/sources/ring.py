"""A ring of frames that the kernel fills: slots of one size, so every header field is a column.

In: the memory of a TPACKET_V2 ring. Out: its frames, end to end in a buffer. Never: a slot handed back before its frame
was copied, or a loop per frame.

A slot begins with ``struct tpacket2_hdr`` of linux/if_packet.h. Its status word says whose it is: the kernel sets the
lowest bit last, when the frame is there, and whoever read it writes 0 (Documentation/networking/packet_mmap.rst). The
kernel takes the outermost VLAN tag off a frame and tells it beside; here it is put back, as it was on the wire.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from egress_watch.fast import Drained, accelerator

if TYPE_CHECKING:
    from egress_watch.model import Bytes, Ints

OURS, VLAN_VALID, TPID_VALID = 1, 0x10, 0x40
TIMES_BY_HARDWARE = 1 << 31
"""TP_STATUS_TS_RAW_HARDWARE."""
TAG_BYTES, MACS_BYTES, DOT1Q = 4, 12, 0x8100
FIELDS = {
    "status": ("u4", 0), "wire": ("u4", 4), "caught": ("u4", 8), "mac": ("u2", 12), "seconds": ("u4", 16),
    "nanoseconds": ("u4", 20), "tci": ("u2", 24), "tpid": ("u2", 26),
}  # fmt: skip
"""Fields of struct tpacket2_hdr and where they stand."""
LOOK = 4096
"""Slots looked at in one go by NumPy."""


class Ring:
    """A ring of ``slots`` slots of ``stride`` bytes each; ``tagged`` where frames are Ethernet and can carry a tag."""

    def __init__(self, memory: Bytes, slots: int, stride: int, *, tagged: bool) -> None:
        self._memory, self._slots, self._stride, self._tagged = memory, slots, stride, tagged
        names, formats, offsets = list(FIELDS), *zip(*FIELDS.values(), strict=True)
        shape = np.dtype({"names": names, "formats": formats, "offsets": offsets, "itemsize": stride})
        self._headers = memory[: slots * stride].view(shape)
        self._rows = memory[: slots * stride].reshape(slots, stride)
        self._at = 0

    def take(self, data: Bytes, used: int, most: int) -> Drained:
        """Copy up to ``most`` frames to ``data[used:]`` and hand their slots back."""
        fast = accelerator()
        if fast:
            slots, stride = self._slots, self._stride
            found = fast.ring(self._memory, slots, stride, self._at, data, used, most, tagged=self._tagged)
        else:
            found = self._by_columns(data, used, most)
        self._at = found.at
        return found

    def waiting(self, ahead: int = 0) -> bool:
        """Return whether more than ``ahead`` frames are there that were not taken yet; of a small ring, half of it."""
        ahead = min(ahead, self._slots // 2)
        return bool(self._headers["status"][(self._at + ahead) % self._slots] & OURS)

    def _by_columns(self, data: Bytes, used: int, most: int) -> Drained:
        """As `Accelerator.ring`: rows of one width, as wide as the longest frame, so there may be less room."""
        count = self._ready(min(most, LOOK, self._slots - self._at))
        header = self._headers[self._at : self._at + count].copy()
        mac = np.minimum(header["mac"].astype(np.int64), self._stride)
        caught = np.minimum(header["caught"].astype(np.int64), self._stride - mac)
        width = int(caught.max(initial=0)) + TAG_BYTES
        count = min(count, (len(data) - used) // width)
        if not count:
            none = np.empty(0, np.int64)
            return Drained(none, none, none, none, used, self._at, 0)
        header, mac, caught = header[:count], mac[:count], caught[:count]
        rows = data[used : used + count * width].reshape(count, width)
        self._copy(rows, mac)
        start = used + np.arange(count) * width + TAG_BYTES
        tag = self._tags(rows, header, caught)
        self._headers["status"][self._at : self._at + count] = 0  # one vector store gives all slots back
        time_ns = header["seconds"].astype(np.int64) * 1_000_000_000 + header["nanoseconds"]
        status = int(np.bitwise_or.reduce(header["status"]))
        at = (self._at + count) % self._slots
        wire = header["wire"].astype(np.int64) + tag
        return Drained(start - tag, caught + tag, wire, time_ns, used + count * width, at, status)

    def _ready(self, most: int) -> int:
        """Return how many slots from here on hold a frame."""
        free = np.flatnonzero(self._headers["status"][self._at : self._at + most] & OURS == 0)
        return int(free[0]) if len(free) else most

    def _copy(self, rows: Bytes, mac: Ints) -> None:
        """Copy the frames behind room for a tag; nearly always they begin at one place in their slots."""
        width = rows.shape[1] - TAG_BYTES
        for place in np.unique(mac).tolist():
            mine = np.flatnonzero(mac == place)
            slots = self._rows[self._at : self._at + len(rows), place : place + width]
            rows[mine, TAG_BYTES : TAG_BYTES + slots.shape[1]] = slots[mine]

    def _tags(self, rows: Bytes, header: NDArray[Any], caught: Ints) -> Ints:
        """Put tags back; return how many bytes each frame grew to the front."""
        valid = (header["status"] & VLAN_VALID != 0) & (caught >= MACS_BYTES) & self._tagged
        if not valid.any():
            return np.zeros_like(caught)
        mine = np.flatnonzero(valid)
        rows[mine, :MACS_BYTES] = rows[mine, TAG_BYTES : TAG_BYTES + MACS_BYTES]
        tpid = np.where(header["status"][mine] & TPID_VALID, header["tpid"][mine], DOT1Q)
        tag = np.stack((tpid, header["tci"][mine]), axis=1).astype(">u2")
        rows[mine, MACS_BYTES : MACS_BYTES + TAG_BYTES] = tag.view(np.uint8)
        return np.where(valid, TAG_BYTES, 0)
