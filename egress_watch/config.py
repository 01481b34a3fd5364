"""The settings: one TOML file, every key typed, documented and checked.

In: a path or nothing. Out: a frozen `Config`. Never: a setting that is ignored in silence.
"""

from __future__ import annotations

import json
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, is_dataclass
from datetime import date
from difflib import get_close_matches
from ipaddress import ip_network
from pathlib import Path
from typing import Any

from egress_watch.errors import ConfigError

MOST_BYTES = 1 << 20
ZONES = ("eu27", "eea", "eea+adequacy", "ch")
"""The ids of the shipped zones, as in data/zones.toml: a mistake is told with its file before any data is loaded."""


def _setting(default: Any, text: str) -> Any:
    return field(default=default, metadata={"text": text})


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
class DataSettings:
    """Your own databases in place of the shipped ones."""

    country_db: str = _setting("", "a GeoLite2, GeoIP2 or DB-IP country or city file, in place of DB-IP Country Lite")
    asn_db: str = _setting("", "a GeoLite2, GeoIP2 or DB-IP ASN file, in place of origin-asn")


@dataclass(frozen=True, slots=True)
class RuleSettings:
    """Which rules run."""

    folder: str = _setting("", "a folder of Sigma rules, in place of the shipped ones")
    disabled: tuple[str, ...] = _setting((), "ids or file names (without .yml) of rules that do not run")


@dataclass(frozen=True, slots=True)
class Config:
    """All settings."""

    zone: str = _setting("eea", "the legal zone: eu27, eea, eea+adequacy or ch")
    as_of: str = _setting("", "compute the zone for this day, such as 2019-05-01; empty: the day its data was checked")
    networks: tuple[str, ...] = _setting((), "your own networks in CIDR notation, beside the private ranges")
    db: str = _setting("egress.db", "the database that replay writes")
    flows: FlowSettings = field(default_factory=FlowSettings)
    names: NameSettings = field(default_factory=NameSettings)
    data: DataSettings = field(default_factory=DataSettings)
    rules: RuleSettings = field(default_factory=RuleSettings)


def load(path: str = "") -> Config:
    """Return the settings of a TOML file over the defaults; raises ConfigError with file, key and remedy."""
    if not path:
        return Config()
    config: Config = _fill(Config, _tables(path), path, "")
    _check(config, path)
    return config


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
            plain += [_line(row.name, getattr(table, row.name), row.metadata) for row in fields(table)]
    return "\n".join(plain) + "\n"


def _line(name: str, value: Any, metadata: Mapping[str, str]) -> str:
    return f"{name} = {_toml(value)}  # {metadata['text']}"


def _toml(value: Any) -> str:
    if isinstance(value, tuple):
        return f"[{', '.join(map(_toml, value))}]"
    if isinstance(value, str):
        return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")  # TOML escapes as JSON does, and DEL
    return str(value)


def _fill(kind: type[Any], tables: Mapping[str, Any], path: str, prefix: str) -> Any:
    known = {setting.name: setting for setting in fields(kind)}
    given: dict[str, Any] = {}
    for key, value in tables.items():
        if key not in known:
            raise _unknown(path, prefix + key, [prefix + name for name in known])
        default = known[key].default_factory if "text" not in known[key].metadata else known[key].default
        if isinstance(default, type):
            given[key] = _fill(default, _typed(value, dict, path, prefix + key), path, f"{key}.")
        else:
            given[key] = _value(value, default, path, prefix + key)
    return kind(**given)


def _value(value: Any, default: Any, path: str, key: str) -> Any:
    if isinstance(default, tuple):
        return tuple(_typed(item, str, path, key) for item in _typed(value, list, path, key))
    if isinstance(default, str):
        return _typed(value, str, path, key)
    number = _typed(value, (int, float) if isinstance(default, float) else int, path, key)
    if not 0 < number < 10**12:
        raise ConfigError(f"{key} must lie between 0 and 10^12, is {number}", where=path, remedy="mend the number")
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


def _check(config: Config, path: str) -> None:
    if config.zone.lower() not in ZONES:
        raise ConfigError(f"zone: unknown zone {config.zone!r}", where=path, remedy=f"one of: {', '.join(ZONES)}")
    _day(config.as_of, path)
    for network in config.networks:
        try:
            ip_network(network)
        except ValueError as error:
            raise ConfigError(f"networks: {error}", where=path, remedy='write it as "10.20.0.0/16"') from error
