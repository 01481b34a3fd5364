"""The settings: every key typed and documented, every mistake named with the key that was meant."""

from __future__ import annotations

import os
import tomllib
from dataclasses import fields, is_dataclass, replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import egress_watch
from egress_watch import model
from egress_watch.config import (
    COLLECTORS,
    COPIES,
    MOST_BYTES,
    UNWRAP,
    ZONES,
    Config,
    DataSettings,
    FlowSettings,
    OwnZone,
    RuleSettings,
    SinkSettings,
    load,
    render,
)
from egress_watch.errors import ConfigError


@pytest.fixture
def written(tmp_path):
    """Return a function that writes settings and returns the path."""

    def write(text):
        path = tmp_path / "c.toml"
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return str(path)

    return write


def test_without_a_file_the_defaults_hold():
    """No file is the defaults, and so is an empty one."""
    assert load() == load("") == Config()


def test_an_empty_file_is_the_defaults(written):
    """Every key may be left out."""
    assert load(written("")) == Config()


def test_what_is_printed_is_read_back(written):
    """The settings as printed are a sound file that gives the same settings."""
    assert load(written(render(Config()))) == Config()
    tomllib.loads(render(Config()))


@given(st.text(), st.lists(st.text()), st.floats(1e-6, 1e11), st.integers(1, 10**11))
def test_any_settings_are_printed_as_toml(text, names, seconds, limit):
    """Quotes, line breaks, control characters and odd numbers survive being printed and read."""
    clean = text.encode("utf-8", "ignore").decode()
    names = tuple(name.encode("utf-8", "ignore").decode() for name in names)
    config = replace(
        Config(), db=clean, rules=RuleSettings(clean, names), flows=replace(FlowSettings(), idle_s=seconds, limit=limit)
    )
    tables = tomllib.loads(render(config))
    assert (tables["db"], tables["rules"]["folder"], tuple(tables["rules"]["disabled"])) == (clean, clean, names)
    assert (tables["flows"]["idle_s"], tables["flows"]["limit"]) == (seconds, limit)


def test_the_zones_of_the_settings_are_the_shipped_ones():
    """What may be set as a zone is what data/zones.toml describes, in its order."""
    shipped = tomllib.loads((Path(egress_watch.__file__).parent / "data" / "zones.toml").read_text())
    assert [row["id"] for row in shipped["zone"]] == list(ZONES)


def test_a_zone_may_be_written_in_any_case(written):
    """EEA is eea."""
    assert load(written('zone = "EEA"')).zone == "EEA"


def test_every_key_says_what_it_does():
    """Each line of the printed settings carries a comment."""
    config = Config(own_zone=(OwnZone("mine", "eea"), OwnZone("yours", "ch")), sink=(SinkSettings("siem", "-"),))
    lines = [line for line in render(config).splitlines() if line]
    assert all("  # " in line for line in lines)
    tables = [row for name in (row.name for row in fields(Config)) for row in _tables(getattr(config, name))]
    keys = sum(len(fields(table)) for table in tables) + len(fields(Config)) - len(tables) + 1
    assert len([line for line in lines if not line.startswith("[")]) == keys


def _tables(value):
    return value if isinstance(value, tuple) else (value,) if is_dataclass(value) else ()


zones_of_ones_own = st.builds(
    OwnZone, st.from_regex("[a-z][a-z0-9_-]{3,9}", fullmatch=True), st.sampled_from(["eea", "CH"]),
    st.lists(st.sampled_from(["NL", "BE", "XK"]), unique=True).map(tuple),
    st.lists(st.sampled_from(["FR", "AX"]), unique=True).map(tuple),
)  # fmt: skip


@given(st.lists(zones_of_ones_own, max_size=4, unique_by=lambda row: row.name), st.text())
def test_zones_of_ones_own_are_printed_and_read_back(zones, text):
    """Lists of tables survive being printed, whatever else is in the settings."""
    names = {row.name for row in zones} & {"eu27", "eea_adequacy"}
    db = text.encode("utf-8", "ignore").decode().replace("\0", "")
    config = Config(db=db, own_zone=tuple(row for row in zones if row.name not in names))
    path = f"/dev/fd/{_memory(render(config).encode())}"
    try:
        assert load(path) == config
    finally:
        os.close(int(path.rpartition("/")[2]))


def test_the_commented_example_of_a_zone_is_sound(written):
    """Who takes the comment signs away has the zone it shows."""
    printed = render(Config()).replace("\n# ", "\n")
    assert load(written(printed)).own_zone == (OwnZone("benelux", countries=("BE", "LU", "NL")),)
    assert load(written(printed)).sink == (SinkSettings("siem", "relp://siem.example:2514"),)


def test_a_zone_of_ones_own_is_known_in_any_case(written):
    """What is called Benelux may be asked for as benelux, and stands beside the shipped zones."""
    text = 'zone = "benelux"\n[[own_zone]]\nname = "Benelux"\ncountries = ["BE", "LU", "NL"]\n'
    assert load(written(text)).own_zone == (OwnZone("Benelux", countries=("BE", "LU", "NL")),)
    with pytest.raises(ConfigError) as caught:
        load(written(text.replace('"benelux"', '"benelox"')))
    assert caught.value.remedy == "one of: eu27, eea, eea+adequacy, ch, benelux"


def test_overrides_lie_beside_the_settings(written, tmp_path):
    """A path that is not absolute counts from the folder of the settings file; an absolute one stays."""
    assert load(written('[data]\noverrides = "o.toml"')).data.overrides == str(tmp_path / "o.toml")
    assert load(written('[data]\noverrides = "/etc/o.toml"')).data.overrides == "/etc/o.toml"
    assert load(written('[data]\noverrides = ""')).data == DataSettings()


OWN = '[[own_zone]]\nname = "one"\ncountries = ["NL"]\n[[own_zone]]\n'


@pytest.mark.parametrize(
    ("text", "what", "remedy"),
    [
        ('countries = ["NL"]', "own_zone 2: '' is no name for a zone", "such as benelux"),
        ('name = "bene lux"', "own_zone 2: 'bene lux' is no name for a zone", "one word"),
        ('name = "x\\u001b[31m"', "is no name for a zone", "one word"),
        ('name = "EEA"', "own_zone 2: the name 'EEA' is taken", "another"),
        ('name = "eea_adequacy"', "own_zone 2: the name 'eea_adequacy' is taken", "another"),
        ('name = "One"', "own_zone 2: the name 'One' is taken", "another"),
        ('name = "two"', "own_zone 2: no country is in it", "countries ="),
        ('name = "two"\ncountries = ["NX"]', "own_zone 2: unknown country 'NX'", "two letters"),
        ('name = "two"\ncountries = ["nl"]', "own_zone 2: unknown country 'nl'", "write NL"),
        ('name = "two"\ncountries = ["UK"]', "own_zone 2: unknown country 'UK'", "write GB"),
        ('name = "two"\ncountries = ["Netherlands"]', "unknown country 'Netherlands'", "two letters"),
        ('name = "two"\nbased_on = "one"', "own_zone 2: based_on: unknown zone 'one'", "one of: eu27, eea"),
        ('name = "two"\nbased_on = "eea"\nwithout = ["EU"]', "own_zone 2: unknown country 'EU'", "two letters"),
        ('name = "two"\ncountries = ["NL"]\nwithout = ["BE"]', "own_zone 2: without needs based_on", "leave it out"),
        ('name = "two"\nbased_on = "eea"\nwithout = ["BE"]\ncountries = ["BE"]', "BE is both", "out of one list"),
        ('name = "two"\ncountires = ["NL"]', "unknown setting own_zone 2: countires", "own_zone 2: countries?"),
        ('name = "two"\ncountries = "NL"', "own_zone 2: countries must be a list", "egress-watch config"),
        ("name = 5", "own_zone 2: name must be text, is 5", "egress-watch config"),
    ],
)
def test_a_mistake_in_a_zone_of_ones_own_is_named(written, text, what, remedy):
    """Which zone, what is wrong with it, and what to write; the file is named too."""
    path = written(OWN + text)
    with pytest.raises(ConfigError) as caught:
        load(path)
    assert what in caught.value.what
    assert remedy in caught.value.remedy
    assert caught.value.where == path


@pytest.mark.parametrize("text", ['own_zone = "x"', "own_zone = [5]", "[own_zone]\nname = 'x'"])
def test_zones_of_ones_own_are_a_list_of_tables(written, text):
    """Anything else under that name is refused."""
    with pytest.raises(ConfigError, match=r"own_zone( 1)? must be a"):
        load(written(text))


def test_values_take_the_place_of_defaults(written):
    """What is given counts, and the rest stays."""
    config = load(written('zone = "ch"\nnetworks = ["10.20.0.0/16", "2a02::/32"]\n[flows]\nidle_s = 5\nlimit = 7\n'))
    assert config.zone == "ch"
    assert config.networks == ("10.20.0.0/16", "2a02::/32")
    assert config.flows == FlowSettings(idle_s=5.0, limit=7)
    assert isinstance(config.flows.idle_s, float)


@pytest.mark.parametrize(
    ("text", "what", "remedy"),
    [
        ('zoen = "eea"', "unknown setting zoen", "did you mean zone?"),
        ("[flows]\nidel_s = 5", "unknown setting flows.idel_s", "did you mean flows.idle_s?"),
        ("[flow]\nidle_s = 5", "unknown setting flow", "did you mean flows?"),
        ("qqqq = 1", "unknown setting qqqq", "known here: zone, as_of, networks, db"),
        ('zone = "mars"', "zone: unknown zone 'mars'", "one of: eu27, eea, eea+adequacy, ch"),
        ("zone = 5", "zone must be text, is 5", ""),
        ("zone = true", "zone must be text, is True", ""),
        ('networks = "10.0.0.0/8"', "networks must be a list", ""),
        ("networks = [5]", "networks must be text, is 5", ""),
        ('flows = "x"', "flows must be a table", ""),
        ("[[flows]]\nidle_s = 5", "flows must be a table", ""),
        ('[flows]\nidle_s = "5"', "flows.idle_s must be a number", ""),
        ("[flows]\nlimit = 5.5", "flows.limit must be a whole number", ""),
        ("[flows]\nlimit = true", "flows.limit must be a whole number", ""),
        ("[flows]\nlimit = 0", "flows.limit must lie between 0 and 10^15, is 0", "mend the number"),
        ("[flows]\nlimit = -5", "flows.limit must lie between", ""),
        ("[flows]\nidle_s = nan", "flows.idle_s must lie between", ""),
        ("[flows]\nidle_s = inf", "flows.idle_s must lie between", ""),
        (f"[flows]\nlimit = {10**30}", "flows.limit must lie between", ""),
        ("zone = 2026-11-02", "zone must be text", ""),
        ('networks = ["10.20.0.5/16"]', "host bits set", "10.20.0.0/16"),
        ('networks = ["home"]', "'home' does not appear to be", "10.20.0.0/16"),
        ('networks = ["10.0.0.0/33"]', "10.0.0.0/33", "10.20.0.0/16"),
        ('db = "a\\u0000b"', "db holds a NUL character", "take it out"),
        ("zone = ", "no TOML", "egress-watch config"),
        ("zone = 'a'\nzone = 'b'", "no TOML", ""),
        (b"zone = '\xff'", "no TOML", ""),
        (b"\x00\x01\x02", "no TOML", ""),
        ("a = " + "[" * 50_000, "no TOML: nested too deeply", ""),
        (b"# " + b"x" * MOST_BYTES, "holds more than", ""),
    ],
    ids=lambda part: part[:20] if isinstance(part, (str, bytes)) else None,
)
def test_a_mistake_is_named(written, text, what, remedy):
    """File, key and remedy stand in the message."""
    path = written(text)
    with pytest.raises(ConfigError) as caught:
        load(path)
    assert what in caught.value.what
    assert remedy in caught.value.remedy
    assert caught.value.remedy
    assert caught.value.where == path


@pytest.mark.parametrize("name", ["missing.toml", ".", "x" * 300, "missing/c.toml"])
def test_a_file_that_cannot_be_read_is_named(tmp_path, name):
    """What is not there, or no file, is said with its path."""
    with pytest.raises(ConfigError) as caught:
        load(str(tmp_path / name))
    assert caught.value.where == str(tmp_path / name)
    assert caught.value.remedy == "give a readable TOML file"


def test_an_endless_file_is_not_read_to_its_end():
    """/dev/zero is refused after the first mebibyte."""
    with pytest.raises(ConfigError, match="holds more than"):
        load("/dev/zero")
    assert os.path.exists("/dev/zero")  # noqa: PTH110 - a device


@given(st.binary(max_size=200))
def test_any_bytes_are_settings_or_a_mistake(data):
    """No content of a file breaks the reading in any other way."""
    path = f"/dev/fd/{_memory(data)}"
    try:
        load(path)
    except ConfigError as error:
        assert error.remedy  # noqa: PT017 - either way is fine
    finally:
        os.close(int(path.rpartition("/")[2]))


def _memory(data):
    descriptor = os.memfd_create("settings")
    os.write(descriptor, data)
    os.lseek(descriptor, 0, os.SEEK_SET)
    return descriptor


def test_a_day_is_checked_where_the_file_is_known(tmp_path):
    """A zone can be asked for as of a day that the calendar has."""
    path = tmp_path / "c.toml"
    path.write_text('as_of = "2019-02-30"\n')
    with pytest.raises(ConfigError, match="is no day") as error:
        load(str(path))
    assert error.value.where == str(path)
    path.write_text('as_of = "2019-02-28"\n')
    assert load(str(path)).as_of == "2019-02-28"


def test_choices_are_those_of_the_model():
    """The words that are written here are the ones that the other rooms know."""
    assert (UNWRAP, COPIES, COLLECTORS) == (model.UNWRAP, model.COPIES, model.COLLECTORS)


@pytest.mark.parametrize(
    ("line", "told"),
    [('unwrap = "some"', "unwrap"), ('copies = "two"', "copies"), ('collectors = ["10.0.0.1/8"]', "collectors")],
)
def test_what_is_opened_is_checked(tmp_path, line, told):
    """A word or network that nobody knows is told with its key."""
    path = tmp_path / "c.toml"
    path.write_text(f"[decode]\n{line}\n")
    with pytest.raises(ConfigError, match=f"decode.{told}"):
        load(str(path))
