"""`watch` as a user runs it, on a cable between two name spaces: a replay's flows, nothing sent, no rights."""

from __future__ import annotations

import fcntl
import json
import os
import pty
import select
import signal
import sqlite3
import stat
import struct
import subprocess
import sys
import tempfile
import termios
import time
from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path

import pytest
from build_capture import Frame, pcap
from corpus import CORPUS
from namespaces import LATE_S, Pair, Watching, connected, end_all, needs_namespaces, rows_of, started, until
from running import CITY, ROOT, command, environment, run, sound, spawn

from egress_watch.store.standing import standing

pytestmark = needs_namespaces

SETTINGS = """
networks = ["10.20.0.0/16"]
[flows]
idle_s = 0.6
tcp_idle_s = 0.9
active_s = 2.0
[watch]
ring_bytes = 67108864
commit_s = 0.2
"""
SLOWER = SETTINGS.replace("0.6", "1.8").replace("0.9", "2.4").replace("2.0", "6.0")
ORDER_DECIDES = {
    "id", "recording", "device", "first_flow", "last_flow", "end_reason", "first_country", "first_owner",
    "first_provider", "device_age_s", "dataset",
}  # fmt: skip
"""What depends on which flow was written first: numbers, and first contacts. How a flow ended is compared apart."""

OF_ALERTS = """rule, title, level, device_ip, device_mac, owner, network, country, verdict, hits, bytes_out, bytes_in,
  first_ns, last_ns, kind"""


@pytest.fixture(scope="module")
def pair() -> Iterator[Pair]:
    """Give two spaces with a cable."""
    with connected() as found:
        yield found


@pytest.fixture(autouse=True)
def _all_end() -> Iterator[None]:
    """End whatever a test that failed left running."""
    yield
    end_all()


def settings(tmp_path: Path) -> Path:
    """Write settings with short time-outs."""
    path = tmp_path / "settings.toml"
    path.write_text(SETTINGS, encoding="utf-8")
    return path


def table(db: Path, query: str) -> list[dict]:
    """Return rows of a database without what the order of writing decides, sorted."""
    with closing(sqlite3.connect(f"file:{db}?mode=ro", uri=True)) as connection:
        connection.row_factory = sqlite3.Row
        rows = [{k: row[k] for k in row.keys() if k not in ORDER_DECIDES} for row in connection.execute(query)]  # noqa: SIM118 - a Row iterates over values
    return sorted(rows, key=repr)


def listened(pair: Pair, tmp_path: Path, captures: list[Path], readers: int) -> tuple[Watching, Path]:
    """Watch while captures are sent with silence between them; return it, and a capture of what arrived."""
    seen = tmp_path / "seen.pcap"
    recorder = started(
        pair.inside("tcpdump", "-U", "-n", "-s", "0", "-B", "65536", "--time-stamp-precision=nano", "-i", "mon0", "-w",
                    str(seen))
    )  # fmt: skip
    config = settings(tmp_path)
    if readers > 1:  # they are out of order by up to 50 ms, which no flow's time-out may notice
        config.write_text(SLOWER + f"readers = {readers}\n", encoding="utf-8")
    watching = Watching(pair, tmp_path / "live.db", "-i", "mon0", "--config", config)
    until(lambda: seen.exists() and seen.stat().st_size >= 24, "tcpdump")
    for capture in captures:
        pair.send(capture)
        time.sleep(1.2 * readers)  # every flow is silent for longer than its time-out
    recorder.send_signal(signal.SIGINT)
    said = recorder.communicate()[1]
    assert "0 packets dropped by kernel" in said, said
    watching.saw(int(said.split(" packets captured")[0].split("\n")[-1]))
    return watching, seen


def all_stored(watching: Watching) -> bool:
    """Return whether every packet that came is in a stored flow."""
    packets = watching.sql("SELECT packets FROM recording")
    return packets[0][0] > 0 and watching.sql("SELECT sum(packets_out + packets_in) FROM flow") == packets


CAPTURES = [CITY, *(CORPUS / "pcaps" / name for name in (
    "zeek/tls/tls13draft19-early-data.pcap", "mercury/tls_sgt.pcap", "ndpi/quic-28.pcap", "ndpi/6in4tunnel.pcap",
) if (CORPUS / "pcaps" / name).exists())]  # fmt: skip


@pytest.mark.parametrize("readers", [1, 3])
def test_live_equals_replay(pair, tmp_path, readers):
    """Law 3: what the cable carried gives the same flows, names, verdicts and alerts live and from a capture of it.

    However many processes read.

    The clock ends silent flows live, the next packet does so in the replay; only the flows that were open at the end
    are told as `end` there and as `idle` here.
    """
    watching, seen = listened(pair, tmp_path, [*CAPTURES, CITY], readers)
    until(lambda: all_stored(watching), "the last flow to end by the clock")
    code, out, err = watching.end(signal.SIGTERM)
    assert code == 0, err
    assert out.startswith("egress-watch: mon0\n")
    again = tmp_path / "again.db"
    assert spawn("replay", seen, "--db", again, "--config", tmp_path / "settings.toml").returncode == 0
    for query in (
        "SELECT * FROM flows",
        f"SELECT {OF_ALERTS} FROM alerts",
        "SELECT reason, frames FROM skipped",
        "SELECT frames, packets, packet_bytes, lost, flows, first_ns, last_ns FROM recording",
        "SELECT mac, kind, value, source FROM fact",
    ):
        live, replayed = table(watching.db, query), table(again, query)
        assert len(live) == len(replayed)
        assert live == replayed
    ends = "SELECT first_ns, device_port, remote_port, end_reason AS ended FROM flows"
    words = [{row["ended"] for row in table(db, ends)} for db in (watching.db, again)]
    assert words[0] <= {"idle", "active", "fin", "rst"}
    assert words[1] - words[0] == {"end"}
    firsts = "SELECT device_ip, sum(first_country) AS c, sum(first_owner) AS o FROM flows GROUP BY 1"
    assert table(watching.db, firsts) == table(again, firsts)


def test_a_reader_that_is_killed_ends_the_recording_in_good_order(pair, tmp_path):
    """What one of several readers can read no more is no silence: the recording ends, says so, exit code 1."""
    path = settings(tmp_path)
    path.write_text(f"{SETTINGS}readers = 2\n", encoding="utf-8")
    watching = Watching(pair, tmp_path / "live.db", "-i", "mon0", "--config", path)
    pair.send(CITY)
    watching.saw(4124)
    pid = watching.sql("SELECT writer FROM recording")[0][0].partition(":")[0]
    readers = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    assert len(readers) == 2
    os.kill(int(readers[0]), signal.SIGKILL)
    _, err = watching.process.communicate(timeout=60)
    assert watching.process.returncode == 1
    assert "mon0: a process that reads it was ended by SIGKILL" in err
    assert sound(watching.db)
    assert watching.sql("SELECT state, frames, lost FROM recording") == [("finished", 4124, 0)]
    assert all_stored(watching)


def test_several_readers_wait_for_an_interface_that_is_down(pair, tmp_path):
    """Down at the start, or while they read, changes nothing for several readers: up again, all is heard."""
    path = settings(tmp_path)
    path.write_text(f"{SETTINGS}readers = 2\n", encoding="utf-8")
    watching = Watching(pair, tmp_path / "live.db", "-i", "mon0", "--config", path)
    for state in ("down", "up"):
        pair.run("ip", "link", "set", "mon0", state)
        told = f"SELECT count(*) FROM happening WHERE what = '{state}'"
        until(lambda query=told: watching.sql(query) == [(1,)], state)
    pair.send(CITY)
    watching.saw(4124)
    assert watching.end(signal.SIGTERM)[0] == 0


def test_several_readers_go_on_with_an_interface_that_was_made_anew(pair, tmp_path):
    """Deleted and made again, twice, it is shared again: each frame is heard, once, without any new right."""
    path = settings(tmp_path)
    path.write_text(f"{SETTINGS}readers = 2\n", encoding="utf-8")
    pair.connect("mon2", "gen2")
    watching = Watching(pair, tmp_path / "live.db", "-i", "mon2", "--config", path)
    for times in (1, 2):
        pair.run("ip", "link", "del", "mon2")
        until(lambda n=times: watching.sql("SELECT count(*) FROM happening WHERE what = 'gone'") == [(n,)], "gone")
        pair.connect("mon2", "gen2")
        until(lambda n=times: watching.sql("SELECT count(*) FROM happening WHERE what = 'back'") == [(n,)], "back")
        time.sleep(1.5)  # the second reader looks once a second too
        pair.run("tcpreplay", "-q", "-t", "-i", "gen2", str(CITY), far=True)
        watching.saw(4124 * times)
    assert watching.end(signal.SIGTERM)[0] == 0
    assert watching.sql("SELECT frames, lost FROM recording") == [(4124 * 2, 0)]
    pair.run("ip", "link", "del", "mon2")


def test_flows_are_stored_while_nothing_comes(pair, tmp_path):
    """With the cable silent, flows end by the clock and are stored within a second or so, without a signal."""
    watching = Watching(pair, tmp_path / "live.db", "-i", "mon0", "--config", settings(tmp_path))
    pair.send(CITY)
    until(lambda: all_stored(watching), "all flows")
    (minutes,) = watching.sql("SELECT sum(frames), sum(lost), sum(errors) FROM health")
    assert minutes == (watching.sql("SELECT frames FROM recording")[0][0], 0, 0)
    assert watching.end(signal.SIGINT)[0] == 0
    assert sound(watching.db)
    assert watching.sql("SELECT state FROM recording") == [("finished",)]


def test_nothing_is_ever_sent(pair, tmp_path):
    """A capture at the far end of the cable holds no frame from the watched end, in whatever state it is."""
    heard = tmp_path / "heard.pcap"
    recorder = started(
        pair.inside("tcpdump", "-U", "-n", "-Q", "in", "-i", "gen0", "-w", str(heard), far=True)
    )  # fmt: skip
    until(lambda: heard.exists() and heard.stat().st_size >= 24, "tcpdump")
    watching = Watching(pair, tmp_path / "live.db", "-i", "mon0", "--config", settings(tmp_path))
    pair.send(CITY)
    watching.saw(4000)
    for state in ("down", "up"):
        pair.run("ip", "link", "set", "mon0", state)
        told = f"SELECT count(*) FROM happening WHERE what = '{state}'"
        until(lambda query=told: watching.sql(query) == [(1,)], state)
    pair.send(CITY)
    watching.saw(8000)
    assert watching.end(signal.SIGTERM)[0] == 0
    recorder.send_signal(signal.SIGINT)
    said = recorder.communicate()[1]
    assert "\n0 packets captured" in f"\n{said}", said


def test_the_far_end_would_hear_a_frame(pair, tmp_path):
    """The capture of the test before hears what the watched end sends: silence means something."""
    heard = tmp_path / "heard.pcap"
    one = tmp_path / "one.pcap"
    one.write_bytes(pcap([Frame(0, bytes(60))]))
    recorder = started(
        pair.inside("tcpdump", "-U", "-n", "-Q", "in", "-i", "gen0", "-w", str(heard), far=True)
    )  # fmt: skip
    until(lambda: heard.exists() and heard.stat().st_size >= 24, "tcpdump")
    pair.run("tcpreplay", "-q", "-i", "mon0", str(one))
    until(lambda: heard.stat().st_size > 24, "the frame")
    recorder.send_signal(signal.SIGINT)
    assert "1 packet captured" in recorder.communicate()[1]


TALK = ("connect", "sendto", "sendmsg", "sendmmsg", "accept", "accept4", "listen")


def test_no_connection_is_tried(pair, tmp_path):
    """Under strace the process and its children neither connect nor send; nor is there a way out of the space."""
    trace = tmp_path / "trace"
    assert pair.run("ip", "route") == ""
    before = ("strace", "-f", "-qq", "-o", str(trace), "-e", f"trace={','.join(TALK)},socket,bind,write")
    watching = Watching(pair, tmp_path / "live.db", "-i", "mon0", "--config", settings(tmp_path), before=before)
    pair.send(CITY)
    watching.saw(4000)
    watching.end(signal.SIGTERM)
    calls = trace.read_text(errors="replace")
    assert "AF_PACKET" in calls, "the trace sees sockets"
    told = [line for line in calls.splitlines() if any(f" {name}(" in line for name in TALK)]
    assert told == []
    families = {line.partition("socket(")[2].partition(",")[0] for line in calls.splitlines() if " socket(" in line}
    assert families <= {"AF_PACKET", "AF_INET", "AF_UNIX"}, "the others only ask the kernel about interfaces"


def readable_by_all(tmp_path: Path) -> tuple[str, ...]:
    """Return what to start a program with so that any user finds Python: it may lie in the closed home of root.

    Each command in a name space has mounts of its own, so nothing of this machine changes.
    """
    closed = [folder for folder in Path(sys.base_prefix).parents if not folder.stat().st_mode & stat.S_IXOTH]
    if not closed:
        return ()
    top = closed[-1]
    stage = tmp_path / "open"
    within = stage / Path(sys.base_prefix).relative_to(top)
    within.mkdir(parents=True)
    steps = f'mount --bind {sys.base_prefix} {within} && mount --rbind {stage} {top} && exec "$@"'
    return ("sh", "-c", steps, "sh")


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """Give a folder that any user may write to; pytest's own are closed again by each pytest that starts."""
    with tempfile.TemporaryDirectory(prefix="egress-watch-open-") as name:
        folder = Path(name)
        folder.chmod(0o777)
        yield folder


def test_all_rights_are_gone_before_a_frame_is_read(pair, open_folder):
    """As another user, with no capability of any kind, no way to gain one, and no group of root's."""
    path = settings(open_folder)
    path.chmod(0o644)
    watching = Watching(pair, open_folder / "live.db", "-i", "mon0", "--config", path, "--user", "nobody",
                        before=readable_by_all(open_folder))  # fmt: skip
    pid = watching.sql("SELECT writer FROM recording")[0][0].partition(":")[0]
    status = dict(
        line.split(":\t", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines() if ":\t" in line
    )
    pair.send(CITY)
    watching.saw(4000)
    assert watching.db.stat().st_uid == int(status["Uid"].split()[0]) != 0
    assert set(status["Uid"].split()) == {status["Uid"].split()[0]}
    assert "0" not in status["Groups"].split()
    for kind in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"):
        assert int(status[kind], 16) == 0, kind
    assert status["NoNewPrivs"] == "1"
    code, _, err = watching.end(signal.SIGTERM)
    assert code == 0
    assert "runs as root" not in err


def test_root_without_need_says_so_and_has_no_capability(pair, tmp_path):
    """Who stays root is told what to do, and even so keeps no capability."""
    watching = Watching(pair, tmp_path / "live.db", "-i", "mon0", "--config", settings(tmp_path))
    pid = watching.sql("SELECT writer FROM recording")[0][0].partition(":")[0]
    tasks = [path.read_text() for path in Path(f"/proc/{pid}/task").glob("*/status")]
    assert tasks
    assert all("CapPrm:\t0000000000000000" in task for task in tasks), "rights are those of a thread"
    assert "runs as root, which it need not" in watching.end(signal.SIGTERM)[2]


def test_raw_sockets_are_all_it_needs(pair, tmp_path):
    """With CAP_NET_RAW alone it listens; without it, it says what is missing and how to give it."""
    words = " ".join(command("watch", "-i", "mon0", "--seconds", "1", "--json", "--db", str(tmp_path / "a.db")))
    raw = pair.inside("setpriv", "--bounding-set=-all,+net_raw", "--inh-caps=-all,+net_raw", "sh", "-c", words)
    none = pair.inside("setpriv", "--bounding-set=-all", "--inh-caps=-all", "sh", "-c", words)
    with_raw, without = (
        subprocess.run(line, capture_output=True, text=True, check=False, env=environment(), cwd=ROOT)
        for line in (raw, none)
    )
    assert with_raw.returncode == 0, with_raw.stderr
    assert json.loads(with_raw.stdout)["inputs"] == ["mon0"]
    assert without.returncode == 2
    assert "CAP_NET_RAW" in without.stderr


RULE = """
title: Any flow at all
id: 8a2cf1ce-0f1b-4e0b-8f4e-8f1c0a9b7d10
status: experimental
level: low
logsource: {product: egress_watch, category: flow}
detection:
  selection: {device_ip|exists: true}
  condition: selection
"""


def test_rules_are_loaded_anew_without_losing_a_packet(pair, tmp_path):
    """A rule that appears in the folder runs from then on, and one on SIGHUP; a broken one changes nothing else."""
    folder = tmp_path / "rules"
    folder.mkdir()
    path = settings(tmp_path)
    path.write_text(SETTINGS + f'[rules]\nfolder = "{folder}"\n')
    watching = Watching(pair, tmp_path / "live.db", "-i", "mon0", "--config", path)
    pair.send(CITY)
    watching.saw(4000)
    assert watching.sql("SELECT count(*) FROM alert") == [(0,)]
    (folder / "any.yml").write_text(RULE)
    (folder / "broken.yml").write_text("title: [")
    pid = int(watching.sql("SELECT writer FROM recording")[0][0].partition(":")[0])
    os.kill(pid, signal.SIGHUP)
    until(lambda: watching.sql("SELECT count(*) FROM rule WHERE title = 'Any flow at all'") == [(1,)], "the rule")
    (finding,) = (one for one in standing(str(watching.db))["broken_rules"] if one["title"].startswith("broken.yml"))
    assert "broken YAML" in finding["broken"]  # while it records, not only at the end
    pair.send(CITY)
    until(lambda: watching.sql("SELECT count(*) FROM alert")[0][0] > 0, "an alert")
    code, _, err = watching.end(signal.SIGTERM)
    assert code == 0
    assert "loaded anew: 1 rules" in err
    assert "rule set aside" in err
    frames, packets, skipped = watching.sql("SELECT frames, packets, (SELECT sum(frames) FROM skipped) FROM recording")[
        0
    ]
    assert frames == packets + skipped == 2 * 4124


def test_a_folder_of_rules_that_is_gone_leaves_those_before(pair, tmp_path):
    """What cannot be loaded is said; the rules and the recording go on."""
    folder = tmp_path / "rules"
    folder.mkdir()
    (folder / "any.yml").write_text(RULE)
    path = settings(tmp_path)
    path.write_text(SETTINGS + f'[rules]\nfolder = "{folder}"\n')
    watching = Watching(pair, tmp_path / "live.db", "-i", "mon0", "--config", path)
    folder.rename(tmp_path / "away")
    os.kill(int(watching.sql("SELECT writer FROM recording")[0][0].partition(":")[0]), signal.SIGHUP)
    time.sleep(0.5)
    pair.send(CITY)
    until(lambda: watching.sql("SELECT count(*) FROM alert")[0][0] > 0, "an alert of the rule from before")
    assert "rules and data stay as they were" in watching.end(signal.SIGTERM)[2]


def test_it_ends_by_itself_where_asked(pair, tmp_path):
    """--packets ends at exactly so many frames, --seconds after so long; each is a recording of its own."""
    db = tmp_path / "live.db"
    path = settings(tmp_path)
    path.write_text(SETTINGS + 'times = "hardware"\n')
    watching = Watching(pair, db, "-i", "mon0", "--packets", "100", "--json", "--config", path)
    pair.send(CITY)
    out, err = watching.process.communicate(timeout=LATE_S)
    told = json.loads(out)
    assert (told["frames"], told["lost"], told["inputs"]) == (100, 0, ["mon0"])
    assert "no time came from an interface itself" in err, "a cable that is none has no clock"
    words = pair.inside(*command("watch", "-i", "mon0", "--seconds", "1", "--quiet", "--db", db))
    done = subprocess.run(words, capture_output=True, text=True, check=True, env=environment())
    assert done.stdout == ""
    with closing(sqlite3.connect(db)) as connection:
        assert connection.execute("SELECT state, frames FROM recording").fetchall() == [
            ("finished", 100),
            ("finished", 0),
        ]


def test_the_screen_beside_it_ends_both(pair, tmp_path):
    """With --tui the terminal UI is in the terminal; leaving it ends the recording in good order."""
    db, (ours, theirs) = tmp_path / "live.db", pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 48, 160, 0, 0))
    words = pair.inside(*command("watch", "-i", "mon0", "--tui", "--db", db))
    process = subprocess.Popen(
        words, stdin=theirs, stdout=theirs, stderr=theirs, env=environment(TERM="xterm-256color")
    )
    os.close(theirs)
    shown = b""
    while b"\x1b[?1049h" not in shown:  # the alternate screen
        shown += os.read(ours, 4096)
    end_s, sent = time.monotonic() + LATE_S, False
    while process.poll() is None:
        assert time.monotonic() < end_s, shown[-2000:]
        if select.select([ours], [], [], 0.1)[0]:
            with suppress(OSError):
                shown += os.read(ours, 65536)
        if not sent and rows_of(db, "SELECT 1 FROM health"):  # it records
            sent = os.write(ours, b"q") == 1
    os.close(ours)
    assert process.returncode == 0
    assert rows_of(db, "SELECT state FROM recording") == [("finished",)]


def test_no_interface_and_wrong_words_stop_the_start(capsys, tmp_path):
    """Nothing to listen to, an unknown interface or user, a filter that is none: exit code 2 with a remedy."""
    db = str(tmp_path / "a.db")
    for words, told in (
        ((), "no interface to listen to"), (("-i", "nowhere9"), "no such interface"),
        (("-i", "nowhere9", "--filter", "tcp"), "no such interface"),
        (("-i", "lo", "--filter", "tcp prot 443"), "--filter"),
    ):  # fmt: skip
        code, _, err = run(capsys, "watch", "--db", db, *words)
        assert code == 2
        assert told in err
    done = spawn("watch", "-i", "lo", "--db", db, "--user", "no-such-user")
    assert done.returncode == 2
    assert b"no such user" in done.stderr


def test_interfaces_are_listed(capsys):
    """The loopback is there, as text and as JSON."""
    code, out, _ = run(capsys, "interfaces")
    assert code == 0
    assert "lo: up" in out or "lo: down" in out
    told = json.loads(run(capsys, "interfaces", "--json")[1])
    assert {"name", "state", "speed_mbit", "link", "mtu", "addresses", "offloads", "findings"} == set(told[0])


def test_what_it_says_is_json_where_wanted(pair, tmp_path):
    """With watch.log = "json" each line on standard error is one object with time, level, part and message."""
    path = settings(tmp_path)
    path.write_text(f'{SETTINGS}log = "json"\n', encoding="utf-8")
    watching = Watching(pair, tmp_path / "live.db", "-i", "mon0", "--config", path)
    pair.run("ip", "link", "set", "mon0", "down")
    until(lambda: watching.sql("SELECT count(*) FROM happening WHERE what = 'down'") == [(1,)], "down")
    pair.run("ip", "link", "set", "mon0", "up")
    code, _, err = watching.end(signal.SIGTERM)
    assert code == 0
    told = [json.loads(line) for line in err.splitlines()]
    assert all({"time", "level", "part", "message"} <= set(one) for one in told)
    assert {one["part"] for one in told} == {"watch"}
    assert any(one.get("interface") == "mon0" and one["what"] == "down" for one in told)
    assert told[-1]["message"].startswith("stopping after this batch")
