"""What people do with alerts: every act is written down and stays, and a mute hides but loses nothing."""

from __future__ import annotations

import contextlib
import json
import sqlite3
import subprocess
import sys
from datetime import UTC, date, datetime, timedelta

import pytest
from running import city_db, environment, rows, run

from egress_watch.errors import StoreError, UsageError
from egress_watch.store import Reader
from egress_watch.store.acts import Acts, who
from egress_watch.store.file import transaction

TODAY = datetime.now(UTC).date()


@pytest.fixture
def db(tmp_path):
    """Return the city's database."""
    return city_db(tmp_path)


def acts(db):
    """Return the acts as they stand in the table."""
    with contextlib.closing(sqlite3.connect(db)) as connection:
        return connection.execute("SELECT kind, alert, mute, who, reason FROM act ORDER BY id").fetchall()


def test_acknowledging_is_shown_with_the_user(capsys, db):
    """The alert says who acknowledged it first; acts say all of it, with the reason."""
    assert run(capsys, "alert", "ack", db, 1, 2, "--reason", "seen")[:2] == (0, "ack: 1, 2\n")
    run(capsys, "alert", "note", db, 1, "ticket 4711")
    assert acts(db) == [
        ("ack", 1, None, who(), "seen"), ("ack", 2, None, who(), "seen"), ("note", 1, None, who(), "ticket 4711"),
    ]  # fmt: skip
    found = {row["id"]: row["acked_by"] for row in rows(capsys, "alerts", db)}
    assert (found[1], found[2], found[3]) == (who(), who(), None)


def test_a_muted_alert_is_counted_and_comes_back(capsys, db):
    """A mute takes what is like an alert out of the list, with a line that counts it; unmute brings it back."""
    before = rows(capsys, "alerts", db)
    one = before[0]["id"]
    code, out, _ = run(capsys, "alert", "mute", db, one, "--reason", "agreed")
    assert (code, out) == (0, f"mute 1 holds to the end of {TODAY + timedelta(days=30)}\n")
    _, out, err = run(capsys, "alerts", db, "--format", "ndjson")
    assert one not in {json.loads(line)["id"] for line in out.splitlines()}
    hidden = len(before) - len(out.splitlines())
    assert f"{hidden} muted left out: --muted shows them" in err
    assert {row["id"]: row["mute"] for row in rows(capsys, "alerts", db, "--muted")}[one] == 1
    assert [(row["id"], row["alerts"], row["reason"]) for row in rows(capsys, "alert", "mutes", db)] == [
        (1, hidden, "agreed")
    ]
    assert run(capsys, "alert", "unmute", db, 1)[0] == 0
    assert rows(capsys, "alerts", db) == before
    assert [row[0] for row in acts(db)] == ["mute", "unmute"]


def test_a_mute_by_device_and_owner(capsys, db):
    """A mute by what is described hides every alert with all of it, and the report and screens with it."""
    one = next(row for row in rows(capsys, "alerts", db) if row["owner"])
    like = [r for r in rows(capsys, "alerts", db) if (r["device_ip"], r["owner"]) == (one["device_ip"], one["owner"])]
    run(capsys, "alert", "mute", db, "--device", one["device_ip"], "--owner", one["owner"].lower(), "--reason", "x")
    with Reader(str(db)) as reader:
        snapshot = reader.snapshot()
    assert snapshot.muted == len(like)
    assert not {row["id"] for row in like} & {row["id"] for row in snapshot.alerts}


def test_a_mute_ends_by_the_packet_time_of_the_alert(db):
    """An alert with a hit later than the mute's end is shown, whatever the clock of this machine says."""
    with Acts(str(db)) as open_acts, Reader(str(db)) as reader:
        until_ns = int(datetime.now(UTC).timestamp() + 3600) * 10**9
        open_acts.mute({}, until_ns, "all of it")
        with transaction(open_acts._db, str(db)):
            open_acts._db.conn.execute("UPDATE alert SET last_ns = ? WHERE id = 1", (until_ns,))
            open_acts._db.conn.execute("UPDATE alert SET last_ns = ? WHERE id = 2", (until_ns + 1,))
        assert [row["id"] for row in reader.alerts({})] == [2]


@pytest.mark.parametrize(
    "arguments",
    [
        ("mute", "1"), ("mute", "--reason", "x"), ("mute", "1", "--rule", "r", "--reason", "x"),
        ("mute", "1", "--reason", " "), ("mute", "1", "--reason", "x", "--until", "soon"),
        ("mute", "1", "--reason", "x", "--until", "2020-01-01"),
        ("mute", "1", "--reason", "x", "--until", "9999-12-31"),
        ("mute", "--owner", "", "--reason", "x"), ("mute", "999", "--reason", "x"), ("ack", "999"), ("ack", "1", "999"),
        ("ack", "one"), ("note", "1", ""), ("unmute", "7"), ("history", "999"),
    ],
)  # fmt: skip
def test_what_cannot_be_done_is_told_and_leaves_nothing(capsys, db, arguments):
    """A mute without reason, end or object, and an alert that is not there, are refused whole."""
    code, _, err = run(capsys, "alert", arguments[0], db, *arguments[1:])
    assert code == 2
    assert err
    assert acts(db) == []


def test_acts_cannot_be_changed(db):
    """The table of acts only grows: an update and a delete are refused by the database itself."""
    with Acts(str(db)) as open_acts:
        open_acts.say("ack", [1], "seen")
        for change in ("UPDATE act SET who = 'nobody'", "DELETE FROM act"):
            with pytest.raises(StoreError, match="stays written"), transaction(open_acts._db, str(db)):
                open_acts._db.conn.execute(change)
    assert len(acts(db)) == 1


def test_a_mute_taken_back_twice_is_refused(db):
    """The second time there is nothing to take back."""
    with Acts(str(db)) as open_acts:
        number = open_acts.mute({"owner": "Baidu"}, int(datetime.now(UTC).timestamp() + 60) * 10**9, "x")
        open_acts.unmute(number, "")
        with pytest.raises(UsageError, match="no mute"):
            open_acts.unmute(number, "")


def test_history_tells_events_and_acts(capsys, db):
    """What the recorder wrote comes first, then what people did."""
    run(capsys, "alert", "ack", db, 1, "--reason", "seen")
    run(capsys, "alert", "mute", db, 1, "--reason", "agreed")
    run(capsys, "alert", "unmute", db, 1, "--reason", "too-early")
    found = rows(capsys, "alert", "history", db, 1)
    assert [(row["what"], row["by"]) for row in found] == [
        ("create", "recorder"), ("ack", who()), ("mute", who()), ("unmute", who())
    ]  # fmt: skip
    assert found[2]["words"].endswith("; agreed")


def test_acts_at_once_are_all_kept(db):
    """Acts of four processes at once are all there: each is a short transaction that waits for the others."""
    command = [sys.executable, "-m", "egress_watch", "alert", "note", str(db), "1"]
    running = [subprocess.Popen([*command, f"n{n}"], env=environment(), stdout=subprocess.DEVNULL) for n in range(4)]
    assert [one.wait(60) for one in running] == [0] * 4
    assert {row[4] for row in acts(db)} == {f"n{n}" for n in range(4)}


def test_today_is_a_day_a_mute_may_end_on(capsys, db):
    """A mute that holds to the end of today is taken."""
    until = date.isoformat(TODAY)
    assert run(capsys, "alert", "mute", db, 1, "--reason", "x", "--until", until)[0] == 0
