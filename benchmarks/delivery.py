"""Kill the receiver and the exporter at random while 50,000 alerts are sent: what came twice, is lost, or overtook.

    python benchmarks/delivery.py                              # every transport and receiver there is
    python benchmarks/delivery.py 'relp to Tenzir'             # to another receiver (tests/engines.py)
    python benchmarks/delivery.py relp syslog+tcp --alerts 5000 --kills 4
    python benchmarks/delivery.py --markdown                   # the table of docs/sinks.md

The exporter is `egress-watch forward` in a process of its own, the receivers are those of the delivery contract test.
Both are ended with SIGKILL, in turns chosen by chance, at moments spread over the alerts. Those are of some 150
devices, a fourth of them of one. Out of order is what came for the first time when a later alert of its device had
come. A transport is added with its receiver in tests/receiving.py.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import random
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections import Counter
from dataclasses import replace
from pathlib import Path

ROOT = Path(__file__).parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "tui"), str(ROOT / "tests")]

from engines import ENGINES, TENZIR  # noqa: E402 - found by the path above
from receiving import RECEIVERS, Receiver  # noqa: E402
from running import command, environment, spawn  # noqa: E402

from egress_watch.config import Config, render  # noqa: E402
from egress_watch.exports.formats import NDJSON  # noqa: E402
from egress_watch.forward.words import Words, sensor_name  # noqa: E402
from egress_watch.sinks.kinds import kind  # noqa: E402
from egress_watch.store.outbox import Outbox  # noqa: E402

PATIENCE_S = 900
KNOWN = RECEIVERS | (ENGINES if TENZIR else {})
"""Receivers by their name in the table."""
DEVICES = 200
FILL = """
WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < :devices)
INSERT INTO device(ip, mac) SELECT printf('10.99.0.%d', i), '' FROM n;
WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < :alerts)
INSERT INTO alert(recording, dataset, rule, title, level, device, remote_ip, owner, country, verdict, first_ns, last_ns,
  hits, bytes_out, bytes_in, first_flow, last_flow, why, network, kind, due_ns, updates, told_bytes)
SELECT recording, dataset, rule, title, level,
  (SELECT max(id) FROM device) - iif(i % 4, i % :devices, 0), remote_ip, 'owner ' || i, country, verdict, first_ns,
  last_ns + i, hits, bytes_out, bytes_in, first_flow, last_flow, why, network, kind, due_ns, updates, told_bytes
FROM n CROSS JOIN (SELECT * FROM alert ORDER BY id LIMIT 1);
INSERT INTO alert_event(alert, kind, cause, time_ns, level, hits, bytes_out, bytes_in)
SELECT id, 'create', 'hit', last_ns, level, hits, bytes_out, bytes_in FROM alert WHERE owner LIKE 'owner %' ORDER BY id;
"""


def filled(folder: Path, alerts: int) -> Path:
    """Return a database with so many pieces of news of alerts, made of one of the city's, each fourth of one device."""
    path = folder / "alerts.db"
    done = spawn("replay", ROOT / "captures" / "city.pcapng", "--db", path, "--json")
    assert done.returncode == 0, done.stderr
    with contextlib.closing(sqlite3.connect(path)) as db, db:
        there = db.execute("SELECT count(*) FROM alert_event").fetchone()[0]
        for statement in FILL.split(";\n")[:3]:
            db.execute(statement, {"alerts": alerts - there, "devices": DEVICES})
    return path


class Exporter:
    """`egress-watch forward` in a process of its own."""

    def __init__(self, db: Path, config: Path, out: Path) -> None:
        self._command = command("forward", db, "--config", config)
        self._out, self.said = out, out.with_name("stderr")
        self.start()

    def start(self) -> None:
        """Begin, or go on where the one before was killed."""
        with self._out.open("ab") as out, self.said.open("ab") as said:
            self.process = subprocess.Popen(self._command, env=environment(), stdout=out, stderr=said)

    def kill(self) -> None:
        """End it at once."""
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()


def done(db: Path) -> int:
    """Return how far the cursor is."""
    with contextlib.closing(sqlite3.connect(f"file:{db}?mode=ro", uri=True, timeout=30)) as connection:
        row = connection.execute("SELECT alerts_done FROM sink").fetchone()
    return int(row[0]) if row else 0


def reach(db: Path, number: int, exporter: Exporter) -> None:
    """Wait until the cursor is at a row."""
    end = time.monotonic() + PATIENCE_S
    while done(db) < number:
        assert exporter.process.poll() is None, exporter.said.read_text()
        assert time.monotonic() < end, "no progress"
        time.sleep(0.005)


def trial(scheme: str, db: Path, kills: int, seed: int) -> dict[str, object]:
    """Return what came of one transport."""
    chance = random.Random(seed)
    with contextlib.closing(sqlite3.connect(db)) as connection, connection:
        for table in ("sink", "gap", "refusal"):
            connection.execute(f"DELETE FROM {table}")
        last = int(connection.execute("SELECT max(id) FROM alert_event").fetchone()[0])
    with tempfile.TemporaryDirectory() as name, KNOWN[scheme](Path(name)) as receiver:
        out, config = Path(name) / "stdout", Path(name) / "settings.toml"
        settings = replace(receiver.settings, format="ndjson", heartbeat_s=0.0, retry_s=0.05, retry_most_s=0.5)
        config.write_text(render(Config(sink=(settings,))))
        wanted = expected(db, settings)
        begin = time.monotonic()
        exporter = Exporter(db, config, out)
        try:
            whom = killed(db, exporter, receiver, sorted(chance.sample(range(1, last), kills)), chance)
            reach(db, last, exporter)
            seconds = time.monotonic() - begin
            time.sleep(0.5)  # what is still on its way without anybody's word
            held = out.read_bytes().splitlines() if scheme == "stdout" else receiver.bodies()
        finally:
            exporter.kill()
    came = list(map(found_id, held))
    ids = Counter(came)
    return {
        "transport": scheme, "promise": kind(settings).promise.word, "killed": whom, "sent": len(wanted),
        "received": sum(ids.values()), "doubled": sum(ids.values()) - len(ids), "lost": len(wanted.keys() - ids.keys()),
        "out of order": overtaken(came, wanted), "strange": len(ids.keys() - wanted.keys()),
        "seconds": round(seconds, 1),
    }  # fmt: skip


def killed(db: Path, exporter: Exporter, receiver: Receiver, moments: list[int], chance: random.Random) -> str:
    """Kill one or the other as the cursor passes each moment; return how often whom."""
    whom: Counter[str] = Counter()
    for moment in moments:
        reach(db, moment, exporter)
        time.sleep(chance.random() / 4)  # anywhere within a batch
        if receiver.stop and receiver.start and chance.random() < 0.5:
            receiver.stop()
            time.sleep(chance.random() / 10)
            receiver.start()
            whom["receiver"] += 1
        else:
            exporter.kill()
            exporter.start()
            whom["exporter"] += 1
    return f"{whom['receiver']} + {whom['exporter']}"


def expected(db: Path, settings) -> dict[str, tuple[str, int]]:
    """Return device and number of all news in the database, by event id."""
    assert NDJSON.line
    words, found, after = Words(settings, sensor_name(), NDJSON.line), {}, 0
    with Outbox(str(db)) as outbox:
        while rows := words.read(outbox, "alerts", after):
            found |= {row.message.id: (row.message.device, row.number) for row in rows if row.message}
            after = rows[-1].number
    return found


def overtaken(came: list[str], wanted: dict[str, tuple[str, int]]) -> int:
    """Return how many came for the first time behind a later one of their device."""
    newest: Counter[str] = Counter()
    late = 0
    for device, number in (wanted[one] for one in dict.fromkeys(came) if one in wanted):
        late += number < newest[device]
        newest[device] = max(newest[device], number)
    return late


def found_id(body: bytes) -> str:
    """Return the event id of a record, "" where it is not whole."""
    with contextlib.suppress(ValueError, KeyError, TypeError):
        return str(json.loads(body)["event_id"])
    return ""


COLUMNS = (
    "transport",
    "promise",
    "killed",
    "sent",
    "received",
    "doubled",
    "lost",
    "out of order",
    "strange",
    "seconds",
)


def main() -> None:
    """Run the transports and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("transports", nargs="*", default=list(KNOWN))
    parser.add_argument("--alerts", type=int, default=50_000)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--markdown", action="store_true")
    options = parser.parse_args()
    join = " | " if options.markdown else "  "
    print(join.join(COLUMNS))
    if options.markdown:
        print(join.join(["---"] * len(COLUMNS)))
    with tempfile.TemporaryDirectory() as folder:
        db = filled(Path(folder), options.alerts)
        for scheme in options.transports:
            row = trial(scheme, db, options.kills, options.seed)
            shown = (f"{value:,}" if isinstance(value, int) else str(value) for value in map(row.get, COLUMNS))
            print(join.join(shown), flush=True)


if __name__ == "__main__":
    main()
