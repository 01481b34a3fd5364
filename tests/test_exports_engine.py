"""A real engine reads what we write: Tenzir's parsers of CEF, LEEF, EVE, syslog, Zeek and JSON.

Where the package is not installed the module is skipped, but not in CI.
"""

from __future__ import annotations

import pytest
from engines import needed, read
from exporting import HOSTILE, as_cef, as_leef
from running import city_db
from test_exports_golden import kept as golden

from egress_watch.exports.formats import FORMATS
from egress_watch.exports.record import ALERT, FLOW, HEARTBEAT, Origin, record
from egress_watch.store import Reader

pytestmark = needed
BY_NAME = {known.name: known for known in FORMATS}
ORIGIN = Origin("city", "0.1.0", "2026-11-23")
READERS = {
    "cef": "read_cef", "leef": "read_leef", "eve": "read_suricata", "zeek": "read_zeek_tsv", "zeek-json": "read_ndjson",
    "ecs": "read_ndjson", "ocsf": "read_ndjson", "ndjson": "read_ndjson",
}  # fmt: skip
NAME_AT = {
    "cef": ("extension", "dhost"), "leef": ("attributes", "dstName"), "zeek": ("resp_name",),
    "zeek-json": ("resp_name",), "ecs": ("destination", "domain"), "ndjson": ("name",),
}  # fmt: skip


def city(tmp_path, kind):
    """Return the city's records of a kind, and the kept ones of heartbeats."""
    if kind == HEARTBEAT:
        return golden(HEARTBEAT)
    with Reader(str(city_db(tmp_path))) as db:
        if kind == FLOW:
            return [record(FLOW, row, ORIGIN) for row in db.flows({})]
        return [record(ALERT, row, ORIGIN, flow=next(db.flows({"id": row["last_flow"]}))) for row in db.episodes({})]


def write(tmp_path, name, kind, kept, before=""):
    """Write records to a file and return its path."""
    path = tmp_path / f"{kind}.{name}"
    path.write_text("".join(f"{before}{line}\n" for line in BY_NAME[name].encode(kept, kind)), encoding="utf-8")
    return path


@pytest.mark.parametrize(("name", "kind"), [(name, kind) for name in READERS for kind in BY_NAME[name].kinds])
def test_the_engine_finds_every_event_of_the_city(tmp_path, name, kind):
    """As many events as records, without a warning."""
    kept = city(tmp_path, kind)
    assert len(read(write(tmp_path, name, kind, kept), READERS[name])) == len(kept)


@pytest.mark.parametrize("name", NAME_AT)
def test_the_engine_reads_hostile_names_as_text(tmp_path, name):
    """Each hostile name is one event with one name; none adds an event or a field."""
    flow = city(tmp_path, FLOW)[0]
    row = {**flow, "data": []}
    kept = [record(FLOW, {**row, "id": number, "name": f"x{text}"}, ORIGIN) for number, text in enumerate(HOSTILE)]
    events = read(write(tmp_path, name, FLOW, kept), READERS[name])
    assert len(events) == len(kept)
    for event, one in zip(events, kept, strict=True):
        found = event
        for step in NAME_AT[name]:
            found = found[step]
        assert str(found) == {"cef": as_cef(one["name"], 1023), "leef": as_leef(one["name"])}.get(name, one["name"])


@pytest.mark.parametrize("name", ["cef", "leef", "ecs"])
def test_the_engine_finds_the_event_behind_a_syslog_header(tmp_path, name):
    """Sent as the message of RFC 5424, each record is one syslog event whose message is the record, unchanged."""
    kept = city(tmp_path, ALERT)
    head = "<13>1 2026-11-02T08:57:02.260009Z city egress-watch - alert - "
    events = read(write(tmp_path, name, ALERT, kept, head), "read_syslog")
    assert len(events) == len(kept)
    for event, one in zip(events, kept, strict=True):
        message = event.get("message") or event.get("content")
        assert message == BY_NAME[name].line(one)
