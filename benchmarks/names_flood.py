"""A flood of names at one device, through the whole program: what is kept, what is counted, what it takes.

In: a number of names. Out: processor time, memory, names kept and forgotten, the size of the database. Never: a capture
on disk: packets go through a pipe as they are made.

`python benchmarks/names_flood.py dns --names 10000000` sends so many answers to one device, each with a name and an
address of its own; `tls` so many ClientHellos of that device, each a flow with a name and a remote of its own.
"""

from __future__ import annotations

import argparse
import json
import os
import struct
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
from build import SCRATCH
from numpy.typing import NDArray

PIECE = 50_000
DIGITS = 8
ROOM = 1 << 24
"""Addresses there are for names: more are not sent."""
FIRST_NS = 1_793_606_400_000_000_000
PACE_NS = 10_000
"""A hundred thousand names a second."""
DEVICE, RESOLVER = bytes((10, 20, 0, 7)), bytes((145, 53, 12, 1))
NAME = b"n" + b"0" * DIGITS + b".flood.example"
HEADER = struct.pack("<IHHiIII", 0xA1B23C4D, 2, 4, 0, 0, 65535, 1)
"""pcap with nanoseconds, Ethernet."""
_TCP, _UDP = 6, 17


def answer() -> tuple[bytes, int, int]:
    """Return a frame with a DNS answer, and where its digits and the last three bytes of its address stand."""
    question = b"".join(bytes([len(label)]) + label for label in NAME.split(b".")) + b"\0" + struct.pack("!HH", 1, 1)
    message = struct.pack("!6H", 1, 0x8180, 1, 1, 0, 0) + question
    message += struct.pack("!HHHIH4B", 0xC00C, 1, 1, 300, 4, 52, 0, 0, 0)
    frame = _frame(RESOLVER, DEVICE, _UDP, struct.pack("!4H", 53, 40_000, 8 + len(message), 0) + message)
    return frame, frame.index(b"n0") + 1, len(frame) - 3


def hello() -> tuple[bytes, int, int]:
    """Return a frame with a ClientHello, and where its digits and the last three bytes of the remote stand."""
    listed = struct.pack("!BH", 0, len(NAME)) + NAME
    extension = struct.pack("!HHH", 0, len(listed) + 2, len(listed)) + listed
    body = b"\x03\x03" + bytes(32) + b"\0" + struct.pack("!HH", 2, 0x1301) + b"\1\0"
    body += struct.pack("!H", len(extension)) + extension
    message = b"\1" + len(body).to_bytes(3, "big") + body
    record = struct.pack("!BHH", 0x16, 0x0301, len(message)) + message
    segment = struct.pack("!HHIIBBHHH", 40_000, 443, 1, 1, 0x50, 0x18, 0xFFFF, 0, 0) + record
    frame = _frame(DEVICE, bytes((52, 0, 0, 0)), _TCP, segment)
    return frame, frame.index(b"n0") + 1, 14 + 17


def _frame(src: bytes, dst: bytes, protocol: int, payload: bytes) -> bytes:
    ethernet = bytes.fromhex("4419b60b6e11 f48e38101102 0800")
    return ethernet + struct.pack("!BBHHHBBH", 0x45, 0, 20 + len(payload), 1, 0, 64, protocol, 0) + src + dst + payload


def pieces(kind: str, names: int) -> Iterator[bytes]:
    """Yield a pcap file: one frame a name, made by columns."""
    frame, digits, address = answer() if kind == "dns" else hello()
    record = np.frombuffer(bytes(16) + frame, np.uint8)
    yield HEADER
    for first in range(0, names, PIECE):
        numbers = np.arange(first, min(first + PIECE, names))
        rows = np.tile(record, (len(numbers), 1))
        _put(rows, 0, FIRST_NS + numbers * PACE_NS, len(frame))
        places = 10 ** np.arange(DIGITS)[::-1]
        rows[:, 16 + digits : 16 + digits + DIGITS] = ord("0") + numbers[:, None] // places % 10
        rows[:, 16 + address : 16 + address + 3] = numbers[:, None] >> np.array([16, 8, 0]) & 0xFF
        yield rows.tobytes()


def _put(rows: NDArray[np.uint8], at: int, times_ns: NDArray[np.int64], size: int) -> None:
    """Write the record headers: seconds, nanoseconds, and the size twice."""
    sizes = np.full(len(rows), size)
    head = np.stack((times_ns // 10**9, times_ns % 10**9, sizes, sizes), axis=1).astype("<u4")
    rows[:, at : at + 16] = head.view(np.uint8).reshape(len(rows), 16)


def flood(kind: str, names: int, db: Path) -> dict[str, Any]:
    """Send the flood through `replay -` and return what came of it."""
    command = [sys.executable, "-m", "egress_watch", "replay", "-", "--db", str(db), "--json", "--quiet"]
    begin = perf_counter()
    with tempfile.TemporaryFile() as told:
        program = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=told)
        assert program.stdin
        for piece in pieces(kind, names):
            program.stdin.write(piece)
        program.stdin.close()
        _, status, used = os.wait4(program.pid, 0)
        program.returncode = os.waitstatus_to_exitcode(status)
        told.seek(0)
        said = json.loads(told.read())
    return {
        "names": names, "exit_code": program.returncode, "wall_s": round(perf_counter() - begin, 1),
        "cpu_s": round(used.ru_utime + used.ru_stime, 1), "peak_mb": round(used.ru_maxrss / 1024),
        "db_mb": round(sum(one.stat().st_size for one in db.parent.glob(f"{db.name}*")) / 1e6), "heard": said["heard"],
    }  # fmt: skip


def main() -> None:
    """Flood and print."""
    command = argparse.ArgumentParser(description="A flood of names at one device, through the whole program.")
    command.add_argument("kind", choices=("dns", "tls"))
    command.add_argument("--names", type=int, default=10_000_000, help=f"at most {ROOM:,}; default: %(default)s")
    options = command.parse_args()
    if options.names > ROOM:
        command.error(f"at most {ROOM:,} names")
    SCRATCH.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(dir=SCRATCH) as folder:
        print(json.dumps(flood(options.kind, options.names, Path(folder) / "flood.db"), indent=1))


if __name__ == "__main__":
    main()
