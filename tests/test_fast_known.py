"""Keys have the same numbers with the accelerator and without."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from egress_watch import fast
from egress_watch.fast.known import ROOM, Known, KnownInPython

FAST = fast.accelerator()
KEYS = st.lists(st.tuples(st.sampled_from([0, 1, 2, 2**64 - 1]), st.integers(0, 5)), max_size=20)
STEPS = st.lists(st.tuples(KEYS, st.sampled_from(["learn", "learn", "ask", "forget"])), max_size=8)


def both(width: int) -> list[Known]:
    """Return what remembers in Python, and in C where that is built."""
    return [KnownInPython(width), *([FAST.known(width)] if FAST else [])]


@given(STEPS)
def test_a_key_has_the_number_it_was_given_last(steps: list[tuple[list[tuple[int, int]], str]]) -> None:
    """Whatever is learned, asked and forgotten in turns; also where a key comes twice at once."""
    plainly: dict[tuple[int, int], int] = {}
    ways = both(2)
    for keys, step in steps:
        words = np.array(keys, np.uint64).reshape(-1, 2)
        numbers = {"learn": range(len(plainly), len(plainly) + len(keys))}.get(step, [])
        plainly = {} if step == "forget" else plainly | dict(zip(keys, numbers, strict=step == "learn"))
        for known in ways:
            if step == "learn":
                known.learn(words, np.array(numbers, np.int64))
            elif step == "forget":
                known.forget()
            assert known.numbers(words).tolist() == [plainly.get(key, -1) for key in keys]
            assert len(known) == len(plainly)


@pytest.mark.parametrize("width", [1, 2, 4])
def test_more_keys_than_there_was_room_for_keep_their_numbers(width: int) -> None:
    """Room is made as it is needed, by few keys at a time or by many at once."""
    words = np.random.default_rng(1).integers(0, 1 << 62, (40 * ROOM, width)).astype(np.uint64)
    for known in both(width):
        known.learn(words[:10], np.arange(10))
        for start, stop in ((10, ROOM), (ROOM, ROOM + 1), (ROOM + 1, len(words))):
            known.learn(words[start:stop], np.arange(start, stop))
        assert known.numbers(words).tolist() == list(range(len(words)))
        assert known.numbers(words + np.uint64(1)).tolist() == [-1] * len(words)


@pytest.mark.skipif(FAST is None, reason="the accelerator is not built or turned off")
def test_keys_of_another_width_are_refused() -> None:
    """Nothing is read beyond the keys."""
    assert FAST
    known = FAST.known(2)
    for keys in (np.zeros((3, 1), np.uint64), np.zeros((3, 3), np.uint64)):
        with pytest.raises(ValueError, match="width"):
            known.numbers(keys)
        with pytest.raises(ValueError, match="width"):
            known.learn(keys, np.arange(3))
