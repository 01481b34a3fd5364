"""Rules: what the lint refuses and where, what a rule matches in a real SQLite, and what its hits become."""

import dataclasses
import re
import sqlite3
from collections.abc import Mapping, Sequence
from contextlib import closing
from ipaddress import IPv4Network, IPv6Address, IPv6Network, ip_address
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from egress_watch import model
from egress_watch.errors import RuleError
from egress_watch.model import Ints, Judged, Place, Verdict, Words, address_words
from egress_watch.rules import FIELDS, Rule, RuleSet, check, evaluate, linked, parse, parts, schema
from egress_watch.rules.document import LIMIT_BYTES
from egress_watch.rules.examples import Example
from egress_watch.store import holds

ROOT = Path(__file__).parent.parent
SHIPPED = sorted((ROOT / "rules").glob("*.yml"))
SETS = {"eea": ("DE", "FR", "NO"), "odd": ("a*b", "50%_"), "empty": ()}
ID = "5f3c7a52-1f0e-4f57-9d0c-3f6c2f0f7a11"
HEAD = f"title: T\nid: {ID}\nlevel: low\nlogsource:\n  product: egress_watch\n  category: flow\n"
NAMES = [field.name for field in FIELDS]
PLAIN = {"id": 1, "first_ns": 10, "last_ns": 20, "bytes_out": 5_000, "bytes_in": 7, "device_ip": "10.20.1.11"}

has_re2 = pytest.mark.skipif(
    not __import__("importlib.util").util.find_spec("re2"), reason="google-re2 is optional with pySigma 1.5"
)


def rule_text(item: str, condition: str = "s") -> str:
    """Return a rule with one search of one item; the item begins at line 9, column 5."""
    return f"{HEAD}detection:\n  s:\n    {item}\n  condition: {condition}\n"


class Flows:
    """A batch in memory, as the store's would answer; a row that names no id is numbered by its place."""

    def __init__(self, *flows: Mapping[str, Any]) -> None:
        """Fill the table with rows in the order of their ids; what a row does not name is NULL, as in the view."""
        rows = [{**dict.fromkeys(NAMES), "id": number, **flow} for number, flow in enumerate(flows)]
        self.rows = sorted(rows, key=lambda row: row["id"])
        self.asked: list[str] = []

    def found(self, predicate: str) -> list[Mapping[str, Any]]:
        """Return the rows for which a predicate holds; raises RuleError."""
        (found,) = self.matching([predicate])
        if isinstance(found, RuleError):
            raise found
        return [self.rows[row] for row in found.tolist()]

    def matching(self, predicates: Sequence[str]) -> list[Ints | RuleError]:
        """Return the matching rows of each predicate."""
        with closing(sqlite3.connect(":memory:")) as connection:
            connection.create_function("REGEXP", 2, lambda want, text: bool(text) and bool(re.search(want, text)))
            connection.execute(schema())
            slots = ", ".join(f":{name}" for name in NAMES)
            connection.executemany(f"INSERT INTO flows VALUES ({slots})", self.rows)
            return [self._ask(connection, predicate) for predicate in predicates]

    def _ask(self, connection: sqlite3.Connection, predicate: str) -> Ints | RuleError:
        self.asked.append(predicate)
        try:
            ids = {row[0] for row in connection.execute(f"SELECT id FROM flows WHERE ({predicate})")}
        except sqlite3.Error as error:
            return RuleError(str(error))
        return np.array([row for row, flow in enumerate(self.rows) if flow["id"] in ids], np.int64)

    @property
    def ids(self) -> Ints:
        """The ids, rising."""
        return self._numbers("id")

    @property
    def devices(self) -> Ints:
        """Every device is number 3 unless its address ends in .9."""
        return np.array([9 if str(row["device_ip"]).endswith(".9") else 3 for row in self.rows], np.int64)

    @property
    def judged(self) -> Judged:
        """The rows as judged flows, each with an answer of its own."""
        nothing = dict.fromkeys((field.name for field in dataclasses.fields(model.Flows)), np.zeros(len(self.rows)))
        numbers = {name: self._numbers(name) for name in ("first_ns", "last_ns", "bytes_out", "bytes_in")}
        ends = {"device": self._addresses("device_ip"), "remote": self._addresses("remote_ip")}
        flows = model.Flows(**{**nothing, **numbers, **ends, "name": self._texts("name"), "name_source": ()})
        texts = [[row[name] or "" for name in ("country", "as_name", "owner", "owner_seat")] for row in self.rows]
        places = [
            Place(country, "", (), 0, as_name, "", "", owner, owner_seat, (), "")
            for country, as_name, owner, owner_seat in texts
        ]
        verdicts = list(map(Verdict, self._texts("verdict"), self._texts("why")))
        return Judged(flows, np.arange(len(self.rows)), places, verdicts)

    def _texts(self, name: str) -> tuple[str, ...]:
        return tuple(row[name] or "" for row in self.rows)

    def _numbers(self, name: str) -> Ints:
        return np.array([row[name] or 0 for row in self.rows], np.int64)

    def _addresses(self, name: str) -> Words:
        return np.array([address_words(text or "::") for text in self._texts(name)], np.uint64).reshape(-1, 2)


def matches(item: str, **flow: Any) -> bool:
    """Tell whether a rule of one item holds for one flow."""
    return bool(Flows(flow).found(parse(rule_text(item), "r.yml", SETS).predicate))


def shipped(name: str) -> Rule:
    """Return a shipped rule."""
    return parse((ROOT / "rules" / f"{name}.yml").read_text("utf-8"), name)


# ---- the shipped rules


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_a_shipped_rule_passes_its_own_check_and_says_what_an_operator_needs(path: Path) -> None:
    """Each shipped rule is clean, explained, sourced and dated, and runs on an empty table."""
    text = path.read_text("utf-8")
    assert check(text, path.name) == []
    for key in ("description", "references", "falsepositives", "tags", "author: egress-watch", "date: 2026-11-"):
        assert f"\n{key}" in text
    assert Flows().found(parse(text, path.name).predicate) == []


def test_the_shipped_rules_can_be_loaded_as_one_set() -> None:
    """There are at least fifteen, each with an id of its own, and every correlation finds the rule it counts."""
    rules, broken = linked(part for path in SHIPPED for part in parts(path.read_text("utf-8"), path.name))
    assert broken == []
    assert len(RuleSet(rules).rules) == len(SHIPPED) >= 15


EXAMPLES = [
    (path.stem, number, rule, example)
    for path in SHIPPED
    for rule in [parse(path.read_text("utf-8"), path.name)]
    for number, example in enumerate(rule.examples)
]


@pytest.mark.parametrize(
    ("stem", "number", "rule", "example"), EXAMPLES, ids=[f"{row[0]}-{row[1]}" for row in EXAMPLES]
)
def test_a_shipped_rule_finds_its_examples_and_nothing_beside(
    stem: str, number: int, rule: Rule, example: Example
) -> None:
    """Each shipped rule finds the flows it says it finds, and leaves alone those it says it leaves alone."""
    assert holds(rule.predicate, rule.count, example.flows, schema()) is example.wanted, (stem, number)


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_a_shipped_rule_has_examples_of_both_kinds(path: Path) -> None:
    """At least one flow to find and one to leave alone."""
    assert {example.wanted for example in parse(path.read_text("utf-8"), path.name).examples} == {True, False}


# ---- what the lint refuses, and where


ITEM_TRAPS = [
    ("country: NO", 14, "boolean", "quote it: 'NO'"),
    ("owner: [Amazon, off]", 21, "boolean", "quote it: 'off'"),
    ("remote_port: true", 18, "whole number", "digits"),
    ("remote_port: '443'", 18, "in quotes is text", "quotes away"),
    ("remote_port: 010", 18, "whole number", "digits"),
    ("remote_port: 1:30", 18, "whole number", "digits"),
    ("bytes_out|gt: 50MB", 19, "whole number", "digits"),
    ("bytes_out|gt: 1.5", 19, "whole number", "digits"),
    ("device_mac: 12:34:56:12:34:56", 17, "int in YAML", "quote it"),
    ("device_mac: AA-BB-CC-DD-EE-FF", 17, "no MAC", "colons"),
    ("name: 2026-11-23", 11, "timestamp", "quote it"),
    ("protocol: 47", 15, "int in YAML", "quote it"),
    ("protocol: tpc", 15, "never 'tpc'", "`tcp`"),
    ("dst_contry: US", 5, "unknown field 'dst_contry'", "`country`"),
    ("remote_prt|gt: 5", 5, "unknown field 'remote_prt'", "`remote_port`"),
    ("name` OR 1=1 --: x", 5, "unknown field", ""),
    ("name|contians: x", 5, "modifier 'contians'", "`contains`"),
    ("name|base64: x", 5, "modifier 'base64'", "takes"),
    ("name|cidr: 10.0.0.0/8", 5, "modifier 'cidr'", "takes"),
    ("verdict|contains: U", 5, "modifier 'contains'", "takes"),
    ("bytes_out|contains: 5", 5, "modifier 'contains'", "takes"),
    ("first_ns|hour: 5", 5, "modifier 'hour'", "takes"),
    ("name|contains|contains: x", 5, "twice", ""),
    ("name|i: x", 5, "Sigma: ", "modifiers"),
    ("country: []", 14, "empty list", "null"),
    ("country:", 13, "no value", "null"),
    ("name: ''", 11, "no text", ""),
    ("name|contains: null", 20, "null takes no modifier", ""),
    ("country: USA", 14, "no country code", "upper-case"),
    ("country: us", 14, "no country code", "upper-case"),
    ("owner_seat: UK", 17, "no country UK", "GB"),
    ("country: EU", 14, "EU is no country", "%eea%"),
    ("verdict: outside", 14, "never 'outside'", "did you mean `OUT`"),
    ("verdict: out", 14, "never 'out'", "`OUT`"),
    ("location_status: anycats", 22, "never 'anycats'", "`anycast`"),
    ("end_reason: finn", 17, "never 'finn'", "`fin`"),
    ("remote_ip: 10.0.0.0/8", 16, "is a network", "|cidr"),
    ("remote_ip: 10.0.0", 16, "no address", "192.0.2.1"),
    ("remote_ip: '2001:db8:0::1'", 16, "not how the store writes", "2001:db8::1"),
    ("remote_ip: '::ffff:1.2.3.4'", 16, "not how the store writes", "write 1.2.3.4"),
    ("remote_ip|cidr: 10.0.0.1/8", 21, "host bits", "10.0.0.0/8"),
    ("remote_ip|cidr: ten", 21, "no network", "192.0.2.0/24"),
    ("remote_ip|cidr: '::ffff:1.2.3.0/120'", 21, "no IPv6 flow", "IPv4"),
    ("laws: US CLOUD Act", 11, "JSON list", "laws|contains"),
    ("country|expand: '%eaa%'", 21, "unknown set '%eaa%'", "'%eea%'"),
    ("country|expand: eea", 21, "names no set", "percent"),
    ("country|expand: '%empty%'", 21, "is empty", ""),
    ("name|fieldref: nam", 20, "unknown field 'nam'", "`name`"),
    ("name|fieldref: asn", 20, "INTEGER", ""),
    ("name|fieldref|expand: '%eea%'", 5, "`fieldref` goes with", ""),
    ("asn|exists: 1", 17, "true or false", "asn|exists: true"),
    ('name: "a\\0b"', 11, "invisible", ""),
    ('name: "\\uD800"', 11, "invisible", ""),
    (f"name: {'a' * 1001}", 11, "1000 characters", ""),
    ("name: {a: b}", 11, "a value or a list", ""),
    ("name: &a x", 11, "anchors", "write it out"),
    ("name: *a", 11, "anchors", "quote"),
    ("name: !!python/object:os.system x", 11, "tags", ""),
    ("name: [x", 12, "flow sequence from line 9, expected", "indentation"),
    ("name: x\tand\n\t", 12, "broken YAML", "tabs"),
    ("name: x\x07", 12, "U+0007", "delete"),
]


@pytest.mark.parametrize(("item", "column", "what", "remedy"), ITEM_TRAPS, ids=[trap[0][:30] for trap in ITEM_TRAPS])
def test_an_item_that_could_never_match_is_refused_at_its_spot(item: str, column: int, what: str, remedy: str) -> None:
    """Each trap gives its line and column, what is wrong, and what to do; `parse` stops at the same."""
    text = rule_text(item)
    found = check(text, "r.yml", SETS)
    assert len(found) == 1
    error = found[0]
    assert what in error.what
    assert remedy in error.remedy
    assert (error.line, error.column) == (10 if item == "name: [x" else 9, column)
    assert error.where == f"r.yml:{error.line}:{column}"
    with pytest.raises(RuleError, match=re.escape(error.what)):
        parse(text, "r.yml", SETS)


FRAME_TRAPS = [
    (("level: low", "levell: low"), [(1, 1, "`level` is missing"), (3, 1, "unknown key 'levell'")]),
    (("level: low", "level: hgh"), [(3, 8, "'hgh' is none of")]),
    (("level: low", "level: low\nstatus: tested"), [(4, 9, "'tested' is none of")]),
    (("level: low", "level: low\nlevel: high"), [(4, 1, "'level' is already set on line 3")]),
    (("title: T", "title: No"), [(1, 8, "No without quotes is a boolean")]),
    (("title: T", "title: [a]"), [(1, 8, "this must be text")]),
    (("title: T", 'title: "a\\e[31m"'), [(1, 8, "invisible")]),
    (("title: T", f"title: {'x' * 257}"), [(1, 8, "256 characters")]),
    ((f"id: {ID}", "id: 12"), [(2, 5, "'12' is not of the right shape")]),
    ((f"id: {ID}\n", ""), [(1, 1, "`id` is missing")]),
    (("level: low", "level: low\ndate: yesterday"), [(4, 7, "right shape")]),
    (("level: low", "level: low\ntags: [exfiltration]"), [(4, 8, "right shape")]),
    (("level: low", "level: low\ntags: []"), [(4, 7, "this list is empty")]),
    (("level: low", "level: low\nfields: [nam]"), [(4, 10, "unknown field 'nam'")]),
    (("level: low", "level: low\nfalsepositives: none"), [(4, 17, "must be a list")]),
    (("level: low", "level: low\nrelated: [x]"), [(4, 10, "list of maps")]),
    (("level: low", "level: low\n? [a, b]\n: x"), [(4, 3, "a key must be one word"), (4, 3, "unknown key")]),
    (("category: flow", "category: firewall"), [(6, 13, "no log source here")]),
    (("  category: flow\n", ""), [(5, 3, "`category` is missing")]),
    (("category: flow", "category: flow\n  service: dns"), [(7, 3, "unknown key 'service'")]),
    (("detection:", "detektion:"), [(1, 1, "`detection` is missing"), (7, 1, "unknown key 'detektion'")]),
    (("  condition: s\n", ""), [(8, 3, "`condition` is missing")]),
    (("condition: s", "condition: t"), [(8, 3, "does not use `s`"), (10, 14, "names 't'")]),
    (("condition: s", "condition: s and selektion"), [(10, 20, "names 'selektion'")]),
    (("condition: s", "condition: s AND s"), [(10, 16, "names 'AND'")]),
    (("condition: s", "condition: s or 1 of filter_*"), [(10, 24, "names 'filter_*'")]),
    (("condition: s", "condition: s | count() > 5"), [(10, 14, "aggregation")]),
    (("condition: s", "condition: [s]"), [(10, 14, "one line of text")]),
    (("condition: s", "condition: s and"), [(10, 14, "Sigma: ")]),
    (("condition: s", f"condition: {'(' * 9}s{')' * 9}"), [(10, 14, "8 levels of parentheses")]),
    (("condition: s", f"condition: {'not ' * 240}s"), [(10, 14, "Sigma: ")]),
    (("condition: s", "condition: s\n  t:\n    asn: 1"), [(11, 3, "does not use `t`")]),
    (("condition: s", "condition: s\n  timeframe: 5m"), [(11, 3, "`timeframe`"), (11, 3, "does not use")]),
    (("    name: x", "    - word"), [(9, 7, "without a field")]),
    (("    name: x", "    {}"), [(9, 5, "search is empty")]),
    (("    name: x", "    []"), [(9, 5, "empty list")]),
    (("    name: x", "    name: x\n    name: y"), [(10, 5, "'name' is already set on line 9")]),
    (("    name: x", "    name: x\n    name|expand: '%odd%'"), [(10, 5, "cannot stand in one search")]),
    (("  s:", "  s t:"), [(8, 3, "cannot name a search"), (8, 3, "does not use"), (10, 14, "names 's'")]),
    (("title: T", "title: T\ncorrelation: {}"), [(8, 1, "cannot be `correlation` and `detection` at once")]),
    (("title: T", "title: T\nfilter: {}"), [(8, 1, "cannot be `filter` and `detection` at once")]),
    (("condition: s\n", "condition: s\n---\ntitle: U\n"), [(12, 1, "is missing")] * 4),
    (("condition: s\n", "condition: s\n---\ntitle: U\nfilter: 3\n"), [(12, 1, "`logsource`"), (13, 9, "a map")]),
]


@pytest.mark.parametrize(("change", "wanted"), FRAME_TRAPS, ids=[repr(trap[0][1][:40]) for trap in FRAME_TRAPS])
def test_a_rule_with_a_broken_frame_is_refused_at_every_spot(change: tuple[str, str], wanted: list[Any]) -> None:
    """All findings come, in the order of lines, each at its own line and column."""
    text = rule_text("name: x")
    assert change[0] in text
    found = check(text.replace(*change, 1), "r.yml", SETS)
    assert [(error.line, error.column) for error in found] == [(line, column) for line, column, _ in wanted]
    for part in (part for _, _, part in wanted):
        assert any(part in error.what for error in found)


WHOLE_TRAPS = {
    "empty": ("", 1, 1, "no rule"),
    "a comment": ("# rule\n", 1, 1, "no rule"),
    "a word": ("hello", 1, 1, "a map of keys"),
    "10 MB": ("a: " + "b" * 10_000_000, 1, 1, "larger than 256 KiB"),
    "many bytes a letter": ("é" * (LIMIT_BYTES // 2 + 1), 1, 1, "larger than 256 KiB"),
    "billion laughs": ("a: &a [x]\nb: &b [*a, *a]\nc: [*b, *b]\n", 1, 4, "anchors"),
    "deep lists": ("a: " + "[" * 100_000, 1, 15, "nested deeper"),
    "deep maps": ("{a: " * 1_000, 1, 46, "nested deeper"),
    "tab": ("a:\n\tb: c\n", 2, 1, "broken YAML"),
}


@pytest.mark.parametrize("name", WHOLE_TRAPS)
def test_a_hostile_file_is_one_finding_at_its_spot(name: str) -> None:
    """Nothing is unfolded, nothing recurses, and the spot is told."""
    text, line, column, what = WHOLE_TRAPS[name]
    (error,) = check(text, "r.yml")
    assert (error.line, error.column) == (line, column)
    assert what in error.what


def test_a_rule_that_asks_too_much_of_each_flow_is_refused() -> None:
    """Networks count by their patterns: 16 times /25 are 2,048 comparisons."""
    networks = ", ".join(f"10.0.{number}.128/25" for number in range(16))
    (error,) = check(rule_text(f"remote_ip|cidr: [{networks}]"), "r.yml")
    assert "2,048 comparisons" in error.what
    assert (error.line, error.column) == (8, 3)


def test_hundreds_of_findings_are_cut() -> None:
    """A hostile rule cannot make the check talk without end."""
    assert len(check("".join(f"k{number}: x\n" for number in range(3_000)), "r.yml")) == 100


def test_a_regular_expression_without_re2_is_refused_with_its_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    """Python's own engine can take exponential time, so it is never a stand-in."""
    monkeypatch.setitem(__import__("sys").modules, "re2", None)
    (error,) = check(rule_text("name|re: a+b"), "r.yml")
    assert "RE2" in error.what
    assert "google-re2" in error.remedy


@has_re2
def test_re2_judges_regular_expressions() -> None:
    """What RE2 knows passes, and look-around and broken ones are refused at their spot."""
    assert matches(r"name|re: '(^|\.)a[0-9]+\.tuya$'", name="x.a12.tuya")
    for wrong in ("(?=a)b", "(a", r"(a)\1"):
        (error,) = check(rule_text(f"name|re: '{wrong}'"), "r.yml")
        assert (error.line, error.column, "RE2" in error.what) == (9, 14, True)
    (error,) = check(rule_text("name|re|contains: a"), "r.yml")
    assert "does not go with" in error.what


@given(st.text(max_size=400))
@settings(suppress_health_check=[HealthCheck.too_slow], deadline=None)
@example('a: "\ud800"')
@example("\ud800")
@example("%YAML 9.9\n---\na")
@example("a: 2001-99-99")
@example("0b: .inf")
def test_any_text_gives_findings_and_never_another_exception(text: str) -> None:
    """No text whatever makes the check raise, and none this short is a rule."""
    assert check(text, "r.yml")


@given(st.text(max_size=60), st.text(max_size=60))
@settings(deadline=None, max_examples=150)
def test_any_item_is_a_finding_or_sql_that_runs(key: str, value: str) -> None:
    """An item either is refused with its spot, or becomes a predicate SQLite runs."""
    text = rule_text(f"{key}: {value}")
    try:
        predicate = parse(text, "r.yml", SETS).predicate
    except RuleError as refused:
        spot = (refused.line, refused.column)
        assert min(spot) > 0
    else:
        Flows(PLAIN).found(predicate)


# ---- what a rule means


def test_parse_keeps_what_an_alert_needs() -> None:
    """The rule carries its id, title, level, origin and the digest of its text."""
    rule = parse(rule_text("country: US").replace(ID, ID.upper()), "mine.yml")
    assert (rule.id, rule.title, rule.level, rule.description, rule.origin) == (ID, "T", "low", "", "mine.yml")
    assert re.fullmatch("[0-9a-f]{64}", rule.digest)
    assert rule.digest != parse(rule_text("country: DE"), "mine.yml").digest
    assert "SELECT" not in rule.predicate


MEANINGS = [
    ("country: US", {"country": "US"}, {"country": "DE"}),
    ("country: 'NO'", {"country": "NO"}, {"country": "SE"}),
    ("country: [US, null]", {"country": None}, {"country": "DE"}),
    ("country|neq: US", {"country": "DE"}, {"country": "US"}),
    ("country|neq: US", {"country": None}, {"country": "US"}),
    ("country|expand: '%eea%'", {"country": "NO"}, {"country": "US"}),
    ("country|neq|expand: '%eea%'", {"country": "US"}, {"country": "FR"}),
    ("name|endswith|expand: '%odd%'", {"name": "xa*b"}, {"name": "aab"}),
    ("name|contains|expand: '%odd%'", {"name": "x50%_"}, {"name": "x50xx"}),
    ("owner: amazon", {"owner": "Amazon"}, {"owner": "Amazone"}),
    ("owner|cased: amazon", {"owner": "amazon"}, {"owner": "Amazon"}),
    ("name: '*.hik-connect.com'", {"name": "dev.HIK-connect.com"}, {"name": "hik-connect.com"}),
    ("name|contains|all: [a, b]", {"name": "xbxa"}, {"name": "xa"}),
    ("name|contains: '_'", {"name": "a_b"}, {"name": "ab"}),
    ("laws|contains: CLOUD Act", {"laws": '["US CLOUD Act"]'}, {"laws": '["EU/GDPR"]'}),
    ("bytes_out|gte: 5", {"bytes_out": 5}, {"bytes_out": 4}),
    ("remote_port: [21, 23]", {"remote_port": 23}, {"remote_port": 22}),
    ("asn|exists: false", {"asn": None}, {"asn": 1}),
    ("asn|exists: true", {"asn": 1}, {"asn": None}),
    ("first_ns|fieldref: last_ns", {"first_ns": 1, "last_ns": 1}, {"first_ns": 1, "last_ns": 2}),
    ("remote_ip: '2001:DB8::1'", {"remote_ip": "2001:db8::1"}, {"remote_ip": "2001:db8::2"}),
    ("remote_ip|cidr: 10.0.0.0/9", {"remote_ip": "10.127.0.1"}, {"remote_ip": "10.128.0.1"}),
    ("remote_ip|cidr: [10.0.0.0/8, 'fd00::/8']", {"remote_ip": "fd12::1"}, {"remote_ip": "fe80::1"}),
    ("protocol: '99'", {"protocol": "99"}, {"protocol": "tcp"}),
    ("protocol: gre", {"protocol": "gre"}, {"protocol": "99"}),
]


@pytest.mark.parametrize(("item", "holds", "fails"), MEANINGS, ids=[meaning[0] for meaning in MEANINGS])
def test_an_item_means_what_sigma_says(item: str, holds: Mapping[str, Any], fails: Mapping[str, Any]) -> None:
    """One flow matches and its neighbour does not."""
    assert matches(item, **holds)
    assert not matches(item, **fails)


def test_not_holds_where_nothing_is_known() -> None:
    """A flow without a country is not in the EEA as far as anyone can tell."""
    text = f"{HEAD}detection:\n  s:\n    bytes_out|gt: 0\n  f:\n    country: DE\n  condition: s and not f\n"
    flows = Flows(*({"id": number, "bytes_out": 1, "country": code} for number, code in enumerate(("DE", "US", None))))
    assert [row["id"] for row in flows.found(parse(text, "r").predicate)] == [1, 2]


def test_sql_in_a_value_is_a_value() -> None:
    """Quotes, comments and statements in a value match themselves and nothing else."""
    hostile = "x' OR 1=1 --; DROP TABLE flows"
    for modifier in ("", "|contains", "|startswith", "|endswith", "|cased"):
        item = f'name{modifier}: "{hostile}"'
        assert matches(item, name=hostile)
        assert not matches(item, name="x")


# Letters outside ASCII are left out: SQLite folds the case of A to Z only (documented for LIKE and NOCASE).
printable = st.text(st.characters(min_codepoint=32, max_codepoint=126), min_size=1, max_size=20).filter(str.strip)


@given(value=printable, name=printable)
@settings(deadline=None, max_examples=100)
@example(value="a\\*b", name="a*b")
@example(value="50%", name="50x")
def test_contains_finds_exactly_the_text(value: str, name: str) -> None:
    """With Sigma's wildcards escaped, `contains` is Python's `in` without case."""
    escaped = re.sub(r"([*?\\])", r"\\\1", value).replace("'", "''")
    if value.count("*") > 8:
        return
    assert matches(f"name|contains: '{escaped}'", name=name) == (value.lower() in name.lower())
    assert matches(f"name|contains: '{escaped}'", name=f"x{value}y")


@given(st.data(), st.integers(8, 32), st.integers(0, 2**32 - 1))
@settings(deadline=None, max_examples=60)
def test_an_ipv4_network_is_matched_exactly(data: st.DataObject, prefix: int, bits: int) -> None:
    """`cidr` holds for an address if and only if the network does."""
    network = IPv4Network((bits >> (32 - prefix) << (32 - prefix), prefix))
    near = data.draw(st.lists(st.integers(0, 32).map(lambda shift: bits ^ (1 << shift) & 0xFFFFFFFF), max_size=8))
    check_network(str(network), network, {ip_address(bits), *map(ip_address, near)})


groups = st.one_of(st.just(0), st.just(0), st.integers(0, 15), st.integers(0, 0xFFFF))
addresses = st.tuples(*[groups] * 8).map(lambda parts: int("".join(f"{part:04x}" for part in parts), 16))


@given(base=addresses, prefix=st.integers(0, 128), others=st.lists(addresses, max_size=8))
@settings(deadline=None, max_examples=150)
@example(base=int(IPv6Address("fd00:0:5fca::")), prefix=85, others=[int(IPv6Address("fd00:0:5fca::4812:2:a002"))])
@example(base=int(IPv6Address("2001:db8::")), prefix=33, others=[int(IPv6Address("2001:db8:8000::"))])
@example(base=int(IPv6Address("2001:db8:100::")), prefix=40, others=[int(IPv6Address("2001:db8:1:ab::"))])
def test_an_ipv6_network_is_matched_exactly(base: int, prefix: int, others: list[int]) -> None:
    """`cidr` holds for an address if and only if the network does, wherever "::" stands in its text."""
    network = IPv6Network((base >> (128 - prefix) << (128 - prefix), prefix))
    if int(network.broadcast_address) >> 96 == 0:
        return
    size = 1 << (128 - prefix)
    inside = {int(network[0]) + other % size for other in others}
    flipped = {base ^ (1 << bit) for bit in range(0, 128, 3)}
    check_network(f"'{network}'", network, {IPv6Address(number) for number in {base, *others, *inside, *flipped}})


def check_network(text: str, network: Any, candidates: set[Any]) -> None:
    """Compare a rule's answer with the network's own."""
    flows = Flows(*({"remote_ip": str(address)} for address in candidates))
    found = flows.found(parse(rule_text(f"remote_ip|cidr: {text}"), "r").predicate)
    assert {row["remote_ip"] for row in found} == {str(address) for address in candidates if address in network}


# ---- what hits become


CLOUD = {
    **PLAIN,
    "name": "hik-connect.com",
    "remote_ip": "192.0.2.1",
    "owner": "Hikvision",
    "owner_seat": "CN",
    "country": "IE",
    "verdict": "OWN",
    "bytes_out": 48_213,
    "why": "hosted in IE, owned by Hikvision",
}


def test_a_protocol_is_asked_for_as_it_is_stored() -> None:
    """A number that has a name is refused with that name, and one beyond eight bits with the range."""
    for number, remedy in (("47", "write `gre`"), ("256", "from 0 to 255")):
        (finding,) = check(rule_text(f"protocol: '{number}'"), "r")
        assert remedy in finding.remedy


def test_an_alert_can_be_read_out() -> None:
    """Who talks to whom, in whose hands, and why that counts."""
    (alert,) = evaluate([shipped("chinese-owned-destination")], Flows(CLOUD))
    assert alert.why == ("10.20.1.11 to hik-connect.com (Hikvision, seat CN): hosted in IE, owned by Hikvision")
    assert (alert.title, alert.level, alert.verdict) == ("Destination owned by a Chinese group", "high", "OWN")


def test_an_alert_says_what_it_knows_and_no_more() -> None:
    """Without name, owner, country and reason the sentence is shorter."""
    rule = parse(rule_text("bytes_out|gt: 0"), "r")
    (alert,) = evaluate([rule], Flows({**PLAIN, "remote_ip": "192.0.2.7"}))
    assert alert.why == "10.20.1.11 to 192.0.2.7"
    assert (alert.owner, alert.country, alert.verdict) == ("", "", "")


def test_hits_of_one_device_owner_and_country_are_one_episode() -> None:
    """Hits, bytes, times and flow ids are summed up; the newest flow speaks."""
    flows = [
        {**CLOUD, "id": 7, "first_ns": 5, "last_ns": 99, "bytes_out": 1, "bytes_in": 10},
        {**CLOUD, "id": 9, "first_ns": 6, "last_ns": 50, "bytes_out": 2, "bytes_in": None, "remote_ip": "192.0.2.2"},
        {**CLOUD, "id": 8, "country": "DE"},
        {**CLOUD, "id": 10, "device_ip": "10.20.1.9"},
        {**CLOUD, "id": 11, "owner": "Hangzhou Other"},
    ]
    alerts = evaluate([shipped("chinese-owned-destination")], Flows(*flows))
    assert [(alert.first_flow, alert.hits) for alert in alerts] == [(7, 2), (8, 1), (10, 1), (11, 1)]
    first = alerts[0]
    assert (first.first_ns, first.last_ns, first.last_flow, first.remote_ip) == (5, 99, 9, "192.0.2.2")
    assert (first.bytes_out, first.bytes_in) == (3, 10)
    assert "to hik-connect.com (" in first.why


@given(st.lists(st.tuples(st.sampled_from("ab"), st.sampled_from(["DE", None]), st.integers(0, 9)), max_size=12))
@settings(deadline=None, max_examples=40)
def test_no_hit_and_no_byte_is_lost_in_episodes(parts: list[tuple[str, str | None, int]]) -> None:
    """However hits are grouped, counts and bytes add up, and no two alerts share a key."""
    flows = [
        {**PLAIN, "id": number, "owner": owner, "country": country, "bytes_out": size}
        for number, (owner, country, size) in enumerate(parts)
    ]
    alerts = evaluate([parse(rule_text("bytes_out|gte: 0"), "r")], Flows(*flows))
    assert sum(alert.hits for alert in alerts) == len(parts)
    assert sum(alert.bytes_out for alert in alerts) == sum(size for _, _, size in parts)
    assert len({(alert.device, alert.owner, alert.country) for alert in alerts}) == len(alerts)


def test_a_broken_rule_is_set_aside_and_the_others_go_on() -> None:
    """It is asked once, its reason is kept, and later batches leave it alone."""
    good = shipped("chinese-owned-destination")
    bad = Rule("bad", "Bad", "low", "", "no_such_column = 1", "0" * 64, "bad.yml")
    rules = RuleSet([bad, good])
    batch = Flows(CLOUD)
    assert [alert.rule for alert in rules.evaluate(batch) + rules.evaluate(batch)] == [good.id, good.id]
    assert list(rules.broken) == ["bad"]
    assert "no such column" in rules.broken["bad"]
    assert batch.asked.count(bad.predicate) == 1


def test_two_rules_with_one_id_are_refused() -> None:
    """Alerts of one could not be told from the other's."""
    rule = shipped("chinese-owned-destination")
    with pytest.raises(RuleError, match="already taken by chinese-owned-destination"):
        RuleSet([rule, rule])


# ---- what is written about it


def test_the_documented_fields_are_the_fields() -> None:
    """docs/rules.md lists every field with its kind, meaning and values, in the same order."""
    text = (ROOT / "docs" / "rules.md").read_text("utf-8").split("## Fields", 1)[1].split("\n## ", 1)[0]
    rows = [line for line in text.splitlines() if line.startswith("| `")]
    values = [" ".join(f"`{value}`" for value in field.values) for field in FIELDS]
    assert rows == [
        f"| `{field.name}` | {field.kind} | {field.meaning} | {listed} |".replace("|  |", "| |")
        for field, listed in zip(FIELDS, values, strict=True)
    ]


def test_the_documented_example_is_a_rule() -> None:
    """The first rule of docs/rules.md passes the check and matches what it talks about."""
    text = re.search(r"```yaml\n(.*?)```", (ROOT / "docs" / "rules.md").read_text("utf-8"), re.DOTALL)[1]
    assert check(text, "docs", SETS) == []
    flow = {"device_ip": "10.20.1.11", "name": "dev.hik-connect.com", "bytes_out": 2_000}
    flows = Flows({**flow, "country": "US"}, {**flow, "country": "DE"})
    assert [row["country"] for row in flows.found(parse(text, "docs", SETS).predicate)] == ["US"]


def test_the_documented_traps_are_caught() -> None:
    """Each item docs/rules.md calls an error is one."""
    text = (ROOT / "docs" / "rules.md").read_text("utf-8").split("## What the check finds", 1)[1]
    items = [item for line in text.splitlines() for item in re.findall("`([^`]+)`", line.split(" | ")[0])]
    items = [item for item in items if ":" in item]
    assert len(items) >= 13
    for item in items:
        text = f"{item}\n{rule_text('asn: 1')}" if item.startswith("levell") else rule_text(item)
        assert check(text, "r.yml", SETS), item


def test_importing_the_room_does_not_load_pysigma() -> None:
    """The import of pySigma takes 0.2 s to import, and most commands need no rule."""
    import subprocess
    import sys

    code = "import sys, egress_watch.rules; sys.exit(any(name in sys.modules for name in ('sigma', 'yaml')))"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=False).returncode == 0
