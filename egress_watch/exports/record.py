"""The one neutral record that every format is made from, and that an outbox can keep as JSON.

In: rows of the views ``flows`` and ``alerts``. Out: flat records of text, whole numbers and lists of text.
Never: a character in a text that could act on a terminal, a line, a markup or a reader of UTF-8.

A record says the same whenever it is made, so it can be formatted when it is sent. docs/formats.md lists its keys.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from typing import Any, NamedTuple

from egress_watch.exports.identity import community_id, event_id
from egress_watch.exports.plain import printable
from egress_watch.exports.severity import severity
from egress_watch.exports.times import within_reach

Record = dict[str, Any]
Row = Mapping[str, Any]

ALERT, FLOW, HEARTBEAT = "alert", "flow", "heartbeat"
EXPORTED = (ALERT, FLOW)
"""What is stored, and can be written at any time; a heartbeat is of its moment."""
KINDS = (*EXPORTED, HEARTBEAT)
SCHEMA = 1
"""Version of the record; it rises when a key changes its meaning or goes."""
ACTIONS = ("create", "update", "close")
"""What is said of an episode: that it began, went on, ended."""
LONGEST_TEXT = 4096
"""Characters of one text; a longer one is cut and ends with an ellipsis. Elasticsearch refuses a keyword of 32,766
bytes, which this stays below; the whole text is in the database."""


class Origin(NamedTuple):
    """Who says so: the same for all records of one recording."""

    sensor: str
    version: str
    zone_as_of: str = ""
    """The day as of which the zone was taken."""


class Key(NamedTuple):
    """One key of the record; ``form`` is text, number, time (nanoseconds since 1970 UTC) or list (of text)."""

    name: str
    form: str
    kinds: Sequence[str] = EXPORTED


KEYS = (
    Key("schema", "number", KINDS), Key("kind", "text", KINDS), Key("event_id", "text", KINDS),
    Key("time_ns", "time", KINDS), Key("sensor", "text", KINDS), Key("version", "text", KINDS),
    Key("action", "text", (ALERT,)), Key("episode_id", "text", (ALERT,)), Key("level", "text", KINDS),
    Key("severity", "number", KINDS),
    Key("title", "text", (ALERT,)), Key("rule", "text", (ALERT,)), Key("hits", "number", (ALERT,)),
    Key("first_ns", "time"), Key("last_ns", "time"), Key("duration_ns", "number"), Key("protocol", "text"),
    Key("protocol_number", "number"), Key("community_id", "text"), Key("device_ip", "text"),
    Key("device_port", "number"), Key("device_mac", "text"), Key("vlan", "number"), Key("remote_ip", "text"),
    Key("remote_port", "number"), Key("name", "text"), Key("name_source", "text"),
    Key("name_ns", "time"), Key("other_names", "list"),
    Key("packets_out", "number", (FLOW,)), Key("bytes_out", "number"), Key("packets_in", "number", (FLOW,)),
    Key("bytes_in", "number"), Key("bytes", "number"), Key("packets", "number", (FLOW,)),
    Key("end_reason", "text", (FLOW,)), Key("country", "text"), Key("countries", "list"),
    Key("location_status", "text"), Key("asn", "number"), Key("as_name", "text"), Key("provider", "text"),
    Key("operator", "text"), Key("region", "text"), Key("owner", "text"), Key("owner_seat", "text"),
    Key("evidence", "text"), Key("note", "text"), Key("network", "text", (ALERT,)), Key("laws", "list"),
    Key("ties", "list"), Key("zone", "text"), Key("zone_as_of", "text"), Key("verdict", "text"),
    Key("why", "text", KINDS),
    Key("data", "list"), Key("recording", "number", KINDS), Key("id", "number"), Key("first_flow", "number", (ALERT,)),
    Key("last_flow", "number", (ALERT,)), Key("device_name", "text"), Key("site", "text"), Key("segment", "text"),
    Key("segment_class", "text"), Key("state", "text", (HEARTBEAT,)), Key("interval_s", "number", (HEARTBEAT,)),
    Key("since_ns", "time", (HEARTBEAT,)), Key("newest_ns", "time", (HEARTBEAT,)),
    Key("frames", "number", (HEARTBEAT,)), Key("ip_packets", "number", (HEARTBEAT,)),
    Key("lost", "number", (HEARTBEAT,)), Key("waiting", "number", (HEARTBEAT,)),
    Key("data_age_days", "number", (HEARTBEAT,)),
)  # fmt: skip
"""Every key in its order; a record has all keys of its kind, None where nothing is known."""

COLUMNS = {kind: tuple(key.name for key in KEYS if kind in key.kinds) for kind in KINDS}

GAP_RULE, TEST_RULE = "8e6f5a1c-6c1b-4d38-9a5e-0d6f0c1f7a01", "8e6f5a1c-6c1b-4d38-9a5e-0d6f0c1f7a02"
"""What stands for a rule's id where no rule spoke: records were dropped; a sink is tested."""

_OF_THE_FLOW = (
    "protocol", "device_port", "vlan", "remote_port", "name", "name_source", "name_ns", "other_names",
    "location_status", "asn", "as_name", "provider", "region", "owner_seat", "laws", "ties", "zone", "countries",
    "evidence", "note",
)  # fmt: skip
"""What an alert takes from the newest flow of its episode."""
_TIMES = ("first_ns", "last_ns", "name_ns")
_IDENTITY = {
    FLOW: (
        "protocol",
        "device_ip",
        "device_port",
        "device_mac",
        "remote_ip",
        "remote_port",
        "vlan",
        "first_ns",
        "packets_out",
        "bytes_out",
        "packets_in",
        "bytes_in",
    ),
    ALERT: ("rule", "device_ip", "device_mac", "owner", "network", "country", "episode_kind", "began_ns"),
}
_OF_AN_EPISODE = ("rule", "device_ip", "device_mac", "owner", "network", "country", "kind")
_OF_NEWS = ("news_kind", "cause", "news_ns", "news_level", "news_hits", "news_out", "news_in")
"""What makes news of an episode itself. No number of a row: recorded anew, the same packets make the same ids."""
_STATE = {FLOW: ("last_ns", "verdict"), ALERT: ("last_ns", "hits", "bytes_out", "bytes_in", "verdict", "action")}


def record(kind: str, row: Row, origin: Origin, *, flow: Row | None = None, action: str = ACTIONS[0]) -> Record:
    """Return the record of a row of the view ``flows`` (kind ``flow``) or ``alerts`` (kind ``alert``).

    ``flow`` is the newest flow of an alert's episode, None where it is no longer kept; its row has ``began_ns``, the
    packet time at which the episode was made. The event id is made of the sensor, what makes the row itself, and its
    state (hits, bytes, verdict, action): the same state has the same id, in whichever database it was recorded.
    """
    sample = {name: (flow or {}).get(name) for name in _OF_THE_FLOW} if kind == ALERT else {}
    said = {
        **sample,
        **row,
        "episode_kind": row.get("kind"),
        "kind": kind,
        "action": action,
        "schema": SCHEMA,
        **origin._asdict(),
    }
    said |= {name: within_reach(said[name]) for name in _TIMES if said.get(name) is not None}
    said |= {"time_ns": said["last_ns"], "level": said.get("level") or "informational"}
    said |= _derived(said)
    said |= _ids(kind, said)
    return {name: _clean(said.get(name)) for name in COLUMNS[kind]}


def news(row: Row, origin: Origin, *, flow: Row | None = None) -> Record:
    """Return the record of news of an alert: a row of the view ``alerts`` with ``news_...``, a row of alert_event.

    Hits, bytes and level are those the news tells. Its words are those of the episode as it stands now, so a later
    attempt may say more of where it goes; the event id is the same.
    """
    kind, time_ns = row["news_kind"], within_reach(row["news_ns"])
    then = {"level": row["news_level"], "hits": row["news_hits"], "bytes_out": row["news_out"],
            "bytes_in": row["news_in"], "last_ns": min(row["last_ns"], time_ns)}  # fmt: skip
    then["first_ns"] = min(row["first_ns"], then["last_ns"])
    made = record(ALERT, {**row, **then}, origin, flow=flow, action=kind if kind in ACTIONS else ACTIONS[0])
    itself = [origin.sensor, *(row[name] for name in (*_OF_AN_EPISODE, *_OF_NEWS))]
    return made | {"time_ns": time_ns, "event_id": event_id(time_ns, ["news", *itself])}


def gap(row: Row, sink: str, origin: Origin) -> Record:
    """Return the record that says what was dropped before it was sent: ``row`` is one of the table gap."""
    why = f"{row['records']:,} {row['stream']} were dropped: more waited for the sink {sink} than its limit"
    said = {
        "id": row["id"], "rule": GAP_RULE, "title": "Records were dropped before they were sent", "level": "high",
        "hits": row["records"], "first_ns": row["made_ns"], "last_ns": row["made_ns"], "why": why, "verdict": "UNKNOWN",
    }  # fmt: skip
    itself = [origin.sensor, sink, row["stream"], row["after"], row["last"]]
    return record(ALERT, said, origin) | {"event_id": event_id(row["made_ns"], ["gap", *itself])}


def trial(sink: str, time_ns: int, origin: Origin) -> Record:
    """Return the record of a test: an alert that says it is none."""
    said = {
        "id": 0, "rule": TEST_RULE, "title": "Test of a sink, no alert", "level": "informational", "hits": 0,
        "first_ns": time_ns, "last_ns": time_ns, "why": f"`egress-watch sinks test {sink}` was run", "verdict": "IN",
    }  # fmt: skip
    return record(ALERT, said, origin) | {"event_id": event_id(time_ns, ["test", origin.sensor, sink])}


def heartbeat(told: Row, sink: str, time_ns: int, origin: Origin) -> Record:
    """Return the record that says at a time that we live: how the recording stands, what came since and what waits.

    ``told`` has ``recording``, ``state``, ``interval_s``, ``since_ns``, ``newest_ns`` (of the newest packet),
    ``frames``, ``ip_packets`` and ``lost`` (since then), ``waiting`` (for this sink) and ``data_age_days``. It is
    grave only where a recorder is gone that did not end.
    """
    level = "high" if told["killed"] else "informational"
    said = {**told, **origin._asdict(), "kind": HEARTBEAT, "schema": SCHEMA, "time_ns": time_ns, "level": level}
    said |= {name: within_reach(said[name]) for name in ("since_ns", "newest_ns") if said.get(name) is not None}
    said |= {"severity": severity(level).number, "event_id": event_id(time_ns, ["heartbeat", origin.sensor, sink])}
    said["why"] = (
        f"recording {said['state']}; {said['frames']:,} frames, {said['lost']:,} lost since the last heartbeat; "
        f"{said['waiting']:,} records wait; oldest data {said['data_age_days']:,} days; "
        f"next within {said['interval_s']:,} s"
    )
    return {name: _clean(said.get(name)) for name in COLUMNS[HEARTBEAT]}


def _derived(said: Row) -> Record:
    number = _number(said.get("protocol") or "")
    return {
        "severity": severity(said["level"]).number,
        "duration_ns": within_reach(max(said["last_ns"] - said["first_ns"], 0)),
        "protocol_number": number,
        "community_id": _community(said, number),
        "bytes": _sum(said, "bytes_out", "bytes_in"),
        "packets": _sum(said, "packets_out", "packets_in"),
        "data": [f"{file['name']} {file['built']}" for file in said.get("data") or ()],
        "operator": said.get("provider") or said.get("as_name"),
    }


def _ids(kind: str, said: Row) -> Record:
    lasting = [kind, said["sensor"], *(said.get(name) for name in _IDENTITY[kind])]
    state = [said.get(name) for name in _STATE[kind]]
    return {
        "event_id": event_id(said["time_ns"], [*lasting, *state]),
        "episode_id": event_id(said.get("began_ns") or 0, lasting),
    }


def _community(said: Row, number: int | None) -> str | None:
    device, remote = said.get("device_ip"), said.get("remote_ip")
    if not (number and device and remote):
        return None
    return community_id(number, (device, said.get("device_port") or 0), (remote, said.get("remote_port") or 0))


def _sum(said: Row, out: str, back: str) -> int:
    return within_reach((said.get(out) or 0) + (said.get(back) or 0))


@lru_cache(256)
def _number(protocol: str) -> int | None:
    """Return the IANA number of a protocol as the store spells it."""
    from egress_watch.model import PROTOCOLS

    if protocol.isascii() and protocol.isdigit():
        return int(protocol)
    return {name: number for number, name in PROTOCOLS.items()}.get(protocol)


def _clean(value: Any) -> Any:
    if isinstance(value, str):
        return _text(value) or None
    return _texts(value) if isinstance(value, list | tuple) else value


def _texts(values: Iterable[Any]) -> list[str]:
    return [text for value in values if (text := _text(str(value)))]


def _text(text: str) -> str:
    if len(text) <= LONGEST_TEXT and text.isascii() and text.isprintable():
        return text
    shown = printable(text[: LONGEST_TEXT + 1])
    return shown if len(shown) <= LONGEST_TEXT else shown[: LONGEST_TEXT - 1] + "…"
