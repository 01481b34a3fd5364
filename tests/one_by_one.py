"""A classic BPF machine for one frame, as bpf(4) describes it: a second opinion, made to be read and not to be fast."""

from __future__ import annotations

import operator
from collections.abc import Callable, Sequence

WORD = 2**32
SIZES = {0x00: 4, 0x08: 2, 0x10: 1}
REGISTERS = {0: "a", 1: "x", 2: "a", 3: "x"}


def _shifted(by: Callable[[int, int], int]) -> Callable[[int, int], int]:
    return lambda a, bits: by(a, bits) if bits < 32 else 0


SUMS: dict[int, Callable[[int, int], int]] = {
    0x00: operator.add, 0x10: operator.sub, 0x20: operator.mul, 0x30: operator.floordiv, 0x40: operator.or_,
    0x50: operator.and_, 0x60: _shifted(operator.lshift), 0x70: _shifted(operator.rshift), 0x80: lambda a, _: -a,
    0x90: operator.mod, 0xA0: operator.xor,
}  # fmt: skip
TESTS: dict[int, Callable[[int, int], int]] = {
    0x10: operator.eq, 0x20: operator.gt, 0x30: operator.ge, 0x40: operator.and_,
}  # fmt: skip


class RefusedError(Exception):
    """A load beyond the frame, or a division by 0: no match."""


class One:
    """The machine, with one frame in it."""

    def __init__(self, data: bytes, wire: int) -> None:
        self.data, self.wire, self.memory = data, wire % WORD, [0] * 16
        self.a = self.x = self.at = 0

    def run(self, steps: Sequence[tuple[int, int, int, int]]) -> bool:
        """Return whether the program accepts the frame."""
        work = (self.load, self.load, self.store, self.store, self.reckon, self.jump)
        while True:
            code, *jumps, k = steps[self.at]
            self.at += 1
            if code & 7 == 6:
                return bool(self.a if code & 0x18 == 0x10 else k)
            if code & 7 == 7:
                self.a, self.x = (self.x, self.x) if code & 0xF8 == 0x80 else (self.a, self.a)
            else:
                work[code & 7](code, jumps, k)

    def load(self, code: int, _: Sequence[int], k: int) -> None:
        """Load A or X."""
        mode = code & 0xE0
        if mode in (0x20, 0x40, 0xA0):
            begin, size = k + (self.x if mode == 0x40 else 0), SIZES[code & 0x18]
            if begin + size > len(self.data):
                raise RefusedError
            value = int.from_bytes(self.data[begin : begin + size], "big")
            value = 4 * (value & 15) if mode == 0xA0 else value
        else:
            value = {0x00: k, 0x60: self.memory[k % 16], 0x80: self.wire}[mode]
        setattr(self, REGISTERS[code & 7], value)

    def store(self, code: int, _: Sequence[int], k: int) -> None:
        """Store A or X."""
        self.memory[k] = getattr(self, REGISTERS[code & 7])

    def reckon(self, code: int, _: Sequence[int], k: int) -> None:
        """Reckon with A."""
        by = self.x if code & 8 else k
        if code & 0xF0 in (0x30, 0x90) and not by:
            raise RefusedError
        self.a = SUMS[code & 0xF0](self.a, by) % WORD

    def jump(self, code: int, jumps: Sequence[int], k: int) -> None:
        """Jump, always or as a test says."""
        if code & 0xF0 == 0:
            self.at += k
        else:
            self.at += jumps[0] if TESTS[code & 0xF0](self.a, self.x if code & 8 else k) else jumps[1]


def accepted(steps: Sequence[tuple[int, int, int, int]], data: bytes, wire: int) -> bool:
    """Return whether a program accepts a frame of these bytes and this length on the wire."""
    try:
        return One(data, wire).run(steps)
    except RefusedError:
        return False
