"""The settings: one TOML file, every key typed, documented and checked.

In: a path or nothing. Out: a frozen `Config`. Never: a setting that is ignored in silence.
"""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, is_dataclass, replace
from datetime import date
from difflib import get_close_matches
from ipaddress import ip_network
from pathlib import Path
from typing import Any

from egress_watch.countries import KNOWN, meant
from egress_watch.errors import ConfigError

MOST_BYTES = 1 << 20
MOST = 10**15
ZONES = ("eu27", "eea", "eea+adequacy", "ch")
"""The ids of the shipped zones, as in data/zones.toml: a mistake is told with its file before any data is loaded."""

COVERS = ("devices", "all")
"""What pseudonyms can cover, as in exports.pseudonyms."""

ZONE_NAME = re.compile("[A-Za-z][A-Za-z0-9_-]{0,31}")
"""What a zone of the user's own may be called: one word, so that a rule can name it too."""

_TAKEN = {*ZONES, *(name.replace("+", "_") for name in ZONES)}

LEAST_FILE_BYTES = 10_000
"""Room for some packets in a file of evidence."""

UNWRAP, COPIES, TIMES = ("mirrors", "all", "none"), ("once", "all"), ("kernel", "hardware")
LOGS = "text", "json"
COLLECTORS = (
    "10.0.0.0/8", "100.64.0.0/10", "169.254.0.0/16", "172.16.0.0/12", "192.168.0.0/16", "fc00::/7", "fe80::/10",
)  # fmt: skip
"""As in the model, which is not loaded to print settings."""


def _setting(default: Any, text: str, least: int = 1) -> Any:
    """Declare a setting; a number must be above 0, or may be 0 where ``least`` is."""
    return field(default=default, metadata={"text": text, "least": least})


@dataclass(frozen=True, slots=True)
class OwnZone:
    """A zone of your own: the countries you list, beside those of a shipped zone where you name one."""

    name: str = _setting("", "one word, in place of eea or ch wherever a zone is named")
    based_on: str = _setting("", "a shipped zone whose countries it has, for the day that is asked for; empty: none")
    countries: tuple[str, ...] = _setting((), "countries in it, in two letters (ISO 3166-1), beside those of based_on")
    without: tuple[str, ...] = _setting((), "countries of based_on that are not in it")


@dataclass(frozen=True, slots=True)
class DecodeSettings:
    """Which mirrors and tunnels are opened, and what counts."""

    unwrap: str = _setting(
        UNWRAP[0], "mirrors: only what a mirror wrapped; all: tunnels between devices too; none: all counts as outside"
    )
    collectors: tuple[str, ...] = _setting(
        COLLECTORS, "what a private address sends here in VXLAN, Geneve or Ethernet in GRE is taken for a mirror's"
    )
    copies: str = _setting(
        COPIES[0], "once: a packet that the port mirrored twice within 2 ms counts once; all: every copy counts"
    )


@dataclass(frozen=True, slots=True)
class FlowSettings:
    """How packets become flow records."""

    active_s: float = _setting(300.0, "a running flow is written and goes on in a new record after this long")
    idle_s: float = _setting(60.0, "a UDP, ICMP or other flow ends after this silence")
    tcp_idle_s: float = _setting(600.0, "a TCP connection that was never closed ends after this silence")
    limit: int = _setting(1_000_000, "open flows kept at most; beyond it the ones silent longest are evicted, counted")


@dataclass(frozen=True, slots=True)
class NameSettings:
    """How many names heard on the wire are remembered."""

    limit: int = _setting(200_000, "addresses and connections with a name kept at most")
    waiting: int = _setting(1000, "hellos, requests and answers cut over packets that are waited for at most")


@dataclass(frozen=True, slots=True)
class DeviceSettings:
    """How much of what devices say of themselves is remembered."""

    limit: int = _setting(100_000, "facts of devices kept at most in one recording; what is beyond is counted")


@dataclass(frozen=True, slots=True)
class DataSettings:
    """Your own databases in place of the shipped ones."""

    country_db: str = _setting("", "a GeoLite2, GeoIP2 or DB-IP country or city file, in place of DB-IP Country Lite")
    asn_db: str = _setting("", "a GeoLite2, GeoIP2 or DB-IP ASN file, in place of origin-asn")
    overrides: str = _setting("", "a TOML file of your own words on prefixes, beside this file; they win over all data")


@dataclass(frozen=True, slots=True)
class PrivacySettings:
    """Pseudonyms in lists, exports and reports; the database itself keeps what was seen."""

    key_file: str = _setting("", "a file of random bytes, beside this file, that keys pseudonyms; empty: none are made")
    cover: str = _setting("devices", "what they cover: devices, or all: remotes and their names too")


@dataclass(frozen=True, slots=True)
class RuleSettings:
    """Which rules run."""

    folder: str = _setting("", "a folder of Sigma rules, in place of the shipped ones")
    disabled: tuple[str, ...] = _setting((), "ids or file names (without .yml) of rules that do not run")


@dataclass(frozen=True, slots=True)
class AlertSettings:
    """When an alert ends, is told again, or is folded into a summary; all by packet time."""

    silence_s: float = _setting(86_400.0, "an alert that was not hit for so long is closed; a later hit opens another")
    jump: float = _setting(10.0, "an alert whose bytes out grew so many times is told again at once")
    jump_bytes: int = _setting(1_000_000, "but not below so many bytes out")
    storm: int = _setting(200, "new alerts of one rule in an hour; any further one is folded into the rule's summary")


@dataclass(frozen=True, slots=True)
class WatchSettings:
    """Live traffic: what `watch` listens to, and as whom."""

    interfaces: tuple[str, ...] = _setting((), "network interfaces, where the command line names none")
    filter: str = _setting("", "only frames that match, as for tcpdump, where the command line has none")
    ring_bytes: int = _setting(536_870_912, "memory of each interface's ring: what comes while nobody reads")
    spool_bytes: int = _setting(536_870_912, "memory for frames read ahead while flows are stored; used when needed")
    readers: int = _setting(1, "processes that read and decode beside the one that judges; 1: it does that itself")
    times: str = _setting(TIMES[0], "kernel, or hardware: the interface's own, where it is set up to give them")
    user: str = _setting("", "become this user once the interfaces are open; empty: stay who you are")
    commit_s: float = _setting(1.0, "a flow that ended is stored at most so long after")
    log: str = _setting(LOGS[0], "text, or json: a line for each message on standard error, of forward too")
    check_hours: float = _setting(24.0, "how often the database is looked at for damage; 0: never", least=0)


@dataclass(frozen=True, slots=True)
class RetentionSettings:
    """How long what is recorded live is kept; 0 is for ever. `egress-watch retain` does the same by hand."""

    flow_days: float = _setting(
        30.0, "flows, counted from when they were stored; the sums of their hours stay", least=0
    )
    hour_days: float = _setting(730.0, "sums by the hour, once their flows are gone", least=0)
    alert_days: float = _setting(730.0, "closed alerts; what people did with them stays", least=0)
    most_bytes: int = _setting(0, "size of the database file beyond which the oldest flows go; 0: no limit", least=0)
    least_free_bytes: int = _setting(
        1_000_000_000, "free room on the disk below which the file stops growing and the oldest flows go", least=0
    )


@dataclass(frozen=True, slots=True)
class EvidenceSettings:
    """The first packets of flows that raised an alert, with their payload; none are kept unless a folder is named."""

    folder: str = _setting("", "where pcapng files of evidence lie, beside this file; empty: no packet is kept")
    packets: int = _setting(20, "first packets of a flow")
    flows: int = _setting(10, "flows of one alert")
    file_bytes: int = _setting(16_000_000, "size of a file; the next packets go into another")
    files: int = _setting(10, "files kept; the oldest goes when there would be more")
    waiting_bytes: int = _setting(64_000_000, "memory for packets of flows that may still raise an alert")


@dataclass(frozen=True, slots=True)
class SinkSettings:
    """A receiver that alerts or flows are sent to; docs/sinks.md has one of each kind."""

    name: str = _setting("", "one word, by which lists and `sinks test` know it; its place in the stream hangs on it")
    to: str = _setting("", "where to, such as relp://siem.example:2514; `egress-watch sinks kinds` lists all")
    format: str = _setting("ecs", "a format with one line a record: ecs, ocsf, cef, leef, eve, ndjson or zeek-json")
    records: tuple[str, ...] = _setting(("alerts",), "what is sent: alerts, flows, or both")
    least: str = _setting("informational", "alerts below this level are not sent: informational, low ... critical")
    heartbeat_s: float = _setting(
        300.0, "seconds between records that say the recorder lives, where alerts are sent; 0: none", least=0
    )
    batch: int = _setting(500, "records sent at once at most")
    timeout_s: float = _setting(10.0, "a receiver that is silent for so long counts as down")
    retry_s: float = _setting(1.0, "the first pause after a failure; each further one may be twice as long")
    retry_most_s: float = _setting(300.0, "the longest pause")
    flows_limit: int = _setting(1_000_000, "flows that may wait; beyond it the oldest are dropped, counted and told")
    alerts_limit: int = _setting(10_000_000, "news of alerts that may wait, the last limit; beyond it as for flows")
    secret_file: str = _setting("", "a file, beside this one, that holds the password or token alone")
    secret_env: str = _setting("", "a variable of the environment that holds it instead")
    user: str = _setting("", "the name that belongs to a password")
    ca_file: str = _setting("", "certificates (PEM) that the receiver's must come from; empty: those of the system")
    cert_file: str = _setting("", "the client certificate (PEM), where the receiver asks for one")
    key_file: str = _setting("", "its key (PEM, without a password)")
    server_name: str = _setting("", "the name that the receiver's certificate must bear; empty: the host of `to`")
    rotate_bytes: int = _setting(100_000_000, "file: a new one is begun beyond this size")
    rotate_s: int = _setting(86_400, "file: a new one is begun after this time")
    keep: int = _setting(14, "file: older ones that are kept", least=0)
    facility: int = _setting(13, "syslog and RELP: the facility (RFC 5424, table 1); 13 is log audit")
    proxy: str = _setting("", "over HTTP: the proxy to go through, such as http://proxy.example:3128; empty: none")
    acknowledge_s: float = _setting(60.0, "splunk: an indexer that has not acknowledged for so long counts as down")
    body: str = _setting("array", "webhook: array (one JSON array a batch) or lines (a line a record)")
    auth: str = _setting(
        "signature", "webhook: signature (signs each request with the secret) or bearer (sends it as a token)"
    )
    sasl: str = _setting(
        "SCRAM-SHA-512", "kafka: where user is set: PLAIN (over TLS only), SCRAM-SHA-256, SCRAM-SHA-512"
    )
    datagram_bytes: int = _setting(8000, "syslog over UDP: the longest datagram; a longer message is refused, counted")


@dataclass(frozen=True, slots=True)
class Config:
    """All settings."""

    zone: str = _setting("eea", "the legal zone: eu27, eea, eea+adequacy, ch or one of your own")
    as_of: str = _setting("", "compute the zone for this day, such as 2019-05-01; empty: the day its data was checked")
    networks: tuple[str, ...] = _setting((), "your own networks in CIDR notation, beside the private ranges")
    db: str = _setting("egress.db", "the database that replay writes")
    sensor: str = _setting("", "name of this sensor in every record, part of the event id; empty: this machine's name")
    inventory: tuple[str, ...] = _setting((), "TOML or CSV files of your networks and devices, beside this file")
    decode: DecodeSettings = field(default_factory=DecodeSettings)
    flows: FlowSettings = field(default_factory=FlowSettings)
    names: NameSettings = field(default_factory=NameSettings)
    devices: DeviceSettings = field(default_factory=DeviceSettings)
    data: DataSettings = field(default_factory=DataSettings)
    rules: RuleSettings = field(default_factory=RuleSettings)
    alerts: AlertSettings = field(default_factory=AlertSettings)
    evidence: EvidenceSettings = field(default_factory=EvidenceSettings)
    privacy: PrivacySettings = field(default_factory=PrivacySettings)
    watch: WatchSettings = field(default_factory=WatchSettings)
    retention: RetentionSettings = field(default_factory=RetentionSettings)
    own_zone: tuple[OwnZone, ...] = field(default=(), metadata={"rows": OwnZone})
    sink: tuple[SinkSettings, ...] = field(default=(), metadata={"rows": SinkSettings})


def load(path: str = "") -> Config:
    """Return the settings of a TOML file over the defaults; raises ConfigError with file, key and remedy."""
    if not path:
        return Config()
    tables, folder = _tables(path), Path(path).absolute().parent
    if isinstance(one := tables.get("inventory"), str):  # most have one file
        tables["inventory"] = [one]
    config: Config = _fill(Config, tables, path, "")
    _check(config, path)
    named = config.data.overrides, config.privacy.key_file, config.evidence.folder
    overrides, key, kept = (str(folder / name) if name else "" for name in named)
    return replace(
        config, inventory=tuple(str(folder / name) for name in config.inventory),
        data=replace(config.data, overrides=overrides), privacy=replace(config.privacy, key_file=key),
        sink=tuple(_beside(folder, row) for row in config.sink),
        evidence=replace(config.evidence, folder=kept),
    )  # fmt: skip


def _beside(folder: Path, row: SinkSettings) -> SinkSettings:
    """Return a sink with the files it names found beside the settings."""
    found = [str(folder / name) if name else "" for name in (row.secret_file, row.ca_file, row.cert_file, row.key_file)]
    return replace(row, secret_file=found[0], ca_file=found[1], cert_file=found[2], key_file=found[3])


def _tables(path: str) -> dict[str, Any]:
    remedy = "see `egress-watch config` for a sound file"
    try:
        return tomllib.loads(_text(path).decode("utf-8"))
    except OSError as error:
        raise ConfigError(error.strerror or str(error), where=path, remedy="give a readable TOML file") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"no TOML: {error}", where=path, remedy=remedy) from error
    except RecursionError as error:
        raise ConfigError("no TOML: nested too deeply", where=path, remedy=remedy) from error


def _text(path: str) -> bytes:
    with Path(path).open("rb") as file:
        text = file.read(MOST_BYTES + 1)
    if len(text) > MOST_BYTES:
        raise ConfigError(f"holds more than {MOST_BYTES:,} bytes", where=path, remedy="give a file of settings")
    return text


def render(config: Config) -> str:
    """Return the settings as TOML, each with what it does."""
    plain = [_line(setting.name, getattr(config, setting.name), setting.metadata) for setting in fields(config)
             if "text" in setting.metadata]  # fmt: skip
    for setting in fields(config):
        table = getattr(config, setting.name)
        if is_dataclass(table):
            plain += [f"\n[{setting.name}]  # {(type(table).__doc__ or '').rstrip('.')}"]
            plain += _lines(table)
    for name, example in _EXAMPLES.items():
        rows = getattr(config, name)
        for row in rows:
            plain += [f"\n[[{name}]]  # {(type(row).__doc__ or '').rstrip('.')}", *_lines(row)]
        if not rows:
            plain += ["", *(f"# {line}" for line in (f"[[{name}]]", *_lines(example)))]
    return "\n".join(plain) + "\n"


def _lines(table: Any) -> list[str]:
    return [_line(row.name, getattr(table, row.name), row.metadata) for row in fields(table)]


def _line(name: str, value: Any, metadata: Mapping[str, str]) -> str:
    return f"{name} = {_toml(value)}  # {metadata['text']}"


def _toml(value: Any) -> str:
    if isinstance(value, tuple):
        return f"[{', '.join(map(_toml, value))}]"
    if isinstance(value, str):
        return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")  # TOML escapes as JSON does, and DEL
    return str(value)


_EXAMPLES = {
    "own_zone": OwnZone("benelux", countries=("BE", "LU", "NL")),
    "sink": SinkSettings("siem", "relp://siem.example:2514"),
}
"""What stands as a comment where the settings have none of it."""


def _fill(kind: type[Any], tables: Mapping[str, Any], path: str, prefix: str) -> Any:
    known = {setting.name: setting for setting in fields(kind)}
    given: dict[str, Any] = {}
    for key, value in tables.items():
        if key not in known:
            raise _unknown(path, prefix + key, [prefix + name for name in known])
        rows = known[key].metadata.get("rows")
        default = known[key].default_factory if "text" not in known[key].metadata else known[key].default
        if rows:
            given[key] = _rows(rows, value, path, key)
        elif isinstance(default, type):
            given[key] = _fill(default, _typed(value, dict, path, prefix + key), path, f"{key}.")
        else:
            given[key] = _value(value, default, path, prefix + key, known[key].metadata["least"])
    return kind(**given)


def _rows(kind: type[Any], rows: Any, path: str, key: str) -> tuple[Any, ...]:
    """Return a list of tables, each under its number, counted from 1."""
    numbered = enumerate(_typed(rows, list, path, key), 1)
    return tuple(_fill(kind, _typed(row, dict, path, f"{key} {n}"), path, f"{key} {n}: ") for n, row in numbered)


def _value(value: Any, default: Any, path: str, key: str, least: int) -> Any:
    if isinstance(default, tuple):
        return tuple(_typed(item, str, path, key) for item in _typed(value, list, path, key))
    if isinstance(default, str):
        return _typed(value, str, path, key)
    number = _typed(value, (int, float) if isinstance(default, float) else int, path, key)
    if not 0 < number < MOST and not number == least == 0:
        raise ConfigError(f"{key} must lie between 0 and 10^15, is {number}", where=path, remedy="mend the number")
    return type(default)(number)


def _typed(value: Any, kind: Any, path: str, key: str) -> Any:
    if isinstance(value, bool) or not isinstance(value, kind):
        wanted = {str: "text", int: "a whole number", list: "a list", dict: "a table"}.get(kind, "a number")
        raise ConfigError(f"{key} must be {wanted}, is {value!r}", where=path, remedy="see `egress-watch config`")
    if isinstance(value, str) and "\0" in value:
        raise ConfigError(f"{key} holds a NUL character, is {value!r}", where=path, remedy="take it out")
    return value


def _day(text: str, path: str) -> None:
    try:
        date.fromisoformat(text or "2000-01-01")
    except ValueError as error:
        raise ConfigError(f"as_of: {text!r} is no day", where=path, remedy="write it as 2019-05-01") from error


def _unknown(path: str, key: str, known: list[str]) -> ConfigError:
    near = get_close_matches(key, known, n=1, cutoff=0.5)
    remedy = f"did you mean {near[0]}?" if near else f"known here: {', '.join(known)}"
    return ConfigError(f"unknown setting {key}", where=path, remedy=remedy)


def _check_choices(config: Config, path: str) -> None:
    for name, value, choices in (
        ("decode.unwrap", config.decode.unwrap, UNWRAP), ("decode.copies", config.decode.copies, COPIES),
        ("watch.times", config.watch.times, TIMES), ("watch.log", config.watch.log, LOGS),
    ):  # fmt: skip
        if value not in choices:
            what = f"{name}: unknown choice {value!r}"
            raise ConfigError(what, where=path, remedy=f"one of: {', '.join(choices)}")


def _check(config: Config, path: str) -> None:
    for number, own in enumerate(config.own_zone, 1):
        _check_zone(own, config.own_zone[: number - 1], f"own_zone {number}", path)
    known = (*ZONES, *(own.name.lower() for own in config.own_zone))
    if config.zone.lower() not in known:
        raise ConfigError(f"zone: unknown zone {config.zone!r}", where=path, remedy=f"one of: {', '.join(known)}")
    _day(config.as_of, path)
    if config.privacy.cover not in COVERS:
        what = f"privacy.cover: {config.privacy.cover!r} is nothing to cover"
        raise ConfigError(what, where=path, remedy=f"one of: {', '.join(COVERS)}")
    _check_choices(config, path)
    if config.evidence.file_bytes < LEAST_FILE_BYTES:
        what = f"evidence.file_bytes must be at least {LEAST_FILE_BYTES:,}"
        raise ConfigError(what, where=path, remedy="give each file room for some packets")
    _networks("networks", config.networks, path)
    _networks("decode.collectors", config.decode.collectors, path)


def _networks(key: str, networks: tuple[str, ...], path: str) -> None:
    for network in networks:
        try:
            ip_network(network)
        except ValueError as error:
            raise ConfigError(f"{key}: {error}", where=path, remedy='write it as "10.20.0.0/16"') from error


def _check_zone(own: OwnZone, before: Sequence[OwnZone], key: str, path: str) -> None:
    """Raise ConfigError for a zone that has no name of its own, no countries, or some that are none."""
    what, remedy = "", ""
    if not ZONE_NAME.fullmatch(own.name):
        what, remedy = f"{own.name!r} is no name for a zone", "give one word, such as benelux"
    elif own.name.lower() in _TAKEN | {other.name.lower() for other in before}:
        what, remedy = f"the name {own.name!r} is taken", "give it another"
    elif own.based_on and own.based_on.lower() not in ZONES:
        what, remedy = f"based_on: unknown zone {own.based_on!r}", f"one of: {', '.join(ZONES)}"
    elif not own.countries and not own.based_on:
        what, remedy = "no country is in it", 'write countries = ["BE", "NL"], or based_on = "eea"'
    elif own.without and not own.based_on:
        what, remedy = "without needs based_on", "leave it out"
    if what:
        raise ConfigError(f"{key}: {what}", where=path, remedy=remedy)
    _check_countries(own, key, path)


def _check_countries(own: OwnZone, key: str, path: str) -> None:
    for code in (*own.countries, *own.without):
        if code not in KNOWN:
            raise ConfigError(f"{key}: unknown country {code!r}", where=path, remedy=meant(code))
    if both := set(own.countries) & set(own.without):
        what = f"{key}: {', '.join(sorted(both))} is both in it and left out"
        raise ConfigError(what, where=path, remedy="take it out of one list")
