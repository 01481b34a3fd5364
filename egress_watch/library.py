"""The shelf: data files, owners, zones, rules and captures, wherever they are installed.

In: settings. Out: knowledge for `places`, rules for `rules`, paths of shipped folders. Never: a connection to anywhere.
"""

from __future__ import annotations

import json
import stat
import tomllib
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from functools import cache
from ipaddress import IPv4Network, IPv6Network, ip_network
from pathlib import Path
from typing import Any

import maxminddb

from egress_watch.config import Config
from egress_watch.errors import ConfigError, DataError, RuleError, UsageError
from egress_watch.places import NOTHING, Atlas, Found, Knowledge, Lookup, Source, Special
from egress_watch.places.dossiers import Dossier, dossiers
from egress_watch.places.owners import Owners
from egress_watch.places.prefixes import Prefixes
from egress_watch.places.zones import Zone, zones
from egress_watch.rules import Rule, parse

PACKAGE = Path(__file__).parent
DATA = PACKAGE / "data"
MOST_RULE_BYTES = 1 << 20

BROKEN = (maxminddb.InvalidDatabaseError, ValueError, TypeError, AttributeError, LookupError, RecursionError)
"""What reading a data file of the wrong make raises, in maxminddb, in geoip2 and in our own reading of a record."""

NOWHERE = ("reserved", "documentation", "benchmarking")
"""Kinds of special addresses that no network should carry: seen on a wire they are forged or a mistake, not local."""

EDITIONS = {"asn": ("ASN", "ISP"), "country": ("City", "Enterprise", "Country")}
"""Words in the type of a user's own file; each names the method of geoip2 that reads it."""


def shipped(folder: str) -> Path:
    """Return a folder of shipped files (``rules``, ``captures``): inside a wheel, or at the top of a checkout."""
    installed = PACKAGE / "_data" / folder
    return installed if installed.is_dir() else PACKAGE.parent / folder


@dataclass(frozen=True, slots=True)
class DataFile:
    """One data file that judges, as its manifest or its own metadata describes it."""

    name: str
    kind: str
    """country, asn or cloud."""
    path: Path
    built: str
    """ISO date of the data."""
    licence: str
    attribution: str
    sha256: str


def data_files(config: Config) -> list[DataFile]:
    """Return the files in use: the user's own where configured, else the shipped ones."""
    rows = _parsed(DATA / "manifest.json", json.loads)
    files = [_shipped_file(row) for row in rows]
    own = {"dbip-country-lite": config.data.country_db, "origin-asn": config.data.asn_db}
    return [_own_file(file, own[file.name]) if own.get(file.name) else file for file in files]


def _shipped_file(row: dict[str, Any]) -> DataFile:
    return DataFile(
        row["name"], row["kind"], DATA / row["file"], row["built"], row["licence"], row["attribution"], row["sha256"]
    )


def _own_file(file: DataFile, path: str) -> DataFile:
    metadata = _reader(Path(path)).metadata()
    try:
        built = datetime.fromtimestamp(metadata.build_epoch, UTC).date().isoformat()
    except (ValueError, OverflowError, OSError, TypeError):
        built = ""
    kind = str(metadata.database_type)
    return DataFile(kind, file.kind, Path(path), built, "as you obtained it", "your own file", "")


@cache
def _reader(path: Path) -> maxminddb.Reader:
    try:
        return maxminddb.open_database(path)
    except FileNotFoundError as error:
        remedy = "run `make setup`, which unpacks the data files" if path.parent == DATA else "mend the path in [data]"
        raise DataError("no such data file", where=str(path), remedy=remedy) from error
    except OSError as error:
        remedy = "give a readable .mmdb file"
        raise DataError(error.strerror or str(error), where=str(path), remedy=remedy) from error
    except BROKEN as error:
        what = "no MaxMind database, or one cut short"
        raise DataError(what, where=str(path), remedy="fetch the file anew") from error


def _lookup(file: DataFile) -> Lookup:
    """Return how to ask a file; the three record shapes in use are told apart once, not at each look-up."""
    if file.sha256 == "":
        ask = _asking_own(file)
    else:
        shape = {"country": _flat_or_nested, "asn": _network, "cloud": _cloud}[file.kind]
        ask = _asking(_reader(file.path), shape)
    return _guarded(ask, file.path)


def _guarded(ask: Lookup, path: Path) -> Lookup:
    """Return the look-up with a broken record put into words; a file of IPv4 alone knows nothing of IPv6."""
    narrow = _reader(path).metadata().ip_version == 4

    def find(address: str) -> Found:
        if narrow and ":" in address:
            return NOTHING
        try:
            return ask(address)
        except BROKEN as error:
            what = f"holds a broken record for {address}"
            raise DataError(what, where=str(path), remedy="fetch the file anew") from error

    return find


def _asking(reader: maxminddb.Reader, shape: Callable[[str, Any], Found]) -> Lookup:
    def find(address: str) -> Found:
        record, length = reader.get_with_prefix_len(address)
        return shape(f"{address}/{length}", record) if record else NOTHING

    return find


def _flat_or_nested(prefix: str, record: Any) -> Found:
    """Read DB-IP's and MaxMind's nested country, or the flat ``country_code`` of ip-location-db."""
    return Found(prefix, country=record.get("country_code") or record.get("country", {}).get("iso_code", ""))


def _network(prefix: str, record: Any) -> Found:
    name = record.get("autonomous_system_organization") or ""
    return Found(prefix, asn=int(record.get("autonomous_system_number") or 0), as_name=name)


def _cloud(prefix: str, record: Any) -> Found:
    return Found(prefix, provider=record["provider"], region=record["region"])


def _asking_own(file: DataFile) -> Lookup:
    """Ask the user's own file through geoip2, which knows every edition that MaxMind and DB-IP sell."""
    from geoip2.database import Reader
    from geoip2.errors import AddressNotFoundError

    method = getattr(Reader(file.path), _edition(file))

    def find(address: str) -> Found:
        try:
            return _answered(method(address), file.kind, address)
        except AddressNotFoundError:
            return NOTHING

    return find


def _edition(file: DataFile) -> str:
    """Return the method of geoip2 for a file; raises ConfigError where it answers another question."""
    for word in EDITIONS[file.kind]:
        if word in file.name:
            return word.lower()
    wanted = {"asn": "ASN", "country": "country or city"}[file.kind]
    remedy = f"give a GeoLite2, GeoIP2 or DB-IP {wanted} file, as .mmdb"
    raise ConfigError(f"holds {file.name!r}, which is no {wanted} database", where=str(file.path), remedy=remedy)


def _answered(answer: Any, kind: str, address: str) -> Found:
    if kind == "asn":
        prefix, asn = str(answer.network), answer.autonomous_system_number or 0
        return Found(prefix, asn=int(asn), as_name=str(answer.autonomous_system_organization or ""))
    return Found(str(answer.traits.network or address), country=str(answer.country.iso_code or ""))


def atlas(config: Config) -> Atlas:
    """Return the atlas of the configured zone over the data files in use; raises DataError or ConfigError."""
    return Atlas(knowledge(config))


def knowledge(config: Config) -> Knowledge:
    """Open the data files and read the curated tables."""
    files = data_files(config)
    sources = {file.kind: [Source(f.name, f.built, _lookup(f)) for f in files if f.kind == file.kind] for file in files}
    regions, special = _table("regions"), _table("special")
    return Knowledge(
        countries=sources["country"], networks=sources["asn"][0], clouds=sources["cloud"][0],
        regions={(p, region): country for p, rows in regions.items() if p in regions["sources"]
                 for region, country in rows.items()},
        nowhere=frozenset((row["provider"], row["region"]) for row in regions["unmapped"]
                          if row["region"].lower() == "global"),
        special=Prefixes(_special(special, config)),
        edges={row["asn"]: Special(row["status"], row["name"], row.get("group", "")) for row in special["network"]},
        owners=Owners(_table("owners")["group"], _table("laws")["seats"]), zone=zone(config.zone, config.as_of),
        checked=str(min(regions["checked"], special["checked"])),
    )  # fmt: skip


def _special(tables: dict[str, Any], config: Config) -> Iterator[tuple[str, Special]]:
    """Yield the prefixes without a single place; within the user's own networks nothing else counts."""
    own = [ip_network(network) for network in config.networks]
    for row in tables["local"]:
        yield row["prefix"], Special("unknown" if row["kind"] in NOWHERE else "local", row["kind"])
    for row in tables["prefix"]:
        if not _within(row["prefix"], own):
            yield row["prefix"], Special(row["status"], row["name"], row.get("group", ""))
    for network in own:
        yield str(network), Special("local", "your own network")


def _within(prefix: str, networks: Iterable[IPv4Network | IPv6Network]) -> bool:
    inner: Any = ip_network(prefix)
    return any(inner.subnet_of(outer) for outer in networks if outer.version == inner.version)


def tables_checked() -> dict[str, str]:
    """Return the ISO date on which each curated table was last gone over, by name."""
    checked = {name: str(_table(name)["checked"]) for name in ("laws", "regions", "special", "zones")}
    return {"owners": min(str(row["checked"]) for row in _table("owners")["group"]), **checked}


def groups() -> list[Dossier]:
    """Return everything the owners file holds, a dossier a group."""
    return dossiers(_table("owners")["group"], _table("laws")["seats"])


def zone(name: str, as_of: str = "") -> Zone:
    """Return the zone of this id, in any case, as of an ISO day; raises ConfigError naming what is known."""
    tables, day = _table("zones"), _day(as_of)
    if day and day > tables["checked"]:
        what = f"{as_of} lies behind the day the zones were checked, {tables['checked']}"
        raise ConfigError(what, where="as_of", remedy="give an earlier day, or none")
    known = zones(tables, day)
    if name.lower() not in known:
        raise ConfigError(f"unknown zone {name!r}", remedy=f"one of: {', '.join(known)}")
    if not known[name.lower()].countries:
        raise ConfigError(
            f"there was no {known[name.lower()].name} on {as_of}", where="as_of", remedy="give a later day"
        )
    return known[name.lower()]


def _day(text: str) -> date | None:
    try:
        return date.fromisoformat(text) if text else None
    except ValueError as error:
        raise ConfigError(f"{text!r} is no day", where="as_of", remedy="write it as 2019-05-01") from error


def country_sets() -> dict[str, list[str]]:
    """Return the country sets that rules may name, by placeholder."""
    return {name.replace("+", "_"): sorted(row.countries) for name, row in zones(_table("zones")).items()}


def rules(config: Config) -> tuple[list[Rule], list[RuleError]]:
    """Return the sound rules of the configured folder, without the disabled ones, and what is wrong with the others."""
    off = set(config.rules.disabled)
    files = rule_files(config.rules.folder)
    good, broken = read_rules([path for path in files if path.stem not in off])
    unknown = off - {rule.id for rule in good} - {path.stem for path in files}
    if unknown:
        raise ConfigError(f"rules.disabled names no rule: {', '.join(sorted(unknown))}", remedy="see `rules check`")
    return [rule for rule in good if rule.id not in off], broken


def read_rules(files: Iterable[Path]) -> tuple[list[Rule], list[RuleError]]:
    """Return the sound rules of some files and what is wrong with the others; an id stands for its first rule."""
    sets = country_sets()
    good: dict[str, Rule] = {}
    broken: list[RuleError] = []
    for path in files:
        try:
            rule = parse(rule_text(path), str(path), sets)
        except RuleError as error:
            broken.append(error)
            continue
        first = good.setdefault(rule.id, rule)
        if first is not rule:
            broken.append(RuleError(f"has the id of {first.origin}", where=str(path), remedy="give it a fresh UUID"))
    return list(good.values()), broken


def rule_files(folder: str = "") -> Sequence[Path]:
    """Return the rule files of a folder, in order of name, or the one that is named; raises UsageError."""
    where = Path(folder) if folder else shipped("rules")
    remedy = "name a folder that holds *.yml files, or one such file"
    try:
        if stat.S_ISREG(where.stat().st_mode):
            return [where]
        return sorted(path for path in where.iterdir() if path.suffix in (".yml", ".yaml"))
    except FileNotFoundError as error:
        raise UsageError("no such folder of rules", where=str(where), remedy=remedy) from error
    except OSError as error:
        raise UsageError(error.strerror or str(error), where=str(where), remedy=remedy) from error


def rule_text(path: Path) -> str:
    """Return the text of a rule file, read no further than MOST_RULE_BYTES; raises RuleError."""
    try:
        if not stat.S_ISREG(path.stat().st_mode):  # a FIFO would make us wait for its writer
            raise RuleError("no regular file", where=str(path), remedy="take it out of the folder")
        with path.open("rb") as file:
            return file.read(MOST_RULE_BYTES).decode("utf-8")
    except OSError as error:
        raise RuleError(error.strerror or str(error), where=str(path), remedy="make it readable") from error
    except UnicodeDecodeError as error:
        raise RuleError("no UTF-8 text", where=str(path), remedy="save it as UTF-8") from error


def _table(name: str) -> dict[str, Any]:
    return dict(_parsed(DATA / f"{name}.toml", tomllib.loads))


def _parsed(path: Path, loads: Callable[[str], Any]) -> Any:
    try:
        return loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        what = getattr(error, "strerror", None) or str(error)
        raise DataError(what, where=str(path), remedy="install egress-watch anew") from error
