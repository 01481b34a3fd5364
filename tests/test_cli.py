"""The commands, as a user types them."""

from __future__ import annotations

import csv
import io
import json
import re
import shutil
import stat
import subprocess
import sys
from datetime import date

import pytest
from build_capture import Frame, pcap
from running import CITY, ROOT, city_db, command, content, environment, rows, run, spawn

from egress_watch import __version__
from egress_watch.cli import COMMANDS, STOPPED, data
from egress_watch.exports import ALERT_COLUMNS, FLOW_COLUMNS
from egress_watch.fast import accelerator
from egress_watch.model import GLYPHS, VERDICTS

SUMMARY = {
    "frames", "packets", "packet_bytes", "skipped", "lost", "flows", "evicted", "late_fragments", "damage", "bytes_out",
    "bytes_in", "verdicts", "alerts", "muted", "zone", "data", "db", "recordings", "inputs", "held", "passed_over",
    "failed", "interrupted", "broken_rules", "narrowed", "zone_asked", "zone_as_of", "unwrapped", "duplicate_share",
    "heard", "evidence", "refused_facts", "unstored", "unstored_packets",
}  # fmt: skip
HEAVY = ("numpy", "sqlite_utils", "sqlite3", "sigma", "yaml", "maxminddb", "geoip2", "rich", "textual", "zstandard")


def replay(capsys, *arguments):
    """Return the exit code and the JSON of a replay."""
    code, out, _ = run(capsys, "replay", *arguments, "--json")
    return code, json.loads(out)


# --- the whole ---


def test_help_lists_every_command(capsys):
    """`--help` names each command and the exit codes."""
    code, out, _ = run(capsys, "--help")
    assert code == 0
    assert all(f"    {name} " in out for name in COMMANDS)
    assert "exit codes: 0 fine, 1 trouble in data, 2 usage or configuration" in " ".join(out.split())


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_help_with_examples(capsys, name):
    """Each command explains itself with examples that begin with its own name."""
    code, out, _ = run(capsys, name, "--help")
    assert code == 0
    assert f"  egress-watch {name}" in out or f"| egress-watch {name}" in out


def test_the_version_is_printed(capsys):
    """`--version` is the package's, and says whether the accelerator is in use."""
    way = "with" if accelerator() else "without"
    assert run(capsys, "--version")[:2] == (0, f"egress-watch {__version__}, {way} the compiled accelerator\n")


@pytest.mark.parametrize(
    "arguments", [[], ["nonsense"], ["replay"], ["flows"], ["where"], ["rules", "eat"], ["--nonsense"]]
)
def test_a_wrong_command_line_is_usage(capsys, arguments):
    """What is no command, or lacks an argument, is exit code 2 with a usage line."""
    code, out, err = run(capsys, *arguments)
    assert (code, out) == (2, "")
    assert err.startswith("usage: egress-watch")


@pytest.mark.parametrize(
    ("arguments", "needed"),
    [
        (["--help"], ()),
        (["replay", "--help"], ()),
        (["flows", "--help"], ()),
        (["config"], ()),
        (["rules", "--help"], ()),
        (["tui", "--help"], ()),
        (["where", "8.8.8.8"], ("numpy", "maxminddb")),
    ],
)
def test_light_commands_load_nothing_heavy(arguments, needed):
    """Help, settings and `where` start without the libraries that only a replay, a report or a screen needs."""
    line = f"""
import sys
from egress_watch.cli import main
try:
    main({arguments!r})
except SystemExit:
    pass
print("loaded:", *(name for name in {HEAVY!r} if name in sys.modules), file=sys.stderr)
"""
    done = subprocess.run(
        [sys.executable, "-c", line], capture_output=True, text=True, check=True, env=environment(), timeout=60
    )
    assert set(done.stderr.rpartition("loaded:")[2].split()) == set(needed), "the age of data may be told before"


# --- replay ---


def test_replay_prints_who_talks_to_whom(capsys, tmp_path):
    """The report names the input, the counts, each verdict with its sign, countries, owners, devices and alerts."""
    code, out, err = run(capsys, "replay", CITY, "--db", tmp_path / "a.db")
    assert (code, err) == (0, "")
    assert "4,124 frames = 3,427 packets + 697 skipped; 0 lost; 348 flows" in out
    assert all(f"{GLYPHS[verdict]} {verdict}" in out for verdict in VERDICTS)
    for words in (
        "European Economic Area (eea)",
        "Hikvision (seat CN)",
        "10.20.110.11",
        "Alerts: 23",
        "arp 216",
        "DB-IP",
    ):
        assert words in out


def test_the_report_is_sound_text(capsys, tmp_path):
    """No line ends in blanks or is wider than 120; a table that was cut says so, apart from the next title."""
    lines = run(capsys, "replay", CITY, "--db", tmp_path / "a.db")[1].splitlines()
    assert all(line == line.rstrip() for line in lines)
    tables = [line for line in lines if "a.db" not in line and not line.startswith("Data: ")]  # as long as they are
    assert max(map(len, tables)) <= 120
    cut = [at for at, line in enumerate(lines) if line.endswith(" more: see the database")]
    assert cut
    assert all(lines[at + 1] == "" for at in cut)


def test_alerts_of_one_destination_stand_together(capsys, tmp_path):
    """A device and whom it talks to are named once, then each rule with its level, then the reason, once."""
    out = run(capsys, "replay", CITY, "--db", tmp_path / "a.db")[1]
    block = out.partition(" 10.20.0.51 to ")[2].partition("\n\n")[0].splitlines()
    assert block[0] == "crowd.veldhaven.example (Tencent, seat CN)"
    assert [line.split()[0] for line in block[1:4]] == ["high", "high", "medium"]
    assert block[4:] == ["   in SG (two databases agree), outside the EEA; owned by Tencent (seat CN)"]


@pytest.mark.parametrize(("width", "shown"), [(80, False), (120, True)])
def test_a_narrow_terminal_gets_no_mac(tmp_path, monkeypatch, width, shown):
    """Below 100 columns the devices stand without their MAC, and no line is wider than the terminal."""
    screen = io.StringIO()
    screen.isatty = lambda: True
    monkeypatch.setenv("COLUMNS", str(width))
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setattr(sys, "stdout", screen)
    assert spawn_in_process("replay", CITY, "--db", tmp_path / "a.db") == 0
    words = re.sub(r"\x1b\[[0-9;]*m", "", screen.getvalue())
    assert ("44:19:b6:0b:6e:11" in words) is shown
    assert max(map(len, words.splitlines())) <= width


def test_the_database_is_its_owners_alone(capsys, tmp_path):
    """A new database has the mode 0600, and nothing else is left beside it."""
    run(capsys, "replay", CITY, "--db", tmp_path / "a.db")
    assert [path.name for path in tmp_path.iterdir()] == ["a.db"]
    assert stat.S_IMODE((tmp_path / "a.db").stat().st_mode) == 0o600


def test_the_summary_has_its_keys(capsys, tmp_path):
    """`--json` prints one object with every key, and totals that agree with each other."""
    code, found = replay(capsys, CITY, "--db", tmp_path / "a.db")
    assert code == 0
    assert set(found) == SUMMARY
    assert set(found["verdicts"]) == set(VERDICTS)
    assert all(set(row) == {"flows", "bytes_out", "bytes_in"} for row in found["verdicts"].values())
    assert found["frames"] == found["packets"] + sum(found["skipped"].values())
    assert found["packet_bytes"] == found["bytes_out"] + found["bytes_in"]
    assert all(set(row) == {"built", "licence", "sha256"} for row in found["data"].values())
    assert found["db"] == str(tmp_path / "a.db")


def test_the_summary_of_nothing_has_the_same_keys(capsys, tmp_path):
    """A capture without frames gives the same keys, with zeros."""
    (tmp_path / "empty.pcap").write_bytes(pcap([]))
    code, found = replay(capsys, tmp_path / "empty.pcap", "--db", tmp_path / "a.db")
    assert code == 0
    assert set(found) == SUMMARY
    assert (found["frames"], found["flows"], found["alerts"]) == (0, 0, 0)
    assert run(capsys, "replay", tmp_path / "empty.pcap", "--db", tmp_path / "b.db")[0] == 0


def test_the_same_capture_is_not_recorded_twice(capsys, tmp_path):
    """A second run changes nothing, says so, and reports the same; --again records it once more."""
    db = tmp_path / "a.db"
    _, first = replay(capsys, CITY, "--db", db)
    before = content(db)
    code, second = replay(capsys, CITY, "--db", db)
    assert code == 0
    assert content(db) == before
    assert second == {**first, "held": [str(CITY)]}
    assert "Held already, not recorded twice" in run(capsys, "replay", CITY, "--db", db)[1]
    _, third = replay(capsys, CITY, "--db", db, "--again")
    assert third == {**first, "recordings": [2]}
    assert len(content(db)["flows"]) == 2 * len(before["flows"])


def test_a_copy_under_another_name_is_the_same_capture(capsys, tmp_path):
    """What counts is the content, not the name."""
    shutil.copy(CITY, tmp_path / "copy.bin")
    replay(capsys, CITY, "--db", tmp_path / "a.db")
    _, found = replay(capsys, tmp_path / "copy.bin", "--db", tmp_path / "a.db")
    assert found["held"] == [str(tmp_path / "copy.bin")]
    assert found["recordings"] == [1]


def test_a_new_capture_beside_a_known_one_is_added(capsys, tmp_path):
    """Only what is new is recorded; the report is about both."""
    later = tmp_path / "later.pcap"
    later.write_bytes(pcap([Frame(1_800_000_000 * 10**9, bytes(60))]))
    db = tmp_path / "a.db"
    replay(capsys, CITY, "--db", db)
    _, found = replay(capsys, CITY, later, "--db", db)
    assert (found["held"], found["recordings"], found["frames"]) == ([str(CITY)], [1, 2], 4125)


def test_another_zone_is_said_not_silently_taken(capsys, tmp_path):
    """A capture held under one zone is reported under that zone, with a hint, and --again judges it anew."""
    db = tmp_path / "a.db"
    replay(capsys, CITY, "--db", db)
    code, out, _ = run(capsys, "replay", CITY, "--db", db, "--zone", "ch")
    assert code == 0
    assert "European Economic Area (eea)" in out
    assert "Judged under eea when it was recorded; --again judges it under ch too." in out
    _, held = replay(capsys, CITY, "--db", db, "--zone", "CH")
    assert (held["zone"], held["zone_asked"]) == ("eea", "ch")
    _, found = replay(capsys, CITY, "--db", db, "--zone", "CH", "--again")
    assert found["zone"] == found["zone_asked"] == "ch"
    assert found["verdicts"]["OUT"]["flows"] > 37


def test_standard_input_is_recorded_once(tmp_path):
    """The same bytes through a pipe give the same content as the file, and are known the second time."""
    data, db = CITY.read_bytes(), tmp_path / "a.db"
    done = [spawn("replay", "-", "--db", db, "--json", input=data) for _ in range(2)]
    first, second = (json.loads(one.stdout) for one in done)
    assert [one.returncode for one in done] == [0, 0]
    assert (first["held"], second["held"]) == ([], ["-"])
    assert second == {**first, "held": ["-"]}
    known = json.loads(spawn("replay", CITY, "--db", db, "--json").stdout)
    assert known["held"] == [str(CITY)]
    file = tmp_path / "file.db"
    spawn("replay", CITY, "--db", file)
    assert content(file)["flows"] == content(db)["flows"]
    assert content(file)["alerts"] == content(db)["alerts"]


def test_a_pipe_that_is_known_takes_no_other_input_with_it(tmp_path):
    """Where standard input turns out to be held already, a new file named beside it stays recorded."""
    db, later = tmp_path / "a.db", tmp_path / "later.pcap"
    later.write_bytes(pcap([Frame(1_800_000_000 * 10**9, bytes(60))]))
    spawn("replay", CITY, "--db", db)
    found = json.loads(spawn("replay", "-", later, "--db", db, "--json", input=CITY.read_bytes()).stdout)
    assert (found["held"], found["frames"]) == (["-"], 4125)
    assert len(content(db)["recording"]) == 2


def test_a_folder_stands_for_its_captures(capsys, tmp_path):
    """A folder's captures are read together, and what is none is passed over with its reason."""
    folder = tmp_path / "folder"
    folder.mkdir()
    shutil.copy(CITY, folder / "a.pcapng")
    (folder / "notes.txt").write_text("dear diary")
    code, found = replay(capsys, folder, "--db", tmp_path / "a.db")
    assert (code, found["frames"]) == (0, 4124)
    assert found["passed_over"] == [[str(folder / "notes.txt"), "no capture: a text file"]]
    assert "Passed over: " in run(capsys, "replay", folder, "--db", tmp_path / "b.db")[1]


def test_settings_and_command_line_choose_the_database(capsys, tmp_path):
    """The database of the settings is used, unless the command line names one."""
    config = tmp_path / "c.toml"
    config.write_text(f'db = "{tmp_path}/from-settings.db"\n')
    run(capsys, "replay", CITY, "--config", config)
    assert (tmp_path / "from-settings.db").exists()
    run(capsys, "replay", CITY, "--config", config, "--db", tmp_path / "named.db")
    assert (tmp_path / "named.db").exists()


def test_a_broken_rule_is_set_aside_and_told(capsys, tmp_path):
    """The other rules run; report, JSON, standard error and exit code 2 tell what is wrong, and where."""
    folder = tmp_path / "rules"
    shutil.copytree(ROOT / "rules", folder)
    (folder / "broken.yml").write_text("title: [oops\n")
    config = tmp_path / "c.toml"
    config.write_text(f'[rules]\nfolder = "{folder}"\n')
    code, found = replay(capsys, CITY, "--config", config, "--db", tmp_path / "a.db")
    assert (code, found["alerts"], len(found["broken_rules"])) == (2, 23, 1)
    assert f"{folder}/broken.yml:" in found["broken_rules"][0]
    code, out, err = run(capsys, "replay", CITY, "--config", config, "--db", tmp_path / "b.db")
    assert code == 2
    assert "Rule set aside: " in out
    assert re.search(r"^egress-watch: rule set aside: \S+/broken\.yml:[0-9]+:[0-9]+: ", err)


def test_trouble_in_data_is_graver_than_a_broken_rule(capsys, tmp_path):
    """Where an input gave nothing and a rule is broken, both are told and the exit code is 1."""
    (tmp_path / "broken.yml").write_text("title: [oops\n")
    config = tmp_path / "c.toml"
    config.write_text(f'[rules]\nfolder = "{tmp_path}"\n')
    code, _, err = run(capsys, "replay", CITY, config, "--config", config, "--db", tmp_path / "a.db")
    assert code == 1
    assert f"egress-watch: {config}: no capture: a text file\n  try: " in err
    assert "egress-watch: rule set aside: " in err


def test_a_rule_that_fails_while_running_is_told(capsys, tmp_path, monkeypatch):
    """A rule that takes too long over a batch is set aside and named in the report."""
    monkeypatch.setattr("egress_watch.store.batch.RULE_LIMIT_S", -1.0)
    monkeypatch.setattr("egress_watch.store.batch.STEPS_BETWEEN_LOOKS", 1)
    code, found = replay(capsys, CITY, "--db", tmp_path / "a.db")
    assert (code, found["alerts"]) == (2, 0)
    assert all("took longer than" in told for told in found["broken_rules"])
    assert found["broken_rules"]


def test_a_progress_bar_is_for_people_only(tmp_path, monkeypatch):
    """On a terminal the way is shown on standard error; without any standard error nothing breaks."""

    class Terminal(io.StringIO):
        def isatty(self):
            return True

    screen = Terminal()
    with monkeypatch.context() as watched:
        watched.setattr(sys, "stderr", screen)
        code = spawn_in_process("replay", CITY, "--db", tmp_path / "a.db")
    assert code == 0
    assert "replay" in screen.getvalue()
    told = re.findall(r"([0-9,]+) packets, [0-9,]+/s, ([0-9,]+) flows", screen.getvalue())
    assert told[-1] == ("3,427", "348")
    with monkeypatch.context() as closed:
        closed.setattr(sys, "stderr", None)
        assert spawn_in_process("replay", CITY, "--db", tmp_path / "b.db") == 0
        assert spawn_in_process("replay", tmp_path / "none", "--db", tmp_path / "b.db") == 2


def spawn_in_process(*arguments):
    """Return the exit code of a command, whatever its streams are."""
    from egress_watch.cli import main

    return main([str(argument) for argument in arguments])


# --- flows and alerts ---


def test_flow_rows_have_their_columns(capsys, tmp_path):
    """NDJSON rows carry every column, in order, with lists as lists and what is unknown as null."""
    found = rows(capsys, "flows", city_db(tmp_path))
    assert len(found) == 348
    assert all(tuple(row) == FLOW_COLUMNS for row in found)
    assert isinstance(found[0]["laws"], list)
    assert {type(row["name"]) for row in found} == {str, type(None)}


def test_alert_rows_have_their_columns(capsys, tmp_path):
    """NDJSON alerts carry every column, and the data files that judged them."""
    found = rows(capsys, "alerts", city_db(tmp_path))
    assert len(found) == 23
    assert all(tuple(row) == ALERT_COLUMNS for row in found)
    assert {file["kind"] for file in found[0]["data"]} == {"country", "asn", "cloud", "curated"}


@pytest.mark.parametrize(("name", "columns"), [("flows", FLOW_COLUMNS), ("alerts", ALERT_COLUMNS)])
def test_csv_holds_the_same_rows(capsys, tmp_path, name, columns):
    """CSV has a header and a line for each row of NDJSON."""
    db = city_db(tmp_path)
    code, out, _ = run(capsys, name, db, "--format", "csv")
    found = list(csv.DictReader(io.StringIO(out)))
    assert code == 0
    assert tuple(found[0]) == columns
    assert [int(row["id"]) for row in found] == [row["id"] for row in rows(capsys, name, db)]


def test_output_goes_to_a_file_of_the_owners_alone(capsys, tmp_path):
    """-o writes a file of mode 0600 and nothing to standard output."""
    db, target = city_db(tmp_path), tmp_path / "flows.csv"
    code, out, _ = run(capsys, "flows", db, "--format", "csv", "-o", target)
    assert (code, out) == (0, "")
    assert len(target.read_text().splitlines()) == 349
    assert stat.S_IMODE(target.stat().st_mode) == 0o600


@pytest.mark.parametrize("name", ["a.db", "link.db", "./a.db"])
def test_output_never_replaces_the_database(capsys, tmp_path, name):
    """-o on the database itself, by whatever path, is refused and the database stays."""
    db = city_db(tmp_path).rename(tmp_path / "a.db")
    (tmp_path / "link.db").symlink_to(db)
    before = db.read_bytes()
    code, _, err = run(capsys, "flows", db, "-o", f"{tmp_path}/{name}")
    assert code == 2
    assert "is the database itself" in err
    assert db.read_bytes() == before


@pytest.mark.parametrize(
    ("given", "same"),
    [
        (["--verdict", "out"], ["--verdict", "OUT"]),
        (["--country", "cn"], ["--country", "CN"]),
        (["--device", "2A02:A450:7E1D:0::71"], ["--device", "2a02:a450:7e1d::71"]),
        (["--device", "44-19-B6-0B-6E-11"], ["--device", "44:19:b6:0b:6e:11"]),
        (["--remote", "::ffff:8.8.8.8"], ["--remote", "8.8.8.8"]),
        (["--protocol", "17"], ["--protocol", "UDP"]),
        (["--since", "30m"], ["--since", "2026-11-02T08:30:00Z"]),
        (["--until", "30m"], ["--until", "2026-11-02T09:30:00+01:00"]),
        (["--owner", "HIK"], ["--owner", "hikvision"]),
        (["--zone", "EEA"], ["--recording", "1"]),
    ],
    ids=lambda part: part[-1],
)
def test_a_filter_may_be_written_in_other_ways(capsys, tmp_path, given, same):
    """Case, notation of addresses, numbers of protocols and spans of time are understood."""
    db = city_db(tmp_path)
    found = rows(capsys, "flows", db, *given)
    assert found == rows(capsys, "flows", db, *same)
    assert found


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("--verdict", "BAD"),
        ("--country", "Holland"),
        ("--country", ""),
        ("--device", "camera"),
        ("--remote", "1.2.3"),
        ("--port", "https"),
        ("--port", "65536"),
        ("--port", "9" * 99),
        ("--port", "-1"),
        ("--protocol", "256"),
        ("--protocol", "nope"),
        ("--since", "yesterday"),
        ("--since", ""),
        ("--until", "2026-13-01"),
        ("--since", "5y"),
        ("--device", "\x1b[31m"),
        ("--recording", "first"),
        ("--recording", "-1"),
        ("--zone", "mars"),
    ],
)
def test_a_filter_that_nothing_can_match_is_usage(capsys, tmp_path, option, value):
    """A word that is none of its kind is exit code 2 with a remedy, not an empty answer."""
    code, out, err = run(capsys, "flows", city_db(tmp_path), f"{option}={value}")
    assert (code, out) == (2, "")
    assert "\n  try: " in err
    assert "\x1b" not in err


def test_rows_of_one_recording_or_zone_can_be_asked_for(capsys, tmp_path):
    """Of a capture judged under two zones, --zone and --recording give the rows of one; alerts know --recording."""
    db = city_db(tmp_path)
    replay(capsys, CITY, "--db", db, "--zone", "ch", "--again")
    assert {row["recording"] for row in rows(capsys, "flows", db, "--zone", "ch")} == {2}
    assert {row["zone"] for row in rows(capsys, "flows", db, "--recording", "1")} == {"eea"}
    assert len(rows(capsys, "alerts", db, "--recording", "1")) == 23
    assert rows(capsys, "alerts", db, "--recording", "3") == []


@pytest.mark.parametrize("value", ["-1", "x", "1.5", "9" * 30])
def test_a_limit_is_a_number_of_rows(capsys, tmp_path, value):
    """Anything but a number from 0 on is refused."""
    assert run(capsys, "flows", city_db(tmp_path), f"--limit={value}")[0] == 2


@pytest.mark.parametrize("moment", ["0001-01-01", "9999-12-31T23:59:59", "999999999w"])
def test_a_far_away_time_is_taken(capsys, tmp_path, moment):
    """A time beyond what nanoseconds can count is as good as the end of time."""
    since = rows(capsys, "flows", city_db(tmp_path), "--since", moment)
    until = rows(capsys, "flows", city_db(tmp_path), "--until", moment)
    assert sorted((len(since), len(until))) == [0, 348]


def test_a_table_is_the_default(capsys, tmp_path):
    """Without a format a table is printed, with a header, whatever is found."""
    db = city_db(tmp_path)
    assert "device_ip" in run(capsys, "flows", db, "--limit", "1")[1].splitlines()[0]
    assert len(run(capsys, "flows", db, "--remote", "203.0.113.99")[1].splitlines()) == 1
    assert run(capsys, "alerts", db)[1].splitlines()[1].startswith("high ")


# --- where ---


@pytest.mark.parametrize(
    ("address", "status", "verdict", "words"),
    [
        ("192.168.1.1", "local", "IN", "stays local: private"),
        ("fe80::1", "local", "IN", "stays local"),
        ("8.8.8.8", "anycast", "UNKNOWN", "one address in many places at once (anycast); owned by Google (seat US)"),
        ("52.208.0.10", "declared", "OWN", "Amazon declares region eu-west-1"),
        ("104.16.1.1", "edge", "UNKNOWN", "a content network that is everywhere; owned by Cloudflare"),
        ("145.220.0.1", "agreed", "IN", "in NL (two databases agree); owned by SURF (seat NL)"),
    ],
)
def test_where_tells_what_is_known(capsys, address, status, verdict, words):
    """The sheet of an address gives verdict, reason and every source, for people and as JSON."""
    code, out, _ = run(capsys, "where", address)
    assert code == 0
    assert f"{GLYPHS[verdict]} {verdict} under the EEA as of 2026-11-23: " in out
    assert words in out
    assert all(name in out for name in ("dbip-country-lite", "server-country", "origin-asn", "cloud"))
    found = json.loads(run(capsys, "where", address, "--json")[1])
    assert (found["location_status"], found["verdict"], found["zone"]) == (status, verdict, "eea")
    assert words in found["why"]
    assert {"address", "name", "sources", "country", "laws", "ties"} <= set(found)


def test_where_finds_a_dispute(capsys):
    """An address that the databases place in two countries is UNKNOWN, and both are named."""
    disputed = next(row for row in told() if row["verdict"] == "UNKNOWN" and "disagree" in row["why"])
    found = json.loads(run(capsys, "where", disputed["remote"], "--json")[1])
    assert (found["location_status"], found["verdict"], found["country"]) == ("disputed", "UNKNOWN", "")
    assert len(found["countries"]) == 2


def told():
    """Return the talks of the city with one reason each: those whose story speaks of a dispute say so."""
    import tomllib

    talks = tomllib.loads(CITY.with_suffix(".toml").read_text(encoding="utf-8"))["talk"]
    return [{**row, "why": row["why"].replace("one database", "disagree")} for row in talks if "verdict" in row]


def test_where_takes_the_name_into_account(capsys):
    """The name on the wire outranks the address for the owner; case and a final dot do not matter."""
    for name in ("dev.hik-connect.com", "DEV.Hik-Connect.COM."):
        found = json.loads(run(capsys, "where", "52.208.0.10", "--name", name, "--json")[1])
        assert (found["owner"], found["provider"], found["verdict"]) == ("Hikvision", "Amazon", "OWN")


def test_where_takes_many_addresses_and_a_zone(capsys):
    """One sheet an address, in order, under the zone asked for."""
    _, out, _ = run(capsys, "where", "145.220.0.1", "8.8.8.8", "--zone", "CH", "--json")
    found = [json.loads(line) for line in out.splitlines()]
    assert [row["address"] for row in found] == ["145.220.0.1", "8.8.8.8"]
    assert found[0]["verdict"] == "OUT"


def test_a_zone_for_machines_comes_with_its_day(capsys, tmp_path):
    """Zones are law with dates: no answer under one is given without the day, in JSON as in words."""
    day = ("--as-of", "2019-05-01", "--json")
    sheet = json.loads(run(capsys, "where", "3.8.50.12", *day)[1])
    report = json.loads(run(capsys, "replay", CITY, "--db", tmp_path / "day.db", *day)[1])
    assert [(found["zone"], found["zone_as_of"]) for found in (sheet, report)] == [("eea", "2019-05-01")] * 2


def test_where_shows_a_hostile_name_as_text(capsys):
    """Escapes in a name are written out, for people and for machines."""
    _, out, _ = run(capsys, "where", "8.8.8.8", "--name", "\x1b[31mevil\u202e")
    assert "\x1b" not in out
    assert "\u202e" not in out
    assert "\\x1b[31mevil\\u202e" in out
    assert run(capsys, "where", "8.8.8.8", "--name", "\x1b[31mevil\u202e", "--json")[1].isascii()


# --- rules, config, tui ---


def test_the_shipped_rules_pass(capsys):
    """`rules check` finds nothing wrong with the rules that ship."""
    code, out, _ = run(capsys, "rules", "check")
    assert code == 0
    assert out.endswith(" documents, 0 findings\n")
    assert run(capsys, "rules", "check", "--json")[:2] == (0, "")


def test_rules_can_be_explained(capsys):
    """`--explain` prints the SQL of each sound rule."""
    code, out, _ = run(capsys, "rules", "check", "--explain")
    assert code == 0
    assert "owner_seat" in out
    assert "data-leaves-the-zone.yml: Data leaves the zone\n  " in out


@pytest.mark.parametrize(
    ("name", "text"),
    [("broken", "title: x\ndetection: [oops\n"), ("field", None), ("bytes", b"\xff\xfe"), ("empty", "")],
)
def test_a_broken_rule_is_found_with_its_place(capsys, tmp_path, name, text):
    """What is wrong is said with file, line and column where there is one, and a remedy; exit code 2."""
    folder = tmp_path / "with:colon"
    folder.mkdir()
    sound = (ROOT / "rules" / "data-leaves-the-zone.yml").read_text(encoding="utf-8")
    text = sound.replace("verdict:", "verdcit:") if text is None else text
    (folder / f"{name}.yml").write_bytes(text if isinstance(text, bytes) else text.encode())
    (folder / "sound.yml").write_text(sound)
    code, out, _ = run(capsys, "rules", "check", folder, "--explain")
    assert code == 2
    assert f"{folder}/{name}.yml:" in out
    assert "sound.yml: Data leaves the zone\n  " in out
    assert f"{name}.yml: Data leaves the zone\n" not in out
    found = [json.loads(line) for line in run(capsys, "rules", "check", folder, "--json")[1].splitlines()]
    assert found
    if name != "bytes":
        assert all(int(part) > 0 for part in found[0]["where"].rsplit(":", 2)[1:])


def test_two_rules_with_one_id_are_found(capsys, tmp_path):
    """A copy that kept its id is a finding."""
    for name in ("a", "b"):
        shutil.copy(ROOT / "rules" / "data-leaves-the-zone.yml", tmp_path / f"{name}.yml")
    code, out, _ = run(capsys, "rules", "check", tmp_path)
    assert code == 2
    assert f"{tmp_path}/b.yml: has the id of {tmp_path}/a.yml" in out


def test_a_folder_without_rules_is_no_success(capsys, tmp_path):
    """Nothing checked is exit code 1, with words."""
    assert run(capsys, "rules", "check", tmp_path)[:2] == (1, "no rules here (*.yml)\n")


def test_settings_are_printed_and_can_be_used(capsys, tmp_path):
    """`config` prints a file that `--config` takes."""
    _, out, _ = run(capsys, "config")
    path = tmp_path / "c.toml"
    path.write_text(out)
    assert run(capsys, "config", "--config", path)[:2] == (0, out)
    path.write_text('zone = "ch"')
    assert 'zone = "ch"' in run(capsys, "config", "--config", path)[1]


def test_the_screen_needs_a_database_and_a_terminal(capsys, tmp_path):
    """Without the one or the other there is a message before any screen opens."""
    assert run(capsys, "tui", tmp_path / "none.db")[0] == 2
    code, _, err = run(capsys, "tui", city_db(tmp_path))
    assert code == 2
    assert "terminal" in err


def test_the_module_is_the_command(tmp_path):
    """`python -m egress_watch` runs the same program, from any folder, with a relative database."""
    done = subprocess.run(
        command("replay", CITY, "--db", "here.db", "--json"),
        capture_output=True,
        check=True,
        cwd=tmp_path,
        env=environment(),
    )
    assert json.loads(done.stdout)["db"] == str(tmp_path / "here.db")
    assert spawn("flows", "here.db", "--limit", "1", cwd=tmp_path).returncode == 0


def test_a_terminal_without_unicode_is_served(tmp_path):
    """Where the output knows ASCII only, signs are written as escapes."""
    db = city_db(tmp_path)
    for arguments in (["flows", db], ["replay", CITY, "--db", db], ["where", "8.8.8.8"]):
        done = spawn(*arguments, env=environment(PYTHONIOENCODING="ascii", PYTHONUTF8="0"))
        assert done.returncode == 0
        assert done.stdout.isascii()
        assert b"UNKNOWN" in done.stdout


def test_ctrl_c_between_commands_is_130(capsys, monkeypatch):
    """An interrupt anywhere is a message and 130."""

    def interrupted(_):
        raise KeyboardInterrupt

    monkeypatch.setattr("egress_watch.cli.config.run", interrupted)
    code, _, err = run(capsys, "config")
    assert code == STOPPED == 130
    assert "stopped" in err


def test_the_zone_is_that_of_the_day_asked_for(capsys, tmp_path):
    """The same capture under the law of another day: London was in the EEA until the end of 2020."""
    for day, verdict in (("2020-12-31", "OWN"), ("2021-01-01", "OUT")):
        db = tmp_path / f"{day}.db"
        code, out, _ = run(capsys, "replay", CITY, "--db", db, "--as-of", day)
        assert code == 0
        assert f"(eea), as of {day}" in out
        found = rows(capsys, "flows", db, "--name", "lamps.veldhaven.example")
        assert {row["verdict"] for row in found} == {verdict}
    code, _, err = run(capsys, "where", "5.9.1.1", "--as-of", "yesterday")
    assert (code, "'yesterday' is no day" in err) == (2, True)
    for day, what in (("1990-01-01", "there was no European Economic Area"), ("2099-01-01", "lies behind the day")):
        code, _, err = run(capsys, "where", "5.9.1.1", "--as-of", day)
        assert (code, what in err) == (2, True)


@pytest.mark.parametrize(
    ("built", "days", "old"), [("2026-08-25", 90, False), ("2026-08-24", 91, True), ("", None, False)]
)
def test_data_older_than_ninety_days_is_said(built, days, old):
    """The day counts; a file without a date is not called old."""
    today = date(2026, 11, 23)
    assert (data.age_days(built, today), data.stale(built, today)) == (days, old)


def test_the_data_command_lists_every_file_with_its_age(capsys):
    """The four shipped files and the curated tables, with date and licence."""
    code, out, _ = run(capsys, "data", "--json")
    found = {row["name"]: row for row in map(json.loads, out.splitlines())}
    assert code == 0
    assert found.keys() >= {"dbip-country-lite", "server-country", "origin-asn", "cloud", "owners", "zones"}
    assert all(row["built"] and row["licence"] and row["age_days"] is not None for row in found.values())
    code, out, _ = run(capsys, "data")
    assert (code, "IP Geolocation by DB-IP" in out) == (0, True)


def test_two_copies_in_one_run_are_recorded_once(capsys, tmp_path):
    """A second name for the same bytes is told, not counted."""
    shutil.copy(CITY, tmp_path / "copy.pcapng")
    code, out, _ = run(capsys, "replay", CITY, tmp_path / "copy.pcapng", "--db", tmp_path / "a.db", "--json")
    found = json.loads(out)
    assert (code, found["frames"], found["held"]) == (0, 4124, [str(tmp_path / "copy.pcapng")])
