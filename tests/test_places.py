"""Places: where an address is, whose hands it is in, and a verdict that never hides a doubt."""

from __future__ import annotations

import itertools
import tomllib
from dataclasses import replace
from datetime import date
from ipaddress import IPv6Address, ip_address, ip_network

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from judging import flows

from egress_watch.config import Config
from egress_watch.library import DATA, atlas, knowledge
from egress_watch.model import IN, OUT, OWN, UNKNOWN, Place, address_text, address_words
from egress_watch.places import NOTHING, Atlas, Found, Knowledge, Source, Special
from egress_watch.places.carried import carried
from egress_watch.places.owners import NOBODY, Group, Owners
from egress_watch.places.prefixes import Prefixes
from egress_watch.places.verdicts import verdict
from egress_watch.places.zones import Zone, own_zone, zones

ZONE = Zone("eea", "European Economic Area", "2020-02-01", frozenset({"NL", "DE", "IE"}))
DUTCH = Group("surf", "SURF", "NL", (), (), "", "2026-01-01")
AMERICAN = Group("amazon", "Amazon", "US", ("US CLOUD Act",), (), "", "2026-01-01")
CHINESE = Group("hik", "Hikvision", "CN", ("CN National Intelligence Law",), ("a tie",), "", "2026-01-01")

INSIDE = [("declared", ("IE",)), ("agreed", ("NL",)), ("single", ("DE",)), ("disputed", ("NL", "DE"))]
OUTSIDE = [("declared", ("US",)), ("agreed", ("CN",)), ("single", ("GB",)), ("disputed", ("US", "CN"))]
NOWHERE = [("anycast", ()), ("edge", ()), ("unknown", ()), ("disputed", ("NL", "US"))]
OWNERS = [NOBODY, DUTCH, AMERICAN, CHINESE]
HANDS = list(itertools.product(OWNERS, OWNERS))
PLACES = INSIDE + OUTSIDE + NOWHERE
in_all_hands = pytest.mark.parametrize(("owner", "operator"), HANDS, ids=lambda group: group.id or "nobody")
in_all_places = pytest.mark.parametrize(("status", "countries"), PLACES, ids=lambda part: "".join(part) or "none")


def place(status, countries, owner, operator):
    """Return a place as the atlas makes it."""
    hands = owner if owner.id else operator
    return Place(
        countries[0] if len(countries) == 1 else "",
        status,
        countries,
        64500,
        "Example AS",
        operator.name,
        "region-1",
        hands.name,
        hands.seat,
        (*hands.laws, *operator.laws),
        "name" if owner.id else "asn",
    )


def judge(status, countries, owner=NOBODY, operator=NOBODY):
    """Return the verdict and its reason."""
    hands = tuple(dict.fromkeys(group for group in (owner, operator) if group.id))
    return verdict(place(status, countries, owner, operator), ZONE, hands)


@in_all_hands
@in_all_places
def test_a_name_never_makes_an_answer_better(status, countries, owner, operator):
    """Anyone can send any server name: where an address alone is not IN, no name turns it into IN."""
    alone, _ = judge(status, countries, NOBODY, operator)
    named, why = judge(status, countries, owner, operator)
    assert alone == IN or named != IN
    if (alone, named, owner.seat) == (UNKNOWN, UNKNOWN, "NL") and (status, countries) not in NOWHERE:
        assert "by its name a service of" in why


@in_all_hands
@in_all_places
def test_the_table_of_verdicts(status, countries, owner, operator):
    """Outside is OUT, a doubt UNKNOWN; inside it is OWN under a foreign law and UNKNOWN in no known hands."""
    answer, why = judge(status, countries, owner, operator)
    if (status, countries) in NOWHERE:
        assert answer == UNKNOWN
    elif (status, countries) in OUTSIDE:
        assert answer == OUT
    elif {"US", "CN"} & {owner.seat, operator.seat}:
        assert answer == OWN
    else:
        assert answer == (IN if operator.seat == "NL" else UNKNOWN)
    assert why
    assert "\n" not in why


@in_all_hands
@in_all_places
def test_every_reason_says_where_and_whose(status, countries, owner, operator):
    """A reason names every country said, and every listed group with its seat or the network that is not listed."""
    why = judge(status, countries, owner, operator).why
    assert all(country in why for country in countries)
    listed = [group for group in (owner, operator) if group.id]
    answer = judge(status, countries, owner, operator).verdict
    for group in listed if answer != OWN else [group for group in listed if group.seat != "NL"]:
        assert f"{group.name} (seat {group.seat})" in why
    if not listed:
        assert "AS64500 Example AS is not listed" in why


def test_what_stays_local_is_in():
    """A place of our own needs no country and no owner."""
    here = replace_place(place("local", (), NOBODY, NOBODY), region="your own network")
    assert verdict(here, ZONE, ()) == (IN, "stays local: your own network")


def replace_place(row, **changes):
    """Return a place with some fields changed."""
    return row._replace(**changes)


@pytest.mark.parametrize(
    ("judged", "why"),
    [
        (
            judge("declared", ("IE",), CHINESE, AMERICAN),
            (
                "in IE (Amazon declares region region-1), but owned by Hikvision (seat CN), reached by CN National "
                "Intelligence Law and run on the network of Amazon (seat US), reached by US CLOUD Act"
            ),
        ),
        (judge("agreed", ("NL",), DUTCH, DUTCH), "in NL (two databases agree); owned by SURF (seat NL)"),
        (
            judge("agreed", ("NL",), DUTCH, AMERICAN),
            "in NL (two databases agree), but run on the network of Amazon (seat US), reached by US CLOUD Act",
        ),
        (
            judge("single", ("CN",), NOBODY, NOBODY),
            "in CN (one database says so), outside the EEA; owner cannot be told: AS64500 Example AS is not listed",
        ),
        (
            judge("disputed", ("NL", "US"), NOBODY, AMERICAN),
            "cannot tell where: NL or US (the databases disagree); owned by Amazon (seat US)",
        ),
        (
            judge("anycast", (), NOBODY, AMERICAN),
            "cannot tell where: one address in many places at once (anycast); owned by Amazon (seat US)",
        ),
        (
            judge("agreed", ("DE",)),
            "in DE (two databases agree), but whose hands it is in cannot be told: AS64500 Example AS is not listed",
        ),
    ],
)
def test_reasons_in_full(judged, why):
    """The reasons, as they are read out."""
    assert judged.why == why


def test_a_group_without_listed_laws_answers_to_its_seat():
    """Where the law table says nothing, the seat's own law is named."""
    swiss = Group("ch", "Swiss Co", "CH", (), (), "", "")
    assert judge("agreed", ("NL",), swiss).why.endswith("owned by Swiss Co (seat CH), reached by the law of CH")


def test_an_address_without_a_network_is_said_to_have_none():
    """Where not even an AS is known, the reason says that."""
    bare = place("unknown", (), NOBODY, NOBODY)._replace(asn=0, as_name="")
    assert verdict(bare, ZONE, ()).why.endswith("no source names its network")


# --- the atlas, over small tables ---

TABLE_OWNERS = Owners(
    [
        {
            "id": "amazon",
            "name": "Amazon",
            "seat": "US",
            "providers": ["aws"],
            "asns": [16509],
            "names": ["amazonaws.com"],
            "source": "",
            "checked": "2026-01-01",
        },
        {
            "id": "hik",
            "name": "Hikvision",
            "seat": "CN",
            "names": ["hik-connect.com"],
            "source": "",
            "checked": "2026-01-01",
        },
        {"id": "surf", "name": "SURF", "seat": "NL", "asns": [1103], "source": "", "checked": "2026-01-01"},
        {"id": "dns", "name": "Dns Co", "seat": "US", "source": "", "checked": "2026-01-01"},
    ],
    {"US": ["US CLOUD Act"], "CN": ["CN National Intelligence Law"]},
)


def source(name, answers):
    """Return a data file that answers from a table by prefix, the first that fits."""
    nets = {ip_network(prefix): found for prefix, found in answers.items()}

    def find(text):
        address = ip_address(text)
        for net, found in nets.items():
            if address.version == net.version and address in net:
                return found._replace(prefix=f"{address}/{net.prefixlen}")
        return NOTHING

    records = [NOTHING]

    def numbers(addresses):
        found = [find(address_text(int(high), int(low)))._replace(prefix="") for high, low in addresses]
        records.extend(answer for answer in dict.fromkeys(found) if answer not in records)
        return np.array([records.index(answer) for answer in found], np.int64)

    return Source(name, "2026-01-01", numbers, records, find)


FIRST = source(
    "first",
    {
        "52.0.0.0/8": Found("", "IE"),
        "145.0.0.0/8": Found("", "NL"),
        "7.0.0.0/8": Found("", "NL"),
        "6.0.0.0/8": Found("", "CN"),
    },
)
SECOND = source(
    "second",
    {
        "52.0.0.0/8": Found("", "IE"),
        "145.0.0.0/8": Found("", "NL"),
        "7.0.0.0/8": Found("", "US"),
        "2a00::/16": Found("", "DE"),
    },
)
NETWORKS = source(
    "networks",
    {
        "52.0.0.0/8": Found("", asn=16509, as_name="AMAZON-02"),
        "145.0.0.0/8": Found("", asn=1103, as_name="SURF B.V."),
        "5.0.0.0/8": Found("", asn=777, as_name="Edge Co"),
    },
)
CLOUDS = source(
    "clouds",
    {
        "52.1.0.0/16": Found("", provider="aws", region="eu-west-1"),
        "52.2.0.0/16": Found("", provider="aws", region="GLOBAL"),
        "52.3.0.0/16": Found("", provider="aws", region="mars-1"),
    },
)
KNOWLEDGE = Knowledge(
    countries=[FIRST, SECOND],
    networks=NETWORKS,
    clouds=CLOUDS,
    regions={("aws", "eu-west-1"): "IE"},
    nowhere=frozenset({("aws", "GLOBAL")}),
    special=Prefixes(
        [("10.0.0.0/8", Special("local", "private")), ("8.8.8.0/24", Special("anycast", "Dns Co DNS", "dns"))]
    ),
    edges={777: Special("edge", "Edge Co", "")},
    owners=TABLE_OWNERS,
    zone=ZONE,
    checked="2026-01-02",
)


@pytest.mark.parametrize(
    ("address", "name", "status", "country", "provider", "owner", "evidence", "answer"),
    [
        ("10.1.2.3", "", "local", "", "", "", "", IN),
        ("10.1.2.3", "dev.hik-connect.com", "local", "", "", "", "", IN),
        ("52.1.0.1", "", "declared", "IE", "Amazon", "Amazon", "cloud", OWN),
        ("52.1.0.1", "dev.hik-connect.com", "declared", "IE", "Amazon", "Hikvision", "name", OWN),
        ("52.2.0.1", "", "edge", "", "Amazon", "Amazon", "cloud", UNKNOWN),
        ("52.3.0.1", "", "agreed", "IE", "Amazon", "Amazon", "cloud", OWN),
        ("52.9.0.1", "", "agreed", "IE", "Amazon", "Amazon", "asn", OWN),
        ("145.1.1.1", "", "agreed", "NL", "SURF", "SURF", "asn", IN),
        ("145.1.1.1", "nobody.example", "agreed", "NL", "SURF", "SURF", "asn", IN),
        ("145.1.1.1", "x.amazonaws.com", "agreed", "NL", "SURF", "Amazon", "name", OWN),
        ("7.0.0.1", "", "disputed", "", "", "", "", UNKNOWN),
        ("6.0.0.1", "", "single", "CN", "", "", "", OUT),
        ("2a00::1", "", "single", "DE", "", "", "", UNKNOWN),
        ("8.8.8.8", "", "anycast", "", "Dns Co", "Dns Co", "prefix", UNKNOWN),
        ("8.8.8.8", "dev.hik-connect.com", "anycast", "", "Dns Co", "Hikvision", "name", UNKNOWN),
        ("5.0.0.1", "", "edge", "", "", "", "", UNKNOWN),
        ("203.0.114.1", "", "unknown", "", "", "", "", UNKNOWN),
    ],
)
def test_the_atlas_weighs_its_evidence(address, name, status, country, provider, owner, evidence, answer):
    """Location and owner come from the most trusted source; the name outranks the address for the owner only."""
    sheet = Atlas(KNOWLEDGE).sheet(address_words(address), name)
    found = sheet.place
    assert (found.location_status, found.country, found.provider) == (status, country, provider)
    assert (found.owner, found.evidence, sheet.verdict.verdict) == (owner, evidence, answer)


def test_a_place_names_every_country_that_was_said():
    """Both sides of a dispute are kept, most trusted first."""
    assert Atlas(KNOWLEDGE).sheet(address_words("7.0.0.1")).place.countries == ("NL", "US")


def test_flows_with_one_answer_share_a_row():
    """Judging keeps each answer once; flows point at it, and what was given stays where it was."""
    world = Atlas(KNOWLEDGE)
    first = world.judge(flows(40))
    before = list(world.places)
    again = world.judge(flows(40, names=("dev.hik-connect.com", "")))
    assert len(first.places) == len(set(zip(world.places, world.verdicts, strict=True)))
    assert world.places[: len(before)] == before
    assert again.judgement.shape == (40,)
    assert {world.places[row].owner for row in again.judgement[::2]} == {"Hikvision"}
    assert {world.places[row].owner for row in again.judgement[1::2]} == {""}


@given(
    st.lists(st.sampled_from(["52.1.0.1", "10.0.0.1", "7.0.0.1", "8.8.8.8", "145.1.1.1"]), max_size=30),
    st.integers(1, 4),
)
def test_a_small_memory_changes_no_answer(addresses, limit):
    """With a memory of a few addresses the answers are the same as with a large one."""

    def answers(size):
        world = Atlas(KNOWLEDGE, size)
        given = flows(len(addresses))
        words = np.array([address_words(text) for text in addresses], np.uint64).reshape(-1, 2)
        judged = world.judge(replace(given, remote=words))
        return [(judged.places[row], judged.verdicts[row]) for row in judged.judgement.tolist()]

    assert answers(limit) == answers(1000)


def test_no_flows_are_no_trouble():
    """An empty batch is judged."""
    assert len(Atlas(KNOWLEDGE).judge(flows(0)).judgement) == 0


def test_the_evidence_sheet_shows_what_each_source_said():
    """Each source has a line with its date, its prefix without host bits and its words; unlisted is said."""
    sheet = Atlas(KNOWLEDGE).sheet(address_words("52.1.2.3"), "dev.hik-connect.com")
    lines = {(row.source, row.built, row.prefix, row.said) for row in sheet.evidence}
    assert {
        ("clouds", "2026-01-01", "52.1.0.0/16", "aws, eu-west-1"),
        ("networks", "2026-01-01", "52.0.0.0/8", "AS16509 AMAZON-02"),
        ("first", "2026-01-01", "52.0.0.0/8", "IE"),
        ("owners", "2026-01-01", "", "name dev.hik-connect.com: Hikvision, seat CN"),
        ("owners", "2026-01-01", "", "cloud aws: Amazon, seat US"),
        ("regions", "2026-01-02", "", "aws eu-west-1 lies in IE"),
    } <= lines
    assert all(row.built for row in sheet.evidence)
    unknown = Atlas(KNOWLEDGE).sheet(address_words("203.0.114.1"))
    assert {row.said for row in unknown.evidence} == {"not listed"}


def weights(address, source):
    """Return what a source counts for on the sheet of an address."""
    return [row.weight for row in Atlas(KNOWLEDGE).sheet(address_words(address)).evidence if row.source == source]


def test_of_two_databases_in_dispute_none_decides():
    """The sheet gives no rank where the answer is that nobody can tell."""
    dispute = "disagrees, so it is disputed"
    assert (weights("7.0.0.1", "first"), weights("7.0.0.1", "second")) == ([dispute], [dispute])
    assert (weights("145.1.1.1", "first"), weights("145.1.1.1", "second")) == (["decides where"], ["agrees"])


def test_the_sheet_says_what_decides_who_runs_an_anycast_address():
    """A known prefix gives place and operator, so it is the line that says so."""
    assert weights("8.8.8.8", "special addresses") == ["decides where and who runs it"]
    assert weights("10.1.2.3", "special addresses") == ["decides where"]


def test_a_supposition_names_every_source_that_says_so():
    """Two databases that agree against what outranks them are both named."""
    rows = {"8.0.0.0/8": Found("", country="US")}
    know = replace(KNOWLEDGE, countries=[source("first", rows), source("second", rows)])
    assert Atlas(know).sheet(address_words("8.8.8.8")).changes[0] == "if it stood in US, as first and second say: OUT"


def test_a_dispute_on_one_side_of_the_border_can_be_on_the_other():
    """Where both databases name a country outside, it is said what it would be inside."""
    sides = [source(name, {"52.9.0.0/16": Found("", country=code)}) for name, code in (("a", "CN"), ("b", "US"))]
    found = Atlas(replace(KNOWLEDGE, countries=sides)).sheet(address_words("52.9.0.1"))
    assert (found.place.location_status, found.verdict.verdict) == ("disputed", OUT)
    assert f"if it stood in {ZONE.short}: OWN" in found.changes


@pytest.mark.parametrize(
    ("address", "said"),
    [
        ("2002:a01:203::1", "private addresses in 6to4 (RFC 3056)"),
        ("2001:0:0:0:0:0:f5fe:fdfc", "private addresses in Teredo (RFC 4380)"),
        ("64:ff9b::f000:1", "reserved addresses"),
    ],
)
def test_what_leads_nowhere_is_said_in_plain_words(address, said):
    """The reason can be read out, with the tunnel it came in."""
    table = Prefixes([("10.0.0.0/8", Special("local", "private")), ("240.0.0.0/4", Special("unknown", "reserved"))])
    why = Atlas(replace(KNOWLEDGE, special=table)).sheet(address_words(address)).verdict.why
    assert why == f"cannot tell where: {said} have no place of their own"


@pytest.mark.parametrize(
    ("name", "group"),
    [
        ("hik-connect.com", "Hikvision"),
        ("a.b.hik-connect.com", "Hikvision"),
        ("nothik-connect.com", ""),
        ("hik-connect.com.evil.example", ""),
        ("com", ""),
        ("", ""),
        (".", ""),
        ("." * 500, ""),
    ],
)
def test_an_owner_is_known_by_whole_labels(name, group):
    """A name belongs to a group where its domain is listed or above it, never by likeness."""
    assert TABLE_OWNERS.by_name(name).name == group


prefixes = st.one_of(
    st.tuples(st.integers(0, 2**32 - 1), st.integers(0, 32)).map(lambda pair: ip_network(pair, strict=False)),
    st.tuples(st.integers(0, 2**128 - 1), st.integers(0, 128)).map(
        lambda pair: ip_network((pair[0] | 1 << 127, pair[1]), strict=False)
    ),
)


@given(st.lists(prefixes, max_size=8), st.data())
def test_the_most_specific_prefix_wins(networks, data):
    """A look-up gives what a scan of all prefixes gives: the longest one that holds the address."""
    table = Prefixes((str(net), n) for n, net in enumerate(networks))
    asked = [net.network_address for net in networks] or [ip_address("1.2.3.4")]
    address = data.draw(st.sampled_from(asked)) + 0
    mapped = ip_network(f"::ffff:{address}/128").network_address if address.version == 4 else address

    def length(net):
        return net.prefixlen + 96 * (net.version == 4)

    def holds(net):
        wide = ip_network(
            (int(net.network_address) | (0xFFFF << 32 if net.version == 4 else 0), length(net)), strict=False
        )
        return (int(mapped) ^ int(wide.network_address)) >> (128 - length(net)) == 0

    fitting = [net for net in networks if holds(net)]
    found = table.find(*address_words(str(address)))
    assert (found[0] if found else None) == (str(max(fitting, key=length)) if fitting else None)


@given(st.lists(prefixes, max_size=12), st.lists(st.integers(0, 2**128 - 1), max_size=6))
def test_a_column_of_addresses_finds_what_a_scan_of_the_prefixes_finds(networks, others):
    """For the edges of all prefixes and any addresses, the number is that of the longest prefix; the last of equals."""
    mapped = [0 if net.version == 6 else 0xFFFF << 32 for net in networks]
    spans = [(int(net[0]) + add, int(net[-1]) + add) for net, add in zip(networks, mapped, strict=True)]
    asked = [edge + by for span in spans for edge in span for by in (-1, 0, 1) if 0 <= edge + by < 1 << 128] + others

    def scanned(address):
        fitting = [row for row, (first, last) in enumerate(spans) if first <= address <= last]
        return max(fitting, key=lambda row: (spans[row][0] - spans[row][1], row)) + 1 if fitting else 0

    columns = np.array([(number >> 64, number & (2**64 - 1)) for number in asked], np.uint64).reshape(-1, 2)
    table = Prefixes((str(net), row) for row, net in enumerate(networks))
    assert table.numbers(columns).tolist() == [scanned(number) for number in asked]


TABLES = {
    "checked": date(2026, 11, 23),
    "parts": {"GP": "FR", "AX": "FI"},
    "zone": [
        {"id": "eea", "name": "European Economic Area", "members": [
            {"since": date(1994, 1, 1), "countries": ["FR", "NL"]},
            {"since": date(1994, 1, 1), "until": date(2021, 1, 1), "countries": ["GB"]},
        ]},
        {"id": "wide", "name": "EEA and adequacy", "members_of": "eea", "decision": [
            {"country": "GB", "since": date(2021, 6, 28), "until": date(2031, 12, 27), "limits": ""},
            {"country": "CA", "since": date(2001, 12, 20), "limits": "commercial organisations only"},
            {"country": "US", "since": date(2023, 7, 10), "limits": "certified companies", "certified_only": True},
        ]},
    ],
}  # fmt: skip


@pytest.mark.parametrize(
    ("day", "eea", "wide"),
    [
        (date(1993, 12, 31), set(), set()),
        (date(2020, 12, 31), {"FR", "NL", "GP", "GB"}, {"FR", "NL", "GP", "GB", "CA"}),
        (date(2021, 1, 1), {"FR", "NL", "GP"}, {"FR", "NL", "GP", "CA"}),
        (date(2031, 12, 27), {"FR", "NL", "GP"}, {"FR", "NL", "GP", "CA"}),
        (None, {"FR", "NL", "GP"}, {"FR", "NL", "GP", "GB", "CA"}),
    ],
)
def test_a_zone_is_what_the_law_was_on_that_day(day, eea, wide):
    """Members and decisions count from their first day until the day they end; parts go with their member."""
    found = zones(TABLES, day)
    assert (set(found["eea"].countries), set(found["wide"].countries)) == (eea, wide)
    assert found["eea"].as_of == (day or TABLES["checked"]).isoformat()
    assert found["eea"].short == "the EEA"


def test_what_a_decision_leaves_out_is_kept_with_it():
    """A limit stands beside its country; companies that are certified one by one do not make a country."""
    wide = zones(TABLES)["wide"]
    assert wide.limits["CA"] == "commercial organisations only"
    assert "US" not in wide.countries


def test_the_shipped_zones_as_of_today_are_those_written_out():
    """The list of countries in the zones file is what its dates come to, parts aside."""
    tables = tomllib.loads((DATA / "zones.toml").read_text("utf-8"))
    for row in tables["zone"]:
        assert zones(tables)[row["id"]].countries - set(tables["parts"]) == set(row["countries"])


@pytest.mark.parametrize(("country", "answer"), [("CA", UNKNOWN), ("US", OUT), ("NL", UNKNOWN)])
def test_the_limits_of_a_decision_stand_in_the_reason(country, answer):
    """Who reads that Canada is in the zone reads for whom, and why the United States are not."""
    wide = zones(TABLES)["wide"]
    found = verdict(place("agreed", (country,), NOBODY, NOBODY), wide, ())
    assert found.verdict == answer
    assert ("limits of the decision" in found.why) == (country != "NL")


def test_a_zone_of_the_users_own_is_just_what_they_list():
    """Its parts come along."""
    assert own_zone("mine", ["FI", "CH"], TABLES).countries == {"FI", "AX", "CH"}


# --- over the shipped data ---


@pytest.fixture(scope="module")
def world():
    """Return the atlas over the shipped files."""
    return atlas(Config())


@pytest.mark.parametrize(
    ("address", "status"),
    [
        ("192.168.1.1", "local"),
        ("fe80::1", "local"),
        ("224.0.0.251", "local"),
        ("127.0.0.1", "local"),
        ("255.255.255.255", "local"),
        ("0.0.0.0", "local"),
        ("::1", "local"),
        ("ff02::fb", "local"),
        ("1.1.1.1", "anycast"),
        ("8.8.8.8", "anycast"),
        ("52.208.0.10", "declared"),
    ],
)
def test_well_known_addresses(world, address, status):
    """Special addresses are told apart by the registries, public resolvers are anycast, a cloud declares its region."""
    assert world.sheet(address_words(address)).place.location_status == status


@pytest.mark.parametrize(
    ("address", "status", "group"),
    [
        ("142.250.179.132", "edge", "Google"),  # www.google.com as seen from Amsterdam
        ("2a00:1450:400e:80c::2004", "edge", "Google"),
        ("34.90.0.1", "declared", "Google"),
        ("157.240.201.35", "edge", "Meta"),
        ("13.107.246.1", "edge", "Microsoft"),  # Azure Front Door
        ("13.32.0.1", "edge", "Amazon"),  # CloudFront
        ("15.197.1.1", "edge", "Amazon"),  # Global Accelerator
        ("205.251.192.1", "edge", "Amazon"),  # Route 53
        ("34.120.1.1", "edge", "Google"),  # global load balancer
        ("23.55.163.1", "edge", "Akamai"),
        ("151.101.1.1", "edge", "Fastly"),
        ("104.16.0.1", "edge", "Cloudflare"),
        ("45.60.1.1", "edge", ""),  # Imperva
        ("138.199.37.230", "edge", "Datacamp (CDN77)"),
        ("146.112.61.106", "edge", "Cisco"),
        ("216.239.35.0", "anycast", "Google"),
        ("198.41.0.4", "anycast", "Verisign"),
        ("2001:dc3::35", "anycast", "WIDE Project"),
    ],
)
def test_networks_that_are_everywhere_have_no_place(world, address, status, group):
    """What answers from many places at once is UNKNOWN, whatever country the databases give it; its hands are told."""
    sheet = world.sheet(address_words(address))
    assert (sheet.place.location_status, sheet.place.provider) == (status, group)
    assert sheet.verdict.verdict == (OWN if status == "declared" else UNKNOWN)


def test_a_server_of_the_ntp_pool_has_a_place(world):
    """The pool is no network: a volunteer's machine is where it stands, and its name says nothing of the hands."""
    plain = world.sheet(address_words("145.220.0.1"))
    named = world.sheet(address_words("145.220.0.1"), "2.nl.pool.ntp.org")
    assert (named.place, named.verdict) == (plain.place, plain.verdict)


def test_an_own_network_stays_local_whatever_else_it_is():
    """Within the user's networks nothing leaves, even where a public resolver has a prefix in there."""
    own = atlas(Config(networks=("8.0.0.0/8", "2a02:a450::/32")))
    for address in ("8.8.8.8", "8.1.2.3", "2a02:a450::1"):
        assert own.sheet(address_words(address)).place.region == "your own network"
    assert own.sheet(address_words("10.1.1.1")).place.region == "private"
    assert own.sheet(address_words("1.1.1.1")).place.location_status == "anycast"


def test_the_zone_decides():
    """The same British address is outside the EEA and within it together with the adequacy decisions."""
    countries = {name: knowledge(Config(zone=name)).zone.countries for name in ("eu27", "eea", "eea+adequacy", "ch")}
    assert "GB" not in countries["eea"]
    assert "GB" in countries["eea+adequacy"]
    assert "NO" in countries["eea"] - countries["eu27"]
    assert countries["ch"] == {"CH"}


@given(st.integers(0, 2**128 - 1))
def test_any_address_has_an_answer(address):
    """No address makes the atlas fail, and every answer has a reason."""
    sheet = shipped().sheet((address >> 64, address & (2**64 - 1)))
    assert sheet.verdict.why
    assert sheet.evidence


def shipped(cache=[]):  # noqa: B006 - kept on purpose
    """Return one atlas for all examples."""
    cache or cache.append(atlas(Config()))
    return cache[0]


@pytest.mark.parametrize(
    ("outer", "mechanism"),
    [
        ("64:ff9b::5.9.1.1", "NAT64 (RFC 6052)"),
        ("2002:509:101::1", "6to4 (RFC 3056)"),
        ("2001:0:4136:e378:8000:63bf:faf6:fefe", "Teredo (RFC 4380)"),
    ],
)
def test_an_address_that_carries_another_is_judged_by_it(outer, mechanism):
    """NAT64, 6to4 and Teredo addresses are where their IPv4 end is, and the sheet says so."""
    real = atlas(Config())
    sheet, plain = real.sheet(address_words(outer)), real.sheet(address_words("5.9.1.1"))
    assert (sheet.place, sheet.verdict) == (plain.place, plain.verdict)
    assert (sheet.evidence[0].source, sheet.evidence[0].built) == (mechanism, "")
    assert sheet.evidence[0].said == "carries 5.9.1.1: what follows is about that"
    assert sheet.evidence[1:] == plain.evidence
    assert ip_address(outer) in ip_network(sheet.evidence[0].prefix)


@given(st.integers(0, 2**64 - 1), st.integers(0, 2**64 - 1))
def test_only_three_prefixes_carry_an_address(high, low):
    """Any other address stands for itself."""
    prefixes = [ip_network(prefix) for prefix in ("64:ff9b::/96", "2002::/16", "2001::/32")]
    inside = any(IPv6Address(high << 64 | low) in prefix for prefix in prefixes)
    _, kinds = carried(np.array([[high, low]], np.uint64))
    assert bool(kinds[0]) == inside


@pytest.mark.parametrize(
    "address", ["240.1.1.1", "192.0.2.1", "2001:db8::1", "198.18.0.1", "2002:a00:1::1", "2001:0:53aa:64c::f5ff:fffe"]
)
def test_an_address_that_leads_nowhere_is_not_called_local(world, address):
    """What no network should carry, and a private address written into a tunnel's, cannot be told."""
    for name in ("", "www.kpn.com"):
        sheet = world.sheet(address_words(address), name)
        assert (sheet.place.location_status, sheet.verdict.verdict) == ("unknown", UNKNOWN)
        assert "have no place of their own" in sheet.verdict.why
