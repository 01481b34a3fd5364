"""A flow explained: what is stored of its answer, what was said before, and what every source says today.

In: rows of the store. Out: a block of lines each. Never: today's answer in place of the stored one.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from functools import lru_cache
from typing import Any

from egress_watch.cli.evidence import sheet_lines
from egress_watch.cli.judges import dated, described, say_notices, zone_of
from egress_watch.config import Config
from egress_watch.exports.plain import printable
from egress_watch.exports.table import when
from egress_watch.library import atlas, data_files
from egress_watch.model import GLYPHS, Verdict, address_words
from egress_watch.places import Atlas
from egress_watch.store.reader import Reader


class Why:
    """Explains flows of one database with the data of these settings."""

    def __init__(self, reader: Reader, config: Config) -> None:
        self._reader, self._config = reader, config
        self._files = data_files(config)
        self._data = described(self._files)
        self._number = reader.dataset(self._data)
        self._atlas = lru_cache(self._opened)
        say_notices()

    def lines(self, row: Mapping[str, Any]) -> Iterator[str]:
        """Yield the block of one flow, an empty line last."""
        law = zone_of(row["zone"], self._config)
        sheet = self._atlas(row["zone"]).sheet(address_words(row["remote_ip"]), row["name"] or "")
        yield _head(row)
        yield from (f"  {line}" for line in _stored(row))
        for earlier in self._reader.earlier(row["id"]):
            yield f"  said until {when(earlier['made_ns'])}: {_answer(earlier)} (by {dated(earlier['data'])})"
        yield f"  {self._compared(row, sheet.verdict)}"
        yield from (f"  {line}".rstrip() for line in sheet_lines(sheet, f"{law.short} as of {law.as_of}"))

    def _opened(self, name: str) -> Atlas:
        return atlas(replace(self._config, zone=name), self._files)

    def _compared(self, row: Mapping[str, Any], now: Verdict) -> str:
        """Return how today's data stands to the data that judged, and today's verdict to the stored one."""
        held, same = row["dataset"] == self._number, now.verdict == row["verdict"]
        data = "the data that judged it is still in use" if held else f"other data is in use, {dated(self._data)}"
        if same:
            return f"today: {data}; it gives the same verdict"
        because = "; settings or zone are not those it was judged with" if held else ""
        return f"today: {data}; it gives {GLYPHS[now.verdict]} {now.verdict}{because}; `rejudge` shows all such flows"


def _head(row: Mapping[str, Any]) -> str:
    at = f" {when(row['name_ns'])}" if row["name_ns"] is not None else ""
    called = f" as {row['name']} (heard in {row['name_source']}{at})" if row["name"] else ""
    port = f"/{row['remote_port']}" if row["remote_port"] else ""
    bytes_said = f"{row['bytes_out']:,} bytes out, {row['bytes_in']:,} in"
    to = f"{row['device_ip']} to {row['remote_ip']} {row['protocol']}{port}{called}"
    return printable(f"flow {row['id']}: {to}, {when(row['last_ns'])}, {bytes_said}")


def _stored(row: Mapping[str, Any]) -> Iterator[str]:
    """Yield what the database holds of the answer, a line for each thing that is known."""
    yield f"stored: {_answer(row)}"
    if row["other_names"]:
        yield printable(f"the address had other names in DNS then: {', '.join(row['other_names'])}")
    named = " or ".join(row["countries"]) or "no country"
    region = f", region {row['region']}" if row["region"] else ""
    yield printable(f"where: {named}, {row['location_status']}{region}")
    if row["asn"] or row["provider"]:
        yield printable(
            f"network: AS{row['asn'] or '?'} {row['as_name'] or ''}, run by {row['provider'] or 'not listed'}"
        )
    if row["owner"]:
        yield printable(f"owner: {row['owner']} (seat {row['owner_seat']}), by {row['evidence']}")
    yield from (printable(f"law: {law}") for law in row["laws"])
    yield from (printable(f"tie: {tie}") for tie in row["ties"])
    if row["note"]:
        yield printable(f"note: {row['note']}")
    yield f"data: {dated(row['data'])}"


def _answer(row: Mapping[str, Any]) -> str:
    return printable(f"{GLYPHS.get(row['verdict'], '?')} {row['verdict']} under {row['zone']}: {row['why']}")
