"""Rules over a committed batch, and their hits as episodes a person can read out.

In: rules, and a batch that can answer a predicate. Out: one `Alert` for each rule, device, owner and country.
Never: one broken rule that stops the others.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

from egress_watch.errors import RuleError
from egress_watch.model import Alert

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from egress_watch.rules.compile import Rule


class Batch(Protocol):
    """The flows of one committed batch, as far as rules need them."""

    def matching(self, predicate: str) -> list[Mapping[str, Any]]:
        """Return the rows for which the predicate holds: the view's columns, and ``device``, the device's row.

        Raises RuleError where the predicate cannot be run to its end.
        """


class RuleSet:
    """Rules that run together: each alone, a broken one set aside with its reason and never tried again."""

    def __init__(self, rules: Iterable[Rule]) -> None:
        """Take the rules in their order; raises RuleError where two share an id."""
        self.rules: tuple[Rule, ...] = tuple(rules)
        self.broken: dict[str, str] = {}
        """Reason by rule id, for whoever shows the rules."""
        origins: dict[str, str] = {}
        for rule in self.rules:
            if rule.id in origins:
                what = f"the id {rule.id} is already taken by {origins[rule.id]}"
                raise RuleError(what, where=rule.origin, remedy="give the copy a fresh UUID")
            origins[rule.id] = rule.origin

    def evaluate(self, batch: Batch) -> list[Alert]:
        """Return the batch's episodes, in the order of the rules and of each episode's first flow."""
        alerts: list[Alert] = []
        for rule in self.rules:
            if rule.id in self.broken:
                continue
            try:
                rows = batch.matching(rule.predicate)
            except RuleError as error:
                self.broken[rule.id] = str(error)
            else:
                alerts.extend(_episodes(rule, rows))
        return alerts


def evaluate(rules: Sequence[Rule], batch: Batch) -> list[Alert]:
    """Return the episodes of one batch; who evaluates many keeps a `RuleSet`, which remembers broken rules."""
    return RuleSet(rules).evaluate(batch)


def _episodes(rule: Rule, rows: Iterable[Mapping[str, Any]]) -> list[Alert]:
    """Return one rule's hits, grouped by device, owner (or unlisted network) and country."""
    groups: dict[tuple[int, str, str, str], list[Mapping[str, Any]]] = {}
    for row in sorted(rows, key=lambda row: int(row["id"])):
        key = (row["device"], row["owner"] or "", row["country"] or "", _network(row))
        groups.setdefault(key, []).append(row)
    return [_alert(rule, hits) for hits in groups.values()]


def _alert(rule: Rule, hits: Sequence[Mapping[str, Any]]) -> Alert:
    """Return the episode of some hits in the order of their ids; what is not a sum is the newest flow's."""
    newest = hits[-1]
    return Alert(
        rule=rule.id,
        title=rule.title,
        level=rule.level,
        device=newest["device"],
        device_ip=newest["device_ip"] or "",
        remote_ip=newest["remote_ip"] or "",
        owner=newest["owner"] or "",
        country=newest["country"] or "",
        verdict=newest["verdict"] or "",
        first_ns=min(row["first_ns"] for row in hits),
        last_ns=max(row["last_ns"] for row in hits),
        hits=len(hits),
        bytes_out=sum(row["bytes_out"] or 0 for row in hits),
        bytes_in=sum(row["bytes_in"] or 0 for row in hits),
        first_flow=hits[0]["id"],
        last_flow=newest["id"],
        why=_why(newest),
        network=_network(newest),
    )


def _network(row: Mapping[str, Any]) -> str:
    """Return the network's name where the owner is not listed, so that strangers are not thrown together."""
    return "" if row["owner"] else row["as_name"] or ""


def _why(newest: Mapping[str, Any]) -> str:
    """Return the newest hit in one sentence; sums stand in their own columns, since an episode goes on growing."""
    remote = newest["name"] or newest["remote_ip"] or "an unknown remote"
    seat = f", seat {newest['owner_seat']}" if newest["owner_seat"] else ""
    owner = f" ({newest['owner']}{seat})" if newest["owner"] else ""
    reason = f": {newest['why']}" if newest["why"] else ""
    return f"{newest['device_ip']} to {remote}{owner}{reason}"
