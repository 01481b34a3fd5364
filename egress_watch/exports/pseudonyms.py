"""Names in place of people: what points to a device, or also to a remote, under a keyed and stable pseudonym.

In: rows of flows, alerts and devices, and a key. Out: the same rows with pseudonyms. Never: an address of ours left in
a sentence, or two keys that give one pseudonym.

A pseudonym is a keyed hash (BLAKE2b, RFC 7693, section 2.9) with a mark in front: ``ip-1f0c22d6a7b3e945``,
``mac-...``, ``name-...``. The same key gives the same pseudonym everywhere and always; without the key nobody can tell
which address it stands for, not even by trying all of them.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from hashlib import blake2b
from ipaddress import ip_address
from typing import Any

COVERS = ("devices", "all")
"""What is covered: our side, or also the remotes with their names."""
OURS = {
    "device_ip": "ip", "ip": "ip", "addresses": "ip", "device_mac": "mac", "mac": "mac", "behind": "mac",
    "device_name": "name", "contact": "name", "notes": "name",
}  # fmt: skip
"""Columns that point to a device or its owner, and what kind of word they hold."""
THEIRS = {"remote_ip": "ip", "name": "name", "other_names": "name"}
SENTENCES = ("why",)


class Pseudonyms:
    """Covers rows; ``known`` tells whether an address is that of a device of ours, and is asked once for each."""

    def __init__(self, key: bytes, cover: str = COVERS[0], known: Callable[[str], bool] = lambda _: False) -> None:
        self._key = blake2b(key, digest_size=32).digest()
        self._all = cover == "all"
        self._known = known
        self._ours: dict[str, bool] = {}

    def word(self, kind: str, text: str) -> str:
        """Return the pseudonym of a text, "" for ""."""
        if not text:
            return text
        mark = blake2b(
            text.lower().encode("utf-8", "surrogatepass"), digest_size=8, key=self._key, person=kind.encode()
        )
        return f"{kind}-{mark.hexdigest()}"

    def rows(self, rows: Iterable[Mapping[str, Any]]) -> Iterator[dict[str, Any]]:
        """Yield rows of flows or alerts, covered."""
        return map(self.row, rows)

    def row(self, row: Mapping[str, Any]) -> dict[str, Any]:
        """Return a row of flows, alerts or of a report's devices, covered."""
        columns = {**OURS, **(THEIRS if self._all or self._is_ours(row.get("remote_ip")) else {})}
        covered = {key: self._cell(columns[key], value) if key in columns else value for key, value in row.items()}
        for key in SENTENCES:
            if isinstance(row.get(key), str):
                covered[key] = self._sentence(row[key], row, columns)
        return covered

    def device(self, row: Mapping[str, Any]) -> dict[str, Any]:
        """Return a row of the list of devices, covered: there ``name`` is the device's own."""
        covered = self.row({key: value for key, value in row.items() if key != "name"})
        facts = [self._fact(fact) for fact in row["facts"]]
        return {"name": self._cell("name", row["name"]), **covered, "facts": facts}

    def _fact(self, fact: Mapping[str, Any]) -> dict[str, Any]:
        kind = {"host_name": "name", "address": "ip"}.get(fact["kind"])
        value = self.word(kind, fact["value"]) if kind else fact["value"]
        return {**fact, "value": value, "ip": self.word("ip", fact["ip"])}

    def _cell(self, kind: str, value: Any) -> Any:
        if isinstance(value, list):
            return [self.word(kind, str(one)) for one in value]
        return self.word(kind, value) if isinstance(value, str) else value

    def _sentence(self, text: str, row: Mapping[str, Any], columns: Mapping[str, str]) -> str:
        """Return a sentence with the row's own words covered, and the one an alert speaks of: ``A to NAME (...)``."""
        words = {str(row[key]): kind for key, kind in columns.items() if isinstance(row.get(key), str)}
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
