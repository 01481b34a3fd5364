"""Apache Parquet: columns with types, for DuckDB, Spark, pandas and data lakes.

In: records. Out: pieces of one file. Never: more than one group of rows in memory.

Needs pyarrow, which is an optional part of the installation.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from importlib import import_module
from itertools import islice
from typing import Any

from egress_watch.errors import UsageError
from egress_watch.exports.format import Format
from egress_watch.exports.record import KEYS, Record

GROUP_ROWS = 8_000
"""Records in one row group: enough to compress well, few enough to hold."""


class _Pieces:
    """What pyarrow takes for a file that can only be written; keeps what came since the last look."""

    closed = False

    def __init__(self) -> None:
        self._kept: list[bytes] = []
        self._told = 0

    def write(self, piece: Any) -> int:
        data = bytes(piece)
        self._kept.append(data)
        self._told += len(data)
        return len(data)

    def tell(self) -> int:
        return self._told

    def flush(self) -> None:
        """Do nothing: whoever asked for the pieces takes them."""

    def close(self) -> None:
        self.closed = True

    def taken(self) -> bytes:
        data, self._kept = b"".join(self._kept), []
        return data


def encode(records: Iterable[Record], kind: str) -> Iterator[bytes]:
    """Yield the file, one piece for each group of rows; raises UsageError where pyarrow is not installed."""
    arrow, writer_of = _arrow()
    schema = arrow.schema([(key.name, _type(arrow, key.form)) for key in KEYS if kind in key.kinds])
    pieces, left = _Pieces(), iter(records)
    with writer_of(pieces, schema, compression="zstd") as writer:
        while group := list(islice(left, GROUP_ROWS)):
            writer.write_table(arrow.Table.from_pylist(group, schema=schema))
            yield pieces.taken()
    yield pieces.taken()


def _type(arrow: Any, form: str) -> Any:
    forms = {
        "text": arrow.string(), "number": arrow.int64(), "time": arrow.timestamp("ns", tz="UTC"),
        "list": arrow.list_(arrow.string()),
    }  # fmt: skip
    return forms[form]


def _arrow() -> tuple[Any, Any]:
    try:
        return import_module("pyarrow"), import_module("pyarrow.parquet").ParquetWriter
    except ImportError as error:
        remedy = "pip install 'egress-watch[parquet]', or take --format csv or ndjson"
        raise UsageError("Parquet needs pyarrow, which is not installed", where="parquet", remedy=remedy) from error


PARQUET = Format("parquet", "Apache Parquet (needs pyarrow)", encode, binary=True)
