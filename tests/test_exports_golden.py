"""What each format makes of the city, kept as files: a change to a format is a change that can be read.

The records of the city were kept on one day (`alert.records`, `flow.records`), so newer data files change no golden
file; `heartbeat.records` are a heartbeat of a recorder that lives and of one that was killed.
EGRESS_WATCH_GOLDEN=write writes them anew from the kept records.
"""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from egress_watch.exports.formats import FORMATS
from egress_watch.exports.record import ALERT, COLUMNS, FLOW, KINDS

GOLDEN = Path(__file__).parent / "golden"
CASES = [(known, kind) for known in FORMATS for kind in known.kinds if known.name != "parquet"]
"""Parquet's bytes say which pyarrow wrote them; its content is held by test_exports_formats.py."""


def kept(kind):
    """Return the kept records of a kind."""
    return [json.loads(line) for line in (GOLDEN / f"{kind}.records").read_text(encoding="utf-8").splitlines()]


def written(known, kind):
    """Return the bytes of a format for the kept records."""
    pieces = known.encode(kept(kind), kind)
    return b"".join(piece if known.binary else piece.encode() + b"\n" for piece in pieces)


@pytest.mark.parametrize(("known", "kind"), CASES, ids=lambda case: getattr(case, "name", case))
def test_a_format_writes_what_it_wrote(known, kind):
    """The kept records give the kept bytes."""
    path = GOLDEN / f"{kind}.{known.name}"
    if os.environ.get("EGRESS_WATCH_GOLDEN") == "write":
        path.write_bytes(written(known, kind))
    assert written(known, kind) == path.read_bytes()


@pytest.mark.parametrize("kind", KINDS)
def test_the_kept_records_are_records_of_today(kind):
    """They have the keys of their kind, so no golden file shows a record that is no longer made."""
    assert all(tuple(record) == COLUMNS[kind] for record in kept(kind))


def test_the_kept_records_show_the_variety_of_the_city():
    """All verdicts, both IP versions, names from all sources, every end that the city has, and more than one level."""
    flows, alerts = kept(FLOW), kept(ALERT)
    assert {flow["verdict"] for flow in flows} == {"IN", "OWN", "OUT", "UNKNOWN"}
    assert {flow["name_source"] for flow in flows} == {"tls", "http", "dns", None}
    assert {flow["end_reason"] for flow in flows} == {"idle", "active", "fin", "rst", "end"}
    assert {":" in flow["remote_ip"] for flow in flows} == {True, False}
    assert len({alert["level"] for alert in alerts}) > 1


def test_no_golden_file_is_left_over():
    """Each file that is named after a kind is its records or a format's."""
    expected = {f"{kind}.{known.name}" for known, kind in CASES} | {f"{kind}.records" for kind in KINDS}
    assert {path.name for path in GOLDEN.iterdir() if path.stem in KINDS} == expected
