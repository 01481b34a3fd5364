"""The cloud table from the providers' own lists: each form is read, and no provider falls out."""

from __future__ import annotations

import json
import re
from collections import defaultdict
from contextlib import suppress
from datetime import UTC, date, datetime
from ipaddress import ip_network

import maxminddb
import pytest
from hypothesis import given
from hypothesis import strategies as st
from running import run
from serving import LIMITS, database, moved, send, serving, status, table_of

from egress_watch.config import Config
from egress_watch.library import DATA, data_files
from egress_watch.library.clouds import claims, kept, write_table
from egress_watch.library.gather import Before, before, built, gather
from egress_watch.library.providers import FORMS, listing
from egress_watch.library.publishers import Limits, Provider, publishers

AWS = {
    "syncToken": "1", "createDate": "2026-11-20-22-13-12",
    "prefixes": [
        {"ip_prefix": "3.248.0.0/13", "region": "eu-west-1", "service": "EC2", "network_border_group": "eu-west-1"},
        {"ip_prefix": "18.184.0.0/15", "region": "eu-central-1", "service": "AMAZON",
         "network_border_group": "eu-central-1"},
        {"ip_prefix": "83.119.128.0/20", "region": "eu-central-1", "service": "EC2",
         "network_border_group": "eu-central-1-ist-1"},
        {"ip_prefix": "83.119.128.0/20", "region": "eu-central-1", "service": "AMAZON",
         "network_border_group": "eu-central-1"},
        {"ip_prefix": "13.160.0.0/20", "region": "eu-central-1", "service": "EC2",
         "network_border_group": "eu-central-1-ham-1"},
        {"ip_prefix": "3.4.1.0/24", "region": "eu-west-1", "service": "EC2", "network_border_group": "eu-west-1-new-1"},
        {"ip_prefix": "99.77.0.0/24", "region": "GLOBAL", "service": "AMAZON", "network_border_group": "GLOBAL"},
    ],
    "ipv6_prefixes": [
        {"ipv6_prefix": "2a05:d014::/35", "region": "eu-central-1", "service": "EC2",
         "network_border_group": "eu-central-1"},
    ],
}  # fmt: skip
AZURE = {
    "changeNumber": 1, "cloud": "Public",
    "values": [
        {"name": "AzureCloud.westeurope", "id": "AzureCloud.westeurope",
         "properties": {"region": "westeurope", "addressPrefixes": ["13.69.64.0/18", "2603:1020:206::/47"]}},
        {"name": "Storage", "id": "Storage", "properties": {"region": "", "addressPrefixes": ["13.69.64.0/24"]}},
        {"name": "AzureFrontDoor.FirstParty", "id": "x",
         "properties": {"region": "", "addressPrefixes": ["13.107.246.0/24"]}},
    ],
}  # fmt: skip
GCP = {
    "syncToken": "1", "creationTime": "2026-11-21T13:04:21.98765",
    "prefixes": [
        {"ipv4Prefix": "34.90.0.0/15", "service": "Google Cloud", "scope": "europe-west4"},
        {"ipv6Prefix": "2600:1900:4010::/44", "service": "Google Cloud", "scope": "europe-west1"},
    ],
}  # fmt: skip
OCI = {
    "last_updated_timestamp": "2026-11-19T10:00:00.123456",
    "regions": [{"region": "eu-amsterdam-1", "cidrs": [{"cidr": "129.148.0.0/20", "tags": ["OCI"]}]}],
}
DIGITALOCEAN = "# a geofeed\n188.166.0.0/18,NL,NL-NH,Amsterdam,1098\n2a03:b0c0:2::/48,NL,NL-NH,Amsterdam,\n\n"
LISTS = {
    "aws": json.dumps(AWS), "azure": json.dumps(AZURE), "gcp": json.dumps(GCP), "oci": json.dumps(OCI),
    "digitalocean": DIGITALOCEAN, "cloudflare": "104.16.0.0/13\n2606:4700::/32\n",
}  # fmt: skip
TODAY = date(2026, 11, 24)
NO_TABLE = Before([], {})


def limits(**more):
    """Return the limits of the tests."""
    return Limits(**{**LIMITS, **more})


def gathered(tmp_path, texts, old=NO_TABLE, today=TODAY):
    """Gather a table from lists that are served here; return it and what became of each provider."""
    with serving({f"/{name}": text if callable(text) else text.encode() for name, text in texts.items()}) as url:
        providers = tuple(Provider(name, (f"{url}/{name}",)) for name in texts)
        done = gather(providers, old, tmp_path / "cloud.mmdb", limits(), today)
    return tmp_path / "cloud.mmdb", done


def said(path, address):
    """Return provider and region of an address."""
    with maxminddb.open_database(path) as reader:
        row = reader.get(address)
    return row and (row["provider"], row["region"])


@pytest.mark.parametrize(
    ("address", "answer"),
    [
        ("3.248.0.1", ("aws", "eu-west-1")),
        ("83.119.128.1", ("aws", "eu-central-1-ist-1")),  # Istanbul by its border group, not Frankfurt
        ("13.160.0.1", ("aws", "eu-central-1")),  # Hamburg: the country of its parent
        ("3.4.1.1", ("aws", "eu-west-1-new-1")),  # a zone nobody looked up is not taken for Ireland
        ("99.77.0.1", ("aws", "GLOBAL")),
        ("2a05:d014::1", ("aws", "eu-central-1")),
        ("13.69.64.1", ("azure", "westeurope")),  # the service tag without a region does not hide it
        ("2603:1020:206::1", ("azure", "westeurope")),
        ("13.107.246.1", ("azure", "GLOBAL")),
        ("34.90.0.1", ("gcp", "europe-west4")),
        ("2600:1900:4010::1", ("gcp", "europe-west1")),
        ("129.148.0.1", ("oci", "eu-amsterdam-1")),
        ("188.166.0.1", ("digitalocean", "NL-NH")),
        ("2a03:b0c0:2::1", ("digitalocean", "NL-NH")),
        ("104.16.0.1", ("cloudflare", "")),
        ("145.53.1.1", None),
    ],
)
def test_each_provider_is_read_in_its_own_form(tmp_path_factory, address, answer):
    """Six lists as their providers publish them become one table."""
    path, done = gathered(tmp_path_factory.mktemp("lists"), LISTS)
    assert done.kept == []
    assert {name: row["published"] for name, row in done.providers.items()} == {
        "aws": "2026-11-20", "azure": "", "gcp": "2026-11-21", "oci": "2026-11-19", "digitalocean": "",
        "cloudflare": "",
    }  # fmt: skip
    assert said(path, address) == answer


def test_a_list_is_dated_by_its_address_or_its_server_where_it_says_nothing(tmp_path):
    """Azure's date is in the file name, a geofeed's in Last-Modified."""
    assert listing("azure", LISTS["azure"].encode(), "", "https://x/ServiceTags_Public_20261117.json").published == (
        "2026-11-17"
    )
    text = DIGITALOCEAN.encode()
    feed = {"digitalocean": lambda page: send(page, text, Last_Modified="Tue, 03 Nov 2026 10:00:00 GMT")}
    _, done = gathered(tmp_path, feed)
    assert done.providers["digitalocean"] == {"gathered": "2026-11-24", "published": "2026-11-03"}


def test_azures_list_is_found_on_its_page(tmp_path):
    """The link on the page leads to the list; a page without it is said."""
    link = r"http://127\.0\.0\.1:[0-9]+/[^\"]+/ServiceTags_Public_[0-9]{8}\.json"
    name = "a/ServiceTags_Public_20261117.json"
    pages = {f"/{name}": LISTS["azure"].encode(), "/empty": b"<p>no link</p>"}
    with serving(pages) as url:
        pages["/page"] = f'<a href="{url}/{name}">'.encode()
        full, empty = (
            gather((Provider("azure", (f"{url}/{page}",), link),), NO_TABLE, tmp_path / "cloud.mmdb", limits(), TODAY)
            for page in ("page", "empty")
        )
    assert full.providers["azure"]["published"] == "2026-11-17"
    assert empty.providers == {}
    assert "no longer links" in empty.kept[0].what
    real = 'href="https://download.microsoft.com/download/7/1/d/71d8/ServiceTags_Public_20261117.json"'
    assert re.search(next(each.link for each in publishers().providers if each.link), real)


OLD_ROWS = [(ip_network("3.248.0.0/13"), "aws", "eu-west-1"), (ip_network("129.148.0.0/20"), "oci", "eu-amsterdam-1")]
OLD = Before(OLD_ROWS, {name: {"gathered": "2026-10-26", "published": "2026-10-20"} for name in ("aws", "oci")})
BAD = {
    "gone": (status(404), "no such file"),
    "down": (status(503), "answers 503"),
    "a loop": (moved("/oci"), "redirects"),
    "a web page": ("<html>", "not in the form"),
    "no JSON object": ("7", "not in the form"),
    "deep": ("[" * 100_000, "not in the form"),
    "an empty list": (json.dumps({**OCI, "regions": []}), "lists no prefix"),
    "no prefix": (json.dumps(OCI).replace("129.148.0.0/20", "129.148.0.1/20"), "not in the form"),
    "a hostile region": (json.dumps(OCI).replace("eu-amsterdam-1", "\x1b[31m"), "not in the form"),
    "a long region": (json.dumps(OCI).replace("eu-amsterdam-1", "x" * 99), "not in the form"),
    "of the future": (json.dumps(OCI).replace("2026-11-19", "2026-11-30"), "yet to come"),
    "stale": (json.dumps(OCI).replace("2026-11-19", "2026-10-19"), "older than the one in use of 2026-10-20"),
}


@pytest.mark.parametrize("name", BAD)
def test_a_provider_whose_list_is_bad_keeps_its_rows(tmp_path, name):
    """The others are new, its own rows stay, and it is said with their date, which is the date of the table."""
    answer, words = BAD[name]
    path, done = gathered(tmp_path, {"aws": LISTS["aws"], "oci": answer}, OLD)
    (error,) = done.kept
    assert error.what.startswith("oci: ")
    assert words in error.what
    assert error.what.endswith("its prefixes of 2026-10-26 stay in use")
    assert error.where.startswith("http://127.0.0.1")
    assert said(path, "129.148.0.1") == ("oci", "eu-amsterdam-1")
    assert said(path, "83.119.128.1") == ("aws", "eu-central-1-ist-1")
    assert built(done.providers) == "2026-10-26"
    assert done.providers["aws"]["gathered"] == "2026-11-24"


def test_a_list_that_lost_half_of_its_ranges_is_not_believed(tmp_path):
    """Half a list is more likely a fault than half a cloud; nested prefixes do not count twice."""
    rows = [(ip_network(f"129.148.{n}.0/24"), "oci", "eu-amsterdam-1") for n in range(0, 12, 2)]
    old = Before(rows, {"oci": {"gathered": "2026-10-26", "published": ""}})
    _, done = gathered(tmp_path, {"aws": LISTS["aws"], "oci": LISTS["oci"]}, old)
    assert "covers 1 ranges where the one in use covers 6" in done.kept[0].what


def test_no_list_at_all_makes_no_table(tmp_path):
    """Where nothing could be fetched nothing is written."""
    path, done = gathered(tmp_path, {"aws": status(500), "oci": status(500)}, OLD)
    assert done.providers == {}
    assert not path.exists()


@given(st.sampled_from(sorted(FORMS)), st.binary(max_size=200) | st.text(max_size=200).map(str.encode))
def test_any_bytes_are_a_list_or_none(provider, text):
    """What is no list raises ValueError and nothing else."""
    with suppress(ValueError):
        assert listing(provider, text).rows


JSON = st.recursive(
    st.none() | st.integers() | st.text(max_size=8) | st.sampled_from(["10.0.0.0/8", "eu-west-1", "2026-11-20"]),
    lambda inner: st.lists(inner, max_size=3)
    | st.dictionaries(
        st.sampled_from(["prefixes", "ipv6_prefixes", "regions", "cidrs", "cidr", "values", "properties", "name",
                         "addressPrefixes", "region", "scope", "ipv4Prefix", "creationTime", "createDate"]),
        inner, max_size=4,
    ),
    max_leaves=12,
)  # fmt: skip


@given(st.sampled_from(["aws", "azure", "gcp", "oci"]), JSON)
def test_any_json_is_a_list_or_none(provider, found):
    """A list whose form has changed raises ValueError and nothing else."""
    with suppress(ValueError):
        assert listing(provider, json.dumps(found).encode()).rows


def shipped_lists():
    """Return the shipped table as its providers would publish it."""
    rows = defaultdict(list)
    with maxminddb.open_database(DATA / "cloud.mmdb") as reader:
        for network, row in reader:
            rows[row["provider"]].append((str(network), row["region"]))
    border = {net: re.sub(r"^([a-z]+-[a-z]+-[0-9])-[a-z].*", r"\1", region) for net, region in rows["aws"]}
    aws = [(net, border[net], region) for net, region in rows["aws"]]
    tags = defaultdict(list)
    for net, region in rows["azure"]:
        tags[region].append(net)
    oci = defaultdict(list)
    for net, region in rows["oci"]:
        oci[region].append({"cidr": net})
    day = datetime.now(UTC).date().isoformat()
    return {
        "aws": json.dumps({"createDate": f"{day}-00-00-00", **{
            key: [{prefix: net, "region": parent, "network_border_group": region} for net, parent, region in aws
                  if (":" in net) is six]
            for key, prefix, six in (("prefixes", "ip_prefix", False), ("ipv6_prefixes", "ipv6_prefix", True))}}),
        "azure": json.dumps({"values": [
            {"name": "AzureFrontDoor.Frontend" if region == "GLOBAL" else f"AzureCloud.{region}",
             "properties": {"region": "" if region == "GLOBAL" else region, "addressPrefixes": nets}}
            for region, nets in tags.items()]}),
        "gcp": json.dumps({"creationTime": f"{day}T00:00:00", "prefixes": [
            {"ipv6Prefix" if ":" in net else "ipv4Prefix": net, "scope": region} for net, region in rows["gcp"]]}),
        "oci": json.dumps({"last_updated_timestamp": f"{day}T00:00:00", "regions": [
            {"region": region, "cidrs": nets} for region, nets in oci.items()]}),
        "digitalocean": "".join(f"{net},{region[:2]},{region},,\n" for net, region in rows["digitalocean"]),
        "cloudflare": "".join(f"{net}\n" for net, _ in rows["cloudflare"]),
    }  # fmt: skip


def test_the_shipped_table_comes_back_from_its_own_lists(capsys, tmp_path, monkeypatch):
    """Served as its providers would serve them, all rows of the shipped table give the same answers, dated today."""
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "home"))
    with serving({f"/{name}": text.encode() for name, text in shipped_lists().items()}) as url:
        providers = [{"name": name, "urls": [f"{url}/{name}"]} for name in FORMS]
        table = table_of(tmp_path, [database("cloud", "cloud", "egress-watch-cloud")], providers)
        code, out, err = run(capsys, "data", "update", "--publishers", table)
    assert code == 0, err
    today = datetime.now(UTC).date().isoformat()
    assert re.search(rf"cloud +2026-10-26 +{today} ", out)
    new = next(file for file in data_files(Config()) if file.kind == "cloud")
    assert (new.origin, new.built, {row["gathered"] for row in new.providers.values()}) == ("updated", today, {today})
    with maxminddb.open_database(DATA / "cloud.mmdb") as old, maxminddb.open_database(new.path) as now:
        differ = [str(network) for network, row in old if now.get(network.network_address) != row]
    assert differ == []


def test_the_table_in_use_can_be_taken_up_again(tmp_path):
    """Written, read as rows and written once more, a table says the same."""
    found = claims((network, name, region) for network, name, region in OLD_ROWS)
    write_table(tmp_path / "a.mmdb", found, 1)
    again = before(tmp_path / "a.mmdb", "2026-10-26", {})
    assert sorted(again.rows, key=str) == sorted(kept(found), key=str)
    assert again.providers["oci"] == {"gathered": "2026-10-26", "published": ""}
