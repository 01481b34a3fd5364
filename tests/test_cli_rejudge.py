"""`rejudge`, `flows --why`, and old data said wherever results are shown: as a user types them."""

from __future__ import annotations

import json
import os
import sqlite3
from contextlib import closing
from datetime import date, timedelta
from unicodedata import category

import pytest
from running import CITY, city_db, rows, run, spawn

from egress_watch.cli import judges
from egress_watch.exports.plain import UNSAFE
from egress_watch.model import VERDICTS
from egress_watch.store import Reader
from egress_watch.store.difference import KINDS

HOSTILE = "=1+1 \x1b[31m\u202e\r\n[bold]x"
OLD_DAY = "2026-01-01"


def change(path, *statements, values=()):
    """Write to a database as another program would."""
    with closing(sqlite3.connect(path)) as db, db:
        for statement in statements:
            db.execute(statement, values)


@pytest.fixture
def older(tmp_path):
    """Return the city's database as if older data had judged it: SURF was in CN then, and the rest as today."""
    path = city_db(tmp_path)
    file = json.dumps([{"name": "old-countries", "kind": "country", "built": OLD_DAY, "licence": "", "sha256": ""}])
    change(path, "UPDATE dataset SET digest = 'x', files = ?1, dates = ?1", values=(file,))
    change(path, "UPDATE place SET verdict = 'OUT', country = 'CN', countries = '[\"CN\"]', why = 'in CN', digest = id "
                 "WHERE owner = 'SURF'")  # fmt: skip
    return path


def harmless(text):
    """Return whether a text moves no cursor."""
    return not {category(char) for char in text.replace("\n", "")} & UNSAFE


def state(path):
    """Return all rows of the flows, and the data in use."""
    with Reader(str(path)) as reader:
        return list(reader.flows({})), reader.data(), reader.alerts({})


def test_the_difference_is_told_with_both_data_sets(capsys, older):
    """What judged then and now, a matrix of verdicts, and each destination with both reasons."""
    before = state(older)
    code, out, _ = run(capsys, "rejudge", older)
    assert code == 0
    assert "348 flows judged again" in out
    assert f"then: eea as of 2026-11-23; old-countries {OLD_DAY}" in out
    assert "now:  eea as of 2026-11-23; dbip-country-lite" in out
    assert all(f"now {verdict}" in out for verdict in VERDICTS)
    assert "  before ✗ OUT (CN agreed; SURF, network SURF): in CN" in out
    assert "  after  ✓ IN (NL agreed; SURF, network SURF): in NL (two databases agree)" in out
    assert "nothing is written: --write" in out
    assert harmless(out)
    assert state(older) == before


def test_a_write_is_told_and_a_second_one_has_nothing_to_do(capsys, older):
    """--write stores today's answers, leaves alerts as they were, and twice is once."""
    flows, _, alerts = state(older)
    code, out, _ = run(capsys, "rejudge", older, "--write")
    assert (code, "written; what was said before is kept" in out) == (0, True)
    now = state(older)
    assert {file["name"] for file in now[1]} > {"dbip-country-lite", "cloud"}
    assert {row["verdict"] for row in now[0] if row["owner"] == "SURF"} == {"IN"}
    assert len(now[0]) == len(flows)
    assert now[2] == alerts
    code, out, _ = run(capsys, "rejudge", older, "--write")
    assert (code, "nothing to write: every flow has the answer of today's data" in out) == (0, True)
    assert state(older) == now


def test_a_flow_that_was_judged_again_tells_what_was_said(capsys, older):
    """`flows --why` has the stored answer, the earlier one with its data, and today's evidence."""
    assert run(capsys, "rejudge", older, "--write")[0] == 0
    number = next(row["id"] for row in rows(capsys, "flows", older) if row["owner"] == "SURF")
    code, out, _ = run(capsys, "flows", older, "--id", number, "--why")
    assert code == 0
    assert out.count("flow ") == 1
    assert "  stored: ✓ IN under eea: in NL (two databases agree); owned by SURF (seat NL)\n" in out
    assert f": ✗ OUT under eea: in CN (by old-countries {OLD_DAY})\n" in out
    assert "the data that judged it is still in use; it gives the same verdict" in out
    assert "dbip-country-lite" in out.partition("weight")[2]
    assert "decides where" in out


def test_the_answer_of_older_data_is_held_against_today(capsys, older):
    """Where other data is in use now, it says so, and whether the verdict is the same."""
    found = rows(capsys, "flows", older)
    surf = next(row["id"] for row in found if row["owner"] == "SURF")
    other = next(row["id"] for row in found if row["owner"] == "Alibaba")
    told = run(capsys, "flows", older, "--id", surf, "--why")[1]
    assert "stored: ✗ OUT under eea: in CN" in told
    assert "other data is in use, dbip-country-lite" in told
    assert "it gives ✓ IN; `rejudge` shows all such flows" in told
    assert "; it gives the same verdict" in run(capsys, "flows", older, "--id", other, "--why")[1]


def test_every_filter_goes_with_why(capsys, tmp_path):
    """One block a flow, whatever the filter, in a file as on the terminal."""
    db, target = city_db(tmp_path), tmp_path / "why.txt"
    wanted = len(rows(capsys, "flows", db, "--country", "US"))
    out = run(capsys, "flows", db, "--country", "US", "--why")[1]
    assert wanted > 5
    assert len([line for line in out.splitlines() if line.startswith("flow ")]) == wanted
    assert run(capsys, "flows", db, "--country", "US", "--why", "-o", target)[:2] == (0, "")
    assert target.read_text(encoding="utf-8") == out
    code, _, err = run(capsys, "flows", db, "--why", "--format", "csv")
    assert (code, "--why is for people" in err) == (2, True)
    code, _, err = run(capsys, "flows", db, "--why", "-o", db)
    assert (code, "is the database itself" in err) == (2, True)


def test_a_place_in_dispute_is_found_by_each_country(capsys, tmp_path):
    """--country DE and --country US both give the flows that may be in either."""
    db = city_db(tmp_path)
    for country in ("DE", "US"):
        found = [row for row in rows(capsys, "flows", db, "--country", country) if row["location_status"] == "disputed"]
        assert len(found) == 12
        assert found[0]["countries"] == ["DE", "US"]


@pytest.mark.parametrize("number", ["first", "-1", "", "9" * 30])
def test_a_number_that_is_none_is_usage(capsys, tmp_path, number):
    """--id wants the number of a flow."""
    code, out, err = run(capsys, "flows", city_db(tmp_path), f"--id={number}")
    assert (code, out) == (2, "")
    assert "\n  try: " in err


def test_the_difference_is_one_json_object(capsys, older):
    """--json holds the sums, the data of then and now, and every destination; --all those of the same verdict too."""
    code, out, _ = run(capsys, "rejudge", older, "--json")
    found = json.loads(out)
    assert code == 0
    assert set(found) == {
        "db", "written", "flows", "recordings", "data", "matrix", "changes", "destinations"
    }  # fmt: skip
    assert (found["flows"], found["written"], set(found["changes"])) == (348, False, set(KINDS))
    assert sum(row["flows"] for row in found["matrix"]) == 348
    assert sum(row["flows"] for row in found["changes"].values()) == 348
    assert len(found["destinations"]) == found["changes"]["verdict"]["destinations"] > 0
    change(older, "UPDATE place SET region = 'elsewhere', digest = id + 1000 WHERE owner = 'KPN'")
    more = json.loads(run(capsys, "rejudge", older, "--json", "--all")[1])["destinations"]
    assert {row["changed"] for row in more} == {"verdict", "words"}
    assert len(json.loads(run(capsys, "rejudge", older, "--json", "--limit", "1")[1])["destinations"]) == 1


def test_a_cut_list_says_how_much_is_missing(capsys, older):
    """--limit leaves out destinations and says how many."""
    found = json.loads(run(capsys, "rejudge", older, "--json")[1])["changes"]["verdict"]["destinations"]
    assert found > 1
    out = run(capsys, "rejudge", older, "--limit", "1")[1]
    assert f"and {found - 1:,} more destinations: --limit 0 lists all" in out
    assert "more destinations" not in run(capsys, "rejudge", older, "--limit", "0")[1]


def test_another_zone_is_a_question_only(capsys, tmp_path):
    """--zone shows what would be under it; with --write it is refused and nothing changes."""
    db = city_db(tmp_path)
    before = state(db)
    code, out, _ = run(capsys, "rejudge", db, "--zone", "ch")
    assert (code, "now:  ch as of" in out, "a recording keeps its zone" in out) == (0, True, True)
    code, _, err = run(capsys, "rejudge", db, "--zone", "ch", "--write")
    assert (code, "keeps that zone, not ch\n  try: leave --write out" in err) == (2, True)
    code, _, err = run(capsys, "rejudge", db, "--zone", "mars")
    assert (code, "unknown zone 'mars'" in err) == (2, True)
    assert state(db) == before


def test_each_recording_is_judged_under_its_own_zone(capsys, tmp_path):
    """A capture judged under two zones stays judged under two, and only the data is of today."""
    db = city_db(tmp_path)
    assert run(capsys, "replay", CITY, "--db", db, "--zone", "ch", "--again", "--as-of", "2020-06-01")[0] == 0
    found = json.loads(run(capsys, "rejudge", db, "--json")[1])
    assert [(row["recordings"], row["zone"], row["zone_now"]) for row in found["recordings"]] == [
        ([1], "eea", "eea"), ([2], "ch", "ch")
    ]  # fmt: skip
    assert found["recordings"][1]["zone_as_of"] == "2020-06-01" != found["recordings"][1]["zone_now_as_of"]
    assert found["changes"]["verdict"]["flows"] == 0


def test_the_law_of_an_earlier_day_can_be_asked_for(capsys, tmp_path):
    """--as-of judges under the zone of that day: London was in the EEA until the end of 2020."""
    db = city_db(tmp_path)
    found = json.loads(run(capsys, "rejudge", db, "--as-of", "2020-12-31", "--json")[1])["destinations"]
    assert {row["name"]: (row["before"]["verdict"], row["after"]["verdict"]) for row in found} == {
        "lamps.veldhaven.example": ("OUT", "OWN")
    }
    code, _, err = run(capsys, "rejudge", db, "--as-of", "yesterday")
    assert (code, "'yesterday' is no day" in err) == (2, True)


def test_a_hostile_string_is_told_harmless(capsys, older):
    """Names, notes, owners and reasons of the database move no cursor, here as everywhere."""
    change(older, "UPDATE name SET name = id || ?", values=(HOSTILE,))
    change(older, "UPDATE place SET note = ?1, owner = ?1, why = ?1, region = ?1, as_name = ?1, provider = ?1, "
                  "ties = json_array(?1), digest = id", values=(HOSTILE,))  # fmt: skip
    change(older, "UPDATE dataset SET files = json_array(json_object('name', ?1, 'built', ?1)), "
                  "dates = json_array(json_object('name', ?1, 'built', ?1))", values=(HOSTILE,))  # fmt: skip
    for line in (["rejudge", older, "--all"], ["flows", older, "--why", "--limit", "20"], ["rejudge", older, "--write"],
                 ["flows", older, "--why", "--limit", "20"]):  # fmt: skip
        code, out, err = run(capsys, *line)
        assert code == 0
        assert harmless(out)
        assert harmless(err)
        assert r"\x1b[31m" in out


@pytest.mark.parametrize("command", ["flows", "alerts"])
@pytest.mark.parametrize(("days", "told"), [(90, False), (91, True)])
def test_old_data_is_said_beside_the_rows(capsys, tmp_path, monkeypatch, command, days, told):
    """Beyond ninety days one line on standard error says so, and the rows stay what they were."""
    db = city_db(tmp_path)
    wanted = rows(capsys, command, db)
    oldest = min(row["built"] for row in wanted[0]["data"])
    monkeypatch.setattr(judges, "today", lambda: date.fromisoformat(oldest) + timedelta(days))
    code, out, err = run(capsys, command, db, "--format", "ndjson")
    assert (code, [json.loads(line) for line in out.splitlines()]) == (0, wanted)
    assert err.count("\n") == told
    assert (f"dbip-country-lite of {oldest} is older than 90 days" in err) == told
    code, out, _ = run(capsys, "replay", CITY, "--db", db)
    assert (code, f"dbip-country-lite of {oldest} is older than 90 days: see `data`" in out) == (0, told)


def test_rejudge_without_a_database_makes_none(capsys, tmp_path):
    """What is not there is usage, with or without --write, and stays not there."""
    for more in ((), ("--write",)):
        code, out, err = run(capsys, "rejudge", tmp_path / "no.db", *more)
        assert (code, out) == (2, "")
        assert "no such database" in err
    assert list(tmp_path.iterdir()) == []


def test_help_says_what_stays(capsys):
    """The help says that nothing is written unasked, and that alerts stay as they were."""
    out = " ".join(run(capsys, "rejudge", "--help")[1].split())
    assert "Nothing is written without --write" in out
    assert "Alerts stay as they are" in out


def test_a_write_works_in_a_process_of_its_own(older):
    """The command leaves no log behind it, and its exit code is 0."""
    done = spawn("rejudge", older, "--write")
    assert done.returncode == 0
    assert [path.name for path in older.parent.iterdir()] == [older.name]


def test_where_says_that_its_data_is_old(capsys, monkeypatch):
    """A single address is judged by the same old data as flows are, and that is said in the same way."""
    monkeypatch.setattr(judges, "today", lambda: date(2027, 6, 1))
    code, out, err = run(capsys, "where", "145.53.1.1")
    assert (code, "older than" in out) == (0, False)
    assert "tables of" in err
    assert "dbip-country-lite of 2026-09-01 is older than 90 days" in err


@pytest.fixture
def overridden(tmp_path):
    """Return settings with a zone of one's own and overrides that were last touched long ago."""
    (tmp_path / "mine.toml").write_text('[[override]]\nprefix = "145.53.0.0/16"\ncountry = "BE"\n')
    os.utime(tmp_path / "mine.toml", (0, 0))
    zone = 'zone = "benelux"\n[data]\noverrides = "mine.toml"\n[[own_zone]]\nname = "benelux"\n'
    (tmp_path / "settings.toml").write_text(f'{zone}countries = ["BE", "LU", "NL"]\n')
    return tmp_path / "settings.toml"


def test_the_users_own_word_is_never_called_old(capsys, overridden, tmp_path):
    """It holds until the user says otherwise: no newer data would mend it."""
    for line in (["data"], ["where", "145.53.1.1"], ["replay", CITY, "--db", tmp_path / "own.db"]):
        code, out, err = run(capsys, *line, "--config", overridden)
        assert code == 0
        assert "overrides of 1970-01-01 is older" not in out + err
        assert "overrides is older" not in out


def test_old_tables_come_with_a_newer_program(capsys, monkeypatch):
    """`data update` brings no tables, so it is not what to do about them."""
    monkeypatch.setattr("egress_watch.library.tables_checked", lambda: {"owners": "2020-01-01"})
    told = next(line for line in run(capsys, "data")[1].splitlines() if line.startswith("owners is older"))
    assert "install a newer egress-watch" in told
    assert "data update" not in told


@pytest.mark.parametrize("line", [["rejudge"], ["rejudge", "--write"], ["flows", "--why"]])
def test_a_zone_that_only_the_recording_knew_asks_for_its_settings(capsys, overridden, tmp_path, line):
    """Without the settings that the zone stands in, it is said that they are missing, and not which zones ship."""
    db = tmp_path / "own.db"
    assert run(capsys, "replay", CITY, "--db", db, "--config", overridden)[0] == 0
    code, _, err = run(capsys, *line, db)
    assert code == 2
    assert "judged under 'benelux', a zone that these settings do not know" in err
    assert "--config FILE" in err
    assert run(capsys, *line, db, "--config", overridden)[0] == 0


@pytest.mark.parametrize("line", [["where", "145.53.1.1"], ["rejudge", "DB"], ["flows", "DB", "--why", "--limit", "1"]])
def test_damaged_updated_data_is_told_by_all_that_judge(capsys, tmp_path, monkeypatch, line):
    """Other data than the updated one judges then, and nobody should have to ask `data` to learn it."""
    db = city_db(tmp_path)
    home = tmp_path / "home" / "egress-watch"
    (home / "sets" / "cut").mkdir(parents=True)
    (home / "current.json").write_text("junk")
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "home"))
    code, out, err = run(capsys, *(db if word == "DB" else word for word in line))
    assert (code, bool(out)) == (0, True)
    assert "the shipped data is in use instead" in err
    assert "data rollback" in err


def test_data_of_one_date_that_differs_is_named(capsys, overridden, tmp_path):
    """Two edits of one day look alike by their dates, so what is not the same is named; else nothing is."""
    db = tmp_path / "own.db"
    run(capsys, "replay", CITY, "--db", db, "--config", overridden)
    assert "not the same" not in run(capsys, "rejudge", db, "--config", overridden)[1]
    mine = overridden.with_name("mine.toml")
    mine.write_text(mine.read_text().replace("BE", "LU"))
    os.utime(mine, (0, 0))
    assert "    not the same: overrides\n" in run(capsys, "rejudge", db, "--config", overridden)[1]
