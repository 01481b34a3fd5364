"""What must hold of the data files, whoever edits them."""

import hashlib
import json
import lzma
import runpy
import shutil
import tomllib
from collections import Counter
from datetime import UTC, date, datetime
from ipaddress import ip_address, ip_network
from pathlib import Path

import maxminddb
import pytest

DATA = Path(__file__).parents[1] / "egress_watch" / "data"
TABLES = ("laws", "local-zones", "owners", "regions", "special", "zones")
# ISO 3166-1 alpha-2, the officially assigned codes.
ASSIGNED = (
    "AD AE AF AG AI AL AM AO AQ AR AS AT AU AW AX AZ BA BB BD BE BF BG BH BI BJ BL BM BN "
    "BO BQ BR BS BT BV BW BY BZ CA CC CD CF CG CH CI CK CL CM CN CO CR CU CV CW CX CY CZ "
    "DE DJ DK DM DO DZ EC EE EG EH ER ES ET FI FJ FK FM FO FR GA GB GD GE GF GG GH GI GL "
    "GM GN GP GQ GR GS GT GU GW GY HK HM HN HR HT HU ID IE IL IM IN IO IQ IR IS IT JE JM "
    "JO JP KE KG KH KI KM KN KP KR KW KY KZ LA LB LC LI LK LR LS LT LU LV LY MA MC MD ME "
    "MF MG MH MK ML MM MN MO MP MQ MR MS MT MU MV MW MX MY MZ NA NC NE NF NG NI NL NO NP "
    "NR NU NZ OM PA PE PF PG PH PK PL PM PN PR PS PT PW PY QA RE RO RS RU RW SA SB SC SD "
    "SE SG SH SI SJ SK SL SM SN SO SR SS ST SV SX SY SZ TC TD TF TG TH TJ TK TL TM TN TO "
    "TR TT TV TW TZ UA UG UM US UY UZ VA VC VE VG VI VN VU WF WS YE YT ZA ZM ZW"
)
COUNTRIES = frozenset(ASSIGNED.split())


def table(name):
    """Return one curated table."""
    return tomllib.loads((DATA / f"{name}.toml").read_text(encoding="utf-8"))


MANIFEST = json.loads((DATA / "manifest.json").read_text(encoding="utf-8"))
TREES = [row for row in MANIFEST if row["file"].endswith(".mmdb")]
LAWS, LOCAL, OWNERS, REGIONS, SPECIAL, ZONES = (table(name) for name in TABLES)
GROUPS = OWNERS["group"]
BY_ZONE = {row["id"]: row for row in ZONES["zone"]}
TIES = [(row["id"], tie) for row in GROUPS for tie in row.get("ties", [])]
DECISIONS = BY_ZONE["eea+adequacy"]["decision"]
# Names of makers as the IEEE writes them in its registry, and the group they belong to.
REGISTERED = {
    "Axis Communications AB": "canon",
    "Bosch Rexroth AG": "bosch",
    "Bosch Security Systems, Inc.": "keenfinity",
    "Cisco Systems, Inc": "cisco",
    "Dell EMC": "dell",
    "Dell Inc.": "dell",
    "Ericsson AB": "ericsson",
    "Espressif Inc.": "espressif",
    "HANWHA VISION VIETNAM COMPANY LIMITED": "hanwha",
    "HUAWEI TECHNOLOGIES CO.,LTD": "huawei",
    "Hangzhou Ezviz Software Co.,Ltd.": "hikvision",
    "Hangzhou Hikvision Digital Technology Co.,Ltd.": "hikvision",
    "Hewlett Packard Enterprise": "hpe",
    "Hisilicon Technologies Co., Ltd": "huawei",
    "Huawei Device Co., Ltd.": "huawei",
    "Inspur Group Co., Ltd.": "inspur",
    "LENOVO(BEIJING)CO., LTD.": "lenovo",
    "Lenovo Mobile Communication Technology Ltd.": "lenovo",
    "Mobotix AG": "mobotix",
    "Nokia Solutions and Networks GmbH & Co. KG": "nokia",
    "Philips Lighting BV": "signify",
    "Philips Medical Systems - Cardiac and Monitoring Systems (CM": "philips",
    "Quectel Wireless Solutions Co.,Ltd.": "quectel",
    "Raspberry Pi (Trading) Ltd": "raspberry-pi",
    "Reolink Innovation Limited": "reolink",
    "Routerboard.com": "mikrotik",
    "SAMSUNG TECHWIN CO.,LTD": "hanwha",
    "Samsung Electronics Co.,Ltd": "samsung",
    "Siemens AG": "siemens",
    "Signify B.V.": "signify",
    "TP-LINK TECHNOLOGIES CO.,LTD.": "tp-link-china",
    "TP-Link Systems Inc": "tp-link",
    "Tuya Smart Inc.": "tuya",
    "UAB TELTONIKA NETWORKS": "teltonika",
    "Ubiquiti Inc": "ubiquiti",
    "Xiamen Milesight IoT Co., Ltd.": "milesight",
    "Xiaomi Communications Co Ltd": "xiaomi",
    "ZHEJIANG DAHUA TECHNOLOGYCO.,LTD": "dahua",
    "Zhejiang Uniview Technologies Co., Ltd.": "uniview",
    "Abbott Diagnostics": None,
}


@pytest.fixture(scope="module")
def unpack():
    """Return the function that unpacks the databases, loaded as the build loads it: from its file."""
    return runpy.run_path(str(DATA / "unpack.py"))["unpack"]


@pytest.fixture(scope="module")
def databases(unpack):
    """Return an open reader of each database by name."""
    unpack(DATA)
    return {row["name"]: maxminddb.open_database(DATA / row["file"]) for row in TREES}


@pytest.fixture(scope="module")
def networks(databases):
    """Return every AS number that originates a prefix."""
    return {record["autonomous_system_number"] for _, record in databases["origin-asn"]}


@pytest.fixture(scope="module")
def regions(databases):
    """Return every provider and region that the cloud database knows."""
    return {(record["provider"], record["region"]) for _, record in databases["cloud"]}


def repeated(values):
    """Return what occurs more than once."""
    return [value for value, times in Counter(values).items() if times > 1]


def called(name):
    """Return the ids of the groups that go by a name: as id, name or alias, in any case."""
    spoken = name.casefold()
    return [
        row["id"] for row in GROUPS
        if spoken in {each.casefold() for each in (row["id"], row["name"], *row.get("aliases", []))}
    ]  # fmt: skip


def maker(name):
    """Return the id of the group whose vendor name begins a registered one; the longest wins."""
    vendors = {vendor.casefold(): row["id"] for row in GROUPS for vendor in row.get("vendors", [])}
    return vendors.get(max((v for v in vendors if name.casefold().startswith(v)), key=len, default=""))


def holds(row, day):
    """Say whether a dated row of a zone counts on a day; `until` is the first day that does not."""
    return row["since"] <= day < row.get("until", date.max)


def on(zone, day):
    """Return the countries of a zone on a day."""
    row = BY_ZONE[zone]
    found = {country for each in row.get("members", []) if holds(each, day) for country in each["countries"]}
    found |= on(row["members_of"], day) if "members_of" in row else set()
    decided = (each for each in row.get("decision", []) if not each.get("certified_only") and holds(each, day))
    return found | {each["country"] for each in decided}


def span(network):
    """Return version, first and last address of a network."""
    return network.version, int(network.network_address), int(network.broadcast_address)


def test_the_manifest_names_every_packed_database_and_nothing_else():
    """One line of the manifest, one packed file."""
    assert {row["file"] + ".xz" for row in MANIFEST} == {path.name for path in DATA.glob("*.xz")}


@pytest.mark.parametrize("row", MANIFEST, ids=lambda row: row["name"])
def test_a_packed_database_holds_what_the_manifest_names(row):
    """Size and sha256 of the unpacked file are those in the manifest."""
    content = lzma.decompress((DATA / f"{row['file']}.xz").read_bytes())
    assert (hashlib.sha256(content).hexdigest(), len(content)) == (row["sha256"], row["bytes"])


@pytest.mark.parametrize("row", MANIFEST, ids=lambda row: row["name"])
def test_a_database_names_its_source_licence_and_date(row):
    """Nothing is shipped without publisher, licence, attribution, carrier and the date of the data."""
    assert row["source"]["publisher"]
    assert row["source"]["url"].startswith("https://")
    assert row["carrier"].keys() == {"package", "version"}
    assert row["kind"] in {"country", "asn", "cloud", "oui"}
    assert row["licence"] in {"CC-BY-4.0", "PDDL-1.0", "MIT"}
    assert row["attribution"]
    assert date(2026, 1, 1) < date.fromisoformat(row["built"]) < date(2027, 1, 1)


def test_no_database_comes_under_a_licence_that_forbids_passing_it_on(databases):
    """No MaxMind database is among the files, whatever its name."""
    kinds = [reader.metadata().database_type for reader in databases.values()]
    assert not [kind for kind in kinds if "geolite" in kind.lower() or "geoip2" in kind.lower()]


PUBLISHERS = table("publishers")


def test_every_shipped_database_can_be_updated_under_its_licence():
    """Kind, source and licence at the publisher are those of the shipped file that judges; addresses are https."""
    for row in TREES:
        (found,) = [each for each in PUBLISHERS["database"] if each["name"] == row["name"]]
        assert found["kind"] == row["kind"]
        if row["name"] != "cloud":  # gathered by a carrier under MIT, and by an update from each provider
            assert (found["source"], found["licence"]) == (row["source"], row["licence"])
            assert found["attribution"] == row["attribution"]
            assert found["urls"]
    urls = [url for rows in (PUBLISHERS["database"], PUBLISHERS["provider"]) for row in rows for url in row["urls"]]
    assert [url for url in urls if not url.startswith("https://")] == []


def test_every_provider_of_the_cloud_table_publishes_its_list(regions):
    """No provider in the table is without an address to update it from."""
    assert {row["name"] for row in PUBLISHERS["provider"]} == {provider for provider, _ in regions}


@pytest.mark.parametrize("row", TREES, ids=lambda row: row["name"])
def test_the_canaries_hold_in_the_shipped_databases(databases, row):
    """Every one, not only most: a canary that does not hold today was never well known."""
    wanted = table("canaries")[row["kind"]]
    assert len(wanted) >= 12
    assert {address: answer(databases[row["name"]].get(address)) for address in wanted} == wanted


def answer(record):
    """Return country, AS number, or provider and region of a record."""
    if "provider" in record:
        return f"{record['provider']} {record['region']}".strip()
    asn = record.get("autonomous_system_number")
    return asn or record.get("country_code") or record["country"]["iso_code"]


def test_a_border_group_in_its_parents_country_is_no_region_of_its_own():
    """Each counts to a mapped region that its name begins with, and has no other country in regions.toml."""
    groups = table("border-groups")["aws"]
    assert groups.keys() <= REGIONS["aws"].keys()
    listed = [(parent, group) for parent, rows in groups.items() for group in rows]
    assert repeated(group for _, group in listed) == []
    assert [group for parent, group in listed if not group.startswith(parent + "-") or group in REGIONS["aws"]] == []


@pytest.mark.parametrize("name", ["publishers", "canaries", "border-groups"])
def test_a_table_for_updates_says_when_it_was_checked(name):
    """The date stands at the top of the file."""
    assert type(table(name)["checked"]) is date


def test_every_notice_that_a_licence_asks_for_is_given():
    """NOTICE names each publisher by its attribution's name and its link."""
    notice = (DATA.parents[1] / "NOTICE").read_text(encoding="utf-8")
    owed = ["IP Geolocation by DB-IP", "https://db-ip.com", "Creative Commons Attribution 4.0", "sapics"]
    owed += [row["carrier"]["package"] for row in MANIFEST]
    assert [words for words in owed if words not in notice] == []


@pytest.mark.parametrize("row", TREES, ids=lambda row: row["name"])
def test_a_database_answers_for_both_families(databases, row):
    """Each file holds IPv4 and IPv6 in one tree."""
    assert databases[row["name"]].metadata().ip_version == 6


def test_the_cloud_database_says_when_its_ranges_were_gathered(databases):
    """Its build date is that of the data, so that the same data gives the same bytes."""
    entry = next(row for row in MANIFEST if row["name"] == "cloud")
    assert datetime.fromtimestamp(databases["cloud"].metadata().build_epoch, UTC).date().isoformat() == entry["built"]


@pytest.mark.parametrize(
    ("address", "provider", "region"),
    [
        ("3.248.0.1", "aws", "eu-west-1"),
        ("52.80.0.1", "aws", "cn-north-1"),
        ("2a05:d014::1", "aws", "eu-central-1"),
        ("13.69.64.1", "azure", "westeurope"),  # inside service tags without a region
        ("34.90.0.1", "gcp", "europe-west4"),
        ("188.166.0.1", "digitalocean", "NL-NH"),
        ("104.16.0.1", "cloudflare", ""),
        ("83.119.128.1", "aws", "eu-central-1-ist-1"),  # Istanbul, which AWS counts to Frankfurt
        ("2a05:d01b::1", "aws", "eu-central-1-ist-1"),
        ("13.160.16.1", "aws", "eu-central-1-waw-1"),
        ("13.160.0.1", "aws", "eu-central-1"),  # Hamburg: the country of its parent
        ("96.0.16.1", "aws", "us-east-1-lim-1"),
        ("13.107.246.1", "azure", "GLOBAL"),  # Azure Front Door
    ],
)
def test_a_cloud_address_has_its_provider_and_region(databases, address, provider, region):
    """The most specific prefix with a region answers; one without never hides it."""
    assert databases["cloud"].get(address) == {"provider": provider, "region": region}


def test_unpacking_repairs_a_damaged_database_and_leaves_a_sound_one(unpack, tmp_path):
    """Only what is missing or different from the manifest is written."""
    entry = next(row for row in MANIFEST if row["name"] == "cloud")
    (tmp_path / "manifest.json").write_text(json.dumps([entry]), encoding="utf-8")
    shutil.copy(DATA / "cloud.mmdb.xz", tmp_path)
    (tmp_path / "cloud.mmdb").write_bytes(b"damaged")
    assert unpack(tmp_path) == [tmp_path / "cloud.mmdb"]
    assert hashlib.sha256((tmp_path / "cloud.mmdb").read_bytes()).hexdigest() == entry["sha256"]
    assert unpack(tmp_path) == []


def test_unpacking_refuses_a_packed_file_that_is_another(unpack, tmp_path):
    """A foreign file never appears under the database's name."""
    entry = next(row for row in MANIFEST if row["name"] == "cloud")
    (tmp_path / "manifest.json").write_text(json.dumps([entry]), encoding="utf-8")
    (tmp_path / "cloud.mmdb.xz").write_bytes(lzma.compress(b"something else"))
    with pytest.raises(ValueError, match="manifest"):
        unpack(tmp_path)
    assert not list(tmp_path.glob("*.mmdb")) + list(tmp_path.glob("*.part"))


@pytest.mark.parametrize("name", TABLES)
def test_a_table_says_when_it_was_checked(name):
    """The date stands at the top of the file, or at every group."""
    rows = [table(name)] if name != "owners" else GROUPS
    assert {type(row["checked"]) for row in rows} == {date}


def test_every_entry_names_its_source():
    """Nothing stands in a table that nobody can look up."""
    rows = [*GROUPS, *SPECIAL["prefix"], *SPECIAL["network"], *SPECIAL["local"], *ZONES["zone"], *LOCAL["zone"]]
    rows += [tie for _, tie in TIES] + DECISIONS + [each for row in ZONES["zone"] for each in row.get("members", [])]
    assert [row for row in rows if not row["source"].strip()] == []


def test_every_group_has_the_same_keys():
    """A reader never meets a group with a key missing; aliases, vendors and ties are optional, and never empty."""
    keys = {"id", "name", "parent", "seat", "laws", "providers", "asns", "names", "source", "checked"}
    optional = {"aliases", "vendors", "ties"}
    assert [row["id"] for row in GROUPS if row.keys() - optional != keys] == []
    assert [row["id"] for row in GROUPS for key in optional if row.get(key) == []] == []


def test_the_groups_are_many_enough():
    """At least 80 groups and 400 AS numbers."""
    assert len(GROUPS) >= 80
    assert len({asn for row in GROUPS for asn in row["asns"]}) >= 400


def test_the_tables_stay_small():
    """They are read at every start: less than 200 kB of TOML in all."""
    assert sum((DATA / f"{name}.toml").stat().st_size for name in TABLES) < 200_000


@pytest.mark.parametrize(
    ("name", "group"),
    [
        *(
            (name, name.lower().replace(" ", "-"))
            for name in (
                "Amazon", "Microsoft", "Google", "IBM", "HPE", "Cisco", "Oracle", "Alibaba", "Tencent", "Baidu",
                "Huawei", "Lenovo", "Ping An", "Inspur", "SenseTime", "Malong", "Hikvision", "Dahua", "Accenture",
                "Deloitte", "Atos", "KPN", "Ericsson", "Nokia", "Signify", "Tuya",
            )
        ),
        ("dell emc", "dell"), ("azure", "microsoft"), ("onedrive", "microsoft"), ("alibaba cloud", "alibaba"),
        ("city brain", "alibaba"), ("alipay", "ant"), ("tencent cloud", "tencent"), ("wechat", "tencent"),
        ("wechat pay", "tencent"), ("hisilicon", "huawei"), ("huawei cloud", "huawei"), ("vision-box", "amadeus"),
        ("malong technologies", "malong"), ("axis", "canon"), ("aws", "amazon"),
    ],
)  # fmt: skip
def test_every_party_can_be_asked_for_by_the_name_people_use(name, group):
    """Its id, its name or an alias, in any case, leads to one group."""
    assert called(name) == [group]


def test_no_two_groups_go_by_one_name():
    """Ids, names and aliases together point to one group each, and no group repeats itself."""
    spoken = [
        each.casefold()
        for row in GROUPS
        for each in {row["id"].casefold(), row["name"].casefold(), *row.get("aliases", [])}
    ]
    assert repeated(spoken) == []


@pytest.mark.parametrize(("name", "group"), REGISTERED.items())
def test_a_maker_is_known_by_its_name_in_the_registry(name, group):
    """The longest beginning wins: lamps of Philips Lighting are Signify's; a namesake belongs to nobody."""
    assert maker(name) == group


def test_no_two_groups_share_a_vendor_name():
    """Each beginning of a maker's name belongs to one group, and is long enough to mean it."""
    vendors = [vendor.casefold() for row in GROUPS for vendor in row.get("vendors", [])]
    assert repeated(vendors) == []
    assert min(map(len, vendors)) >= 3


@pytest.mark.parametrize("key", ["asns", "names", "providers"])
def test_nothing_belongs_to_two_groups(key):
    """An AS number, a domain suffix and a provider each point to one group, once."""
    assert repeated(value for row in GROUPS for value in row[key]) == []


def test_no_group_occurs_twice():
    """Ids and names of groups are unique."""
    assert repeated(row["id"] for row in GROUPS) == []
    assert repeated(row["name"] for row in GROUPS) == []


def test_no_suffix_lies_below_another():
    """A domain below one that is listed is either said twice or claimed by two groups."""
    suffixes = {name for row in GROUPS for name in row["names"]}
    above = {name: [name.split(".", dots)[-1] for dots in range(1, name.count(".") + 1)] for name in suffixes}
    assert [name for name in suffixes if suffixes.intersection(above[name])] == []


def test_a_suffix_is_a_plain_domain_name():
    """Lower case, at least two labels, no stray dot: what a server name is compared with."""
    suffixes = [name for row in GROUPS for name in row["names"]]
    assert [s for s in suffixes if s != s.lower().strip(". ") or "." not in s or ".." in s] == []


def test_every_as_number_originates_a_prefix(networks):
    """No listed AS number is a slip of the pen."""
    listed = {asn for row in GROUPS for asn in row["asns"]} | {row["asn"] for row in SPECIAL["network"]}
    assert listed - networks == set()


def test_every_provider_has_an_owner(regions):
    """Each provider in the cloud database belongs to a group, and no group names an unknown one."""
    assert {name for row in GROUPS for name in row["providers"]} == {provider for provider, _ in regions}


def test_a_tie_names_its_other_end_and_its_date():
    """The other end is another listed group, or a plain name with its country; the date is a year or finer."""
    ids = {row["id"] for row in GROUPS}
    for owner, tie in TIES:
        assert tie["to"] != owner
        assert tie["to"] in ids or tie["to"].endswith(")"), tie
        assert tie["relation"]
        assert 2000 <= int(tie["date"][:4]) <= 2026


def test_the_known_ties_are_there():
    """The links this project was asked about are told."""
    found = {(owner, tie["to"]) for owner, tie in TIES}
    path = ("alibaba", "huawei", "ping-an", "tencent")
    asked = {(one, other) for one in path for other in path if one != other}
    asked |= {("kpn", "huawei"), ("accenture", "alibaba"), ("accenture", "malong"), ("deloitte", "sensetime")}
    asked |= {("microsoft", "inspur"), ("ibm", "inspur"), ("motorola-solutions", "huawei")}
    assert asked - found == set()


def test_every_seat_has_laws():
    """A group's seat is a country, and at least one law reaches from it."""
    assert {row["seat"] for row in GROUPS} <= LAWS["seats"].keys() <= COUNTRIES
    assert all(LAWS["seats"].values())


def test_every_law_has_a_source_and_every_source_a_law():
    """Laws are spelt the same wherever they occur."""
    used = {law for laws in LAWS["seats"].values() for law in laws} | {law for row in GROUPS for law in row["laws"]}
    assert used == LAWS["sources"].keys()


def test_every_member_of_the_eea_answers_to_the_gdpr():
    """The seats under the EU GDPR are exactly the 30 countries of the EEA."""
    under = {seat for seat, laws in LAWS["seats"].items() if "EU GDPR" in laws}
    assert under == set(BY_ZONE["eea"]["countries"])


def test_every_region_is_mapped_or_said_to_be_unmapped(regions):
    """Mapped and unmapped together are all regions of the cloud database, and nothing is both."""
    mapped = {(provider, region) for provider in REGIONS["sources"] for region in REGIONS[provider]}
    unmapped = {(row["provider"], row["region"]) for row in REGIONS["unmapped"]}
    assert mapped | unmapped == {pair for pair in regions if pair[1]}
    assert mapped & unmapped == set()
    assert all(row["reason"] for row in REGIONS["unmapped"])


def test_every_region_lies_in_a_country():
    """Regions map to ISO codes; Norway's is a string, not a word for false."""
    found = {country for provider in REGIONS["sources"] for country in REGIONS[provider].values()}
    assert found <= COUNTRIES
    assert REGIONS["azure"]["norwaye"] == "NO"


@pytest.mark.parametrize(
    ("provider", "region", "country"),
    [
        ("aws", "cn-north-1", "CN"),
        ("aws", "eu-central-1-ist-1", "TR"),
        ("aws", "eu-central-2", "CH"),
        ("aws", "eusc-de-east-1", "DE"),
        ("azure", "uksouth", "GB"),
        ("azure", "westeurope", "NL"),
        ("gcp", "europe-west2", "GB"),
        ("oci", "eu-zurich-1", "CH"),
        ("oci", "eu-jovanovac-1", "RS"),
    ],
)
def test_a_region_that_sounds_european_may_lie_outside_the_union(provider, region, country):
    """The country is that of the place, whatever the region's name suggests."""
    assert REGIONS[provider][region] == country


@pytest.mark.parametrize("row", LOCAL["zone"], ids=lambda row: row["region"])
def test_a_local_zone_answers_with_its_own_region_and_country(databases, row):
    """Each prefix answers with the zone, not with its parent; its country is another than the parent's."""
    found = {databases["cloud"].get(ip_network(prefix)[1])["region"] for prefix in row["prefixes"]}
    assert found == {row["region"]}
    assert row["region"].startswith(row["parent"] + "-")
    assert REGIONS[row["provider"]][row["region"]] == row["country"] != REGIONS[row["provider"]][row["parent"]]


def test_the_country_databases_confirm_every_local_zone(databases):
    """No prefix is a slip of the pen: the country database built from the operators' feeds says the same."""
    said = {
        (row["country"], databases["server-country"].get(ip_network(prefix)[1])["country_code"])
        for row in LOCAL["zone"] for prefix in row["prefixes"]
    }  # fmt: skip
    assert [pair for pair in said if pair[0] != pair[1]] == []


def test_a_local_zone_is_written_strictly_and_once():
    """No host bits, canonical text, no repetition; the evidence is one of the two named."""
    prefixes = [prefix for row in LOCAL["zone"] for prefix in row["prefixes"]]
    assert [text for text in prefixes if str(ip_network(text)) != text] == []
    assert repeated(prefixes) == []
    assert {row["source"] for row in LOCAL["zone"]} == {"feed", "databases"}


def test_the_zones_are_as_large_as_the_treaties_say():
    """27 members of the Union, 30 of the EEA, and every zone of real countries, each once."""
    assert (len(BY_ZONE["eu27"]["countries"]), len(BY_ZONE["eea"]["countries"])) == (27, 30)
    assert set(BY_ZONE["eea"]["countries"]) - set(BY_ZONE["eu27"]["countries"]) == {"IS", "LI", "NO"}
    for row in BY_ZONE.values():
        assert set(row["countries"]) <= COUNTRIES
        assert repeated(row["countries"]) == []
        assert isinstance(row["as_of"], date)


@pytest.mark.parametrize("zone", BY_ZONE)
def test_a_zone_by_date_is_today_what_its_list_says(zone):
    """Joined and decided, counted on the day the table was checked, are the countries of the zone."""
    assert on(zone, ZONES["checked"]) == set(BY_ZONE[zone]["countries"])


@pytest.mark.parametrize(
    ("zone", "day", "inside", "outside"),
    [
        ("eu27", date(2020, 1, 31), "GB HR", "NO US"),
        ("eu27", date(2020, 2, 1), "HR", "GB"),
        ("eu27", date(2013, 6, 30), "RO", "HR"),
        ("eu27", date(1994, 12, 31), "DE DK", "AT FI SE"),
        ("eea", date(1995, 1, 1), "IS NO SE", "LI PL"),
        ("eea", date(2020, 12, 31), "GB LI", "CH"),
        ("eea", date(2021, 1, 1), "IS", "GB"),
        ("eea+adequacy", date(2021, 3, 1), "GB JP", "KR US BR"),
        ("eea+adequacy", date(2003, 1, 1), "HU CH CA", "PL US AR"),
        ("eea+adequacy", date(2026, 1, 25), "GB KR", "BR US"),
        ("eea+adequacy", date(2031, 12, 28), "KR BR", "GB"),
    ],
)
def test_a_zone_is_known_as_of_a_date(zone, day, inside, outside):
    """Accessions, the departure of the United Kingdom and each decision count from their day on."""
    assert set(inside.split()) <= on(zone, day)
    assert set(outside.split()).isdisjoint(on(zone, day))


@pytest.mark.parametrize(
    "day", [date(1973, 1, 1), date(1986, 1, 1), date(2004, 5, 1), date(2019, 12, 31), date(2026, 1, 1)]
)
def test_the_union_grew_by_the_treaties_and_shrank_once(day):
    """9, 12, 25, 28 and 27 members."""
    sizes = {1973: 9, 1986: 12, 2004: 25, 2019: 28, 2026: 27}
    assert len(on("eu27", day)) == sizes[day.year]


def test_a_decision_says_since_when_for_whom_and_where_it_stands():
    """Every decision has the same keys; the end and the restriction to certified companies are optional."""
    optional = {"until", "certified_only"}
    assert {frozenset(row.keys() - optional) for row in DECISIONS} == {
        frozenset({"country", "since", "limits", "source"})
    }
    assert all(row["since"] < row.get("until", date.max) for row in DECISIONS)
    assert {row["country"] for row in DECISIONS if row.get("certified_only")} == {"US"}
    assert {row["country"] for row in DECISIONS} <= COUNTRIES


def test_parts_of_a_member_belong_to_a_member():
    """Réunion counts as France: each part has a code of its own and a member it belongs to."""
    assert ZONES["parts"].keys() <= COUNTRIES - set(BY_ZONE["eea"]["countries"])
    assert set(ZONES["parts"].values()) <= set(BY_ZONE["eu27"]["countries"])


@pytest.mark.parametrize("key", ["prefix", "local"])
def test_a_prefix_is_written_strictly_and_once(key):
    """No host bits, canonical text, no repetition."""
    prefixes = [row["prefix"] for row in SPECIAL[key]]
    assert [text for text in prefixes if str(ip_network(text)) != text] == []
    assert repeated(prefixes) == []


def test_special_places_belong_to_listed_groups():
    """The group is an owner's id, or empty; the status is one the program knows."""
    rows = SPECIAL["prefix"] + SPECIAL["network"]
    assert {row["group"] for row in rows} <= {row["id"] for row in GROUPS} | {""}
    assert {row["status"] for row in rows} == {"anycast", "edge"}
    assert all(row["name"] for row in rows)


def test_hosting_is_no_edge():
    """Linode is hosting with a place, although it is Akamai's; so is Google's cloud, and Amazon's and Microsoft's."""
    assert {row["asn"] for row in SPECIAL["network"]}.isdisjoint({63949, 48337, 396982, 16509, 8075})


@pytest.mark.parametrize("zone", ["root-servers.net", "gtld-servers.net"])
def test_all_thirteen_root_servers_are_known_by_both_families(zone):
    """From a to m, each has an IPv4 and an IPv6 address listed; so have the servers of .com and .net."""
    servers = Counter(row["name"] for row in SPECIAL["prefix"] if row["name"].endswith(zone))
    assert servers == {f"{letter}.{zone}": 2 for letter in "abcdefghijklm"}


@pytest.mark.parametrize(
    ("address", "name"),
    [
        ("1.1.1.1", "Cloudflare DNS"),
        ("8.8.8.8", "Google Public DNS"),
        ("9.9.9.9", "Quad9"),
        ("208.67.222.222", "OpenDNS"),
        ("223.5.5.5", "AliDNS"),
        ("119.29.29.29", "DNSPod Public DNS"),
        ("45.90.28.1", "NextDNS"),
        ("2620:fe::fe", "Quad9"),
        ("151.101.1.1", "Fastly"),
        ("104.16.0.1", "Cloudflare"),
        ("192.5.6.30", "a.gtld-servers.net"),
        ("2a13:1001::86:54:11:1", "DNS4EU"),
        ("193.110.81.0", "dns0.eu"),
        ("94.140.14.14", "AdGuard DNS"),
        ("2620:119:35::35", "OpenDNS"),
        ("216.239.35.0", "Google Public NTP"),
        ("4.2.2.2", "Level 3 DNS"),
        ("2606:1a40::", "Control D"),
        ("149.112.121.10", "CIRA Canadian Shield"),
    ],
)
def test_an_address_without_a_place_has_a_name(address, name):
    """The narrowest listed prefix names the service that answers from everywhere."""
    found = [row for row in SPECIAL["prefix"] if ip_address(address) in ip_network(row["prefix"])]
    assert max(found, key=lambda row: ip_network(row["prefix"]).prefixlen)["name"] == name


def test_no_public_cloud_address_counts_as_local(databases):
    """A local prefix never covers a prefix of the cloud database."""
    local = [span(ip_network(row["prefix"])) for row in SPECIAL["local"]]
    clouds = [span(network) for network, _ in databases["cloud"]]
    assert len(clouds) > 10_000
    assert [
        one for one in clouds for each in local if one[0] == each[0] and each[1] <= one[2] and one[1] <= each[2]
    ] == []
