"""Frames that are read on their way in, in one go with the walk over a file, are read as afterwards."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pytest
from build import frames, udp
from corpus import captures, corpus
from hypothesis import given, settings
from hypothesis import strategies as st
from test_fast import POLICIES, built, mutated, mutations, pcap_file, records

from egress_watch.decode import decode, easily
from egress_watch.model import Frames, Packets
from egress_watch.sources import open_inputs, pcap, window

COLUMNS = ("time_ns", "src_mac", "dst_mac", "vlan", "version", "src", "dst", "src_port", "dst_port", "protocol",
           "tcp_flags", "size", "fragment", "fragment_id", "payload_bytes", "print", "mark")  # fmt: skip
MOST_BYTES = 30_000_000


def spans(data: Any, start: Any, size: Any) -> list[bytes]:
    """Return the bytes that lie there."""
    return [data[at : at + count].tobytes() for at, count in zip(start.tolist(), size.tolist(), strict=True)]


def told(batches: Iterable[Frames], tables: Any) -> dict[str, Any]:
    """Return all that some batches say, whatever way they are cut."""
    found: dict[str, list[Any]] = {name: [] for name in (*COLUMNS, "frames", "payload", "skipped", "damage")}
    for batch in batches:
        packets: Packets = decode(batch, tables)
        rows = zip(*(getattr(batch, name).tolist() for name in ("wire", "time_ns", "link", "interface")), strict=True)
        found["frames"] += zip(rows, spans(batch.data, batch.start, batch.caught), strict=True)
        found["payload"] += spans(packets.data, packets.payload, packets.payload_bytes)
        found["skipped"] += [packets.skipped] if packets.skipped else []
        found["damage"] += batch.damage
        for name in COLUMNS:
            found[name] += getattr(packets, name).tolist()
    found["skipped"] = [{reason: sum(one.get(reason, 0) for one in found["skipped"]) for reason in
                         sorted({reason for one in found["skipped"] for reason in one})}]  # fmt: skip
    return found


def both(path: Path, tables: Any) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return what a file says where frames are read on their way in, and where they are read afterwards."""
    on_the_way = list(open_inputs([str(path)]).frames(easily(tables)))
    assert any(batch.easy for batch in on_the_way) or not sum(map(len, on_the_way))
    return told(on_the_way, tables), told(open_inputs([str(path)]).frames(), tables)


@built
def test_the_corpus_is_the_same():
    """Every pcap file of the shared corpus gives the same frames, packets and damage, by two policies."""
    for path in captures(corpus()):
        if pcap.knows(path.read_bytes()[:4]) and path.stat().st_size < MOST_BYTES:
            for tables in POLICIES[:2]:
                on_the_way, afterwards = both(path, tables)
                assert on_the_way == afterwards, path


@built
@given(
    st.sampled_from("<>"), st.sampled_from([0xA1B2C3D4, 0xA1B23C4D, 0xA1B2CD34]),
    st.sampled_from([(2, 4), (2, 3), (2, 2), (543, 0)]), records, st.binary(min_size=97, max_size=97), mutations,
    st.integers(1, 400), st.integers(1, 9),
)  # fmt: skip
@settings(deadline=None, max_examples=200)
def test_any_pcap_file_is_the_same(order, magic, version, some, body, changes, piece, batch):
    """Lengths that lie, bytes exchanged, pieces of any size, batches of a few frames."""
    data = pcap_file(order, magic, version, some, body)
    with TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        patch.setattr(window, "FIRST_BYTES", piece)
        patch.setattr(window, "PIECE_BYTES", piece)
        patch.setattr(window, "STEP_BYTES", piece)
        patch.setattr(pcap, "BATCH_FRAMES", batch)
        path = Path(folder) / "x.pcap"
        path.write_bytes(data[:24] + mutated(data[24:], changes))
        on_the_way, afterwards = (
            told(open_inputs([str(path)]).frames(wanted), POLICIES[0]) for wanted in (easily(POLICIES[0]), None)
        )
        assert on_the_way == afterwards


@built
def test_other_frames_or_other_tables_are_read_anew():
    """What was read of some frames says nothing of a part of them, nor of how another policy reads them."""
    with TemporaryDirectory() as folder:
        path = Path(folder) / "x.pcap"
        batch = frames(udp("10.0.0.1:5000", "10.0.0.2:4789"), udp("10.0.0.3:5000", "192.0.2.1:53"))
        lines = spans(batch.data, batch.start, batch.caught)
        path.write_bytes(pcap_file("<", 0xA1B2C3D4, (2, 4), [], b"") + b"".join(
            (1).to_bytes(4, "little") * 2 + len(line).to_bytes(4, "little") * 2 + line for line in lines))  # fmt: skip
        whole = next(one for one in open_inputs([str(path)]).frames(easily(POLICIES[0])) if len(one) == 2)
    assert whole.easy is not None
    part = Frames(whole.data, *(getattr(whole, name)[1:] for name in ("start", "caught", "wire", "time_ns", "link",
                  "interface")), easy=whole.easy)  # fmt: skip
    assert decode(part, POLICIES[0]).src.tolist() == decode(whole, POLICIES[0]).src.tolist()[1:]
    assert len(decode(whole, POLICIES[2]).print) == 0


@built
def test_a_file_that_is_cut_while_it_is_read_ends_there(tmp_path):
    """Nobody is killed by it, and what was cut off is told."""
    path = tmp_path / "x.pcap"
    path.write_bytes(pcap_file("<", 0xA1B2C3D4, (2, 4), [(1, 2, 96, 96)] * 200_000, bytes(97)))
    batches = open_inputs([str(path)]).frames(easily(POLICIES[0]))
    seen = len(next(batches))
    os.truncate(path, 100_000)
    rest = list(batches)
    assert seen + sum(map(len, rest)) < 200_000
    assert [damage.origin for batch in rest for damage in batch.damage] == [str(path)]


@built
def test_columns_that_somebody_holds_are_not_used_again(tmp_path):
    """Packets of an earlier batch stay what they are while later ones are read."""
    path = tmp_path / "x.pcap"
    path.write_bytes(pcap_file("<", 0xA1B2C3D4, (2, 4), [(n, 2, 96, 96) for n in range(100_000)], bytes(97)))
    kept = [(batch, batch.time_ns.copy()) for batch in open_inputs([str(path)]).frames(easily(POLICIES[0]))]
    assert len(kept) > window.MOST_ROOMS
    assert all((batch.time_ns == times).all() for batch, times in kept)
    assert np.concatenate([times for _, times in kept]).tolist() == [n * 1_000_000_000 + 2_000 for n in range(100_000)]
