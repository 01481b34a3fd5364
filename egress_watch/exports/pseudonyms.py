"""Names in place of people: what points to a device, or also to a remote, under a keyed and stable pseudonym.

In: rows of flows, alerts and devices, and a key. Out: the same rows with pseudonyms. Never: an address of ours left in
a sentence, or two keys that give one pseudonym.

A pseudonym is a keyed hash (BLAKE2b, RFC 7693, section 2.9) with a mark in front: ``ip-1f0c22d6a7b3e945``,
``mac-...``, ``name-...``. The same key gives the same pseudonym everywhere and always; without the key nobody can tell
which address it stands for, not even by trying all of them. Where a field must hold an address, the same hash takes the
shape of one that nobody has: ``2001:db8::1f0c:22d6:a7b3:e945``, ``247.179.233.69``, ``02:d6:...``.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from copy import copy
from hashlib import blake2b
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import Any
from uuid import UUID

from egress_watch.exports.identity import MILLISECOND_NS, event_id

COVERS = ("devices", "all")
"""What is covered: our side, or also the remotes with their names."""
OURS = {
    "device_ip": "ip", "ip": "ip", "addresses": "ip", "device_mac": "mac", "mac": "mac", "behind": "mac",
    "device_name": "name", "contact": "name", "notes": "name",
}  # fmt: skip
"""Columns that point to a device or its owner, and what kind of word they hold."""
THEIRS = {"remote_ip": "ip", "name": "name", "other_names": "name"}
SENTENCES = ("why",)
SPEECH = ("model", "vendor_class", "software")
"""What devices say in words of their own."""
IDS = ("event_id", "episode_id")
"""Plain hashes of what they are of, addresses included."""
V4_BITS, V6_PREFIX = 28, 0x20010DB8 << 96
"""What the shape of an address leaves for the hash: 240.0.0.0/4 (RFC 1112, reserved), 2001:db8::/32 (RFC 3849)."""


class Pseudonyms:
    """Covers rows; ``known`` tells whether an address is that of a device of ours, and is asked once for each."""

    def __init__(self, key: bytes, cover: str = COVERS[0], known: Callable[[str], bool] = lambda _: False) -> None:
        self._key = blake2b(key, digest_size=32).digest()
        self.everything = cover == "all"
        """Whether remotes are covered too."""
        self._known = known
        self._shaped = False
        self._ours: dict[str, bool] = {}

    def shaped(self) -> Pseudonyms:
        """Return one with the same key whose pseudonyms of addresses and MACs have the shape of such."""
        other = copy(self)
        other._shaped = True  # noqa: SLF001 - its own
        return other

    def word(self, kind: str, text: str) -> str:
        """Return the pseudonym of a text, "" for ""."""
        if not text:
            return text
        if kind in _SHAPES and self._shaped:
            return _SHAPES[kind](self._mark(kind, text), text)
        return f"{kind}-{self._mark(kind, text)}"

    def _mark(self, kind: str, text: str) -> str:
        raw = text.lower().encode("utf-8", "surrogatepass")
        return blake2b(raw, digest_size=8, key=self._key, person=kind.encode()).hexdigest()

    def record(self, record: Mapping[str, Any]) -> dict[str, Any]:
        """Return a record that goes out, covered, with ids that are keyed: whoever tries all addresses finds none.

        The community id must be a plain hash of both ends, so it is left out.
        """
        ids = {key: self._id(record[key]) for key in IDS if record.get(key)}
        return self.row(record) | ids | dict.fromkeys(record.keys() & {"community_id"})

    def _id(self, text: str) -> str:
        """Return an id with the time of this one, and the same for the same, so that doubles still show."""
        return event_id((UUID(text).int >> 80) * MILLISECOND_NS, [self._mark("id", text)])

    def rows(self, rows: Iterable[Mapping[str, Any]]) -> Iterator[dict[str, Any]]:
        """Yield rows of flows or alerts, covered."""
        return map(self.row, rows)

    def row(self, row: Mapping[str, Any]) -> dict[str, Any]:
        """Return a row of flows, alerts or of a report's devices, covered."""
        columns = self._columns(row)
        covered = {key: self._cell(columns[key], value) if key in columns else value for key, value in row.items()}
        for key in SENTENCES:
            if isinstance(row.get(key), str):
                covered[key] = self._sentence(row[key], row, columns)
        return covered

    def device(self, row: Mapping[str, Any]) -> dict[str, Any]:
        """Return a row of the list of devices, covered: there ``name`` is the device's own."""
        covered = self.row({key: value for key, value in row.items() if key != "name"})
        hosts = [row["name"], *(fact["value"] for fact in row["facts"] if fact["kind"] == "host_name")]
        own = {word.lower() for host in hosts if host for word in (host, host.partition(".")[0])}
        texts = {key: [self._speech(text, own) for text in row[key]] for key in SPEECH}
        facts = [self._fact(fact, own) for fact in row["facts"]]
        seen = [{**one, "ip": self.word("ip", one["ip"])} for one in row["seen"]]
        return {"name": self._cell("name", row["name"]), **covered, **texts, "facts": facts, "seen": seen}

    def mute(self, row: Mapping[str, Any]) -> dict[str, Any]:
        """Return a mute, covered: its device is an address or a MAC, and its reason may name that."""
        device = row["device"] or ""
        column = "device_ip" if _is_address(device) else "device_mac"
        told = self.row({column: device})[column] or None
        return {**row, "device": told, "reason": self.told(row["reason"], {column: device})}

    def _fact(self, fact: Mapping[str, Any], own: Collection[str]) -> dict[str, Any]:
        kind = {"host_name": "name", "address": "ip"}.get(fact["kind"])
        value = self.word(kind, fact["value"]) if kind else self._speech(fact["value"], own)
        return {**fact, "value": value, "ip": self.word("ip", fact["ip"])}

    def _speech(self, text: str, own: Collection[str]) -> str:
        """Return what a device says of its software with its names, and all that looks like a host or address, covered.

        Greetings do say those: ``220 mail.example.org ESMTP``, ``FTP Server [192.0.2.1]``.
        """
        return _WORD.sub(lambda found: self._spoken(found[0], own), text)

    def _spoken(self, word: str, own: Collection[str]) -> str:
        if _is_address(word):
            return self.word("ip", word)
        if _MAC.fullmatch(word):
            return self.word("mac", word)
        return self.word("name", word) if word.lower() in own or _HOST.fullmatch(word) else word

    def _cell(self, kind: str, value: Any) -> Any:
        if isinstance(value, list):
            return [self.word(kind, str(one)) for one in value]
        return self.word(kind, value) if isinstance(value, str) else value

    def told(self, text: str, row: Mapping[str, Any]) -> str:
        """Return what is said of a row, covered as the row is."""
        return self._sentence(text, row, self._columns(row))

    def _columns(self, row: Mapping[str, Any]) -> dict[str, str]:
        return {**OURS, **(THEIRS if self.everything or self._is_ours(row.get("remote_ip")) else {})}

    def _sentence(self, text: str, row: Mapping[str, Any], columns: Mapping[str, str]) -> str:
        """Return a sentence with the row's own words covered, and the one an alert speaks of: ``A to NAME (...)``."""
        words = {str(word): kind for key, kind in columns.items() for word in _listed(row.get(key))}
        if "name" in columns and (told := _ADDRESSED.match(text)):
            words.setdefault(told[1], "ip" if _is_address(told[1]) else "name")
        for word, kind in sorted(words.items(), key=lambda pair: -len(pair[0])):
            if word:
                whole = rf"(?<![\w.:-]){re.escape(word)}(?![\w-]|[.:]\w)"
                text = re.sub(whole, self.word(kind, word), text)
        return text

    def _is_ours(self, address: object) -> bool:
        """Return whether a remote is one of ours all the same: a private address, or a device's."""
        if not isinstance(address, str) or not address:
            return False
        if address not in self._ours:
            if len(self._ours) > _MOST_REMEMBERED:
                self._ours.clear()
            self._ours[address] = _private(address) or self._known(address)
        return self._ours[address]


def _v4_or_v6(mark: str, text: str) -> str:
    number = int(mark, 16)
    if ":" in text:
        return str(IPv6Address(V6_PREFIX | number))
    return str(IPv4Address(0xF << V4_BITS | number & (1 << V4_BITS) - 1))


def _local_mac(mark: str, _: str) -> str:
    """Return a MAC that is locally administered (IEEE 802, clause 8.2)."""
    return ":".join(("02", *(mark[at : at + 2] for at in range(6, 16, 2))))


def _listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value] if isinstance(value, str) else []


_SHAPES = {"ip": _v4_or_v6, "mac": _local_mac}
_WORD = re.compile(r"[\w:](?:[\w.:-]*\w)?")
_MAC = re.compile(r"[0-9a-fA-F]{2}(?:[:-][0-9a-fA-F]{2}){5}")
_HOST = re.compile(r"(?:[\w-]+\.)+[^\W\d_]{2,}(?::\d+)?")
_ADDRESSED = re.compile(r"\S+ to (\S+?)(?= \(|: |:$|$)")
_MOST_REMEMBERED = 100_000


def _private(text: str) -> bool:
    try:
        address = ip_address(text)
    except ValueError:
        return False
    return (address.is_private or address.is_link_local) and not address.is_multicast and not address.is_unspecified


def _is_address(text: str) -> bool:
    try:
        ip_address(text)
    except ValueError:
        return False
    return True
