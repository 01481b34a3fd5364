"""What would change an answer: each supposition is judged again, and told where the verdict comes out otherwise.

In: the clues to an address and what they came to. Out: sentences. Never: a supposition that was not judged.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from egress_watch.model import Verdict
from egress_watch.places.knowledge import Knowledge
from egress_watch.places.owners import NOBODY, Group
from egress_watch.places.spots import NO_WORD, Clues, Spot, answer, owner_of, spot
from egress_watch.places.verdicts import REGISTRY
from egress_watch.places.zones import Zone


def changes(clues: Clues, found: Spot, named: Group, name: str, know: Knowledge) -> tuple[str, ...]:
    """Return what would make the verdict another one, in order of how much it has to do with the evidence."""
    if found.status == "local" or found.evidence == REGISTRY:
        return ()
    today = answer(found, named, know.zone)[1]
    supposed = (
        *_elsewhere(clues, found, named, know), *_other_hands(found, named, know.zone),
        *_without_override(clues, named, know), *_without_name(found, named, name, know.zone),
        *_other_zones(found, named, know),
    )  # fmt: skip
    return tuple(f"{words}: {then.verdict}" for words, then in supposed if then.verdict != today.verdict)


def _elsewhere(clues: Clues, found: Spot, named: Group, know: Knowledge) -> Iterator[tuple[str, Verdict]]:
    """Suppose that a source which did not decide alone is right, or that it stood on either side of the border."""
    said: dict[str, list[str]] = {}
    for source, row in zip(know.countries, clues.countries, strict=True):
        said.setdefault(row.country, []).append(source.name)
    for country, sources in said.items():
        if country and (country,) != found.countries:
            words = f"if it stood in {country}, as {' and '.join(sources)} {'say' if sources[1:] else 'says'}"
            yield words, _at(country, found, named, know.zone)
    if len({country in know.zone.countries for country in found.countries}) > 1:
        return  # the databases stand on both sides already
    for where, country in (("in", next(iter(sorted(know.zone.countries)), "")), ("outside", "")):
        yield f"if it stood {where} {know.zone.short}", _at(country, found, named, know.zone)


def _at(country: str, found: Spot, named: Group, zone: Zone) -> Verdict:
    return answer(found._replace(status="agreed", countries=(country,)), named, zone)[1]


def _other_hands(found: Spot, named: Group, zone: Zone) -> Iterator[tuple[str, Verdict]]:
    """Suppose the hands were seated in the zone, or, where they are unlisted, that they were listed with a seat."""
    home = Group("supposed", "a group", next(iter(sorted(zone.countries)), ""), (), (), "", "")
    away = replace(home, seat="")
    owner = owner_of(found, named)
    if not owner.id and not found.operator.id:
        network = f"AS{found.asn}" if found.asn else "its network"
        for group, where in ((home, "in"), (away, "outside")):
            words = f"if {network} were listed with a seat {where} {zone.short}"
            yield words, answer(found._replace(operator=group), named, zone)[1]
    elif not found.operator.id:
        network = f"AS{found.asn}" if found.asn else "its network"
        words = f"if {network} were listed with a seat in {zone.short}"
        yield words, answer(found._replace(operator=home), named, zone)[1]
    else:
        words = f"if the hands it is in were seated in {zone.short}"
        yield words, answer(found._replace(operator=home, owner=home if owner.id else None), named, zone)[1]


def _without_override(clues: Clues, named: Group, know: Knowledge) -> Iterator[tuple[str, Verdict]]:
    if clues.override is not NO_WORD:
        yield "without your override", answer(spot(clues._replace(override=NO_WORD), know), named, know.zone)[1]


def _without_name(found: Spot, named: Group, name: str, zone: Zone) -> Iterator[tuple[str, Verdict]]:
    if named.id:
        yield f"without the name {name}", answer(found, NOBODY, zone)[1]


def _other_zones(found: Spot, named: Group, know: Knowledge) -> Iterator[tuple[str, Verdict]]:
    for zone in know.zones:
        yield f"under {zone.short}", answer(found, named, zone)[1]
