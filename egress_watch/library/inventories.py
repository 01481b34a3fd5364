"""The user's inventory: the files that the settings name, read together.

In: settings or paths. Out: an `Inventory`, and what is wrong with its files. Never: an entry ignored in silence.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace

from egress_watch.config import ZONES, Config, OwnZone
from egress_watch.errors import ConfigError
from egress_watch.inventory import Entry, Inventory, Mistake, document, faults, sheet
from egress_watch.library.tables import groups
from egress_watch.library.texts import user_text
from egress_watch.places.dossiers import asked_for

MOST_BYTES = 64 << 20


@dataclass(slots=True)
class Read:
    """What the files of an inventory say."""

    entries: list[Entry] = field(default_factory=list)
    mistakes: list[Mistake] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    """What was left out without being wrong: columns and rows of sheets."""


def inventory(config: Config) -> Inventory | None:
    """Return the inventory of the settings, None where they name none; raises ConfigError for its first mistake."""
    if not config.inventory:
        return None
    found = read_inventory(config.inventory, config.own_zone)
    for mistake in found.mistakes:
        raise wrong(mistake)
    return Inventory(_with_groups(found.entries))


def _with_groups(entries: Sequence[Entry]) -> list[Entry]:
    """Return entries that also say their supplier as the table of owners calls it: the owner of its services."""
    suppliers = {entry.said["supplier"] for entry in entries if entry.said.get("supplier")}
    known = groups() if suppliers else []
    called = {one: next((dossier.group.name for dossier in asked_for(known, one)), one) for one in suppliers}
    return [
        replace(entry, said={**entry.said, "supplier_group": called[one]})
        if (one := entry.said.get("supplier", "")) else entry
        for entry in entries
    ]  # fmt: skip


def with_networks(config: Config) -> Config:
    """Return the settings with the networks of their inventory among the user's own; raises ConfigError."""
    found = inventory(config)
    named = found.networks if found else ()
    return replace(config, networks=tuple(dict.fromkeys((*config.networks, *named))))


def read_inventory(paths: Sequence[str], own: Iterable[OwnZone] = ()) -> Read:
    """Return what some files say, and every mistake in and between them; raises ConfigError for an unreadable one."""
    found = Read()
    for path in paths:
        _read(path, found)
    zones = [*ZONES, *(zone.name.lower() for zone in own)]
    if not found.mistakes:
        found.mistakes += faults(found.entries, zones)
    found.mistakes.sort(key=lambda mistake: (paths.index(mistake.origin), mistake.line))
    return found


def wrong(mistake: Mistake) -> ConfigError:
    """Return a mistake as an error with its file and line."""
    where = f"{mistake.origin}:{mistake.line}" if mistake.line else mistake.origin
    return ConfigError(mistake.what, where=where, remedy=mistake.remedy)


def _read(path: str, found: Read) -> None:
    if not path.lower().endswith((".toml", ".csv")):
        raise ConfigError("no inventory by its name", where=path, remedy="name a file that ends in .toml or .csv")
    text = user_text(
        path, MOST_BYTES, "name a readable file, here or as inventory in the settings", "a file of networks and devices"
    )
    if path.lower().endswith(".csv"):
        entries, mistakes, unused, passed_over = sheet.read(text)
        found.notes += [f"{path}: columns not used: {', '.join(unused)}"] if unused else []
        found.notes += [f"{path}: {passed_over} rows without network, VLAN, MAC or address"] if passed_over else []
    else:
        entries, mistakes = document.read(text)
    found.entries += [replace(entry, origin=path) for entry in entries]
    found.mistakes += [mistake._replace(origin=path) for mistake in mistakes]
