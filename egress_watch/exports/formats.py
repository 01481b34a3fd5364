"""The list of formats that a record can be written in.

In: the formats' own modules. Out: one list. Never: a place where rows are listed for people; that is `ROW_FORMATS`.

To add a format: a module that makes a `Format`, and one line in FORMATS. It stands apart from ``exports``, so that a
command that prints a table does not load them all.
"""

from __future__ import annotations

from egress_watch.exports.cef import CEF
from egress_watch.exports.csv import encode as csv_rows
from egress_watch.exports.ecs import ECS
from egress_watch.exports.eve import EVE
from egress_watch.exports.format import Format, json_line, lined
from egress_watch.exports.ipfix import IPFIX
from egress_watch.exports.leef import LEEF
from egress_watch.exports.ocsf import OCSF
from egress_watch.exports.parquet import PARQUET
from egress_watch.exports.pseudonyms import Pseudonyms
from egress_watch.exports.record import COLUMNS
from egress_watch.exports.zeek import ZEEK, ZEEK_JSON

NDJSON = lined("ndjson", "the record itself, JSON", json_line)
CSV = Format("csv", "comma-separated values with a header", lambda records, kind: csv_rows(records, COLUMNS[kind]))

FORMATS: tuple[Format, ...] = (ECS, OCSF, CEF, LEEF, EVE, NDJSON, CSV, ZEEK, ZEEK_JSON, PARQUET, IPFIX)

ANY_WORD = ("ndjson", "csv", "parquet")
"""Formats where a pseudonym may be any word; the others have fields that must hold addresses."""


def fitting(covers: Pseudonyms | None, name: str) -> Pseudonyms | None:
    """Return who covers records of a format: with words, or with what has the shape of addresses."""
    return covers.shaped() if covers and name not in ANY_WORD else covers
