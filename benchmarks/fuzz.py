"""Send mutated packets through sources, decode, names, devices and flow table: nothing is raised, nothing is lost.

In: captures (the shared corpus where it is there, and the shipped ones). Out: what was sent, how long the slowest batch
took, and the peak of memory. Never: a run that cannot be had again: the seed decides everything.

`make fuzz`, or `python benchmarks/fuzz.py --packets 5000000 --seed 7`. Bytes are flipped, lengths lied about,
frames cut or put on another link type, and whole files are flipped and cut before they are read.
"""

from __future__ import annotations

import argparse
import resource
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import cycle
from pathlib import Path

import numpy as np

from egress_watch.decode import decode
from egress_watch.decode.carriers import Policy, Tables
from egress_watch.decode.linktypes import LINKS, WRAPPED
from egress_watch.decode.marks import mark_tables
from egress_watch.devices import WISHES, Devices
from egress_watch.flows import FlowTable
from egress_watch.flows.duplicates import Duplicates
from egress_watch.flows.sides import Sides
from egress_watch.model import DEVICES, NAMES, PAD_BYTES, UNWRAP, Frames
from egress_watch.names import Names
from egress_watch.sources import open_inputs

ROOT = Path(__file__).resolve().parents[1]
CORPUS = ROOT.parent / "shared" / "corpus" / "pcaps"
HEADER_BYTES = 160
"""Where most mutations fall: in the headers, not in the payload."""
EXTREMES = np.array([0, 1, 4, 5, 0x40, 0x45, 0x60, 0x7F, 0x80, 0xFE, 0xFF], np.uint8)
MOST_MEMORY_BYTES = 1 << 29
"""What a run may add to the most memory that its process had before."""
LONGEST_BATCH_S = 20.0


class LawError(AssertionError):
    """A law did not hold; the message says which, with the seed and the capture."""


@dataclass
class Outcome:
    """What was sent, and what came of it."""

    packets: int = 0
    files: int = 0
    kept: int = 0
    slowest_s: float = 0.0
    slowest: str = ""
    skipped: Counter[str] = field(default_factory=Counter)
    unwrapped: Counter[str] = field(default_factory=Counter)


class Fuzzer:
    """One run: the stages live as long as it does, so that what builds up in them shows."""

    def __init__(self, seed: int) -> None:
        self.seed = seed
        self.chance = np.random.default_rng(seed)
        self.outcome = Outcome()
        self._before_bytes = peak_bytes()
        self._names, self._devices = Names(limit=20_000), Devices(Sides().ours, limit=20_000)
        marks = mark_tables({NAMES: self._names.wishes(), DEVICES: WISHES})
        self._tables = cycle([Tables(Policy(unwrap, prints=True), marks) for unwrap in UNWRAP])
        self._duplicates = Duplicates()
        self._flows = FlowTable(limit=20_000)
        self._links = np.array([*LINKS, *WRAPPED, 147, 189], np.int32)

    def run(self, paths: Sequence[Path], packets: int) -> Outcome:
        """Send at least this many mutated packets, from all captures in turn."""
        with tempfile.TemporaryDirectory() as folder:
            for path in cycle(paths):
                for frames in self._read(path, Path(folder)):
                    self._send(self.mutated(frames), path)
                if self.outcome.packets >= packets:
                    return self.outcome
        raise LawError("no captures")

    def mutated(self, frames: Frames) -> Frames:
        """Return frames, some of them changed: bytes, lengths, cuts and link types."""
        data = frames.data.copy()
        count = len(frames)
        within = np.maximum(np.minimum(frames.caught, HEADER_BYTES), 1)
        for _ in range(int(self.chance.integers(1, 6))):
            at = frames.start + self.chance.integers(0, within)
            hit = (self.chance.random(count) < 0.5) & (frames.caught > 0)
            random = self.chance.integers(0, 256, count, np.uint8)
            extreme = EXTREMES[self.chance.integers(0, len(EXTREMES), count)]
            data[at[hit]] = np.where(self.chance.random(count) < 0.5, random, extreme)[hit]
        cut = np.where(self.chance.random(count) < 0.2, self.chance.integers(0, frames.caught + 1), frames.caught)
        wire = np.where(self.chance.random(count) < 0.1, self.chance.integers(0, 1 << 40, count), frames.wire)
        other = self._links[self.chance.integers(0, len(self._links), count)]
        link = np.where(self.chance.random(count) < 0.1, other, frames.link).astype(np.int32)
        return replace(frames, data=data, caught=cut, wire=wire, link=link)

    def _read(self, path: Path, folder: Path) -> Iterator[Frames]:
        """Yield the frames of a capture, one time in four of a damaged copy of it."""
        if self.chance.random() < 0.25:
            path = self._damaged(path, folder)
        self.outcome.files += 1
        yield from open_inputs([str(path)]).frames()

    def _damaged(self, path: Path, folder: Path) -> Path:
        data = bytearray(path.read_bytes())
        for _ in range(int(self.chance.integers(0, 8))):
            if data:
                data[int(self.chance.integers(0, len(data)))] = int(self.chance.integers(0, 256))
        copy = folder / f"damaged{path.suffix}"
        copy.write_bytes(data[: int(self.chance.integers(0, len(data) + 1))])
        return copy

    def _send(self, frames: Frames, path: Path) -> None:
        begin = time.perf_counter()
        packets = self._duplicates.once(decode(frames, next(self._tables)))
        self._names.hear(packets)
        self._devices.hear(packets)
        self._names.name(self._flows.update(packets))
        took_s = time.perf_counter() - begin
        self._check(frames, len(packets) + sum(packets.skipped.values()), took_s, path)
        end = packets.payload + packets.payload_bytes
        if (packets.payload_bytes < 0).any() or (end > len(frames.data) - PAD_BYTES).any():
            raise self._broken("a payload leads out of the buffer", path)
        self.outcome.packets += len(frames)
        self.outcome.kept += len(packets)
        self.outcome.skipped.update(packets.skipped)
        self.outcome.unwrapped.update(packets.unwrapped)

    def _check(self, frames: Frames, accounted: int, took_s: float, path: Path) -> None:
        if accounted != len(frames):
            raise self._broken(f"{len(frames)} frames, {accounted} accounted for", path)
        if took_s > LONGEST_BATCH_S:
            raise self._broken(f"a batch took {took_s:.1f} s", path)
        if peak_bytes() - self._before_bytes > MOST_MEMORY_BYTES:
            raise self._broken(f"memory grew to {peak_bytes():,} bytes", path)
        if took_s > self.outcome.slowest_s:
            self.outcome.slowest_s, self.outcome.slowest = took_s, path.name

    def _broken(self, what: str, path: Path) -> LawError:
        return LawError(f"{what}; seed {self.seed}, {path}, after {self.outcome.packets:,} packets")


def peak_bytes() -> int:
    """Return the most memory this process ever had (getrusage(2): kilobytes on Linux)."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def captures(folder: Path = CORPUS) -> list[Path]:
    """Return the captures of the corpus, where there is one, and the shipped ones."""
    return sorted(path for top in (folder, ROOT / "captures") for path in top.rglob("*") if "cap" in path.suffix
                  or path.suffix == ".gz")  # fmt: skip


def main() -> None:
    """Run and say what came of it."""
    command = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    command.add_argument("--packets", type=int, default=1_000_000)
    command.add_argument("--seed", type=int, default=1)
    command.add_argument("--corpus", type=Path, default=CORPUS, help="default: %(default)s")
    options = command.parse_args()
    begin = time.perf_counter()
    outcome = Fuzzer(options.seed).run(captures(options.corpus), options.packets)
    print(f"{outcome.packets:,} mutated packets of {outcome.files:,} files in {time.perf_counter() - begin:.1f} s")
    print(f"no exception; {outcome.packets:,} frames = {outcome.kept:,} packets + {sum(outcome.skipped.values()):,}")
    print(f"slowest batch {outcome.slowest_s * 1000:.0f} ms ({outcome.slowest}); peak {peak_bytes() / 1e6:.0f} MB")
    for title, counts in (("skipped", outcome.skipped), ("unwrapped", outcome.unwrapped)):
        print(f"{title}: {', '.join(f'{name} {count:,}' for name, count in counts.most_common(12))}")


if __name__ == "__main__":
    main()
