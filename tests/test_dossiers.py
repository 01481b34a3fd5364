"""Who is behind a name: every party can be asked for, by whatever identifies it."""

from __future__ import annotations

import json

import pytest
from running import run

from egress_watch.library import groups
from egress_watch.places.dossiers import asked_for, dossiers, near

ROWS = [
    {"id": "a", "name": "Acme", "parent": "Acme Inc.", "seat": "US", "laws": [], "aliases": ["Acme Cloud"],
     "asns": [64500], "names": ["acme.example"], "vendors": ["Acme"], "source": "s", "checked": "2026-01-01",
     "ties": [{"to": "b", "relation": "joint venture", "source": "t", "date": "2020"}]},
    {"id": "b", "name": "Bolt", "parent": "Bolt AG", "seat": "DE", "laws": [], "source": "s", "checked": "2026-01-01"},
]  # fmt: skip
BRIEF = [
    "Amazon", "Microsoft", "Azure", "OneDrive", "Google", "IBM", "HPE", "Dell EMC", "Cisco", "Oracle", "Alibaba",
    "Alibaba Cloud", "AliPay", "City Brain", "Tencent", "Tencent Cloud", "WeChat", "WeChat Pay", "Baidu", "Huawei",
    "HiSilicon", "Lenovo", "Ping An", "Inspur", "SenseTime", "Malong", "Hikvision", "Dahua", "Accenture", "Deloitte",
    "Vision-Box", "Atos", "KPN", "Ericsson", "Nokia", "Signify", "Tuya",
]  # fmt: skip
"""The parties of the policy brief, under the names it uses."""


@pytest.mark.parametrize("word", ["a", "ACME", "acme cloud", "AS64500", "as64500", "acme.example", "x.y.acme.example"])
def test_a_group_is_found_by_whatever_identifies_it(word):
    """Id, name, alias, AS number, domain and what lies below it; case does not matter."""
    assert [dossier.group.id for dossier in asked_for(dossiers(ROWS, {}), word)] == ["a"]


@pytest.mark.parametrize("word", ["acm", "AS64501", "example", "notacme.example", "", "AS"])
def test_nothing_else_is_taken_for_it(word):
    """A part of a name, another number or a neighbouring domain is no answer."""
    assert asked_for(dossiers(ROWS, {}), word) == []


def test_a_tie_shows_on_both_ends():
    """Who is tied by another group is told so, once."""
    acme, bolt = dossiers(ROWS, {"US": ["US CLOUD Act"]})
    assert acme.group.ties == ("Bolt: joint venture (2020; t)",)
    assert (acme.tied_by, bolt.tied_by) == ((), ("Acme: joint venture (2020; t)",))
    assert acme.group.laws == ("US CLOUD Act",)
    assert near([acme, bolt], "acmee") == ["Acme"]


@pytest.mark.parametrize(
    ("word", "group"),
    [
        ("Hangzhou Hikvision Digital Technology", "hikvision"),
        ("Hangzhou Hikvision Digital Technology Co.,Ltd.", "hikvision"),
        ("ZHEJIANG DAHUA TECHNOLOGYCO.,LTD", "dahua"),
        ("Hisilicon Technologies Co., Ltd", "huawei"),
        ("Philips Lighting BV", "signify"),
        ("Philips Medical Systems - Cardiac and Monitoring Systems (CM", "philips"),
        ("Tuya Smart Inc.", "tuya"),
        ("LENOVO(BEIJING)CO., LTD.", "lenovo"),
    ],
)
def test_a_maker_of_devices_is_found_by_its_registered_name(word, group):
    """The longest listed beginning of a name in the IEEE registry says whose it is."""
    assert [dossier.group.id for dossier in asked_for(groups(), word)] == [group]


def test_a_beginning_ends_where_a_word_does():
    """Acmeville is not Acme, and a name or alias goes before a maker's."""
    assert asked_for(dossiers(ROWS, {}), "Acmeville Ltd") == []
    assert [dossier.group.id for dossier in asked_for(dossiers(ROWS, {}), "Acme (Beijing) Ltd")] == ["a"]


@pytest.mark.parametrize(
    ("address", "group"),
    [("52.208.0.10", "amazon"), ("145.53.1.1", "kpn"), ("8.8.8.8", "google"), ("2a05:d014::1", "amazon")],
)
def test_an_address_leads_to_who_runs_its_network(capsys, address, group):
    """By its prefix, its cloud or its AS."""
    code, out, _ = run(capsys, "who", address, "--json")
    assert (code, json.loads(out)["id"]) == (0, group)


@pytest.mark.parametrize(
    ("address", "said"), [("10.1.1.1", "10.1.1.1 is in no listed hands"), ("194.0.28.53", "AS48283")]
)
def test_an_address_in_no_listed_hands_is_said(capsys, address, said):
    """With the network that is not listed, and where to look."""
    code, out, err = run(capsys, "who", address)
    assert (code, out) == (2, "")
    assert said in err
    assert f"see `where {address}`" in err


@pytest.mark.parametrize("word", BRIEF)
def test_every_party_of_the_brief_can_be_asked_for(word):
    """Each is one group, with a seat, laws and a source."""
    (dossier,) = asked_for(groups(), word)
    assert all((dossier.group.seat, dossier.group.laws, dossier.group.source, dossier.group.checked, dossier.parent))


def test_the_command_prints_the_group(capsys):
    """Parent, seat, laws, names and ties in words, or all of it as JSON; an unknown name says what is near."""
    code, out, _ = run(capsys, "who", "kpn")
    assert code == 0
    assert "KPN: Koninklijke KPN N.V., seat NL" in out
    assert "AS1136" in out
    assert "tied to   Huawei" in out
    code, out, _ = run(capsys, "who", "AS1136", "dev.hik-connect.com", "--json")
    assert [json.loads(line)["id"] for line in out.splitlines()] == ["kpn", "hikvision"]
    code, _, err = run(capsys, "who", "Hikvison")
    assert (code, "did you mean Hikvision" in err) == (2, True)
