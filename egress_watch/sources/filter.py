"""A filter as tcpdump has it: libpcap compiles the expression, `bpf` runs it.

In: an expression in the language of pcap-filter(7), `Frames`. Out: which frames match. Never: a name looked up.

The same expression is another program for each link type. It is compiled for a capture without frames, whose header
libpcap reads, so that libpcap itself turns the link type of a file into its own number. One thing a batch does not tell
is the byte order of its file: BSD loopback (link type 0) written on a machine of the other order is taken for our own.
"""

from __future__ import annotations

import ctypes
import os
import struct
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from egress_watch.errors import UsageError
from egress_watch.model import Frames
from egress_watch.sources.bpf import ProgramError, Step, check, matches
from egress_watch.sources.filter_words import looked_up

LIBRARIES = ("libpcap.so.1", "libpcap.so.0.8", "libpcap.so")
"""Fedora's and most others' name, Debian's and Ubuntu's, and that of the files for developers."""
TRIED_LINKS = (1, 113, 276, 101, 0, 105, 127, 9, 50)
"""Link types for which an expression is tried before anything is read: Ethernet, whose error is told, first."""
MOST_CHARACTERS = 1 << 14
SNAPLEN_BYTES = 262_144
NETMASK_UNKNOWN = 0xFFFFFFFF
ERROR_BYTES = 256
"""PCAP_ERRBUF_SIZE."""
OPTION = "--filter"


class _Instruction(ctypes.Structure):
    """struct bpf_insn."""

    _fields_ = (("code", ctypes.c_ushort), ("jt", ctypes.c_ubyte), ("jf", ctypes.c_ubyte), ("k", ctypes.c_uint32))


class _Program(ctypes.Structure):
    """struct bpf_program."""

    _fields_ = (("length", ctypes.c_uint), ("instructions", ctypes.POINTER(_Instruction)))


class Filter:
    """An expression, compiled for each link type when its first frame comes."""

    def __init__(self, expression: str) -> None:
        """Check the expression; UsageError in libpcap's own words, or where there is no libpcap."""
        self.expression = expression
        self._library = _libpcap()
        self._programs: dict[int, Sequence[Step] | None] = {}
        _refuse(expression)
        trouble = [self._try(link) for link in TRIED_LINKS]
        if all(trouble):
            raise UsageError(trouble[0], where=OPTION, remedy="the language is described in pcap-filter(7)")

    def keep(self, frames: Frames) -> tuple[NDArray[np.bool_], dict[int, int]]:
        """Return which frames match, shape (n,), and a count by link type of those the expression says nothing about.

        Such is `ether host` where there is no Ethernet: tcpdump refuses the file, here its frames do not match.
        """
        kept, foreign = np.zeros(len(frames), np.bool_), {}
        kinds = np.unique(frames.link).tolist()
        for link in kinds:
            steps = self.program(link)
            here = frames.link == link
            if steps is None:
                foreign[link] = int(here.sum())
            elif len(kinds) == 1:
                return matches(steps, frames), {}
            else:
                kept |= here & matches(steps, frames)
        return kept, foreign

    def program(self, link: int) -> Sequence[Step] | None:
        """Return the program for a link type, None where the expression says nothing about it."""
        if link not in self._programs:
            self._try(link)
        return self._programs[link]

    def _try(self, link: int) -> str:
        """Compile for a link type; return what is wrong, "" for nothing."""
        try:
            self._programs[link] = _compiled(self._library, self.expression, link)
        except ProgramError as error:
            self._programs[link] = None
            return str(error)
        return ""


def _libpcap() -> ctypes.CDLL:
    for name in LIBRARIES:
        try:
            library = ctypes.CDLL(name)
        except OSError:
            continue
        library.pcap_open_offline.restype = ctypes.c_void_p
        library.pcap_geterr.restype = ctypes.c_char_p
        library.pcap_geterr.argtypes = library.pcap_close.argtypes = (ctypes.c_void_p,)
        library.pcap_compile.argtypes = (
            ctypes.c_void_p, ctypes.POINTER(_Program), ctypes.c_char_p, ctypes.c_int, ctypes.c_uint32,
        )  # fmt: skip
        return library
    remedy = "install it (Debian, Ubuntu: apt install libpcap0.8; Fedora: dnf install libpcap), or leave --filter out"
    raise UsageError("libpcap, which compiles filters, is not here", where=OPTION, remedy=remedy)


def _refuse(expression: str) -> None:
    """Refuse what libpcap must not see: UsageError."""
    if len(expression) > MOST_CHARACTERS or "\0" in expression:
        raise UsageError(f"longer than {MOST_CHARACTERS:,} characters, or with a zero byte", where=OPTION)
    if word := looked_up(expression):
        what = f"{word!r} is no word of the filter language, nor an address, and no name is looked up"
        raise UsageError(what, where=OPTION, remedy="write the address itself; the language is that of pcap-filter(7)")


def _compiled(library: ctypes.CDLL, expression: str, link: int) -> Sequence[Step]:
    """Return the program for a link type; ProgramError in libpcap's words."""
    said = ctypes.create_string_buffer(ERROR_BYTES)
    handle = _opened(library, link, said)
    if not handle:
        raise ProgramError(said.value.decode(errors="replace"))
    try:
        program = _Program()
        text = expression.encode(errors="surrogateescape")
        if library.pcap_compile(handle, ctypes.byref(program), text, 1, NETMASK_UNKNOWN):
            raise ProgramError(library.pcap_geterr(handle).decode(errors="replace"))
        found = program.instructions[: program.length]
        steps = [Step(one.code, one.jt, one.jf, one.k) for one in found]
        library.pcap_freecode(ctypes.byref(program))
    finally:
        library.pcap_close(handle)
    check(steps)
    return steps


def _opened(library: ctypes.CDLL, link: int, said: ctypes.Array[ctypes.c_char]) -> int | None:
    """Return libpcap's handle of a capture of this link type that holds no frame, None with the reason in ``said``."""
    descriptor = os.memfd_create("empty")
    try:
        os.write(descriptor, struct.pack("=IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, SNAPLEN_BYTES, link & 0xFFFF))
        handle: int | None = library.pcap_open_offline(f"/proc/self/fd/{descriptor}".encode(), said)
        return handle
    finally:
        os.close(descriptor)
