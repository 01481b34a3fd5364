"""The filter language: `country:CN owner:hikvision verdict:out device:cam-* bytes>1M !port:443 since:2h /text/`.

In: a line as a person types it. Out: a `Filter`: conditions with their values apart. Never: a value within SQL, or a
word that is passed over.

Terms stand side by side and must all hold; a comma gives alternatives, ``!`` turns a term round, quotes hold a value
with spaces together, ``*`` stands for anything. A word without a field, or between slashes, is looked for in names,
owners and addresses.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from difflib import get_close_matches
from typing import Any, NamedTuple

from egress_watch.errors import UsageError
from egress_watch.moments import time_ns
from egress_watch.store.fields import ADDRESS, BY_NAME, CHOICE, CODES, MOMENT, NEEDS, NUMBER, SIZE, TEXT, Field

TERM = re.compile(r"""(!?)(?:/((?:[^/\\]|\\.)*)(/?)|(?:([A-Za-z_]+)(:|>=|<=|>|<|=))?((?:"[^"]*"?|[^\s"])*))""")
SIZES = {"": 1, "k": 10**3, "m": 10**6, "g": 10**9, "t": 10**12}
_SIZE = re.compile(r"([0-9]{1,15}(?:\.[0-9]{1,6})?)([kmgt]?)b?", re.IGNORECASE)
_NUMBER = re.compile(r"[0-9]{1,18}")


class FilterError(UsageError):
    """A filter that cannot be understood; ``at`` is where, counted from 0."""

    def __init__(self, what: str, at: int, remedy: str) -> None:
        super().__init__(what, where=f"filter, column {at + 1}", remedy=remedy)
        self.at = at


class Clause(NamedTuple):
    """One term, as conditions whose values are bound by name."""

    text: str
    field: str
    column: str
    flows: str
    """A condition on the columns of flows and sums, "" where they do not have it."""
    alerts: str
    """A condition on the view ``alerts``, "" where it does not have it."""
    values: dict[str, Any]


class Filter(NamedTuple):
    """A whole line."""

    text: str = ""
    clauses: tuple[Clause, ...] = ()
    since_ns: int | None = None
    until_ns: int | None = None

    def columns(self) -> set[str]:
        """Return the columns of sums that the terms ask, but for those on bytes."""
        asked = (NEEDS.get(one.column, (one.column,)) for one in self.clauses if one.column not in {"bytes", ""})
        return {column for some in asked for column in some}

    def values(self) -> dict[str, Any]:
        """Return all values by name."""
        return {name: value for clause in self.clauses for name, value in clause.values.items()}


class Word(NamedTuple):
    """A term as it stands in the line."""

    at: int
    negated: bool
    field: str
    operator: str
    value: str
    value_at: int


def words(line: str) -> Iterator[Word]:
    """Yield the terms of a line; raises FilterError."""
    at = 0
    while at < len(line):
        if line[at].isspace():
            at += 1
            continue
        found = TERM.match(line, at)
        if found is None or found.end() == at:
            raise FilterError("a quote without an end", at, 'close it with "')
        yield _word(found)
        at = found.end()


def parse(line: str, newest_ns: int = 0) -> Filter:
    """Return the filter of a line; spans count back from ``newest_ns``. Raises FilterError."""
    clauses: list[Clause] = []
    times: dict[str, int | None] = {"since": None, "until": None}
    for number, word in enumerate(words(line)):
        field = _field(word)
        if field.kind == MOMENT:
            times[field.name] = _moment(word, newest_ns)
        else:
            clauses.append(_clause(field, word, f"v{number}", line))
    return Filter(line.strip(), tuple(clauses), times["since"], times["until"])


def quoted(value: str) -> str:
    """Return a value so that it is one word of a line."""
    return value if re.fullmatch(r"[^\s\",*/!<>=]+", value) else '"' + value.replace('"', "*") + '"'


def _word(found: re.Match[str]) -> Word:
    negation, slashed, slash, field, operator, value = found.groups()
    if slashed is not None:
        if not slash:
            raise FilterError("a text without an end", found.start(), "close it with /")
        return Word(found.start(), bool(negation), "", ":", '"' + slashed.replace("\\/", "/") + '"', found.start() + 1)
    if value.count('"') % 2:
        raise FilterError("a quote without an end", found.start(6) + value.index('"'), 'close it with "')
    if not value:
        what = f"{field}{operator} without a value" if field else "a ! without a term"
        raise FilterError(what, found.start(), "write the value right behind it, such as country:CN")
    return Word(found.start(), bool(negation), (field or "").lower(), operator or ":", value, found.start(6))


def _field(word: Word) -> Field:
    """Return the field of a word, and see that it can be asked so; raises FilterError."""
    field = BY_NAME.get(word.field) if word.field else TEXT
    if field is None:
        near = get_close_matches(word.field, BY_NAME, 1)
        meant = f"{near[0]}: is one; all are: " if near else "one of: "
        remedy = f"{meant}{', '.join(BY_NAME)}; a plain word looks everywhere"
        raise FilterError(f"no field {word.field!r}", word.at, remedy)
    if word.operator not in {":", "="} and field.kind not in {NUMBER, SIZE}:
        raise FilterError(f"{field.name} has no {word.operator}", word.at, f"write {field.name}:VALUE")
    if field.kind == MOMENT and word.negated:
        raise FilterError("a time cannot be turned round", word.at, "use since: or until:")
    return field


def _moment(word: Word, newest_ns: int) -> int:
    try:
        return time_ns(word.value, newest_ns)
    except UsageError as error:
        raise FilterError(error.what, word.value_at, error.remedy) from error


def _clause(field: Field, word: Word, name: str, line: str) -> Clause:
    values: dict[str, Any] = {}
    flows, alerts = [], []
    for number, (text, at) in enumerate(_alternatives(word)):
        key = f"{name}_{number}"
        values[key] = value = _value(field, text, at)
        shown = CODES.get(field.name, {}).get(text.lower())
        values |= {f"{key}c": shown} if shown is not None else {}
        flows.append(_condition(field, field.flows, f"{key}c" if shown is not None else key, word.operator, value))
        alerts.append(_condition(field, field.alerts, key, word.operator, value))
    # what is not turned round stands bare, so that SQLite can look it up in an index
    frame = "NOT (coalesce(({}), 0))" if word.negated else "({})"
    either = [frame.format(" OR ".join(some)) if all(some) else "" for some in (flows, alerts)]
    end = word.value_at + len(word.value)
    text = line[word.at : end + (not word.field and line[end - 1 : end] == "/")]
    return Clause(text, field.name, field.column, either[0], either[1], values)


def _alternatives(word: Word) -> Iterator[tuple[str, int]]:
    """Yield the values between commas, without their quotes, and where they stand."""
    at = word.value_at
    for text in re.findall(r'(?:"[^"]*"|[^,"])+|(?<=,)(?=,|$)|^(?=,)', word.value):
        if not text:
            raise FilterError("a comma without a value", at, "write the values side by side: country:CN,RU")
        yield text.replace('"', ""), at
        at += len(text) + 1


def _value(field: Field, text: str, at: int) -> Any:
    """Return what is bound for a value; raises FilterError."""
    if field.kind == NUMBER:
        if not _NUMBER.fullmatch(text):
            raise FilterError(f"{text!r} is no number", at, f"write it in digits, such as {field.name}:443")
        return int(text)
    if field.kind == SIZE:
        if not (size := _SIZE.fullmatch(text)):
            raise FilterError(f"{text!r} is no size", at, "write 1500, 20k, 1M or 2.5G")
        return int(float(size[1]) * SIZES[size[2].lower()])
    if field.name in CODES and text.isdigit() and len(text) < 4:
        return int(text)
    if field.choices and "*" not in text and text.lower() not in {choice.lower() for choice in field.choices}:
        raise FilterError(f"{text!r} is no {field.name}", at, f"one of: {', '.join(field.choices)}")
    return text.lower()


def _condition(field: Field, template: str, key: str, operator: str, value: Any) -> str:
    """Return a condition with its tests put in; "" where there is no template."""
    return re.sub(r"\{([^{}]+)\}", lambda found: _test(field.kind, found[1], key, operator, value), template)


def _test(kind: str, column: str, key: str, operator: str, value: Any) -> str:
    if kind in {NUMBER, SIZE}:
        return f"{column} {'=' if operator == ':' else operator} :{key}"
    if isinstance(value, int) or key.endswith("c"):
        return f"{column} = :{key}"
    if "*" in value:
        return f"lower({column}) GLOB replace(replace(:{key}, '[', '[[]'), '?', '[?]')"
    if kind == CHOICE or (kind == ADDRESS and column in {"ip", "mac", "remote_ip", "device_ip", "device_mac"}):
        return f"lower({column}) = :{key}"
    return f"instr(lower({column}), :{key}) > 0"
