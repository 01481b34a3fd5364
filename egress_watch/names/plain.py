"""The plainest names, which the accelerator finds: their texts, and the same as readings.

In: names as bytes, as they stand in packets. Out: their texts, or readings as the readers give them. Never: an answer
that differs from theirs.
"""

from __future__ import annotations

from collections.abc import Callable

from egress_watch.fast import PlainNames
from egress_watch.names.dns import SOURCE as DNS
from egress_watch.names.http import SOURCE as HTTP
from egress_watch.names.http import bare
from egress_watch.names.reader import Bearer, Heard, MessageReader, Reading, Refusal, Said
from egress_watch.names.text import host
from egress_watch.names.text import plain as domain
from egress_watch.names.tls import SOURCE as TLS

_ASKER_BYTES = 16
Text = Callable[[bytes], str]
TEXTS: dict[str, Text] = {TLS: host, HTTP: bare, DNS: domain}
"""What makes a text of a name that the accelerator found, by source; each raises Refusal where it is none."""


def reading(found: PlainNames, number: int, reader: MessageReader) -> Reading:
    """Return one of the names as its reader would have."""
    try:
        name = TEXTS[reader.SOURCE](found.texts[found.text[number]])
    except Refusal as refusal:
        return [], str(refusal)
    if not name:
        return [], ""
    rows = slice(found.ends[number - 1] if number else 0, found.ends[number])
    if rows.start == rows.stop:
        return [Said(name)], ""
    pairs = zip(found.asked[rows], found.ttl_s[rows].tolist(), strict=True)
    return [Said(name, pair[_ASKER_BYTES:].tobytes(), ttl_s) for pair, ttl_s in pairs], ""


def heard(found: PlainNames, readers: dict[int, MessageReader], borne: list[Bearer], first: int) -> list[Heard]:
    """Return the names from ``first`` on as their readers would have; ``borne`` are their packets."""
    return [
        Heard(readers[bit], bearer, reading(found, number, readers[bit]))
        for number, (bit, bearer) in enumerate(zip(found.reader[first:].tolist(), borne, strict=True), first)
    ]
