"""The lists of prefixes that clouds publish, each in its own form.

In: the bytes of a list, trusted in nothing. Out: prefixes with their regions, and the list's own date. Never: a region
made up: what a list does not say stays "".
"""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Callable, Iterator
from datetime import date
from ipaddress import ip_network
from typing import Any, NamedTuple

from egress_watch.library.clouds import Network, unplaced
from egress_watch.library.folders import table

Placed = Iterator[tuple[Network, str]]
ODD = (ValueError, KeyError, TypeError, AttributeError, RecursionError)
"""What reading a list of another form raises."""

LONGEST_REGION = 60


class Listing(NamedTuple):
    """What a list says: its own date (ISO, "" where it has none) and its prefixes with their regions."""

    published: str
    rows: list[tuple[Network, str]]


def listing(provider: str, text: bytes, changed: str = "", url: str = "") -> Listing:
    """Return what a provider's list says; ``changed`` is the date its server gives. Raises ValueError."""
    try:
        published, rows = FORMS[provider](text.decode("utf-8-sig"), url)
        found = Listing(published or changed, [(network, _region(region)) for network, region in rows])
    except ODD as error:
        raise ValueError("is not in the form its provider publishes") from error
    if not found.rows:
        raise ValueError("lists no prefix")
    return found


def _region(text: Any) -> str:
    if not isinstance(text, str) or len(text) > LONGEST_REGION or not re.fullmatch(r"[A-Za-z0-9_-]*", text):
        raise ValueError(text)
    return text


def _day(text: str) -> str:
    """Return the ISO date at the beginning of a time."""
    return date.fromisoformat(text[:10]).isoformat()


def _aws(text: str, _: str) -> tuple[str, Placed]:
    """Read ip-ranges.json (AWS documentation, AWS IP address ranges)."""
    found = json.loads(text)
    domestic = {each: parent for parent, groups in table("border-groups")["aws"].items() for each in groups}

    def rows() -> Placed:
        # Of two rows for one prefix the one that names a Local Zone comes later, and wins.
        for zone in (False, True):
            for key, prefix in (("prefixes", "ip_prefix"), ("ipv6_prefixes", "ipv6_prefix")):
                for row in found[key]:
                    region = _border(row, domestic)
                    if (region != row["region"]) is zone:
                        yield ip_network(row[prefix]), region

    return _day(found["createDate"]), rows()


def _border(row: dict[str, str], domestic: dict[str, str]) -> str:
    """Return the border group as the region: a Local Zone may lie in another country than its parent."""
    group = row.get("network_border_group") or row["region"]
    return row["region"] if row["region"] == "GLOBAL" else domestic.get(group, group)


def _azure(text: str, url: str) -> tuple[str, Placed]:
    """Read ServiceTags_Public_DATE.json (Microsoft Learn, Virtual network service tags)."""
    found = json.loads(text)
    dated = re.search(r"_([0-9]{4})([0-9]{2})([0-9]{2})\.json", url)

    def rows() -> Placed:
        for tag in found["values"]:
            region = tag["properties"]["region"] or unplaced(tag["name"])
            for prefix in tag["properties"]["addressPrefixes"]:
                yield ip_network(prefix), region

    return date.fromisoformat("-".join(dated.groups())).isoformat() if dated else "", rows()


def _gcp(text: str, _: str) -> tuple[str, Placed]:
    """Read cloud.json (Google Cloud documentation, Where can I find Compute Engine IP ranges)."""
    found = json.loads(text)
    rows = ((ip_network(row.get("ipv4Prefix") or row["ipv6Prefix"]), row["scope"]) for row in found["prefixes"])
    return _day(found["creationTime"]), rows


def _oci(text: str, _: str) -> tuple[str, Placed]:
    """Read public_ip_ranges.json (Oracle Cloud Infrastructure documentation, IP Address Ranges)."""
    found = json.loads(text)
    rows = ((ip_network(row["cidr"]), each["region"]) for each in found["regions"] for row in each["cidrs"])
    return _day(found["last_updated_timestamp"]), rows


def _digitalocean(text: str, _: str) -> tuple[str, Placed]:
    """Read a geofeed (RFC 8805): prefix, country, region as ISO 3166-2, city; ``#`` begins a comment."""
    lines = (line for line in text.splitlines() if line.strip() and not line.startswith("#"))
    return "", ((ip_network(row[0].strip()), row[2].strip()) for row in csv.reader(lines))


def _cloudflare(text: str, _: str) -> tuple[str, Placed]:
    """Read a prefix a line; every one is anycast, so none has a region."""
    return "", ((ip_network(line.strip()), "") for line in text.splitlines() if line.strip())


FORMS: dict[str, Callable[[str, str], tuple[str, Placed]]] = {
    "aws": _aws, "azure": _azure, "gcp": _gcp, "oci": _oci, "digitalocean": _digitalocean, "cloudflare": _cloudflare,
}  # fmt: skip
