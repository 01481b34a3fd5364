"""A small run of the mutation fuzzer over the shipped captures; `make fuzz` runs a million packets and more."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
from running import ROOT

from egress_watch.sources import open_inputs


def _load() -> ModuleType:
    path = ROOT / "benchmarks" / "fuzz.py"
    spec = importlib.util.spec_from_file_location("fuzz", path)
    module = importlib.util.module_from_spec(spec)
    sys.modules["fuzz"] = module
    spec.loader.exec_module(module)
    return module


fuzz = _load()


def test_mutated_packets_raise_nothing_and_are_all_accounted_for():
    """Thirty thousand packets with flipped bytes, lied lengths and cuts: every one is a packet or has a reason."""
    outcome = fuzz.Fuzzer(seed=2).run(fuzz.captures(Path("nowhere")), 30_000)
    assert outcome.packets >= 30_000
    assert outcome.kept + sum(outcome.skipped.values()) == outcome.packets
    assert 0.1 < outcome.kept / outcome.packets < 0.95, "the mutations leave something to decode, and break something"
    assert len(outcome.unwrapped) > 10


def test_the_seed_decides_everything():
    """The same seed changes the same frames in the same way; another one does not."""
    frames = next(open_inputs([str(ROOT / "captures" / "city.pcapng")]).frames())
    first, again, other = (fuzz.Fuzzer(seed).mutated(frames) for seed in (3, 3, 4))
    assert np.array_equal(first.data, again.data)
    assert np.array_equal(first.caught, again.caught)
    assert not np.array_equal(first.data, other.data)
