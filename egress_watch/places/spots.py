"""What an address alone tells, before any name: location and operator, each by the evidence that ranks highest.

In: the clues to one address. Out: a `Spot`, and with the owner by name the answer. Never: a file, or a guess.

Location, most trusted first: the user's own word; the user's networks and the special-purpose registries (local);
known anycast; the operator's published region; networks that are content edges; then two country databases together.
"""

from __future__ import annotations

from typing import NamedTuple

from egress_watch.model import Place, Verdict
from egress_watch.places.carried import Mechanism
from egress_watch.places.knowledge import Found, Knowledge, Override, Special
from egress_watch.places.owners import NOBODY, Group
from egress_watch.places.verdicts import REGISTRY, verdict
from egress_watch.places.zones import Zone

NO_WORD = Override("")


class Clues(NamedTuple):
    """What each source says of one address."""

    mechanism: Mechanism
    override: Override
    special: Special | None
    cloud: Found
    network: Found
    countries: tuple[Found, ...]


class Spot(NamedTuple):
    """Location and hands of an address."""

    status: str
    countries: tuple[str, ...]
    region: str
    asn: int
    as_name: str
    operator: Group
    evidence: str
    """What the operator rests on."""
    owner: Group | None = None
    """Whose service the user says it is, whatever its name."""
    note: str = ""
    declares: str = ""
    """Who publishes the region, whoever runs the network."""


def spot(clues: Clues, know: Knowledge) -> Spot:
    """Return what the clues come to."""
    return _overridden(_listed(clues, know), clues.override)


def answer(found: Spot, named: Group, zone: Zone) -> tuple[Place, Verdict]:
    """Return place and verdict of a spot that is spoken of by a name of the group ``named``, NOBODY where unlisted."""
    owner = owner_of(found, named)
    hands = tuple(dict.fromkeys(group for group in (owner, found.operator) if group.id))
    place = _place(found, owner)
    said, why = verdict(place, zone, hands, found.declares)
    return place, Verdict(said, why + _yours(found))


def _yours(found: Spot) -> str:
    """Return which hands are the user's own word, to be read behind the reason, which says so of the place."""
    roles = " and ".join(["owner"] * bool(found.owner) + ["network"] * (found.evidence == "override"))
    note = f": {found.note}" if found.note and found.status != "override" else ""
    return f" ({roles} by your override{note})" if roles else ""


def owner_of(found: Spot, named: Group) -> Group:
    """Return whose service it is: the user's word before the name; what stays local or leads nowhere has no owner."""
    if found.owner:
        return found.owner
    return NOBODY if found.status == "local" or found.evidence == REGISTRY else named


def _place(found: Spot, owner: Group) -> Place:
    operator = found.operator
    hands = owner if owner.id else operator
    rests_on = found.evidence if not owner.id else "override" if found.owner else "name"
    return Place(
        country=found.countries[0] if len(found.countries) == 1 else "",
        location_status=found.status, countries=found.countries, asn=found.asn, as_name=found.as_name,
        provider=operator.name, region=found.region, owner=hands.name, owner_seat=hands.seat,
        laws=tuple(dict.fromkeys((*hands.laws, *operator.laws))), evidence=rests_on, ties=hands.ties, note=found.note,
    )  # fmt: skip


def _overridden(found: Spot, word: Override) -> Spot:
    """Return the spot with what the user says in place of what the evidence says, field by field."""
    if word is NO_WORD:
        return found
    if word.country:
        evidence = "" if found.evidence == REGISTRY else found.evidence  # the user says that it leads somewhere
        found = found._replace(status="override", countries=(word.country,), region="", evidence=evidence)
    if word.provider:
        found = found._replace(operator=word.provider, evidence="override")
    return found._replace(owner=word.owner, note=word.note)


def _listed(clues: Clues, know: Knowledge) -> Spot:
    special, network = clues.special, clues.network
    if special and special.status in ("local", "unknown"):
        return _nowhere(special, clues.mechanism)
    operator, evidence = operator_of(clues, know)
    status, countries = location(clues, know)
    declares = know.owners.by_provider(clues.cloud.provider).name or clues.cloud.provider
    region, asn, as_name = clues.cloud.region, network.asn, network.as_name
    return Spot(status, countries, region, asn, as_name, operator, evidence, declares=declares)


def _nowhere(special: Special, mechanism: Mechanism) -> Spot:
    """Return the spot of an address without a place of its own.

    A private one in a tunnel's address proves nothing: anyone can write it.
    """
    if special.status == "local" and mechanism.checked:
        return Spot("local", (), special.name, 0, "", NOBODY, "")
    name = special.name if mechanism.checked or special.status == "unknown" else f"{special.name} in {mechanism.name}"
    return Spot("unknown", (), name, 0, "", NOBODY, REGISTRY)


def operator_of(clues: Clues, know: Knowledge) -> tuple[Group, str]:
    """Return who runs the network, and on what evidence: a known prefix, the cloud table, the origin AS."""
    owners, special = know.owners, clues.special
    if special and special.group in owners.by_id:
        return owners.by_id[special.group], "prefix"
    group = owners.by_provider(clues.cloud.provider)
    if group.id:
        return group, "cloud"
    group = owners.by_asn(clues.network.asn)
    return group, "asn" if group.id else ""


def location(clues: Clues, know: Knowledge) -> tuple[str, tuple[str, ...]]:
    """Return the location status and the countries it rests on."""
    region = clues.cloud.provider, clues.cloud.region
    if clues.special:
        return clues.special.status, ()
    if region in know.regions:
        return "declared", (know.regions[region],)
    if region in know.nowhere or clues.network.asn in know.edges:
        return "edge", ()
    said = tuple(found.country for found in clues.countries if found.country)[:2]
    return _status(said), tuple(dict.fromkeys(said))


def _status(countries: tuple[str, ...]) -> str:
    if len(countries) < 2:
        return "single" if countries else "unknown"
    return "agreed" if countries[0] == countries[1] else "disputed"
