"""Zones of the user's own: they stand wherever a shipped one does, for the day that is asked for."""

from __future__ import annotations

import json
import tomllib

import pytest
from running import CITY, ROOT, run

from egress_watch.config import Config, OwnZone
from egress_watch.errors import ConfigError
from egress_watch.library import DATA, atlas, country_sets, read_rules, zone, zone_name
from egress_watch.model import address_words
from egress_watch.places.zones import own_zone

TABLES = tomllib.loads((DATA / "zones.toml").read_text("utf-8"))
BENELUX = OwnZone("Benelux", countries=("BE", "LU", "NL"))
NORTH = OwnZone("north", based_on="EEA", countries=("GB",), without=("FR", "FI"))
SETTINGS = '[[own_zone]]\nname = "Benelux"\ncountries = ["BE", "LU", "NL"]\n'
RULE = (ROOT / "rules" / "data-leaves-the-zone.yml").read_text(encoding="utf-8")


@pytest.fixture
def settings(tmp_path):
    """Return the path of settings with a zone of one's own."""
    path = tmp_path / "settings.toml"
    path.write_text(SETTINGS, encoding="utf-8")
    return path


def test_a_zone_of_ones_own_has_what_it_lists():
    """Its countries and their parts; its id is in small letters, its name as written."""
    found = zone("BENELUX", own=[BENELUX])
    assert (found.id, found.name, found.countries) == ("benelux", "your zone Benelux", {"BE", "LU", "NL"})
    assert found.as_of == TABLES["checked"].isoformat()
    assert "AX" in zone("x", own=[OwnZone("x", countries=("FI",))]).countries


def test_a_zone_may_build_on_a_shipped_one():
    """It has the countries and limits of that, more and less: parts go with a country that is left out."""
    found, eea = zone("north", own=[NORTH]), zone("eea")
    assert found.countries == (eea.countries | {"GB"}) - {"FR", "FI", "AX", "GP", "GF", "MQ", "RE", "YT", "MF"}
    wide = zone("w", own=[OwnZone("w", based_on="eea+adequacy", without=("CA",))])
    assert "CA" in zone("eea+adequacy").limits
    assert "JP" in wide.limits
    assert "CA" not in wide.limits


@pytest.mark.parametrize(
    ("countries", "without", "inside", "outside"),
    [(["GP"], ["FR"], "GP", "FR"), ([], ["GP"], "FR", "GP"), (["FR"], ["GP"], "FR", "GP")],
)
def test_a_part_may_be_named_by_itself(countries, without, inside, outside):
    """Guadeloupe without France, and France without Guadeloupe."""
    found = own_zone("x", countries, TABLES, based_on="eea", without=without).countries
    assert inside in found
    assert outside not in found


@pytest.mark.parametrize(("day", "britain"), [("2019-05-01", True), ("2021-05-01", False)])
def test_a_shipped_base_is_that_of_the_day(day, britain):
    """What it builds on is computed for the day; a list of one's own holds for any."""
    based = zone("x", day, [OwnZone("x", based_on="eea")])
    assert (based.as_of, "GB" in based.countries) == (day, britain)
    assert zone("benelux", day, [BENELUX]).countries == {"BE", "LU", "NL"}
    with pytest.raises(ConfigError, match="lies behind the day"):
        zone("benelux", "2099-01-01", [BENELUX])


def test_a_base_before_its_time_is_said():
    """There was no EEA in 1990, so nothing that builds on it alone."""
    with pytest.raises(ConfigError, match="there was no country in your zone x on 1990-01-01"):
        zone("x", "1990-01-01", [OwnZone("x", based_on="eea")])


def test_an_unknown_zone_names_ones_own_too():
    """The message lists what there is."""
    with pytest.raises(ConfigError) as caught:
        zone("benelix", own=[BENELUX])
    assert caught.value.remedy == "one of: eu27, eea, eea+adequacy, ch, benelux"


def test_the_sheet_tells_of_the_other_zones():
    """What the answer would be under a zone of one's own is said, and under the shipped ones where that one judges."""
    german, own = address_words("5.9.1.1"), (BENELUX,)
    assert "under your zone Benelux: OUT" in atlas(Config(own_zone=own)).sheet(german).changes
    found = atlas(Config(zone="benelux", own_zone=own)).sheet(german)
    assert "outside your zone Benelux" in found.verdict.why
    assert "under the EEA: IN" in found.changes


def test_a_rule_may_name_it(tmp_path):
    """It is a set of countries like the shipped ones."""
    assert country_sets([BENELUX])["benelux"] == ["BE", "LU", "NL"]
    path = tmp_path / "rule.yml"
    path.write_text(RULE.replace("verdict: OUT", "country|expand: '%benelux%'", 1), encoding="utf-8")
    assert "%benelux%" in path.read_text("utf-8")
    good, broken = read_rules([path], [BENELUX])
    assert (len(good), broken) == (1, [])
    assert "unknown set '%benelux%'" in read_rules([path])[1][0].what


def test_a_name_of_other_settings_is_no_trouble():
    """A database may hold a zone that these settings do not know."""
    assert zone_name("benelux", [BENELUX]) == "your zone Benelux"
    assert zone_name("benelux") == "a zone of one's own"
    assert zone_name("ch") == "Switzerland"


def test_the_commands_judge_under_it(capsys, tmp_path, settings):
    """Replay, its report, where and the filter of flows take it like a shipped zone, by option or by setting."""
    db = tmp_path / "city.db"
    code, out, _ = run(capsys, "replay", CITY, "--db", db, "--zone", "BENELUX", "--config", settings)
    assert code == 0
    assert "zone: your zone Benelux (benelux), as of" in out
    code, out, _ = run(capsys, "flows", db, "--zone", "Benelux", "--verdict", "OUT", "--format", "ndjson")
    found = [json.loads(line) for line in out.splitlines()]
    assert code == 0
    assert {row["zone"] for row in found} == {"benelux"}
    assert "DE" in {row["country"] for row in found}
    assert run(capsys, "flows", db, "--zone", "mars")[0] == 2
    code, out, _ = run(capsys, "replay", CITY, "--db", db)
    assert "zone: a zone of one's own (benelux), as of" in out
    settings.write_text(f'zone = "benelux"\n{SETTINGS}', encoding="utf-8")
    code, out, _ = run(capsys, "where", "5.9.1.1", "--config", settings, "--as-of", "2019-05-01")
    assert "OUT under your zone Benelux as of 2019-05-01" in out


def test_rules_are_checked_with_it(capsys, tmp_path, settings):
    """With the settings the set is known, without them it is a finding."""
    (tmp_path / "rules").mkdir()
    text = RULE.replace("verdict: OUT", "country|expand: '%benelux%'", 1)
    (tmp_path / "rules" / "a.yml").write_text(text, encoding="utf-8")
    code, out, _ = run(capsys, "rules", "check", tmp_path / "rules", "--explain", "--config", settings)
    assert code == 0
    assert "'NL'" in out
    assert run(capsys, "rules", "check", tmp_path / "rules")[0] == 2
