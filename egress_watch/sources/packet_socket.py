"""A Linux packet socket that only listens: its ring, its filter, its counters.

In: the name of an interface. Out: a `PacketSocket`. Never: a frame sent, a frame from before the filter, or a right
asked for again: whatever needs CAP_NET_RAW is done when the socket is opened.

Constants are from linux/if_packet.h, linux/filter.h and linux/net_tstamp.h; what they do is in packet(7).
"""

from __future__ import annotations

import ctypes
import errno
import mmap
import socket
import struct
from contextlib import suppress
from typing import TYPE_CHECKING

import numpy as np

from egress_watch.errors import CaptureError, UsageError
from egress_watch.sources.bpf import Step
from egress_watch.sources.ring import Ring

if TYPE_CHECKING:
    from collections.abc import Sequence

    from egress_watch.fast import Drained
    from egress_watch.model import Bytes

SOL_PACKET = 263
ADD_MEMBERSHIP, RX_RING, STATISTICS, VERSION, TIMESTAMP, FANOUT, IGNORE_OUTGOING = 1, 5, 6, 10, 17, 18, 23
FANOUT_ROLLOVER, FANOUT_UNIQUE = 0x1000 << 16, 0x2000 << 16
"""Flags beside PACKET_FANOUT_HASH, which is 0: go on with the next ring where one is full; find a free number."""
MR_PROMISC, V2, ETH_P_ALL = 1, 1, 3
SO_ATTACH_FILTER, SO_TIMESTAMPNS = 26, 35
RAW_HARDWARE = 1 << 6
BLOCK_BYTES = 1 << 18
LEAST_BYTES = 1 << 23
"""A ring is asked for in halves down to this; a smaller one is worse than what stands in for it."""
SKF_VLAN_PRESENT = 0xFFFFF000 + 48
"""SKF_AD_OFF + SKF_AD_VLAN_TAG_PRESENT: whether the kernel took a tag off."""
ALL_OF_IT = 0x40000
PASS, PASS_NONE = (Step(0x06, 0, 0, ALL_OF_IT),), (Step(0x06, 0, 0, 0),)
SPARES = 16
"""So often may an interface that sockets share come back as another one: a service has 1,024 descriptors, and there are
so many spare ones for each reader and interface."""
TAGGED_PASS = (Step(0x20, 0, 0, SKF_VLAN_PRESENT), Step(0x15, 1, 0, 0), Step(0x06, 0, 0, ALL_OF_IT))
"""ld #vlan_present; jeq 0, over the next; ret all."""


class RingError(OSError):
    """The kernel gives no ring; its words say why."""


class PacketSocket:
    """An interface that is listened to through a ring of ``ring_bytes``, or half, or a quarter where memory is short.

    ``steps`` is a filter for the frame as it was on the wire. The kernel sees it without its VLAN tag, so tagged frames
    pass, and whoever reads filters them. One that is to be ``shared`` hears nothing until it joins the others.
    """

    def __init__(
        self, interface: str, *, ring_bytes: int, slot_bytes: int, ethernet: bool, hardware_times: bool,
        steps: Sequence[Step] = (), shared: bool = False,
    ) -> None:  # fmt: skip
        self.interface = interface
        self._ring_bytes, self._slot_bytes, self._tagged = ring_bytes, slot_bytes, ethernet
        self._hardware_times, self._steps = hardware_times, (*TAGGED_PASS, *steps) if steps else PASS
        self._group, self._joined, self._missed, self._spares = 0, False, 0, list[socket.socket]()
        self._socket = opened(interface)
        try:
            self._prepare()
            attach(self._socket, PASS_NONE if shared else self._steps)
            self.listen()
        except BaseException:
            self._socket.close()
            raise

    def fileno(self) -> int:
        """Return the descriptor, for poll."""
        return self._socket.fileno()

    def take(self, data: Bytes, used: int, most: int) -> Drained:
        """Copy up to ``most`` frames to ``data[used:]``; see `Ring.take`."""
        return self._frames.take(data, used, most)

    def waiting(self, ahead: int = 0) -> bool:
        """Return whether more than ``ahead`` frames are there that were not taken yet; see `Ring.waiting`."""
        return self._frames.waiting(ahead)

    def lost(self) -> int:
        """Return the frames for which the ring had no room since this was last asked."""
        _, drops = struct.unpack("II", self._socket.getsockopt(SOL_PACKET, STATISTICS, 8))
        missed, self._missed = self._missed, 0
        return int(drops) + missed

    def trouble(self) -> str:
        """Return what went wrong on the socket since this was last asked, "" for nothing."""
        code = self._socket.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        return errno.errorcode.get(code, str(code)) if code else ""

    def listen(self) -> None:
        """Begin to listen, or go on with a new interface of the same name; raises OSError while that cannot be.

        Nothing may be waiting then. CaptureError where one that is shared has no socket left to go on with.
        """
        if self._joined:
            self._replace()
        self._socket.bind((self.interface, ETH_P_ALL))
        index = socket.if_nametoindex(self.interface)
        self._socket.setsockopt(SOL_PACKET, ADD_MEMBERSHIP, struct.pack("iHH8s", index, MR_PROMISC, 0, b""))
        if self._group:
            # Another number for another interface, the same to all that share it: groups of the one that is gone
            # may last as long as one socket still looks at it.
            self._share(((self._group + index) & 0xFFFF or 1) | FANOUT_ROLLOVER)

    def join(self, group: int) -> int:
        """Share the interface's frames with the other sockets of a group, by flow; return its number.

        A new group where ``group`` is 0. OSError where the interface is down: the kernel then lets nobody join.
        """
        self._share(group | FANOUT_ROLLOVER if group else FANOUT_ROLLOVER | FANOUT_UNIQUE)
        self._group = int(self._socket.getsockopt(SOL_PACKET, FANOUT)) & 0xFFFF
        self._spares = [opened(self.interface) for _ in range(SPARES)]
        return self._group

    def close(self) -> None:
        """Let go; the interface leaves promiscuous mode by itself. Nothing may be taken any more."""
        self._let_go()
        for spare in self._spares:
            spare.close()

    def _let_go(self) -> None:
        del self._frames  # it looks at the mapped memory, which holds a descriptor of the socket
        with suppress(BufferError):  # where something still looks, as the traceback of a failed reader does, it is last
            self._map.close()
        self._socket.close()

    def _prepare(self) -> None:
        """Give the socket its ring, and say how frames are to be stamped."""
        self._set(VERSION, V2)
        if self._hardware_times:
            self._set(TIMESTAMP, RAW_HARDWARE)
        # The kernel then stamps frames as they come in, not when they reach the ring.
        self._socket.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMPNS, 1)
        with suppress(OSError):  # the loopback shows each frame twice; Linux before 4.20 cannot leave one out
            self._set(IGNORE_OUTGOING, int(self.interface == "lo"))
        self._map = self._ring(self._ring_bytes, self._slot_bytes)
        self.slots = len(self._map) // BLOCK_BYTES * (BLOCK_BYTES // self._slot_bytes)
        self.bytes = len(self._map)
        self._frames = Ring(np.frombuffer(self._map, np.uint8), self.slots, self._slot_bytes, tagged=self._tagged)

    def _share(self, group: int) -> None:
        """Join a group; each of it would hear what came before, so only now frames may pass."""
        self._set(FANOUT, group)
        self._joined = True
        attach(self._socket, self._steps)

    def _replace(self) -> None:
        """Go on with a socket opened earlier: one in a group can be bound to no other interface (packet_do_bind).

        A new one would need CAP_NET_RAW again.
        """
        remedy = "start anew, as the service does by itself, or set watch.readers to 1"
        if not self._spares:
            raise CaptureError(f"came back for the {SPARES + 1}th time", where=self.interface, remedy=remedy)
        self._missed = self.lost()
        self._let_go()
        self._socket, self._joined = self._spares.pop(), False
        try:
            self._prepare()
        except OSError as error:
            raise CaptureError(f"came back, and there is no ring for it: {error.strerror}", where=self.interface,
                               remedy=remedy) from error  # fmt: skip
        attach(self._socket, PASS_NONE)

    def _set(self, option: int, value: int) -> None:
        self._socket.setsockopt(SOL_PACKET, option, value)

    def _ring(self, ring_bytes: int, slot_bytes: int) -> mmap.mmap:
        per_block = BLOCK_BYTES // slot_bytes
        while True:
            blocks = max(ring_bytes // BLOCK_BYTES, 1)
            try:
                asked = struct.pack("IIII", BLOCK_BYTES, blocks, slot_bytes, blocks * per_block)
                self._socket.setsockopt(SOL_PACKET, RX_RING, asked)
                return mmap.mmap(self._socket.fileno(), blocks * BLOCK_BYTES)
            except (OSError, ValueError) as error:
                self._socket.setsockopt(SOL_PACKET, RX_RING, bytes(16))
                ring_bytes //= 2
                if getattr(error, "errno", 0) != errno.ENOMEM or ring_bytes < LEAST_BYTES:
                    raise RingError(getattr(error, "errno", 0), str(error)) from error


def opened(interface: str) -> socket.socket:
    """Return a packet socket that hears nothing yet; UsageError without the right, or without the interface."""
    if not hasattr(socket, "AF_PACKET"):
        raise RingError(errno.EAFNOSUPPORT, "no packet sockets on this system")
    try:
        socket.if_nametoindex(interface)
        return socket.socket(socket.AF_PACKET, socket.SOCK_RAW | socket.SOCK_CLOEXEC, 0)
    except PermissionError as error:
        remedy = "give it CAP_NET_RAW, as the service has it (docs/service.md), or run it with sudo and --user"
        raise UsageError("no right to listen", where=interface, remedy=remedy) from error
    except OSError as error:
        if error.errno in {errno.EMFILE, errno.ENFILE}:
            remedy = "set fewer watch.readers, or raise LimitNOFILE of the service (ulimit -n)"
            raise UsageError("too many open files", where=interface, remedy=remedy) from error
        names = ", ".join(name for _, name in socket.if_nameindex())
        raise UsageError("no such interface", where=interface, remedy=f"one of: {names}") from error


def attach(listening: socket.socket, steps: Sequence[Step]) -> None:
    """Let the kernel filter (SO_ATTACH_FILTER), instead of by what it did before. CaptureError where it refuses."""
    code = b"".join(struct.pack("HBBI", *step) for step in steps)
    room = ctypes.create_string_buffer(code, len(code))
    program = struct.pack("HP", len(steps), ctypes.addressof(room))
    try:
        listening.setsockopt(socket.SOL_SOCKET, SO_ATTACH_FILTER, program)
    except OSError as error:
        raise CaptureError(f"the kernel refuses the filter: {error.strerror}", where="--filter") from error
