"""Correlations, filters and facts: what is refused, what is counted, and that no cutting into batches changes it."""

from __future__ import annotations

import dataclasses
import os
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from judging import AWAY, HOME, PLACES, VERDICTS, flows, judged, tally

from egress_watch.config import Config, RuleSettings
from egress_watch.errors import RuleError
from egress_watch.library import read_rules, rule_files, rules
from egress_watch.library.rulebook import MOST_RULES
from egress_watch.model import Alert, Judged, Place
from egress_watch.rules import Rule, RuleSet, check, linked, parts, schema
from egress_watch.store import Reader, Store, backtest, holds
from egress_watch.store.counts import Counts
from egress_watch.store.facts import CONTACT_BYTES, Contacts
from egress_watch.store.rollup import LIMIT, Rollup

SECOND_NS = 1_000_000_000
BASE, OVER, SIEVE = (f"5f3c7a52-1f0e-4f57-9d0c-3f6c2f0f7a1{n}" for n in range(3))
LOG = "logsource:\n  product: egress_watch\n  category: flow\n"
BASE_RULE = f"""title: Base
id: {BASE}
name: base
{LOG}detection:
  s:
    country: CN
  condition: s
level: informational
"""
COUNTED = f"""title: Counted
id: {OVER}
level: high
correlation:
  type: value_sum
  rules:
    - base
  group-by:
    - device_ip
    - country
  timespan: 1h
  condition:
    field: bytes_out
    gte: 1000
"""
FILTER = f"""title: Site
{LOG}filter:
  rules:
    - base
  agreed:
    device_ip: 10.0.0.1
  condition: not agreed
"""


def ready(*texts: str) -> list[Rule]:
    """Return the rules of some files that must all be sound."""
    found, broken = linked(part for number, text in enumerate(texts) for part in parts(text, f"{number}.yml"))
    assert broken == []
    return found


def two(correlation: str = COUNTED) -> str:
    """Return a file of a rule and a correlation over it."""
    return f"{BASE_RULE}---\n{correlation}"


def row(seconds: float = 0, bytes_out: int = 500, **more: object) -> dict[str, object]:
    """Return a flow as an example holds it."""
    at_ns = int(seconds * SECOND_NS)
    return {"country": "CN", "device_ip": "10.0.0.2", "remote_ip": "192.0.2.1", "first_ns": at_ns, "last_ns": at_ns,
            "bytes_out": bytes_out, "bytes_in": 1, **more}  # fmt: skip


def finds(text: str, *some: dict[str, object]) -> bool:
    """Tell whether the last rule of a file finds the flows together."""
    rule = ready(text)[-1]
    return holds(rule.predicate, rule.count, some, schema())


# ---- what the lint refuses


TRAPS = [
    ("type: value_sum", "type: temporal", (5, 9, "the order of flows is not kept")),
    ("type: value_sum", "type: value_avg", (5, 9, "is none of")),
    ("timespan: 1h", "timespan: 1w", (11, 13, "no timespan")),
    ("timespan: 1h", "timespan: 30s", (11, 13, "no timespan")),
    ("timespan: 1h", "timespan: 31d", (11, 13, "no timespan")),
    ("timespan: 1h", "timespam: 1h", (11, 3, "unknown key 'timespam'")),
    ("    - country", "    - contry", (10, 7, "cannot be grouped")),
    ("    - country", "    - bytes_in", (10, 7, "cannot be grouped")),
    ("    - device_ip\n", "", (9, 5, "speaks of a device")),
    ("gte: 1000", "lt: 1000", (14, 5, "begins at nothing")),
    ("gte: 1000", "gte: 0", (14, 10, "no whole number above 0")),
    ("gte: 1000", "gte: '9'", (14, 10, "no whole number above 0")),
    ("gte: 1000", "gte: 9\n    gt: 9", (13, 5, "one limit")),
    ("field: bytes_out", "field: byts_out", (13, 12, "unknown field")),
    ("field: bytes_out", "field: country", (13, 12, "cannot be summed")),
    ("    field: bytes_out\n", "", (13, 5, "needs a `field`")),
    ("type: value_sum", "type: event_count", (13, 12, "takes no field")),
    ("timespan: 1h", "timespan: 1h\n  aliases: {}", (12, 3, "no use here")),
    ("timespan: 1h", "timespan: 1h\n  generate: 3", (12, 13, "neither true nor false")),
    ("level: high\n", "", (1, 1, "`level` is missing")),
    ("    - base\n", "    []\n", (7, 5, "list is empty")),
]


@pytest.mark.parametrize(("old", "new", "wanted"), TRAPS, ids=[trap[1][:30].strip() or trap[0][:20] for trap in TRAPS])
def test_a_correlation_that_cannot_be_counted_is_refused_at_its_spot(
    old: str, new: str, wanted: tuple[int, int, str]
) -> None:
    """Each trap gives its line, its column and what is wrong."""
    assert old in COUNTED
    found = [(error.line, error.column, error.what) for error in check(COUNTED.replace(old, new), "r.yml")]
    assert any(one[:2] == wanted[:2] and wanted[2] in one[2] for one in found), found


def test_a_name_that_no_sound_rule_has_is_an_error_at_its_line() -> None:
    """A correlation or a filter over nobody is never silent; the other rules run."""
    for text, line in ((COUNTED.replace("- base", "- bass"), 7), (FILTER.replace("- base", "- bass"), 7)):
        found, broken = linked([*parts(BASE_RULE, "a.yml"), *parts(text, "b.yml")])
        assert [rule.title for rule in found] == ["Base"]
        assert [(error.line, error.column) for error in broken] == [(line, 7)]
        assert "no sound rule is named 'bass'" in broken[0].what
        assert "did you mean `base`?" in broken[0].remedy


def test_a_rule_that_is_counted_is_quiet_unless_it_is_asked_to_speak() -> None:
    """`generate: true` lets the base rule raise alerts of its own."""
    assert [rule.title for rule in ready(two())] == ["Counted"]
    loud = COUNTED.replace("timespan: 1h", "timespan: 1h\n  generate: true")
    assert [rule.title for rule in ready(two(loud))] == ["Base", "Counted"]


# ---- what is counted


def test_a_sum_counts_within_its_group_and_its_time() -> None:
    """The limit itself is reached; another country, another device, or a later time does not help."""
    assert finds(two(), row(), row(600))
    assert not finds(two(), row(), row(bytes_out=499))
    assert not finds(two(), row(), row(country="US"))
    assert not finds(two(), row(), row(device_ip="10.0.0.3"))
    assert not finds(two(), row(), row(3600))
    assert finds(two(COUNTED.replace("gte: 1000", "gt: 1000")), row(), row(bytes_out=501))
    assert not finds(two(COUNTED.replace("gte: 1000", "gt: 1000")), row(), row())


def test_events_and_different_values_are_counted() -> None:
    """event_count counts flows; value_count counts each value once."""
    events = COUNTED.replace("value_sum", "event_count").replace("    field: bytes_out\n", "").replace("1000", "3")
    assert finds(two(events), row(), row(), row())
    assert not finds(two(events), row(), row())
    values = COUNTED.replace("value_sum", "value_count").replace("bytes_out", "remote_ip").replace("1000", "2")
    assert finds(two(values), row(), row(remote_ip="192.0.2.2"))
    assert not finds(two(values), row(), row(), row())


def test_a_filter_takes_flows_away_from_the_rule_and_from_what_counts_it() -> None:
    """A filter by name, by id, of a correlation itself, and of all rules."""
    assert [len(ready(BASE_RULE, text)) for text in (FILTER, FILTER.replace("- base", f"- {BASE}"))] == [1, 1]
    mine = {"device_ip": "10.0.0.1"}
    for rule, sieve in ((BASE_RULE, FILTER), (two(), FILTER), (two(), FILTER.replace("- base", f"- {OVER}")),
                        (BASE_RULE, FILTER.replace("\n    - base", " any"))):  # fmt: skip
        assert finds(f"{rule}---\n{sieve}", row(bytes_out=1000))
        assert not finds(f"{rule}---\n{sieve}", row(bytes_out=1000, **mine))


def oracle(some: Sequence[tuple[int, int, int]], least: int) -> dict[int, tuple[int, int]]:
    """Return hits and bytes by device of all flows in a window of twelve 5-minute slots that reaches the limit."""
    slots: dict[int, dict[int, list[int]]] = defaultdict(lambda: defaultdict(list))
    for device, second, size in some:
        slots[device][second // 300].append(size)
    found = {}
    for device, by_slot in slots.items():
        windows = [range(end - 11, end + 1) for end in by_slot]
        hot = {
            slot
            for window in windows
            if sum(sum(by_slot.get(slot, ())) for slot in window) >= least
            for slot in window
            if slot in by_slot
        }
        if hot:
            found[device] = sum(len(by_slot[slot]) for slot in hot), sum(sum(by_slot[slot]) for slot in hot)
    return found


def batch_of(some: Sequence[tuple[int, int, int]]) -> Judged:
    """Return flows of (device, second, bytes), all of them to China."""
    base = flows(len(some))
    numbers = np.array(some, np.int64).reshape(-1, 3)
    devices = base.device.copy()
    devices[:, 1] = np.uint64(0xFFFF0A000000) + numbers[:, 0].astype(np.uint64)
    last_ns = numbers[:, 1] * SECOND_NS
    macs = np.zeros(len(some), np.uint64)
    changed = dataclasses.replace(
        base, device=devices, device_mac=macs, first_ns=last_ns, last_ns=last_ns, bytes_out=numbers[:, 2]
    )
    return Judged(changed, np.ones(len(some), np.int64), PLACES, VERDICTS)


def told(
    path: str, batches: Sequence[Sequence[tuple[int, int, int]]], limit: int = LIMIT, kept: list[Any] | None = None,
    text: str = "",
) -> Iterator[Alert]:  # fmt: skip
    """Yield the alerts of flows stored batch by batch, as they are stored; ``limit`` counts are kept in memory.

    ``kept`` takes the counts as they stand before the recording ends.
    """
    with Store(path) as store:
        recording = store.record(zone="eea", as_of="2020-02-01", data=[], rules=[], version="0", inputs={})
        recording._rollup = Rollup(store._db, recording.id, limit)
        watch = RuleSet(ready(text or two()))
        for some in batches:
            if some:
                batch = recording.write(batch_of(some), tally(0))
                alerts = watch.evaluate(batch)
                recording.alert(alerts, batch)
                yield from alerts
        if kept is not None:
            recording._rollup.write()
            kept += store._db.query("SELECT * FROM rollup ORDER BY grouped, slot, item")
            recording._rollup.clear()
        recording.finish(tally(0), {})
        assert not store._db["rollup"].count
        assert watch.broken == {}


flow_rows = st.tuples(st.integers(1, 2), st.integers(0, 9000), st.integers(0, 700))


@given(some=st.lists(flow_rows, max_size=40), cuts=st.lists(st.integers(0, 40), max_size=6))
@settings(deadline=None, max_examples=60)
@example(some=[(1, 0, 600), (1, 4000, 1), (1, 3000, 600)], cuts=[1, 2])
def test_no_cutting_into_batches_changes_what_a_correlation_says(
    tmp_path_factory: pytest.TempPathFactory, some: list[tuple[int, int, int]], cuts: list[int]
) -> None:
    """Hits and bytes of each group are those of the flows in windows that reach the limit, each told once."""
    ends = sorted({min(cut, len(some)) for cut in cuts} | {len(some)})
    batches = [some[a:b] for a, b in zip([0, *ends], ends, strict=False)]
    sums: dict[int, tuple[int, int]] = {}
    for alert in told(str(tmp_path_factory.mktemp("cut") / "a.db"), batches):
        device = int(alert.device_ip.rpartition(".")[2])
        hits, size = sums.get(device, (0, 0))
        sums[device] = hits + alert.hits, size + alert.bytes_out
    assert sums == oracle(some, 1000)


@given(some=st.lists(flow_rows, max_size=40), cuts=st.lists(st.integers(0, 40), max_size=6))
@settings(deadline=None, max_examples=40)
def test_counts_that_do_not_fit_into_memory_say_the_same(
    tmp_path_factory: pytest.TempPathFactory, some: list[tuple[int, int, int]], cuts: list[int]
) -> None:
    """With no room at all each batch reads back what those before it wrote; alerts and counts are the same."""
    ends = sorted({min(cut, len(some)) for cut in cuts} | {len(some)})
    batches = [some[a:b] for a, b in zip([0, *ends], ends, strict=False)]
    folder = tmp_path_factory.mktemp("spill")
    counts: dict[int, list[Any]] = {LIMIT: [], 0: []}
    plain, spilled = (list(told(str(folder / f"{limit}.db"), batches, limit, kept)) for limit, kept in counts.items())
    assert plain == spilled
    assert counts[LIMIT] == counts[0]
    assert bool(counts[0]) == bool(some)


def test_only_who_may_reach_the_limit_is_read_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Counts that were written stay unread while a group is below the limit with all that it has there."""
    asked: list[list[str]] = []

    def noted(rollup: Rollup, rule: str, counts: Counts, likely: np.ndarray) -> None:
        asked.append([counts.texts[one] for one in likely.tolist()])
        read_back(rollup, rule, counts, likely)

    read_back = Rollup._read_back
    monkeypatch.setattr(Rollup, "_read_back", noted)
    batches = [[(1, second, 350), (2, second, 10)] for second in (0, 60, 120, 180)]
    (first, second) = told(str(tmp_path / "a.db"), batches, 0)
    assert (first.hits, second.hits) == (3, 1)
    assert asked == [[], ['["10.0.0.1","CN"]'], ['["10.0.0.1","CN"]']]


VALUES = two(COUNTED.replace("value_sum", "value_count").replace("gte: 1000", "gte: 3"))


@given(some=st.lists(flow_rows, max_size=40), cuts=st.lists(st.integers(0, 40), max_size=6), most=st.integers(1, 9))
@settings(deadline=None, max_examples=15)
def test_values_beyond_the_bound_are_not_told_apart_and_their_flows_are_told(
    tmp_path_factory: pytest.TempPathFactory, some: list[tuple[int, int, int]], cuts: list[int], most: int
) -> None:
    """The same flows raise alerts with a low bound as without one, in memory or not; amounts are a lower bound."""
    ends = sorted({min(cut, len(some)) for cut in cuts} | {len(some)})
    batches = [some[a:b] for a, b in zip([0, *ends], ends, strict=False)]
    folder = tmp_path_factory.mktemp("values")
    exact = list(told(str(folder / "exact.db"), batches, text=VALUES))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("egress_watch.store.counts.MOST_VALUES", most)
        kept: dict[int, list[Any]] = {LIMIT: [], 0: []}
        bounded, spilled = (
            list(told(str(folder / f"{limit}.db"), batches, limit, rows, VALUES)) for limit, rows in kept.items()
        )
    assert bounded == spilled
    assert kept[LIMIT] == kept[0]
    per_slot = Counter((row["grouped"], row["slot"]) for row in kept[0])
    assert max(per_slot.values(), default=0) <= max(most, 3) + 1
    assert [one._replace(why="") for one in bounded] == [one._replace(why="") for one in exact]
    for low, high in zip(bounded, exact, strict=True):
        least, all_of = (int(one.why.partition("): ")[2].split()[0]) for one in (low, high))
        assert least == all_of or (3 <= least < all_of and "or more different values" in low.why)


def test_the_stored_alert_says_how_much_and_over_which_limit(tmp_path: Path) -> None:
    """One row, which grows with later batches, and a sentence that can be read out."""
    path = str(tmp_path / "a.db")
    assert len(list(told(path, [[(1, 0, 600)], [(1, 60, 600)], [(1, 90, 50)]]))) == 2
    with Reader(path) as reader:
        (alert,) = reader.alerts({})
    assert (alert["hits"], alert["bytes_out"], alert["device_ip"], alert["country"]) == (3, 1250, "10.0.0.1", "CN")
    assert alert["why"].startswith("10.0.0.1 (country CN): 1,250 in bytes_out within 1 h, the limit is 1,000; newest")


def test_what_lies_far_behind_is_forgotten(tmp_path: Path) -> None:
    """The table holds a few timespans, however long the recording."""
    path = str(tmp_path / "a.db")
    kept: list[Any] = []
    list(told(path, [[(1, 3600 * hour, 10)] for hour in range(50)], kept=kept))
    assert 0 < len(kept) <= 6


def test_a_correlation_that_fails_is_set_aside_and_the_others_go_on(tmp_path: Path) -> None:
    """Its reason is kept."""
    good, bad = ready(two())[0], dataclasses.replace(ready(two())[0], id="bad", predicate="no_such_column = 1")
    with Store(str(tmp_path / "a.db")) as store:
        recording = store.record(zone="eea", as_of="2020-02-01", data=[], rules=[], version="0", inputs={})
        watch = RuleSet([bad, good])
        assert len(watch.evaluate(recording.write(batch_of([(1, 0, 2000)]), tally(0)))) == 1
    assert "no such column" in watch.broken["bad"]


# ---- facts


def facts_of(path: str, *batches: Judged) -> list[tuple[int, ...]]:
    """Return the facts of stored flows, each batch in a recording of its own."""
    with Store(path) as store:
        for batch in batches:
            recording = store.record(
                zone="eea", as_of="2020-02-01", data=[], rules=[], version="0", inputs={}, adequate=("NL", "JP")
            )
            recording.write(batch, tally(0))
            recording.finish(tally(0), {})
    with Reader(path) as reader:
        names = ("first_country", "first_owner", "first_provider", "device_age_s", "adequate")
        return [tuple(found[name] for name in names) for found in reader.flows({})]


def at(second: int, *places: int, size: int = 1000) -> Judged:
    """Return flows of one device, a second apart, to places by number."""
    base = batch_of([(1, second + n, size) for n in range(len(places))])
    nowhere = Place("", "unknown", (), 0, "", "", "", "", "", (), "")
    local = Place("CN", "local", (), 0, "", "Baidu", "", "Baidu", "", (), "")
    return Judged(base.flows, np.array(places, np.int64), [HOME, AWAY, nowhere, local], [*VERDICTS, *VERDICTS])


def test_the_first_contact_is_told_once(tmp_path: Path) -> None:
    """Of a country, an owner and a provider; what is unknown or our own is no contact, and the age counts."""
    found = facts_of(str(tmp_path / "a.db"), at(100, 0, 1, 0, 1, 2, 3))
    assert found == [
        (1, 1, 1, 0, 1), (1, 1, 1, 1, 0), (0, 0, 0, 2, 1), (0, 0, 0, 3, 0), (0, 0, 0, 4, None), (0, 0, 0, 5, 0)
    ]  # fmt: skip


def test_a_probe_is_no_contact(tmp_path: Path) -> None:
    """One byte below the limit leaves the contact new."""
    probe, real = at(100, 1, size=CONTACT_BYTES - 1), at(200, 1, size=CONTACT_BYTES)
    assert [row[0] for row in facts_of(str(tmp_path / "a.db"), probe, real)] == [0, 1]


def test_captures_may_be_read_in_any_order(tmp_path: Path) -> None:
    """A contact is old if one before it is known, by packet time and not by the time of reading."""
    assert sorted(row[0] for row in facts_of(str(tmp_path / "a.db"), at(100, 1), at(200, 1))) == [0, 1]
    assert [row[0] for row in facts_of(str(tmp_path / "b.db"), at(200, 1), at(100, 1))] == [1, 1]


@given(cuts=st.sets(st.integers(0, 12)), limit=st.sampled_from([1, 1000]))
@settings(deadline=None, max_examples=25)
def test_facts_do_not_depend_on_batches_or_memory(
    tmp_path_factory: pytest.TempPathFactory, cuts: set[int], limit: int
) -> None:
    """The same flows in other batches, with next to no memory, have the same facts."""
    some = [0, 1, 2, 1, 0, 3, 1, 1, 0, 2, 0, 1]
    with Store(str(tmp_path_factory.mktemp("facts") / "a.db")) as store:
        recording = store.record(zone="eea", as_of="2020-02-01", data=[], rules=[], version="0", inputs={})
        contacts, found = Contacts(store._db, recording.id, limit), []
        ends = sorted(cuts | {12})
        for a, b in zip([0, *ends], ends, strict=False):
            found += contacts.facts(at(100 + a, *some[a:b]), np.ones(b - a, np.int64)).tolist()
            contacts.trim()
    assert found == [7, 7, *[0] * 10]


def test_a_recording_that_is_taken_out_takes_its_contacts_along(tmp_path: Path) -> None:
    """What comes again is new again."""
    with Store(str(tmp_path / "a.db")) as store:
        recording = store.record(zone="eea", as_of="2020-02-01", data=[], rules=[], version="0", inputs={})
        recording.write(at(100, 1), tally(0))
        store.remove(recording)
        assert store._db.execute("SELECT count(*) FROM contact").fetchone() == (0,)


# ---- trying rules on what is stored


def test_a_backtest_says_what_rules_would_have_said(tmp_path: Path) -> None:
    """Hits, alerts and the noisiest device; a rule that fails is told, and the database stays as it is."""
    path = str(tmp_path / "a.db")
    list(told(path, [[(1, 0, 600), (2, 5, 10)], [(1, 60, 600), (1, 200_000, 9)]]))
    before = Path(path).read_bytes()
    base, counted = ready(two(COUNTED.replace("timespan: 1h", "timespan: 1h\n  generate: true")))
    with backtest(path, 0) as trial:
        plain, summed = trial.run(base), trial.run(counted)
        failed = trial.run(dataclasses.replace(base, predicate="nonsense"))
    assert (plain.hits, plain.alerts, plain.noisiest) == (4, 3, (("10.0.0.1", 3), ("10.0.0.2", 1)))
    assert (summed.hits, summed.alerts, summed.noisiest) == (2, 1, (("10.0.0.1", 2),))
    assert "no such column" in failed.trouble
    with backtest(path, 100_000 * SECOND_NS) as trial:
        assert (trial.flows, trial.run(base).hits) == (1, 1)
    assert Path(path).read_bytes() == before


# ---- hostile folders


def folder_of(tmp_path: Path, **texts: str) -> Path:
    """Return a folder of rule files."""
    for name, text in texts.items():
        (tmp_path / f"{name}.yml").write_text(text, encoding="utf-8")
    return tmp_path


@pytest.mark.skipif(os.geteuid() != 0, reason="only root follows other people's files")
@pytest.mark.parametrize(("mode", "who"), [(0o664, "its group"), (0o646, "others")])
def test_root_follows_no_rule_that_others_may_write(tmp_path: Path, mode: int, who: str) -> None:
    """The file, or the folder it could be replaced in; the message says who, and what to type."""
    folder = folder_of(tmp_path, a=BASE_RULE)
    assert read_rules(rule_files(str(folder)))[1] == []
    (folder / "a.yml").chmod(mode)
    (error,) = read_rules(rule_files(str(folder)))[1]
    assert (who in error.what, "chmod go-w" in error.remedy) == (True, True)
    (folder / "a.yml").chmod(0o644)
    folder.chmod(mode | 0o111)
    (error,) = read_rules(rule_files(str(folder)))[1]
    assert who in error.what


def test_ten_megabytes_and_half_a_file_are_refused_and_the_others_run(tmp_path: Path) -> None:
    """Neither stops a sound rule."""
    half = BASE_RULE[: BASE_RULE.index("condition")]
    huge = BASE_RULE + "description: >-\n" + "  words\n" * 1_300_000
    found, broken = read_rules(rule_files(str(folder_of(tmp_path, a=half, b=huge, c=BASE_RULE))))
    assert [rule.title for rule in found] == ["Base"]
    assert ["larger than" in error.what for error in broken] == [False, True]


def test_no_half_of_a_file_is_taken_for_a_rule_that_asks_less() -> None:
    """A file that is cut anywhere while it is written is refused, or means the same flows."""
    whole = ready(BASE_RULE)[0].predicate
    for end in range(len(BASE_RULE)):
        if not check(BASE_RULE[:end], "half.yml"):
            assert ready(BASE_RULE[:end])[0].predicate == whole


def test_more_rules_than_can_run_are_cut_with_a_message(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first ones run; what is left out is told."""
    monkeypatch.setattr("egress_watch.library.rulebook.MOST_RULES", 3)
    texts = {f"r{n}": BASE_RULE.replace(BASE, f"{BASE[:-1]}{n}").replace("name: base\n", "") for n in range(6)}
    found, broken = read_rules(rule_files(str(folder_of(tmp_path, **texts))))
    assert (len(found), len(broken), MOST_RULES) == (3, 1, 1000)
    assert "left out" in broken[0].what


def test_a_disabled_base_rule_leaves_a_message_and_no_silence(tmp_path: Path) -> None:
    """A correlation whose rule is switched off by its file says so; by its id it is switched off itself."""
    folder = folder_of(tmp_path, base=BASE_RULE, counted=COUNTED, other=BASE_RULE.replace(BASE, SIEVE))
    config = Config(rules=RuleSettings(folder=str(folder), disabled=("base", "other")))
    found, broken = rules(config)
    assert (found, len(broken)) == ([], 1)
    off = Config(rules=RuleSettings(folder=str(folder), disabled=(OVER,)))
    assert OVER not in {rule.id for rule in rules(off)[0]}


def test_a_predicate_cannot_be_made_too_long_by_filters() -> None:
    """Filters that would take a rule over SQLite's limit break that rule, and say so."""
    many = "\n".join(f"      - '*{'x' * 800}{n}*'" for n in range(300))
    sieve = FILTER.replace("    device_ip: 10.0.0.1", f"    name:\n{many}")
    found, broken = linked([*parts(BASE_RULE, "a.yml"), *parts(sieve, "b.yml") * 5])
    assert (found, ["too much SQL" in error.what for error in broken]) == ([], [True])


def test_a_hostile_name_is_escaped_in_its_message() -> None:
    """What a rule names cannot steer a terminal."""
    hostile = COUNTED.replace("- base", '- "\\e[2Jbase; DROP TABLE flow"')
    _, broken = linked(parts(two(hostile), "a.yml"))
    assert "\x1b" not in str(broken[0])
    assert isinstance(broken[0], RuleError)


def test_judged_batches_without_contacts_have_no_facts(tmp_path: Path) -> None:
    """Flows that never send enough leave nothing in the table of contacts."""
    with Store(str(tmp_path / "a.db")) as store:
        recording = store.record(zone="eea", as_of="2020-02-01", data=[], rules=[], version="0", inputs={})
        recording.write(judged(10), tally(10))
        assert store._db.execute("SELECT count(*) FROM contact").fetchone() == (0,)
