"""The fields a rule can ask about: the columns of the store's view ``flows``, stated once.

In: nothing. Out: names, types, meanings, allowed values, and an empty table to prepare queries on.
Never: a second list of columns elsewhere; the documentation is held to this one by a test.
"""

from __future__ import annotations

from difflib import get_close_matches
from typing import TYPE_CHECKING, Literal, NamedTuple

from egress_watch.model import END_REASONS, NAME_SOURCES, PROTOCOLS, VERDICTS

if TYPE_CHECKING:
    from collections.abc import Iterable

Kind = Literal["number", "flag", "text", "address", "mac", "country", "protocol", "closed", "list"]

LOCATION_STATUSES = ("declared", "agreed", "single", "disputed", "anycast", "edge", "local", "override", "unknown")
EVIDENCE = ("override", "name", "prefix", "cloud", "asn", "registry")


class Field(NamedTuple):
    """One column of the view; where nothing is known it is NULL, never "" or 0."""

    name: str
    kind: Kind
    """How a rule may ask: what values it takes and which modifiers make sense."""
    meaning: str
    values: tuple[str, ...] = ()
    """Every value there is (kind ``closed``), or the named ones (kind ``protocol``)."""

    @property
    def type(self) -> str:
        """The SQLite type."""
        return "INTEGER" if self.kind in ("number", "flag") else "TEXT"


FIELDS = (
    Field("id", "number", "number of the flow record; grows with time"),
    Field("recording", "number", "number of the recording the flow belongs to"),
    Field("first_ns", "number", "time of the first packet, nanoseconds since 1970-01-01 UTC"),
    Field("last_ns", "number", "time of the last packet, nanoseconds since 1970-01-01 UTC"),
    Field(
        "protocol", "protocol", "transport protocol by name, else its IANA number as text", tuple(PROTOCOLS.values())
    ),
    Field("device_ip", "address", "address of our side"),
    Field("device_port", "number", "port of our side"),
    Field("device_mac", "mac", "MAC on our side of the link: the device's own, or its router's"),
    Field("remote_ip", "address", "address of the other side"),
    Field("remote_port", "number", "port of the other side"),
    Field("vlan", "number", "outermost VLAN id"),
    Field("packets_out", "number", "packets from device to remote"),
    Field("bytes_out", "number", "bytes from device to remote, IP header included"),
    Field("packets_in", "number", "packets from remote to device"),
    Field("bytes_in", "number", "bytes from remote to device, IP header included"),
    Field("end_reason", "closed", "why the record was written", END_REASONS),
    Field("name", "text", "best name heard for the remote"),
    Field("name_source", "closed", "where that name was heard", NAME_SOURCES[1:]),
    Field("name_ns", "number", "time that name was heard, to the millisecond, nanoseconds since 1970-01-01 UTC"),
    Field("other_names", "list", "other names DNS gave the address then, as a JSON list: ask with `contains`"),
    Field("country", "country", "country the remote stands in"),
    Field("location_status", "closed", "how sure the country is", LOCATION_STATUSES),
    Field("asn", "number", "number of the autonomous system that announces the address"),
    Field("as_name", "text", "name of that autonomous system"),
    Field("provider", "text", "who runs the network: the cloud, else the group behind the system"),
    Field("region", "text", "the provider's own name of the region"),
    Field("owner", "text", "the group whose service this is"),
    Field("owner_seat", "country", "country of that group's ultimate parent"),
    Field("laws", "list", "laws that reach the owner, as a JSON list: ask with `contains`"),
    Field("ties", "list", "known links of the owner to groups of other seats, as a JSON list: ask with `contains`"),
    Field("zone", "text", "the zone the flow was judged under"),
    Field("verdict", "closed", "the answer under that zone", VERDICTS),
    Field("why", "text", "the reason of the verdict in words"),
    Field("countries", "list", "every country a source named, most trusted first, as a JSON list: ask with `contains`"),
    Field("evidence", "closed", "what the owner rests on", EVIDENCE),
    Field("note", "text", "your own words on the prefix, from your overrides"),
    Field("dataset", "number", "number of the data set that judged the flow"),
    Field("data", "list", "its data files with their dates, as a JSON list: ask with `contains`"),
    Field("device_name", "text", "name of the device in your inventory"),
    Field("site", "text", "site of the device, from your inventory"),
    Field("segment", "text", "segment the device stands in, from your inventory"),
    Field("segment_class", "text", "known class of that segment, such as cameras or energy"),
    Field("role", "text", "what the device is for, from your inventory"),
    Field("supplier", "text", "who supplied it, from your inventory"),
    Field("listed", "number", "1 where your inventory lists the device itself, 0 where not; NULL without an inventory"),
    Field("first_country", "flag", "the device was never in touch with this country before"),
    Field("first_owner", "flag", "the device was never in touch with this owner before"),
    Field("first_provider", "flag", "the device was never in touch with this provider before"),
    Field("device_age_s", "number", "seconds since the device was first seen, by packet time"),
    Field("adequate", "flag", "the country is in the EEA or has an adequacy decision, on the zone's day"),
    Field("contract_zone", "text", "the zone agreed upon for the device, from your inventory; NULL where none is"),
    Field("to_supplier", "flag", "the owner is the device's supplier; NULL where your inventory names no supplier"),
    Field("habit_times", "number", "how many times its usual peak of an hour the device has sent in this one, by then"),
)

BY_NAME = {field.name: field for field in FIELDS}


def schema() -> str:
    """Return the CREATE TABLE text of an empty ``flows``, to prepare a rule's query before any flow exists."""
    columns = ", ".join(f"{field.name} {field.type}" for field in FIELDS)
    return f"CREATE TABLE flows ({columns})"


def nearest(word: str, known: Iterable[str]) -> str:
    """Return the known word most like ``word``, "" where none is alike."""
    # The comparison is quadratic in the length, and the word may be hostile.
    word, lower = word[:64].lower(), {name.lower(): name for name in known}
    # Another tool's `dst_country` means `country`, not `first_country`: the last part decides where it is alike.
    found = get_close_matches(word.rpartition("_")[2], lower, 1, 0.85) or get_close_matches(word, lower, 1, 0.55)
    return lower[found[0]] if found else ""
