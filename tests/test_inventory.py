"""The inventory: what it says of a device, what is wrong with it, and what NetBox writes."""

from __future__ import annotations

import json
import sqlite3
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from running import CITY, ROOT, rows, run

from egress_watch.config import load
from egress_watch.errors import ConfigError
from egress_watch.inventory import Inventory, document, faults, sheet, values
from egress_watch.inventory.entries import CLASSES
from egress_watch.library import inventory, read_inventory
from egress_watch.model import address_words

ZONES = ("eea", "eu27", "ch")
CAM, ROUTER = 0x4419B60B6E11, 0xD4CA6D102001

TOWN = """
[[site]]
name = "Veldhaven"
zone = "eu27"
contact = "ict@veldhaven.example"

[[segment]]
name = "town"
networks = ["10.20.0.0/16", "2001:db8::/48"]
site = "Veldhaven"
notes = "all of it"

[[segment]]
name = "cams"
class = "Cameras"
networks = ["10.20.110.0/24"]
vlans = [110]
supplier = "Veldcam BV"
zone = "eea"

[[mac]]
pattern = "44:19:b6"
role = "camera"

[[device]]
name = "market square"
macs = ["44:19:b6:0b:6e:11"]
zone = "CH"

[[device]]
name = "edge router"
macs = ["d4:ca:6d:10:20:01"]
addresses = ["10.20.0.1"]
router = true
"""
DEVICES = """Name,Status,Tenant,Site,Location,Rack,Role,Manufacturer,Type,IP Address
cam-11,Active,Mobility,Veldhaven,—,—,Camera,Hikvision,DS-2CD,10.20.110.11/24
patch-1,Active,—,Veldhaven,—,R1,Patch panel,Generic,24p,—
"""
PREFIXES = """Prefix,Status,Children,VRF,Utilization,Tenant,Site,VLAN,Role,Description
10.20.110.0/24,Active,0,Global,12.5,Mobility,Veldhaven,cams (110),Cameras,"street, north"
10.20.120.0/24,Active,0,Global,1.5,—,Veldhaven,lights (120),—,
"""
ADDRESSES = """IP Address,VRF,Status,Role,Tenant,Assigned,DNS name,Description
10.20.0.1/24,Global,Active,VIP,—,True,gw.veldhaven.example,gateway
"""


def number(text: str) -> int:
    """Return an address as 128 bits."""
    high, low = address_words(text)
    return high << 64 | low


def town(text: str = TOWN) -> Inventory:
    """Return the inventory of a document without mistakes."""
    entries, mistakes = document.read(text)
    assert [*mistakes, *faults(entries, ZONES)] == []
    return Inventory(entries)


def wrong(text: str) -> list[tuple[int, str]]:
    """Return line and text of every mistake in a document."""
    entries, mistakes = document.read(text)
    return [(mistake.line, mistake.what) for mistake in (*mistakes, *faults(entries, ZONES))]


def test_what_is_said_is_inherited_from_general_to_specific():
    """Site, wide network, narrow segment, MAC pattern and device each add a word, and the last one counts."""
    said = town().listing(number("10.20.110.11"), CAM, 110)
    assert said[:6] == ("market square", "Veldhaven", "cams", "cameras", "camera", "Veldcam BV")
    assert said[6:] == ("ch", "ict@veldhaven.example", "all of it", 1, "")


@pytest.mark.parametrize(
    ("ip", "mac", "vlan", "segment", "zone", "listed"),
    [
        ("10.20.110.99", 0, 0, "cams", "eea", 0),  # by its network
        ("192.168.1.1", 0, 110, "cams", "eea", 0),  # by its VLAN
        ("10.20.5.5", 0, 0, "town", "eu27", 0),  # the zone is the site's
        ("2001:db8::7", 0, 0, "town", "eu27", 0),
        ("172.16.0.1", 0, 0, "", "", 0),
        ("172.16.0.1", CAM, 0, "", "ch", 1),  # by its MAC, wherever it is
        ("10.20.0.1", ROUTER, 0, "town", "eu27", 1),
        ("10.20.7.7", ROUTER, 0, "town", "eu27", 0),  # behind the router, and not the router
    ],
)
def test_a_device_stands_where_address_vlan_and_mac_say(ip, mac, vlan, segment, zone, listed):
    """Network, VLAN and MAC each place a device; a router's MAC places nobody."""
    said = town().listing(number(ip), mac, vlan)
    assert (said.segment, said.zone, said.listed) == (segment, zone, listed)


def test_a_device_may_be_put_into_another_segment():
    """The segment that a device names comes before that of its network, with all the segment says."""
    said = town(TOWN + '\n[[device]]\nname = "x"\naddresses = ["10.20.110.7"]\nsegment = "town"\n').listing(
        number("10.20.110.7"), 0, 0
    )
    assert (said.segment, said.notes) == ("town", "all of it")


def test_its_networks_are_ours():
    """Networks, not single addresses."""
    assert town().networks == ["10.20.0.0/16", "2001:db8::/48", "10.20.110.0/24"]


@pytest.mark.parametrize(
    ("text", "line", "what"),
    [
        ("[[segment]]\nname = 'a'\nnetworks = ['10.0.0.1/24']", 3, "host bits"),
        ("[[segment]]\nname = 'a'\nnetworks = ['0.0.0.0/0']", 3, "every address"),
        ("[[segment]]\nname = 'a'\nvlans = [4095]", 3, "no VLAN"),
        ("[[segment]]\nname = 'a'\nvlans = ['7']", 3, "a list of numbers"),
        ("[[segment]]\n\nclass = 'lamps'\nname = 'a'", 3, "unknown class"),
        ("[[device]]\nname = 'a'", 2, "neither macs nor addresses"),
        ("[[device]]\nname = 'a'\nmacs = ['44:19']", 3, "no whole MAC"),
        ("[[device]]\nname = 'a\u202e'\nmacs = ['441900000001']", 2, "control character"),
        ("[[device]]\nmacs = ['441900000001']", 1, "no name"),
        ("[[device]]\nname = 'a'\nmac = ['441900000001']", 3, "unknown key 'mac'"),
        ("[[mac]]\npattern = 'xyz'", 2, "no MAC"),
        ("\n[[devise]]\nname = 'a'", 2, "unknown table"),
        ("[[site]]\nname = 'a'\nzone = 'mars'", 1, "unknown zone"),
        ("[[site]]\nname = 'a'\n[[network]]\nprefix = '10.0.0.0/8'\nsite = 'b'", 3, "no site is called"),
        ("[[network]]\nprefix='10.0.0.0/8'\n[[network]]\nprefix='10.0.0.0/8'", 3, "the same network as on line 1"),
        ("[[site]]\nname = ", 2, "no TOML"),
        ("site = 3", 0, "must be a list of tables"),
    ],
)
def test_a_mistake_has_its_line(text, line, what):
    """Each mistake is told with its line."""
    found = wrong(text)
    assert [at for at, _ in found][:1] == [line]
    assert what in found[0][1]


@given(text=st.text(max_size=300))
def test_no_text_upsets_the_readers(text):
    """Any text is entries, or mistakes with remedies."""
    for mistake in (*document.read(text)[1], *sheet.read(text).mistakes):
        assert mistake.what
        assert mistake.remedy


@given(text=st.text(max_size=30))
def test_no_value_upsets_the_parsers(text):
    """A value is a number, or a ValueError that names it."""
    for parse in (values.prefix, values.address, values.mac, values.pattern, values.vlan):
        with suppress(ValueError):
            assert parse(text)


def test_the_classes_of_the_city_belong_to_known_ones():
    """A class of a class is known itself, however it is written."""
    assert {parent for parent in CLASSES.values() if parent} <= set(CLASSES)
    assert values.segment_class("Street-Lighting") == "street lighting"
    assert values.segment_class("E-Gates") == values.segment_class("e gates") == "e-gates"


def test_netbox_exports_are_read_as_they_come():
    """Devices, prefixes and addresses: masks, dashes, VLANs with names, roles; what has no address is passed over."""
    found = [sheet.read(text) for text in (DEVICES, PREFIXES, ADDRESSES)]
    assert [one.mistakes for one in found] == [[], [], []]
    assert [one.passed_over for one in found] == [1, 0, 0]
    assert found[0].unused == ["status", "location", "rack", "type"]
    both = Inventory([*found[0].entries, *found[1].entries, *found[2].entries])
    cam = both.listing(number("10.20.110.11"), 0, 0)
    assert (cam.device_name, cam.segment, cam.segment_class, cam.role) == ("cam-11", "Cameras", "cameras", "Camera")
    assert (cam.supplier, cam.site, cam.contact, cam.notes) == ("Hikvision", "Veldhaven", "Mobility", "street, north")
    assert both.listing(number("10.20.120.1"), 0, 0)[2] == "lights"
    assert both.listing(number("10.20.0.1"), 0, 0)[:5] == ("gw.veldhaven.example", "", "", "", "")


@pytest.mark.parametrize(
    ("text", "line", "what"),
    [
        ("name,size\na,1", 1, "no column"),
        ("", 1, "no column"),
        ("mac,name\n44:19,a", 2, "no whole MAC"),
        ("address,name\n10.0.0.1,a,b", 2, "3 cells"),
        ('address,name\n10.0.0.1,"a\x07"', 2, "control"),
        ("prefix,zone\n10.0.0.1/8,eea", 2, "host bits"),
    ],
)
def test_a_mistake_in_a_sheet_has_its_line(text, line, what):
    """Each is told with its line."""
    found = sheet.read(text).mistakes
    assert found[0].line == line
    assert what in found[0].what


def test_a_sheet_with_semicolons_is_read():
    """As spreadsheets of half of Europe write it."""
    entries = sheet.read("name;mac\ncam;44-19-B6-0B-6E-11\n").entries
    assert entries[0].macs == ((48, CAM),)


def settings(folder: Path, text: str, name: str = "city-inventory.toml") -> str:
    """Write an inventory and settings that name it; return the settings' path."""
    (folder / name).write_text(text, encoding="utf-8")
    told = f'networks = ["10.20.0.0/16", "2a02:a450:7e1d::/48"]\ninventory = "{name}"\n'
    (folder / "settings.toml").write_text(told, encoding="utf-8")
    return str(folder / "settings.toml")


def test_settings_without_an_inventory_have_none(tmp_path):
    """Nothing is asked, nothing is answered; a broken one stops with its line, as does one of another kind."""
    assert inventory(load()) is None
    with pytest.raises(ConfigError, match=r"city-inventory\.toml:1: device"):
        inventory(load(settings(tmp_path, "[[device]]\n")))
    with pytest.raises(ConfigError, match="no inventory by its name"):
        inventory(load(settings(tmp_path, "", "city.yaml")))


def test_mistakes_between_files_name_both(tmp_path):
    """Two files that claim one address."""
    for name in ("a.csv", "b.csv"):
        (tmp_path / name).write_text("name,address\nx,10.0.0.1\n", encoding="utf-8")
    found = read_inventory([str(tmp_path / "a.csv"), str(tmp_path / "b.csv")])
    assert [(mistake.origin, mistake.line) for mistake in found.mistakes] == [(str(tmp_path / "b.csv"), 2)]
    assert "a.csv:2" in found.mistakes[0].what


@pytest.fixture(scope="module")
def judged(tmp_path_factory) -> Path:
    """Return the city's database, recorded with the town's inventory."""
    import subprocess

    from running import command, environment

    folder = tmp_path_factory.mktemp("town")
    words = command("replay", CITY, "--config", settings(folder, TOWN), "--db", folder / "town.db", "--json")
    subprocess.run(words, env=environment(), check=True, capture_output=True, cwd=ROOT)
    return folder / "town.db"


def ask(db: Path, query: str) -> list[tuple]:
    """Return the rows of a query."""
    connection = sqlite3.connect(db)
    try:
        return connection.execute(query).fetchall()
    finally:
        connection.close()


def test_each_flow_shows_its_segment_and_is_judged_under_its_zone(judged):
    """The cameras under the EEA, one of them under Switzerland, the rest under the site's EU27."""
    zones = dict(ask(judged, "SELECT DISTINCT coalesce(device_name, segment, ''), zone FROM flows"))
    assert zones["cams"] == "eea"
    assert zones["market square"] == "ch"
    assert zones["town"] == "eu27"
    assert ask(judged, "SELECT DISTINCT verdict FROM flows WHERE zone = 'ch' AND country = 'IE'") == [("OUT",)]
    assert ask(judged, "SELECT DISTINCT verdict FROM flows WHERE zone = 'eea' AND country = 'IE'") in ([], [("OWN",)])


def test_a_device_that_is_not_listed_is_a_finding(judged):
    """The shipped rule names every device of a segment that is not in the inventory, and no listed one."""
    rule = "FROM alerts WHERE title = 'Device that the inventory does not list'"
    found = {row[0] for row in ask(judged, f"SELECT DISTINCT device_ip {rule}")}
    assert "10.20.110.12" in found
    assert "10.20.110.11" not in found


def test_an_alert_shows_the_segment_of_its_device(judged, capsys):
    """Name, site, segment and class, in the list, in exports and in the table; nothing where nothing is said."""
    told = ask(judged, "SELECT id, coalesce(device_name, ''), site, segment, segment_class, last_flow FROM alerts")
    of_flows = ask(judged, "SELECT id, coalesce(device_name, ''), site, segment, segment_class FROM flows")
    flows = {row[0]: row[1:] for row in of_flows}
    assert len({row[3] for row in told}) > 1
    assert all(row[1:5] == flows[row[5]] for row in told)
    assert {row["segment"] for row in rows(capsys, "alerts", judged)} == {row[3] for row in told}
    assert "cams" in run(capsys, "alerts", judged)[1].partition("title")[2]
    exported = [json.loads(line) for line in run(capsys, "export", judged, "--format", "ndjson")[1].splitlines()]
    assert {(row["segment"], row["site"]) for row in exported} == {(row[3], row[2]) for row in told}


def test_the_devices_command_filters_by_segment(judged, capsys):
    """A segment by its name or class, and only what is not listed."""
    listed = rows(capsys, "devices", judged, "--segment", "cameras")
    unlisted = rows(capsys, "devices", judged, "--segment", "cams", "--unlisted")
    assert {row["name"] for row in listed} - {row["name"] for row in unlisted} == {"market square"}
    assert {row["role"] for row in listed if row["mac"][:8] == "44:19:b6"} == {"camera"}


def test_judging_again_keeps_the_zone_of_each_flow(judged, capsys):
    """Nothing changes where nothing has, though several zones judged one recording."""
    code, out, err = run(capsys, "rejudge", judged, "--config", judged.parent / "settings.toml", "--json")
    assert code == 0, err
    assert json.loads(out)["changes"]["verdict"]["flows"] == 0


def test_a_starter_inventory_lists_all_that_was_seen(judged, capsys, tmp_path):
    """What suggest writes has no mistakes, and recorded with it no device is unlisted."""
    path = tmp_path / "suggested.toml"
    assert run(capsys, "inventory", "suggest", judged, "-o", path)[0] == 0
    code, out, _ = run(capsys, "inventory", "check", path)
    assert code == 0, out
    told = settings(tmp_path, path.read_text(encoding="utf-8"))
    assert run(capsys, "replay", CITY, "--config", told, "--db", tmp_path / "b.db", "--json")[0] == 0
    assert ask(tmp_path / "b.db", "SELECT count(*) FROM flows WHERE listed = 0 AND segment IS NOT NULL") == [(0,)]


def test_check_tells_every_mistake_by_line(tmp_path, capsys):
    """All of them, with remedies, and exit code 2."""
    path = tmp_path / "bad.toml"
    path.write_text("[[device]]\nname = 'a'\n\n[[segment]]\nname = 'b'\nvlans = [9999]\n", encoding="utf-8")
    code, out, _ = run(capsys, "inventory", "check", path)
    assert code == 2
    assert f"{path}:2: device: neither macs nor addresses" in out
    assert f"{path}:6: segment: vlans: '9999' is no VLAN" in out
    assert out.count("  try: ") == 2
