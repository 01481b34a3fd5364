"""Run a classic BPF program over whole batches of frames.

In: a program and `Frames`. Out: for each frame, whether it matches. Never: a read outside a frame, or a loop per frame.

The machine is that of McCanne and Jacobson, "The BSD Packet Filter" (USENIX Winter 1993), with the opcodes of bpf(4)
and the edge cases of libpcap's own interpreter: a load beyond the captured bytes, or a division by 0, ends with no
match; a shift by 32 or more gives 0; LEN is the length on the wire. Jumps only lead forward, so one pass over the
instructions is enough: each is carried out once, for all frames that reach it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from egress_watch.model import Frames, Ints

MOST_STEPS = 4096
"""BPF_MAXINSNS: no kernel takes a longer program."""
MEMORY_WORDS = 16
"""BPF_MEMWORDS."""

LD, LDX, ST, STX, ALU, JMP, RET, MISC = range(8)
"""Classes: the low three bits of an opcode."""
IMM, ABS, IND, MEM, LEN, MSH = (mode << 5 for mode in range(6))
"""Modes of a load."""
SIZES = {0x00: ">u4", 0x08: ">u2", 0x10: "u1"}
"""Word, half-word and byte, in network byte order, by the size bits of a load."""
BYTE = 0x10
BY_X = 0x08
"""The operand is X, not the constant."""
RET_A, TXA, JA = 0x10, 0x80, 0x00
NEG, DIV, MOD = 0x80, 0x30, 0x90

Rows: TypeAlias = Ints
U32 = NDArray[np.uint32]
Onward = list[tuple[int, Rows]]
"""How many instructions to pass over, and which frames do."""

ARITHMETIC: dict[int, Callable[[NDArray[np.uint64], NDArray[np.uint64]], NDArray[np.uint64]]] = {
    0x00: np.add, 0x10: np.subtract, 0x20: np.multiply, DIV: np.floor_divide, 0x40: np.bitwise_or,
    0x50: np.bitwise_and, 0x60: lambda a, by: np.where(by < 32, a << (by & np.uint64(31)), np.uint64(0)),
    0x70: lambda a, by: np.where(by < 32, a >> (by & np.uint64(31)), np.uint64(0)),
    NEG: lambda a, _: np.uint64(0) - a, MOD: np.remainder, 0xA0: np.bitwise_xor,
}  # fmt: skip
TESTS: dict[int, Callable[[U32, U32], NDArray[np.bool_]]] = {
    0x10: np.equal, 0x20: np.greater, 0x30: np.greater_equal, 0x40: lambda a, by: (a & by) != 0,
}  # fmt: skip


class Step(NamedTuple):
    """One instruction."""

    code: int
    if_true: int
    """Instructions to pass over where a test holds."""
    if_false: int
    k: int


class ProgramError(ValueError):
    """A program that cannot be run: what is wrong with it, in words."""


def check(steps: Sequence[Step]) -> None:
    """Refuse what is no program: ProgramError for a bad opcode, a jump that is no way forward, or a missing end."""
    if not 0 < len(steps) <= MOST_STEPS:
        raise ProgramError(f"{len(steps):,} instructions, and {MOST_STEPS:,} are the most")
    for at, step in enumerate(steps):
        kind = step.code & 7
        if step.code not in OPCODES:
            raise ProgramError(f"unknown opcode 0x{step.code:02x}")
        over = step.k if step.code == JMP | JA else max(step.if_true, step.if_false)
        if kind == JMP and at + 1 + over >= len(steps):
            raise ProgramError("a jump back, as protochain needs it, which is not run here")
        if _in_memory(step) and step.k >= MEMORY_WORDS:
            raise ProgramError(f"memory word {step.k} of {MEMORY_WORDS}")
    if steps[-1].code & 7 != RET:
        raise ProgramError("no end")


def matches(steps: Sequence[Step], frames: Frames) -> NDArray[np.bool_]:
    """Return which frames a checked program accepts, shape (n,)."""
    machine = _Machine(frames)
    waiting: list[list[Rows]] = [[] for _ in steps]
    waiting[0].append(np.arange(len(frames)))
    for at, step in enumerate(steps):
        if waiting[at]:
            rows = waiting[at][0] if len(waiting[at]) == 1 else np.concatenate(waiting[at])
            waiting[at] = []
            for over, some in machine.carry_out(step, rows):
                if len(some):
                    waiting[at + 1 + over].append(some)
    return machine.accepted


class _Machine:
    """The registers of all frames, each of shape (n,)."""

    def __init__(self, frames: Frames) -> None:
        count = len(frames)
        self._data, self._start, self._caught = frames.data, frames.start, frames.caught
        self._wire = frames.wire.astype(np.uint32)
        self._a, self._x = np.zeros(count, np.uint32), np.zeros(count, np.uint32)
        self._memory: dict[int, U32] = {}
        self.accepted = np.zeros(count, np.bool_)
        self._by_class = (
            self._load, self._load_x, self._store, self._store, self._reckon, self._jump, self._return, self._copy,
        )  # fmt: skip

    def carry_out(self, step: Step, rows: Rows) -> Onward:
        """Carry out one instruction for some frames and return where each of them goes on."""
        return self._by_class[step.code & 7](step, rows)

    def _load(self, step: Step, rows: Rows) -> Onward:
        mode = step.code & 0xE0
        if mode in (ABS, IND):
            at = self._x[rows].astype(np.int64) + step.k if mode == IND else np.full(len(rows), step.k, np.int64)
            rows, numbers = self._read(rows, at, SIZES[step.code & 0x18])
            self._a[rows] = numbers
        else:
            self._a[rows] = self._word(step, mode, rows)
        return [(0, rows)]

    def _load_x(self, step: Step, rows: Rows) -> Onward:
        mode = step.code & 0xE0
        if mode == MSH:  # four times the low half of a byte: the header length of IPv4
            rows, lengths = self._read(rows, np.full(len(rows), step.k, np.int64), SIZES[BYTE])
            self._x[rows] = (lengths & np.uint32(0xF)) << np.uint32(2)
        else:
            self._x[rows] = self._word(step, mode, rows)
        return [(0, rows)]

    def _word(self, step: Step, mode: int, rows: Rows) -> U32 | np.uint32:
        if mode == LEN:
            return self._wire[rows]
        if mode == MEM:
            return self._memory[step.k][rows] if step.k in self._memory else np.uint32(0)
        return np.uint32(step.k)

    def _read(self, rows: Rows, at: Ints, kind: str) -> tuple[Rows, U32]:
        """Return those frames that hold a whole number at the offset, and the numbers."""
        shape = np.dtype(kind)
        inside = at + shape.itemsize <= self._caught[rows]
        if not inside.all():
            rows, at = rows[inside], at[inside]
        places = np.ndarray((len(self._data) - shape.itemsize + 1,), shape, self._data.data, strides=(1,))
        return rows, places[self._start[rows] + at].astype(np.uint32)

    def _store(self, step: Step, rows: Rows) -> Onward:
        word = self._memory.setdefault(step.k, np.zeros(len(self._a), np.uint32))
        word[rows] = (self._x if step.code & 7 == STX else self._a)[rows]
        return [(0, rows)]

    def _operand(self, step: Step, rows: Rows) -> U32:
        return self._x[rows] if step.code & BY_X else np.full(len(rows), step.k, np.uint32)

    def _reckon(self, step: Step, rows: Rows) -> Onward:
        operand, operation = self._operand(step, rows), step.code & 0xF0
        if operation in (DIV, MOD):
            rows, operand = rows[operand != 0], operand[operand != 0]
        found = ARITHMETIC[operation](self._a[rows].astype(np.uint64), operand.astype(np.uint64))
        self._a[rows] = found.astype(np.uint32)  # modulo 2^32
        return [(0, rows)]

    def _jump(self, step: Step, rows: Rows) -> Onward:
        if step.code & 0xF0 == JA:
            return [(step.k, rows)]
        holds = TESTS[step.code & 0xF0](self._a[rows], self._operand(step, rows))
        return [(step.if_true, rows[holds]), (step.if_false, rows[~holds])]

    def _return(self, step: Step, rows: Rows) -> Onward:
        self.accepted[rows] = self._a[rows] != 0 if step.code & 0x18 == RET_A else step.k != 0
        return []

    def _copy(self, step: Step, rows: Rows) -> Onward:
        if step.code & 0xF8 == TXA:
            self._a[rows] = self._x[rows]
        else:
            self._x[rows] = self._a[rows]
        return [(0, rows)]


def _opcodes() -> Iterable[int]:
    yield from (LD | size | mode for size in SIZES for mode in (ABS, IND))
    yield from (kind | mode for kind in (LD, LDX) for mode in (IMM, MEM, LEN))
    yield from (LDX | BYTE | MSH, ST, STX, RET, RET | RET_A, MISC, MISC | TXA, JMP | JA, ALU | NEG)
    yield from (ALU | operation | by for operation in ARITHMETIC for by in (0, BY_X) if operation != NEG)
    yield from (JMP | test | by for test in TESTS for by in (0, BY_X))


OPCODES = frozenset(_opcodes())


def _in_memory(step: Step) -> bool:
    return step.code in (ST, STX, LD | MEM, LDX | MEM)
