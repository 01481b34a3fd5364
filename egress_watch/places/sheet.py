"""The evidence sheet of one address: which source, of which date, said what, what outranked it, what would change it.

In: the data that judges, an address, a name. Out: a `Sheet`. Never: an answer other than the one flows get.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from ipaddress import ip_network
from typing import NamedTuple

import numpy as np

from egress_watch.model import Place, Verdict, address_text
from egress_watch.places.carried import MECHANISMS, carried
from egress_watch.places.changes import changes
from egress_watch.places.knowledge import Found, Knowledge, Override, Source
from egress_watch.places.owners import NOBODY, Group
from egress_watch.places.spots import NO_WORD, Clues, Spot, answer, spot

WHERE, RUNS, WHOSE = "decides where", "decides who runs it", "decides whose service it is"
YOURS, REGIONS, SPECIAL = "your overrides", "regions", "special addresses"
SILENT, DISPUTED = "says nothing", "disagrees, so it is disputed"


class Evidence(NamedTuple):
    """One line of the evidence sheet: which source, of which date, said what, and what that counted for."""

    source: str
    built: str
    """ISO date of the data, "" where there is none."""
    prefix: str
    said: str
    weight: str
    """What it decides, or what it was outranked by."""


@dataclass(frozen=True, slots=True)
class Sheet:
    """Everything known about one address, and the answer."""

    address: str
    name: str
    place: Place
    verdict: Verdict
    evidence: tuple[Evidence, ...]
    changes: tuple[str, ...]
    """What would change the answer, each in one line."""


class _Asked(NamedTuple):
    """The clues to one address, with the prefixes they came from."""

    text: str
    clues: Clues
    overridden: str
    listed: str
    """Prefix of the special address."""


class _Said(NamedTuple):
    """What one source says of the place."""

    source: str
    built: str
    prefix: str
    said: str
    country: str
    """What it answers, "" where it has no answer."""


def sheet(know: Knowledge, address: tuple[int, int], name: str = "") -> Sheet:
    """Return the evidence sheet of one address (its two words), as spoken of by ``name``."""
    asked = _asked(know, address)
    named = know.owners.by_name(name) if name else NOBODY
    found = spot(asked.clues, know)
    place, verdict = answer(found, named, know.zone)
    evidence = (*_carried(asked), *_where(asked, know), *_hands(asked, know, name, named))
    return Sheet(address_text(*address), name, place, verdict, evidence, changes(asked.clues, found, named, name, know))


def _asked(know: Knowledge, address: tuple[int, int]) -> _Asked:
    inner, kinds = carried(np.array([address], np.uint64))
    high, low = inner[0].tolist()
    text = address_text(high, low)
    override, special = know.overrides.find(high, low), know.special.find(high, low)
    clues = Clues(
        MECHANISMS[int(kinds[0])], override[1] if override else NO_WORD, special[1] if special else None,
        know.clouds.find(text), know.networks.find(text), tuple(source.find(text) for source in know.countries),
    )  # fmt: skip
    return _Asked(text, clues, override[0] if override else "", special[0] if special else "")


def _carried(asked: _Asked) -> Iterator[Evidence]:
    mechanism = asked.clues.mechanism
    if mechanism.name:
        said = f"carries {asked.text}: what follows is about that"
        yield Evidence(mechanism.name, "", mechanism.prefix, said, "leads to the address that counts")


def _where(asked: _Asked, know: Knowledge) -> Iterator[Evidence]:
    """Yield what speaks of the place, highest rank first: the first that has an answer decides."""
    decider: _Said | None = None
    found = spot(asked.clues, know)
    for row in _ranked(asked, know):
        decider = decider or (row if row.country else None)
        weight = SILENT if decider is None or not row.country else _against(row, decider, know)
        if row.source == YOURS:
            weight = _own_weight(asked.clues.override)
        elif row is decider:
            weight = _deciding(row, found, know)
        yield Evidence(row.source, row.built, row.prefix, row.said, weight)


def _against(row: _Said, decider: _Said, know: Knowledge) -> str:
    """Return what a source counts for beside the one that decides; country databases decide two together."""
    if (row.source, decider.source) == (REGIONS, know.clouds.name):
        return "names its country"
    databases = [source.name for source in know.countries]
    if decider.source in databases:
        return "agrees" if row.country == decider.country else DISPUTED
    agrees = "agrees, but " * (row.country == decider.country)
    return f"{agrees}outranked by {decider.source}"


def _deciding(row: _Said, found: Spot, know: Knowledge) -> str:
    """Return what the source that decides where decides in all: one of two databases in dispute, nothing."""
    if found.status == "disputed" and row.source in [source.name for source in know.countries]:
        return DISPUTED
    return f"{WHERE} and who runs it" if row.source == SPECIAL and found.evidence == "prefix" else WHERE


def _ranked(asked: _Asked, know: Knowledge) -> Iterator[_Said]:
    """Yield what each source says of the place in order of rank, those that say nothing included."""
    clues, region = asked.clues, (asked.clues.cloud.provider, asked.clues.cloud.region)
    if clues.override is not NO_WORD:
        yield _Said(YOURS, "", asked.overridden, _own_words(clues.override), clues.override.country)
    if clues.special:
        said = f"{clues.special.status}: {clues.special.name}"
        yield _Said(SPECIAL, know.checked, asked.listed, said, clues.special.status)
    clouds = know.clouds
    yield _said(clouds, clues.cloud, know.regions.get(region, "edge" if region in know.nowhere else ""))
    if country := know.regions.get(region):
        yield _Said(REGIONS, know.checked, "", f"{' '.join(region)} lies in {country}", country)
    if edge := know.edges.get(clues.network.asn):
        yield _Said("edge networks", know.checked, "", f"{edge.status}: {edge.name}", edge.status)
    for source, found in zip(know.countries, clues.countries, strict=True):
        yield _said(source, found, found.country)


def _said(source: Source, found: Found, country: str) -> _Said:
    return _Said(source.name, source.built, _network(found.prefix), _words(found), country)


def _hands(asked: _Asked, know: Knowledge, name: str, named: Group) -> Iterator[Evidence]:
    """Yield what speaks of the hands: the network's number, then each way to a group, highest rank first."""
    networks, network = know.networks, asked.clues.network
    weight = "names the network" if network.asn else SILENT
    yield Evidence(networks.name, networks.built, _network(network.prefix), _words(network), weight)
    found = spot(asked.clues, know)
    if name:
        owner, nowhere = found.owner, found.status == "local" or found.evidence == "registry"
        outranked = f"outranked by {YOURS}" if owner else "not asked: the address stays local or leads nowhere"
        weight = outranked if owner or nowhere else WHOSE
        yield _group(f"name {name}", named, weight)
    decides = {"override": YOURS, "prefix": SPECIAL, "cloud": know.clouds.name, "asn": ""}
    outranked = f"outranked by {decides.get(found.evidence, '')}"
    if provider := asked.clues.cloud.provider:
        group = know.owners.by_provider(provider)
        same = group.id == found.operator.id
        yield _group(f"cloud {provider}", group, RUNS if found.evidence == "cloud" else "agrees" if same else outranked)
    if network.asn:
        group = know.owners.by_asn(network.asn)
        same = group.id == found.operator.id
        yield _group(f"AS{network.asn}", group, RUNS if found.evidence == "asn" else "agrees" if same else outranked)


def _group(kind: str, group: Group, weight: str) -> Evidence:
    said = f"{kind}: {group.name}, seat {group.seat}" if group.id else f"{kind}: not listed"
    return Evidence("owners", group.checked, "", said, weight if group.id else SILENT)


def _own_weight(word: Override) -> str:
    """Return what the user's word decides; a note by itself decides nothing."""
    decides = ((word.country, "where"), (word.provider, "who runs it"), (word.owner, "whose service it is"))
    questions = [question for said, question in decides if said]
    return f"decides {' and '.join(questions)}" if questions else "a note"


def _own_words(word: Override) -> str:
    hands = (("run by", word.provider), ("owned by", word.owner))
    said = [f"{role} {group.name} (seat {group.seat})" for role, group in hands if group]
    return ", ".join(part for part in (word.country, *said, word.note) if part)


def _network(prefix: str) -> str:
    """Return the prefix without the bits of the address that was asked for."""
    return str(ip_network(prefix, strict=False)) if prefix else ""


def _words(found: Found) -> str:
    if not found.prefix:
        return "not listed"
    network = f"AS{found.asn} {found.as_name}" if found.asn else ""
    return ", ".join(part for part in (found.country, network, found.provider, found.region) if part)
