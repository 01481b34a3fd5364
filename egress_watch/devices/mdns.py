"""What multicast DNS says of the host that answers: its name, its model, the services it offers.

In: UDP payloads of port 5353. Out: traits of the sender. Never: an exception, or a pointer followed twice.

RFC 6762 (multicast DNS), RFC 6763 (services and their TXT records), RFC 1035, section 4.1 (the message).
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import NamedTuple

from egress_watch.devices.facts import HOST, MODEL, NOTHING, SERVICE, Reading, Trait, trait

SOURCE = "mdns"
PORTS = (5353,)

MOST_RECORDS = 64
MOST_LABELS = 32
_A, _TXT, _AAAA, _SRV = 1, 16, 28, 33
_MODEL_KEYS = (b"md=", b"model=", b"ty=", b"usb_mdl=", b"modelname=", b"am=")
"""How TXT records name a model: Google Cast and HomeKit ``md``, device-info ``model``, printers ``ty``, ``usb_MDL``."""


class _Record(NamedTuple):
    labels: list[bytes]
    kind: int
    data: bytes


class _Cut(Exception):  # noqa: N818 - no error: what was read before stays
    pass


def read(payload: bytes) -> Reading:
    """Return what an answer says; a question says nothing of who asks."""
    if len(payload) < 12 or not payload[2] & 0x80:
        return NOTHING
    traits: dict[Trait, None] = {}
    try:
        for record in _records(payload):
            traits.update(dict.fromkeys(_traits(record)))
    except (_Cut, struct.error):
        pass
    return Reading(list(traits))


def _traits(record: _Record) -> list[Trait]:
    if record.kind in (_A, _AAAA):
        return trait(HOST, b".".join(record.labels)) if _plain(record.labels) else []
    if record.kind == _SRV and len(record.labels) > 2:
        return trait(SERVICE, b".".join(record.labels[-3:-1]))
    if record.kind == _TXT:
        return [one for item in _items(record.data) for one in _model(item)]
    return []


def _plain(labels: list[bytes]) -> bool:
    """Return whether a name is a host's of this link: one label and ``local``."""
    return len(labels) == 2 and labels[1].lower() == b"local"


def _model(item: bytes) -> list[Trait]:
    key = next((key for key in _MODEL_KEYS if item[: len(key)].lower() == key), b"")
    return trait(MODEL, item[len(key) :]) if key else []


def _items(data: bytes) -> Iterator[bytes]:
    at = 0
    while at < len(data):
        yield data[at + 1 : at + 1 + data[at]]
        at += 1 + data[at]


def _records(payload: bytes) -> Iterator[_Record]:
    """Yield the records of all sections behind the questions."""
    questions, *others = struct.unpack_from("!4H", payload, 4)
    at = 12
    for _ in range(min(questions, MOST_RECORDS)):
        at = _name(payload, at)[1] + 4
    for _ in range(min(sum(others), MOST_RECORDS)):
        labels, at = _name(payload, at)
        kind, _, _, size = struct.unpack_from("!HHIH", payload, at)
        yield _Record(labels, kind, payload[at + 10 : at + 10 + size])
        at += 10 + size


def _name(payload: bytes, at: int) -> tuple[list[bytes], int]:
    """Return the labels of a name and the offset behind it; a pointer may only lead backwards."""
    labels: list[bytes] = []
    behind, barrier = 0, len(payload)
    while len(labels) <= MOST_LABELS and at < len(payload):
        size = payload[at]
        if size == 0:
            return labels, behind or at + 1
        if size >= 0xC0:
            behind = behind or at + 2
            at = int.from_bytes(payload[at : at + 2], "big") & 0x3FFF
            if at >= barrier:
                break
            barrier = at
        else:
            labels.append(payload[at + 1 : at + 1 + size])
            at += 1 + size
    raise _Cut
