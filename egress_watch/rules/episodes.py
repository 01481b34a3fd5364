"""Rules over a committed batch, and their hits as episodes a person can read out.

In: rules, and a batch that can answer predicates. Out: the `Hits` of each rule, which give an `Alert` for each device,
owner and country.
Never: one broken rule that stops the others.
"""

from __future__ import annotations

from functools import cached_property, lru_cache, partial
from itertools import repeat
from typing import TYPE_CHECKING, Protocol

import numpy as np

from egress_watch.errors import RuleError
from egress_watch.fast import Kinds, distinct, table
from egress_watch.model import Alert, Count, Crossing, Ints, Judged, Place, Verdict, Words, address_text
from egress_watch.rules.crossings import crossed
from egress_watch.texts import texts_of

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
        self._news: dict[str, str] = {}
        origins: dict[str, str] = {}
        for rule in self.rules:
            if rule.id in origins:
                what = f"the id {rule.id} is already taken by {origins[rule.id]}"
                raise RuleError(what, where=rule.origin, remedy="give the copy a fresh UUID")
            origins[rule.id] = rule.origin

    def evaluate(self, batch: Batch) -> list[Alert]:
        """Return the batch's episodes, in the order of the rules and of each episode's first flow."""
        return list(told(self.hits(batch)))

    def hits(self, batch: Batch) -> list[Hits | Alert]:
        """Return the same as `evaluate` as one `Hits` a rule, without a row for each episode."""
        rules = [rule for rule in self.rules if rule.id not in self.broken]
        hits: list[Hits | Alert] = []
        crossing: list[Alert] = []
        ends = _Ends(batch)
        for rule, found in zip(rules, batch.matching([rule.predicate for rule in rules]), strict=True):
            if isinstance(found, RuleError):
                self._set_aside(rule, found)
            elif rule.count:
                crossing += self._correlated(rule, rule.count, found, batch)
            elif len(found):
                hits.append(Hits(rule, found, batch, ends))
        return [*hits, *crossing]

    def news(self) -> dict[str, str]:
        """Return what broke since this was asked last."""
        news, self._news = self._news, {}
        return news

    def _set_aside(self, rule: Rule, why: RuleError) -> None:
        self.broken[rule.id] = self._news[rule.id] = str(why)

    def _correlated(self, rule: Rule, count: Count, rows: Ints, batch: Batch) -> list[Alert]:
        """Return the episodes of a rule that counts over time."""
        found = batch.counted(rule.id, rows, count)
        if isinstance(found, RuleError):
            self._set_aside(rule, found)
            return []
        return [crossed(rule, count, crossing) for crossing in found]


def told(found: Iterable[Hits | Alert]) -> Iterator[Alert]:
    """Yield what `RuleSet.hits` returned as alerts, each with its hits."""
    return (alert for one in found for alert in ((one,) if isinstance(one, Alert) else one.alerts()))


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
        first, self._answer = distinct(table((judged.judgement,), len(judged.judgement)))
        some = judged.judgement[first]
        self._answers = [_Answer(judged.places[one], judged.verdicts[one]) for one in some.tolist()]
        whom: dict[tuple[str, str, str], int] = {}
        numbers = [whom.setdefault(answer.whom, len(whom)) for answer in self._answers]
        self.whom: Ints = np.array(numbers, np.int64)[self._answer]
        """(n,) Which of ``whoms`` each flow went to."""
        self.whoms = list(whom)
        """Owners with country and network."""
        self.pair: Ints = batch.devices * len(whom) + self.whom
        """(n,) The same for flows of one device with one owner (or unlisted network) and country."""
        self._flows = judged.flows
        self._names = texts_of(judged.flows.name) if judged.flows.name else None

    def told(self, rows: Ints) -> Iterator[tuple[str, str, str, _Answer]]:
        """Yield device, remote, the remote's name and what was answered, in words, of some rows."""
        flows, answers = self._flows, map(self._answers.__getitem__, self._answer[rows].tolist())
        names = map(self._names.texts.__getitem__, self._names.codes[rows].tolist()) if self._names else repeat("")
        return zip(_texts(flows.device[rows]), _texts(flows.remote[rows]), names, answers, strict=False)


def _texts(addresses: Words) -> Iterator[str]:
    return map(_text, addresses[:, 0].tolist(), addresses[:, 1].tolist())


class Hits:
    """The flows of a batch that a rule holds for, in their order, and the episodes they make."""

    def __init__(self, rule: Rule, rows: Ints, batch: Batch, ends: _Ends) -> None:
        self._rule, self._rows, self._batch, self._ends = rule, rows, batch, ends
        self.rule, self.title, self.level = rule.id, rule.title, rule.level
        flows = batch.judged.flows
        self.flow, self.device = batch.ids[rows], batch.devices[rows]
        self.first_ns, self.last_ns = flows.first_ns[rows], flows.last_ns[rows]
        self.bytes_out, self.bytes_in = flows.bytes_out[rows], flows.bytes_in[rows]

    @cached_property
    def kinds(self) -> Kinds:
        """The episode of each hit, numbered in the order of their first hits."""
        return distinct(table((self._ends.pair[self._rows],), len(self._rows)))

    def whom(self) -> tuple[Sequence[tuple[str, str, str]], Ints]:
        """Return owners with country and network, and which of them each episode is about."""
        return self._ends.whoms, self._ends.whom[self._rows[self.kinds.first]]

    def told(self, hits: Ints) -> tuple[list[str], list[str], list[str]]:
        """Return remotes, verdicts and sentences of some hits."""
        words = list(self._ends.told(self._rows[hits]))
        verdicts = [answer.verdict for _, _, _, answer in words]
        return [remote for _, remote, _, _ in words], verdicts, [_sentence(*some) for some in words]

    def alerts(self) -> Iterator[Alert]:
        """Yield the episodes, in the order of their first flows."""
        order, stops = self.kinds.order(), np.cumsum(self.kinds.counts())
        starts = np.append(0, stops[:-1])
        summed = zip(*(column.tolist() for column in (*self._sums(order[stops - 1]), starts, stops)), strict=True)
        newest = self._rows[order[stops - 1]]
        for (*numbers, start, stop), words in zip(summed, self._ends.told(newest), strict=True):
            each = partial(self.each, order[start:stop]) if stop - start > 1 else None
            yield _alert(self._rule, numbers, *words, each)

    def together(self, start: int, stop: int) -> Alert:
        """Return neighbouring hits as if they were one, whatever their episodes."""
        some = slice(start, stop)
        newest = next(self.each(np.arange(stop - 1, stop)))
        return newest._replace(
            first_ns=int(self.first_ns[some].min()), last_ns=int(self.last_ns[some].max()), hits=stop - start,
            bytes_out=int(self.bytes_out[some].sum()), bytes_in=int(self.bytes_in[some].sum()),
            first_flow=int(self.flow[start]),
        )  # fmt: skip

    def only(self, hits: Ints) -> Hits:
        """Return some of the hits."""
        return Hits(self._rule, self._rows[hits], self._batch, self._ends)

    def each(self, hits: Ints) -> Iterator[Alert]:
        """Yield some hits by themselves, the oldest flow first."""
        first_ns, last_ns, flow = self.first_ns[hits], self.last_ns[hits], self.flow[hits]
        bytes_out, bytes_in = self.bytes_out[hits], self.bytes_in[hits]
        columns = (
            self.device[hits], first_ns, last_ns, np.ones_like(flow), bytes_out, bytes_in, flow, flow, last_ns,
            bytes_out, bytes_in, first_ns,
        )  # fmt: skip
        found = zip(*(column.tolist() for column in columns), strict=True)
        for numbers, words in zip(found, self._ends.told(self._rows[hits]), strict=True):
            yield _alert(self._rule, numbers, *words)

    def _sums(self, newest: Ints) -> Sequence[Ints]:
        """Return the numbers of an `Alert` for each episode."""
        of, head = self.kinds, self.kinds.first
        return (
            self.device[head], of.least(self.first_ns), of.most(self.last_ns), of.counts(), of.sums(self.bytes_out),
            of.sums(self.bytes_in), self.flow[head], self.flow[newest], self.last_ns[head],
            self.bytes_out[head], self.bytes_in[head], of.most(self.first_ns),
        )  # fmt: skip


def _sentence(device_ip: str, remote_ip: str, name: str, answer: _Answer) -> str:
    return f"{device_ip} to {name or remote_ip}{answer.why}"


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
        last_ns, hits, bytes_out, bytes_in, first_flow, last_flow, _sentence(device_ip, remote_ip, name, answer),
        network, head_ns, head_bytes, head_in, latest_ns, each,
    )  # fmt: skip
