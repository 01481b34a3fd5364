"""IPFIX messages in a file (RFC 5655): flows as routers export them, both directions in one record (RFC 5103).

In: records of flows. Out: pieces of bytes, each one IPFIX message (RFC 7011). Never: an element of a private number.

Only elements of IANA's registry are used, so verdict, owner and laws cannot be carried: for them a private enterprise
number would be needed, and readers would not know it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from struct import pack
from typing import Any, NamedTuple

from egress_watch.exports.format import Format
from egress_watch.exports.identity import packed
from egress_watch.exports.mapping import is_v4
from egress_watch.exports.record import FLOW, Record
from egress_watch.exports.times import SECOND_NS, ntp

VERSION = 10
TEMPLATE_SET = 2
REVERSE = 29_305
"""The enterprise number under which the elements of the other direction stand (RFC 5103, section 6.1)."""
MESSAGE_RECORDS = 600
"""Records of one message: at most 107 bytes each, and a message holds 65,535 (RFC 7011, section 3.1)."""
END_REASONS = {"idle": 1, "active": 2, "fin": 3, "rst": 3, "end": 4, "evicted": 5}
"""flowEndReason (element 136): idle, active timeout, end of flow, forced end, lack of resources."""
PERIMETER = 3
"""biflowDirection (element 239): the source is inside the perimeter, the destination outside."""


class Element(NamedTuple):
    """One information element of IANA's registry."""

    ours: str
    theirs: str
    number: int
    length: int
    turn: Callable[[Any], int | bytes] | None = None
    enterprise: int = 0


def _mac(mac: str) -> bytes:
    return bytes.fromhex(mac.replace(":", ""))


_ENDS = {
    4: (
        Element("device_ip", "sourceIPv4Address", 8, 4, packed),
        Element("remote_ip", "destinationIPv4Address", 12, 4, packed),
    ),
    6: (
        Element("device_ip", "sourceIPv6Address", 27, 16, packed),
        Element("remote_ip", "destinationIPv6Address", 28, 16, packed),
    ),
}
_REST = (
    Element("device_port", "sourceTransportPort", 7, 2),
    Element("remote_port", "destinationTransportPort", 11, 2),
    Element("protocol_number", "protocolIdentifier", 4, 1),
    Element("first_ns", "flowStartNanoseconds", 156, 8, ntp),
    Element("last_ns", "flowEndNanoseconds", 157, 8, ntp),
    Element("bytes_out", "octetDeltaCount", 1, 8),
    Element("packets_out", "packetDeltaCount", 2, 8),
    Element("bytes_in", "reverseOctetDeltaCount", 1, 8, None, REVERSE),
    Element("packets_in", "reversePacketDeltaCount", 2, 8, None, REVERSE),
    Element("device_mac", "sourceMacAddress", 56, 6, _mac),
    Element("vlan", "vlanId", 58, 2),
    Element("asn", "bgpDestinationAsNumber", 17, 4),
    Element("end_reason", "flowEndReason", 136, 1, lambda reason: END_REASONS.get(reason, 3)),
    Element("kind", "biflowDirection", 239, 1, lambda _: PERIMETER),
    Element("id", "flowId", 148, 8),
)
TEMPLATE_OF = {4: 256, 6: 257}
TEMPLATES = {number: (*_ENDS[version], *_REST) for version, number in TEMPLATE_OF.items()}
"""The elements of each template, one for each IP version. What is not known is 0."""
DOMAIN = 1


def encode(records: Iterable[Record], _: str) -> Iterator[bytes]:
    """Yield messages; the first holds the templates, and the sequence counts records (RFC 7011, section 3.1)."""
    left, sequence, sets = iter(records), 0, [_templates()]
    while (batch := list(islice(left, MESSAGE_RECORDS))) or sets:
        sets += [_data(number, version, batch) for version, number in TEMPLATE_OF.items()]
        yield _message(b"".join(sets), max((record["time_ns"] for record in batch), default=0), sequence)
        sequence, sets = sequence + len(batch), []


def _message(sets: bytes, newest_ns: int, sequence: int) -> bytes:
    """Return a message: its header is version, length, export time, sequence number and observation domain."""
    export_time = max(newest_ns // SECOND_NS, 0) & 0xFFFFFFFF
    return pack(">HHIII", VERSION, 16 + len(sets), export_time, sequence & 0xFFFFFFFF, DOMAIN) + sets


def _templates() -> bytes:
    """Return the template set: each template's number, its count of fields, and the fields (sections 3.2 and 3.4.1)."""
    templates = (
        pack(">HH", number, len(elements)) + b"".join(map(_specifier, elements))
        for number, elements in TEMPLATES.items()
    )
    return _set(TEMPLATE_SET, b"".join(templates))


def _specifier(element: Element) -> bytes:
    if element.enterprise:
        return pack(">HHI", element.number | 0x8000, element.length, element.enterprise)
    return pack(">HH", element.number, element.length)


def _data(number: int, version: int, batch: Iterable[Record]) -> bytes:
    """Return the data set of the records of one IP version, nothing where there are none."""
    elements = TEMPLATES[number]
    fitting = [record for record in batch if is_v4(record["remote_ip"]) == (version == 4)]
    return _set(number, b"".join(_bytes(element, record) for record in fitting for element in elements))


def _bytes(element: Element, record: Record) -> bytes:
    value = record[element.ours]
    if value is None:
        return bytes(element.length)
    turned = element.turn(value) if element.turn else value
    return turned if isinstance(turned, bytes) else turned.to_bytes(element.length)


def _set(number: int, data: bytes) -> bytes:
    return pack(">HH", number, 4 + len(data)) + data if data else b""


IPFIX = Format("ipfix", "IPFIX file (RFC 5655), both directions in a record", encode, None, (FLOW,), binary=True)
