"""Rules over a committed batch, and their hits as episodes a person can read out.

In: rules, and a batch that can answer predicates. Out: one `Alert` for each rule, device, owner and country.
Never: one broken rule that stops the others.
"""

from __future__ import annotations

from functools import lru_cache, partial
from itertools import repeat
from typing import TYPE_CHECKING, Protocol

import numpy as np

from egress_watch.errors import RuleError
from egress_watch.model import Alert, Count, Crossing, Ints, Judged, Place, Verdict, Words, address_text
from egress_watch.rules.crossings import crossed

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from egress_watch.rules.links import Rule

TEXTS = 1 << 16
"""Addresses remembered in text."""
_text = lru_cache(TEXTS)(address_text)


class Batch(Protocol):
    """The flows of one committed batch, as far as rules need them; a row is a flow's place in ``judged.flows``."""

    judged: Judged
    ids: Ints
    """(n,) The ids of the flows, rising."""
    devices: Ints
    """(n,) Their rows in the store's device table."""

    def matching(self, predicates: Sequence[str]) -> Sequence[Ints | RuleError]:
        """Return for each predicate the rows for which it holds, rising, or why it cannot be run to its end."""

    def counted(self, rule: str, rows: Ints, count: Count) -> Sequence[Crossing] | RuleError:
        """Return the groups that some rows took to the limit of a correlation rule, or why they cannot be counted."""


class RuleSet:
    """Rules that run together; a broken one is set aside with its reason and never tried again."""

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
        rules = [rule for rule in self.rules if rule.id not in self.broken]
        alerts: list[Alert] = []
        crossing: list[Alert] = []
        ends = _Ends(batch)
        for rule, found in zip(rules, batch.matching([rule.predicate for rule in rules]), strict=True):
            if isinstance(found, RuleError):
                self.broken[rule.id] = str(found)
            elif rule.count:
                crossing += self._correlated(rule, rule.count, found, batch)
            elif len(found):
                alerts += _episodes(rule, found, batch, ends)
        return alerts + crossing

    def _correlated(self, rule: Rule, count: Count, rows: Ints, batch: Batch) -> list[Alert]:
        """Return the episodes of a rule that counts over time."""
        found = batch.counted(rule.id, rows, count)
        if isinstance(found, RuleError):
            self.broken[rule.id] = str(found)
            return []
        return [crossed(rule, count, crossing) for crossing in found]


def evaluate(rules: Sequence[Rule], batch: Batch) -> list[Alert]:
    """Return the episodes of one batch; who evaluates many keeps a `RuleSet`, which remembers broken rules."""
    return RuleSet(rules).evaluate(batch)


class _Answer:
    """What alerts say of all flows with one judgement."""

    def __init__(self, place: Place, verdict: Verdict) -> None:
        network = "" if place.owner else place.as_name  # so that strangers are not thrown together
        self.whom = place.owner, place.country, network
        self.verdict = verdict.verdict
        seat = f", seat {place.owner_seat}" if place.owner_seat else ""
        owner = f" ({place.owner}{seat})" if place.owner else ""
        self.why = owner + (f": {verdict.why}" if verdict.why else "")


class _Ends:
    """Who talks to whom in a batch: in words, and as a number to sum by."""

    def __init__(self, batch: Batch) -> None:
        judged = batch.judged
        some, self._answer = np.unique(judged.judgement, return_inverse=True)
        self._answers = [_Answer(judged.places[one], judged.verdicts[one]) for one in some.tolist()]
        whom: dict[tuple[str, str, str], int] = {}
        numbers = [whom.setdefault(answer.whom, len(whom)) for answer in self._answers]
        self.pair: Ints = batch.devices * len(whom) + np.array(numbers, np.int64)[self._answer]
        """(n,) The same for flows of one device with one owner (or unlisted network) and country."""
        self._flows = judged.flows

    def told(self, rows: Ints) -> Iterator[tuple[str, str, str, _Answer]]:
        """Yield device, remote, the remote's name and what was answered, in words, of some rows."""
        flows, answers = self._flows, map(self._answers.__getitem__, self._answer[rows].tolist())
        names = map(flows.name.__getitem__, rows.tolist()) if flows.name else repeat("")
        return zip(_texts(flows.device[rows]), _texts(flows.remote[rows]), names, answers, strict=False)


def _texts(addresses: Words) -> Iterator[str]:
    return map(_text, addresses[:, 0].tolist(), addresses[:, 1].tolist())


def _episodes(rule: Rule, rows: Ints, batch: Batch, ends: _Ends) -> Iterator[Alert]:
    """Yield one rule's hits, summed by pair, in the order of their first flows."""
    order = rows[np.argsort(ends.pair[rows], kind="stable")]
    starts = np.flatnonzero(np.diff(ends.pair[order], prepend=-1))
    stops = np.append(starts[1:], len(order))
    first, newest = order[starts], order[stops - 1]
    flows, begun = batch.judged.flows, np.argsort(first)
    sums = (
        batch.devices[first], np.minimum.reduceat(flows.first_ns[order], starts),
        np.maximum.reduceat(flows.last_ns[order], starts), stops - starts,
        np.add.reduceat(flows.bytes_out[order], starts), np.add.reduceat(flows.bytes_in[order], starts),
        batch.ids[first], batch.ids[newest], flows.last_ns[first], flows.bytes_out[first],
        flows.bytes_in[first], np.maximum.reduceat(flows.first_ns[order], starts), starts, stops,
    )  # fmt: skip
    summed = zip(*(column[begun].tolist() for column in sums), strict=True)
    for (*numbers, start, stop), words in zip(summed, ends.told(newest[begun]), strict=True):
        each = partial(_hits, rule, order[start:stop], batch, ends) if stop - start > 1 else None
        yield _alert(rule, numbers, *words, each)


def _hits(rule: Rule, rows: Ints, batch: Batch, ends: _Ends) -> Iterator[Alert]:
    """Yield every hit by itself, the oldest flow first."""
    flows, ids = batch.judged.flows, batch.ids[rows]
    first_ns, last_ns = flows.first_ns[rows], flows.last_ns[rows]
    bytes_out, bytes_in = flows.bytes_out[rows], flows.bytes_in[rows]
    columns = (
        batch.devices[rows], first_ns, last_ns, np.ones_like(ids), bytes_out, bytes_in, ids, ids, last_ns,
        bytes_out, bytes_in, first_ns,
    )  # fmt: skip
    hits = zip(*(column.tolist() for column in columns), strict=True)
    for numbers, words in zip(hits, ends.told(rows), strict=True):
        yield _alert(rule, numbers, *words)


def _alert(
    rule: Rule, sums: Sequence[int], device_ip: str, remote_ip: str, name: str, answer: _Answer,
    each: Callable[[], Iterator[Alert]] | None = None,
) -> Alert:  # fmt: skip
    """Return one episode; its sentence speaks of the newest hit, since the sums go on growing."""
    device, first_ns, last_ns, hits, bytes_out, bytes_in, first_flow, last_flow, *head = sums
    head_ns, head_bytes, head_in, latest_ns = head
    owner, country, network = answer.whom
    return Alert(
        rule.id, rule.title, rule.level, device, device_ip, remote_ip, owner, country, answer.verdict, first_ns,
        last_ns, hits, bytes_out, bytes_in, first_flow, last_flow, f"{device_ip} to {name or remote_ip}{answer.why}",
        network, head_ns, head_bytes, head_in, latest_ns, each,
    )  # fmt: skip
