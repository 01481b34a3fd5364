"""Run the program as a user would: in this process, or in one of its own with less than a test run's rights."""

from __future__ import annotations

import atexit
import ctypes
import json
import os
import resource
import shutil
import sqlite3
import subprocess
import sys
import tempfile
from collections.abc import Callable
from functools import cache
from pathlib import Path

from build_capture import Frame, pcap

from egress_watch.cli import main
from egress_watch.sources import open_inputs

ROOT = Path(__file__).parent.parent
CITY = ROOT / "captures" / "city.pcapng"
STRICT = os.environ.get("EGRESS_WATCH_STRICT") == "1"
DAC_OVERRIDE, DAC_READ_SEARCH, PR_CAPBSET_DROP = 1, 2, 24
"""From linux/capability.h and linux/prctl.h."""


def run(capsys, *arguments) -> tuple[int, str, str]:
    """Return the exit code, standard output and standard error of a command run in this process."""
    capsys.readouterr()
    try:
        code = main([str(argument) for argument in arguments])
    except SystemExit as end:  # argparse's own way out
        code = int(end.code or 0)
    said = capsys.readouterr()
    assert "Traceback" not in said.err
    return code, said.out, said.err


def rows(capsys, *arguments) -> list[dict]:
    """Return the NDJSON that a command prints."""
    code, out, err = run(capsys, *arguments, "--format", "ndjson")
    assert code == 0, err
    return [json.loads(line) for line in out.splitlines()]


def command(*arguments, together: int = 0) -> list[str]:
    """Return the command line of the program in a process of its own, told how many flows it commits together."""
    settling = f"watch.TOGETHER = {together}; " if together else ""
    code = f"import sys; from egress_watch import watch; {settling}from egress_watch.cli import main; sys.exit(main())"
    program = ["-c", code] if together else ["-m", "egress_watch"]
    return [sys.executable, *program, *map(os.fspath, arguments)]


def spawn(
    *arguments, limits: Callable[[], None] | None = None, together: int = 0, **options
) -> subprocess.CompletedProcess:
    """Run the program in a process of its own and return what came of it; never a traceback."""
    told = {"capture_output": True, "timeout": 60, "env": environment(), "preexec_fn": limits, **options}
    done = subprocess.run(command(*arguments, together=together), check=False, **told)
    assert b"Traceback" not in done.stderr, done.stderr.decode()
    return done


def complaints(done: subprocess.CompletedProcess[bytes]) -> list[bytes]:
    """Return what the program said on standard error, but for the age of data files, which grow older than tests."""
    return [line for line in done.stderr.splitlines() if b" is older than " not in line]


def environment(**more: str) -> dict[str, str]:
    """Return our environment, in which the program is found from any folder."""
    return {**os.environ, "PYTHONPATH": f"{ROOT}:{ROOT / 'tui'}", **more}


def as_a_user() -> None:
    """In a child before its start: let file permissions hold for root too, who gives up the right to ignore them."""
    if os.geteuid() == 0:
        prctl = ctypes.CDLL(None, use_errno=True).prctl
        for right in (DAC_OVERRIDE, DAC_READ_SEARCH):
            assert prctl(PR_CAPBSET_DROP, right, 0, 0, 0) == 0


def on_a_full_disk(room_bytes: int) -> Callable[[], None]:
    """In a child before its start: let no file grow beyond so many bytes."""
    return lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (room_bytes, room_bytes))


@cache
def _city() -> Path:
    folder = Path(tempfile.mkdtemp(prefix="egress-watch-test-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    done = spawn("replay", CITY, "--db", folder / "city.db", "--json")
    assert done.returncode == 0, done.stderr
    return folder / "city.db"


def city_db(folder: Path) -> Path:
    """Return a fresh copy of the database that the city capture makes."""
    return Path(shutil.copy(_city(), folder / "city.db"))


def many_cities(path: Path, copies: int) -> Path:
    """Write the city's hour many times over, each two hours later and from devices of its own."""
    frames = [
        Frame(int(time_ns), batch.data[start : start + caught].tobytes(), int(wire))
        for batch in open_inputs([str(CITY)]).frames()
        for time_ns, start, caught, wire in zip(batch.time_ns, batch.start, batch.caught, batch.wire, strict=True)
    ]
    hours = 7200 * 1_000_000_000
    path.write_bytes(
        pcap(
            Frame(frame.time_ns + n * hours, frame.data.replace(b"\x0a\x14", bytes((10, 20 + n))), frame.wire)
            for n in range(copies)
            for frame in frames
        )
    )
    return path


def content(db: Path) -> dict[str, list]:
    """Return all that a database says, without the numbers that only count: two runs over the same input are equal."""
    with sqlite3.connect(f"file:{db}?mode=ro", uri=True) as connection:
        connection.row_factory = sqlite3.Row
        found = {
            "flows": "SELECT * FROM flows ORDER BY id",
            "alerts": "SELECT * FROM alerts ORDER BY rule, device_ip, owner, country",
            "skipped": "SELECT reason, frames FROM skipped ORDER BY 1", "damage": "SELECT * FROM damage",
            "recording": "SELECT * FROM recording WHERE state = 'finished'",
        }  # fmt: skip
        numbers = {"id", "recording", "device"}
        said = {name: [dict(row) for row in connection.execute(query)] for name, query in found.items()}
        ids = [row["id"] for row in said["flows"]]
    connection.close()
    plain = {name: [{k: v for k, v in row.items() if k not in numbers} for row in kept] for name, kept in said.items()}
    return {**plain, "ids": ids}


def sound(db: Path) -> bool:
    """Return whether SQLite finds nothing wrong with a database."""
    connection = sqlite3.connect(db)
    try:
        return connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    finally:
        connection.close()
