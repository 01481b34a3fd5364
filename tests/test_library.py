"""The shelf: the shipped files are found, the user's own take their place, and what is broken is named."""

from __future__ import annotations

import os
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from mmdb_writer import MMDBWriter
from netaddr import IPSet
from running import ROOT

from egress_watch import library
from egress_watch.config import Config, DataSettings, RuleSettings
from egress_watch.errors import ConfigError, DataError, RuleError, UsageError
from egress_watch.library import (
    atlas,
    country_sets,
    data_files,
    read_rules,
    rule_files,
    rule_text,
    rules,
    shipped,
    zone,
)
from egress_watch.model import address_words

RULE = (ROOT / "rules" / "data-leaves-the-zone.yml").read_text(encoding="utf-8")


def mmdb(path, kind, records, **options):
    """Write a tiny MaxMind database and return its path."""
    writer = MMDBWriter(**{"ip_version": 6, "ipv4_compatible": True, "database_type": kind, **options})
    for prefix, record in records.items():
        writer.insert_network(IPSet([prefix]), record)
    writer.to_db_file(str(path))
    return str(path)


def country(code):
    """Return a record as country and city files have it."""
    return {"country": {"iso_code": code, "names": {"en": code}}, "city": {"names": {"en": "Somewhere"}}}


def own(**paths):
    """Return settings with the user's own files."""
    return Config(data=DataSettings(**paths))


def sheet(config, address):
    """Return what each source says of an address."""
    return {row.source: row.said for row in atlas(config).sheet(address_words(address)).evidence}


def test_shipped_folders_are_found_in_a_checkout():
    """Rules and captures lie at the top of a checkout."""
    assert (shipped("rules") / "data-leaves-the-zone.yml").is_file()
    assert (shipped("captures") / "city.pcapng").is_file()


def test_shipped_folders_are_found_in_a_wheel(tmp_path, monkeypatch):
    """In a wheel they travel inside the package, which comes first."""
    (tmp_path / "_data" / "rules").mkdir(parents=True)
    monkeypatch.setattr("egress_watch.library.folders.PACKAGE", tmp_path)
    assert shipped("rules") == tmp_path / "_data" / "rules"
    assert shipped("captures") == tmp_path.parent / "captures"


def test_the_shipped_files_say_where_they_come_from():
    """Each data file has a name, a kind, a date, a licence and its digest."""
    files = data_files(Config())
    assert {file.kind for file in files} == {"country", "asn", "cloud", "curated"}
    for file in files:
        assert file.name
        assert file.licence
        assert len(file.sha256) == 64
        assert file.built > "2026"


@pytest.mark.parametrize(
    "kind",
    [
        "GeoLite2-Country",
        "GeoIP2-Country",
        "DBIP-Country-Lite",
        "DBIP-City-Lite",
        "GeoLite2-City",
        "GeoIP2-Enterprise",
        "DBIP-Location (compat=City)",
    ],
)
def test_an_own_country_file_takes_the_place_of_the_shipped_one(tmp_path, kind):
    """Country and city files of MaxMind and DB-IP are read, and named with their type and date."""
    path = mmdb(tmp_path / "own.mmdb", kind, {"52.208.0.0/13": country("SE"), "2a00::/16": country("FI")})
    config = own(country_db=path)
    assert next(file.name for file in data_files(config)) == kind
    assert sheet(config, "52.208.0.10")[kind] == "SE"
    assert sheet(config, "2a00::1")[kind] == "FI"
    assert sheet(config, "9.9.9.9")[kind] == "not listed"
    place = atlas(config).sheet(address_words("2a00::1")).place
    assert "FI" in place.countries


@pytest.mark.parametrize("kind", ["GeoLite2-ASN", "DBIP-ASN-Lite (compat=GeoLite2-ASN)", "GeoIP2-ISP"])
def test_an_own_asn_file_takes_the_place_of_the_shipped_one(tmp_path, kind):
    """ASN and ISP files are read."""
    record = {"autonomous_system_number": 1103, "autonomous_system_organization": "SURF"}
    config = own(asn_db=mmdb(tmp_path / "own.mmdb", kind, {"52.208.0.0/13": record}))
    assert sheet(config, "52.208.0.10")[kind] == "AS1103 SURF"
    assert atlas(config).sheet(address_words("52.208.0.10")).place.asn == 1103


def test_an_own_file_of_ipv4_knows_nothing_of_ipv6(tmp_path):
    """A file that holds IPv4 only is no trouble for IPv6 traffic."""
    path = mmdb(
        tmp_path / "four.mmdb", "GeoLite2-Country", {"1.0.0.0/8": country("AU")}, ip_version=4, ipv4_compatible=False
    )
    config = own(country_db=path)
    assert sheet(config, "2a00::1")["GeoLite2-Country"] == "not listed"
    assert sheet(config, "1.2.3.4")["GeoLite2-Country"] == "AU"


@pytest.mark.parametrize(
    ("setting", "kind"),
    [
        ("country_db", "GeoLite2-ASN"),
        ("country_db", "GeoIP2-Anonymous-IP"),
        ("asn_db", "GeoLite2-Country"),
        ("asn_db", "DBIP-City-Lite"),
        ("country_db", "geolite2-country"),
        ("country_db", "\x1b[31m"),
    ],
)
def test_a_file_of_the_wrong_kind_is_named(tmp_path, setting, kind):
    """A file that answers another question is refused, with what it is and what is wanted."""
    path = mmdb(tmp_path / "own.mmdb", kind, {"52.208.0.0/13": country("SE")})
    with pytest.raises(ConfigError) as caught:
        atlas(own(**{setting: path}))
    assert repr(kind) in caught.value.what
    assert caught.value.where == path
    assert ".mmdb" in caught.value.remedy


@pytest.mark.parametrize("setting", ["country_db", "asn_db"])
@pytest.mark.parametrize("content", [b"", b"dear diary\n" * 99, b"\xab\xcd\xefMaxMind.com", bytes(5000)])
def test_a_file_that_is_no_database_is_named(tmp_path, setting, content):
    """A text file, an empty one or noise is refused with its path."""
    path = tmp_path / "own.mmdb"
    path.write_bytes(content)
    with pytest.raises(DataError) as caught:
        atlas(own(**{setting: str(path)}))
    assert caught.value.where == str(path)
    assert caught.value.remedy


@pytest.mark.parametrize("name", ["missing.mmdb", ".", "missing/own.mmdb"])
def test_a_file_that_cannot_be_opened_is_named(tmp_path, name):
    """A path that leads nowhere is said with what to do."""
    with pytest.raises(DataError) as caught:
        atlas(own(country_db=str(tmp_path / name)))
    assert caught.value.where == str(tmp_path / name)
    assert caught.value.remedy


def test_a_file_cut_anywhere_is_named_or_answers(tmp_path):
    """A database that lost a part is found out when it is opened or asked, never by a traceback."""
    records = {f"{n}.0.0.0/8": country(code) for n, code in enumerate(("SE", "NL", "CN", "US"), 20)}
    whole = Path(mmdb(tmp_path / "whole.mmdb", "GeoLite2-Country", records)).read_bytes()
    marker = whole.rindex(b"\xab\xcd\xefMaxMind.com")
    said = 0
    cuts = [whole[:at] for at in range(0, len(whole), 97)] + [whole[at:] for at in range(1, marker, 97)]
    torn = [whole[:at] + b"\xff" * 9 + whole[at + 9 :] for at in range(0, len(whole), 41)]
    for number, cut in enumerate(cuts + torn):
        path = tmp_path / f"{number}.mmdb"
        path.write_bytes(cut)
        try:
            for address in ("20.1.1.1", "23.1.1.1", "2a00::1"):
                sheet(own(country_db=str(path)), address)
        except (DataError, ConfigError) as error:
            assert error.where == str(path)  # noqa: PT017 - either way is fine
            said += 1
    assert said > 20


@pytest.mark.parametrize("record", [5, "text", [1], {"country": 7}, {"country": {"iso_code": 5}}, {"country": ["x"]}])
def test_odd_records_are_named_or_read_as_text(tmp_path, record):
    """A record of another shape is no traceback."""
    path = mmdb(tmp_path / "own.mmdb", "GeoLite2-Country", {"52.208.0.0/13": record})
    try:
        said = sheet(own(country_db=path), "52.208.0.10")["GeoLite2-Country"]
    except DataError as error:
        said = error.what
    assert isinstance(said, str)


def test_a_missing_shipped_file_says_how_to_get_it(tmp_path, monkeypatch):
    """Without the unpacked files the remedy is the command that unpacks them."""
    shutil.copytree(library.DATA, tmp_path / "data", ignore=shutil.ignore_patterns("*.mmdb", "*.xz"))
    for module in ("folders", "files", "mmdb"):
        monkeypatch.setattr(f"egress_watch.library.{module}.DATA", tmp_path / "data")
    with pytest.raises(DataError) as caught:
        atlas(Config())
    assert "make setup" in caught.value.remedy


@pytest.mark.parametrize("name", ["manifest.json", "owners.toml", "zones.toml"])
def test_a_broken_table_is_named(tmp_path, monkeypatch, name):
    """A curated table that is broken or missing is said with its path."""
    shutil.copytree(library.DATA, tmp_path / "data", ignore=shutil.ignore_patterns("*.xz"))
    for module in ("folders", "files", "mmdb"):
        monkeypatch.setattr(f"egress_watch.library.{module}.DATA", tmp_path / "data")
    for breaking in (lambda path: path.write_text("{ [ oops"), Path.unlink):
        breaking(tmp_path / "data" / name)
        with pytest.raises(DataError) as caught:
            atlas(Config())
        assert caught.value.where.endswith(name)


@pytest.mark.parametrize(
    ("asked", "found"),
    [("eea", "eea"), ("EEA", "eea"), ("eu27", "eu27"), ("EEA+adequacy", "eea+adequacy"), ("ch", "ch")],
)
def test_zones_are_found_in_any_case(asked, found):
    """The id of a zone may be written large."""
    assert zone(asked).id == found


@pytest.mark.parametrize("name", ["mars", "", "eea ", "\x1b[31m"])
def test_an_unknown_zone_names_the_known_ones(name):
    """The message lists what there is."""
    with pytest.raises(ConfigError) as caught:
        zone(name)
    assert "eu27, eea, eea+adequacy, ch" in caught.value.remedy
    assert "\x1b" not in str(caught.value)


def test_rules_may_name_every_zone():
    """Each zone is a set of countries under a name that a rule can write."""
    sets = country_sets()
    assert {"eu27", "eea", "eea_adequacy", "ch"} == set(sets)
    assert "NL" in sets["eea"]


def folder_of(tmp_path, **files):
    """Write rule files."""
    for name, text in files.items():
        (tmp_path / f"{name}.yml").write_bytes(text if isinstance(text, bytes) else text.encode())
    return Config(rules=RuleSettings(str(tmp_path)))


def test_the_shipped_rules_are_sound():
    """Every shipped rule can be read."""
    good, broken = rules(Config())
    assert len(good) >= 5
    assert broken == []


def test_a_broken_rule_stops_no_other(tmp_path):
    """The sound rules run, the broken ones are told, each with file, line and column."""
    config = folder_of(tmp_path, a=RULE, b="title: [oops", c=b"\xff\xfe", d="")
    good, broken = rules(config)
    assert [Path(rule.origin).stem for rule in good] == ["a"]
    assert [Path(error.where.split(":")[0]).stem for error in broken] == ["b", "c", "d"]


def test_of_two_rules_with_one_id_the_first_runs(tmp_path):
    """A copy that kept its id is set aside."""
    good, broken = rules(folder_of(tmp_path, a=RULE, b=RULE))
    assert [Path(rule.origin).stem for rule in good] == ["a"]
    assert "has the id of" in broken[0].what


def test_rules_are_disabled_by_id_or_file_name(tmp_path):
    """A disabled rule does not run, and if it is broken nobody hears of it; a name that fits none is a mistake."""
    config = folder_of(tmp_path, a=RULE, b="title: [oops")
    number = rules(config)[0][0].id
    for off, left, told in ((("a",), 0, 1), ((number,), 0, 1), (("b",), 1, 0), ((), 1, 1)):
        good, broken = rules(replace(config, rules=replace(config.rules, disabled=off)))
        assert (len(good), len(broken)) == (left, told)
    with pytest.raises(ConfigError, match=r"names no rule: no-such"):
        rules(replace(config, rules=replace(config.rules, disabled=("no-such",))))


def test_a_rule_file_may_be_named_by_itself():
    """One file is a folder of one."""
    path = ROOT / "rules" / "data-leaves-the-zone.yml"
    assert rule_files(str(path)) == [path]
    assert len(read_rules([path])[0]) == 1


@pytest.mark.parametrize("name", ["missing", "x" * 300])
def test_a_missing_folder_of_rules_is_named(tmp_path, name):
    """The message says where and what a folder must hold."""
    with pytest.raises(UsageError) as caught:
        rule_files(str(tmp_path / name))
    assert caught.value.where == str(tmp_path / name)
    assert "*.yml" in caught.value.remedy


def test_a_rule_that_is_no_file_is_not_waited_for(tmp_path):
    """A FIFO, a folder or a dead link among the rules is told like a broken rule."""
    os.mkfifo(tmp_path / "fifo.yml")
    (tmp_path / "folder.yml").mkdir()
    (tmp_path / "dead.yml").symlink_to("nowhere")
    good, broken = read_rules(rule_files(str(tmp_path)))
    assert good == []
    assert [error.what for error in broken] == ["No such file or directory", "no regular file", "no regular file"]


def test_an_endless_rule_is_not_read_to_its_end(tmp_path):
    """No more than a mebibyte of a rule is read."""
    path = tmp_path / "big.yml"
    path.write_bytes(b"#" * (library.MOST_RULE_BYTES + 5))
    assert len(rule_text(path)) == library.MOST_RULE_BYTES
    with pytest.raises(RuleError):
        rule_text(tmp_path / "none.yml")
