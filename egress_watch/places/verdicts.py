"""The verdict, and its reason in words.

In: a `Place` and a `Zone`. Out: a `Verdict`. Never: a doubt settled in silence; what cannot be told is UNKNOWN.

Each reason is one line that can be read out in a meeting: where, on what evidence, in whose hands, under which law.
"""

from __future__ import annotations

from egress_watch.model import IN, OUT, OWN, UNKNOWN, Place, Verdict
from egress_watch.places.owners import Group
from egress_watch.places.zones import Zone

REGISTRY = "registry"
"""What the answer rests on where a special-purpose registry says that an address leads nowhere (RFC 6890)."""

_NO_PLACE = {"anycast": "one address in many places at once (anycast)", "edge": "a content network that is everywhere"}


def verdict(place: Place, zone: Zone, hands: tuple[Group, ...], declares: str = "") -> Verdict:
    """Return the answer; ``hands`` are the owner of the service and the operator of the network, where listed.

    ``declares`` names who publishes a declared region; by default it is who runs the network.
    """
    if place.location_status == "local":
        return _local(place, zone, hands)
    inside = {country in zone.countries for country in place.countries}
    if place.location_status in _NO_PLACE:
        return Verdict(UNKNOWN, f"cannot tell where: {_NO_PLACE[place.location_status]}; {_owned(place, hands)}")
    if not inside:
        return Verdict(UNKNOWN, f"cannot tell where: {_nowhere(place, hands)}")
    said = _said(place, declares or place.provider)
    if len(inside) > 1:
        return Verdict(UNKNOWN, f"cannot tell where: {said}; {_owned(place, hands)}")
    if not inside.pop():
        return Verdict(OUT, f"in {said}, outside {zone.short}; {_owned(place, hands)}{_limits(place, zone)}")
    answer = _inside(place, zone, hands, said)
    return answer._replace(why=answer.why + _limits(place, zone))


def _local(place: Place, zone: Zone, hands: tuple[Group, ...]) -> Verdict:
    """Return the answer for what does not leave; only the user can say that it is in other hands than theirs."""
    here = f"stays local: {place.region}"
    if foreign := [group for group in hands if group.seat not in zone.countries]:
        return Verdict(OWN, f"{here}, but {_reached(place, foreign)}")
    return Verdict(IN, here)


def _nowhere(place: Place, hands: tuple[Group, ...]) -> str:
    if place.evidence == REGISTRY:
        kind, *within = place.region.partition(" in ")
        return f"{kind} addresses{''.join(within)} have no place of their own"
    return f"no source lists this address; {_owned(place, hands)}"


def _inside(place: Place, zone: Zone, hands: tuple[Group, ...], said: str) -> Verdict:
    foreign = [group for group in hands if group.seat not in zone.countries]
    if foreign:
        return Verdict(OWN, f"in {said}, but {_reached(place, foreign)}")
    if not place.owner:
        return Verdict(UNKNOWN, f"in {said}, but whose hands it is in cannot be told: {_unlisted(place)}")
    if not place.provider:  # a name is the client's own word: it may make an answer worse, never better
        by_name = f"by its name a service of {place.owner} (seat {place.owner_seat})"
        return Verdict(UNKNOWN, f"in {said}, {by_name}, but its network cannot be told: {_unlisted(place)}")
    return Verdict(IN, f"in {said}; {_owned(place, hands)}")


def _limits(place: Place, zone: Zone) -> str:
    """Return what the law of the zone leaves out in these countries, to be read behind the reason."""
    limits = [f"{country}: {zone.limits[country]}" for country in place.countries if country in zone.limits]
    return f" (limits of the decision: {'; '.join(limits)})" if limits else ""


def _said(place: Place, declares: str) -> str:
    """Return the location with what it rests on."""
    where = " or ".join(place.countries)
    how = {
        "declared": f"{declares} declares region {place.region}",
        "agreed": "two databases agree",
        "single": "one database says so",
        "disputed": "the databases disagree",
        "override": f"your override says so{': ' * bool(place.note)}{place.note}",
    }
    return f"{where} ({how[place.location_status]})"


def _reached(place: Place, foreign: list[Group]) -> str:
    return " and ".join(f"{_role(place, group)}, reached by {_laws(group)}" for group in foreign)


def _role(place: Place, group: Group) -> str:
    owns = "owned by" if group.name == place.owner else "run on the network of"
    return f"{owns} {group.name} (seat {group.seat})"


def _laws(group: Group) -> str:
    return ", ".join(group.laws) or f"the law of {group.seat}"


def _owned(place: Place, hands: tuple[Group, ...]) -> str:
    if not hands:
        return f"owner cannot be told: {_unlisted(place)}"
    return " and ".join(_role(place, group) for group in hands)


def _unlisted(place: Place) -> str:
    network = f"AS{place.asn} {place.as_name}".strip()
    return f"{network} is not listed" if place.asn else "no source names its network"
