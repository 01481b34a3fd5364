"""What is wrong with a recording that goes on for months, each with what to do about it.

In: how a database stands, and settings. Out: `Finding` rows. Never: a finding without a remedy.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from egress_watch.cli.judges import old
from egress_watch.exports.times import iso

SILENT_S = 60
REMEDY = "mend it; see `egress-watch rules check`"
GOOD, ODD, BAD = "ok", "warning", "trouble"


class Finding(NamedTuple):
    """One thing that was looked at."""

    about: str
    """What was looked at: recording, disk, clock ..."""
    state: str
    """ok, warning or trouble."""
    what: str
    remedy: str = ""
    """What to do, "" where all is well."""


def of_standing(told: Mapping[str, Any], least_free_bytes: int) -> list[Finding]:
    """Return what there is to say of a database, good or bad."""
    return [
        *_recording(told), *_losses(told), *_sinks(told), *_data(told), *_rules(told), *_room(told, least_free_bytes),
        *_checked(told),
    ]  # fmt: skip


def _recording(told: Mapping[str, Any]) -> Iterator[Finding]:
    running = [row for row in told["recordings"] if row["pid"]]
    killed = [row for row in told["recordings"][:1] if row["killed"]]
    if killed:
        what = f"recording {killed[0]['id']} ({killed[0]['inputs']}) stopped without ending; what it stored is there"
        yield Finding("recording", BAD, what, "start it again; see the journal for why it went")
    elif not running:
        yield Finding("recording", ODD, "nobody records here", "start `egress-watch watch`")
    for row in running:
        what = f"{row['inputs']} recorded by process {row['pid']}; last written {told['age_s']:.0f} s ago"
        late = told["age_s"] > SILENT_S
        yield Finding("recording", BAD if late else GOOD, what, "look at the process and the disk" if late else "")


def _losses(told: Mapping[str, Any]) -> Iterator[Finding]:
    for row in told["interfaces"]:
        lost = row["lost"] + row["overruns"] + row["dropped"]
        what = (
            f"{row['interface']}: {lost:,} of {row['frames'] + lost:,} frames lost in the last {row['minutes']} minutes"
        )
        remedy = "raise watch.ring_bytes, narrow with --filter, or give it a faster core" if lost else ""
        yield Finding("frames", BAD if lost else GOOD, what, remedy)
        if row["errors"]:
            yield Finding("frames", ODD, f"{row['interface']}: {row['errors']:,} came in broken", "look at the cable")


def _sinks(told: Mapping[str, Any]) -> Iterator[Finding]:
    for row in told["sinks"]:
        waiting = (row["alerts_waiting"] or 0) + (row["flows_waiting"] or 0)
        what = f"{row['name']}: {row['state']}, {waiting:,} records wait"
        what += "".join(f", {many:,} {word}" for many, word in _gone(row) if many)
        bad = row["state"] in ("down", "stopped") and (waiting or row["state"] == "down")
        remedy = f"{row['error'] or 'nobody forwards'}; see `egress-watch sinks`" if bad else ""
        yield Finding("sink", BAD if bad else GOOD, what, remedy)


def _gone(row: Mapping[str, Any]) -> Iterator[tuple[int, str]]:
    """Yield what will not come to a sink: refused by it, or dropped before it was sent."""
    yield row["refused"], "refused"
    yield row["dropped_alerts"] + row["dropped_flows"], "dropped"


def _data(told: Mapping[str, Any]) -> Iterator[Finding]:
    files = json.loads(told["files"])
    if stale := old(files):
        yield Finding("data", ODD, "; ".join(stale), "egress-watch data update")
    elif files:
        yield Finding("data", GOOD, f"{len(files)} data files, none too old")


def _rules(told: Mapping[str, Any]) -> Iterator[Finding]:
    for row in told["broken_rules"]:
        yield Finding("rules", ODD, f"set aside: {row['title']}: {' '.join(row['broken'].split())}", REMEDY)


def _room(told: Mapping[str, Any], least_free_bytes: int) -> Iterator[Finding]:
    free, used = told["space"]["disk_free_bytes"], told["space"]["used_bytes"]
    what = f"{used / 1e9:.1f} GB of flows and sums; {free / 1e9:.1f} GB free on the disk"
    if free < least_free_bytes:
        yield Finding("disk", BAD, what, "make room: the oldest flows go meanwhile; see [retention]")
    else:
        yield Finding("disk", GOOD, what)
    if flows := sum(row["unstored"] for row in told["recordings"] if row["pid"]):
        yield Finding("disk", BAD, f"{flows:,} flows were not stored, since the disk was full", "make room")


def _checked(told: Mapping[str, Any]) -> Iterator[Finding]:
    if not (last := told["checked"]):
        return
    what = f"{iso(last['time_ns'])} {last['what']}"
    bad = not last["sound"]
    yield Finding("database", BAD if bad else GOOD, what, "restore a copy, or record to a new file" if bad else "")
