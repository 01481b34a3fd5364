"""The rules: Sigma files of a folder, read, parsed and joined; a broken one never stops the others.

In: settings, or a folder. Out: `Rule` rows, and what is wrong with the rest. Never: a wait for a writer of a FIFO.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from egress_watch.config import Config, OwnZone
from egress_watch.errors import ConfigError, RuleError, UsageError
from egress_watch.library.folders import shipped
from egress_watch.library.predicates import shipped_parts
from egress_watch.library.tables import country_sets
from egress_watch.rules import Correlation, Filter, Part, Rule, linked
from egress_watch.rules import parts as compiled

MOST_RULE_BYTES = 1 << 20
MOST_RULES = 1_000
"""Documents that are read: each takes some milliseconds to compile, and its share of every batch."""
OTHERS_WRITE = stat.S_IWGRP | stat.S_IWOTH
FRESH = "give it a fresh UUID"


def rules(config: Config) -> tuple[list[Rule], list[RuleError]]:
    """Return the sound rules of the configured folder, without the disabled ones, and what is wrong with the others."""
    off = set(config.rules.disabled)
    files = rule_files(config.rules.folder)
    read, broken = read_parts([path for path in files if path.stem not in off], config.own_zone, ready=shipped_parts)
    good, unlinked = linked(read)
    unknown = off - {number for part in read for number in rule_ids(part)} - {path.stem for path in files}
    if unknown:
        raise ConfigError(f"rules.disabled names no rule: {', '.join(sorted(unknown))}", remedy="see `rules check`")
    return [rule for rule in good if rule.id not in off], [*broken, *unlinked]


def _none_ready(_: str, __: str) -> None:
    return None


def read_rules(files: Iterable[Path], own: Iterable[OwnZone] = ()) -> tuple[list[Rule], list[RuleError]]:
    """Return the sound rules of some files and what is wrong with the others; an id stands for its first rule.

    A rule may name the shipped zones and the user's ``own`` as sets of countries.
    """
    read, broken = read_parts(files, own)
    good, unlinked = linked(read)
    return good, [*broken, *unlinked]


def read_parts(
    files: Iterable[Path], own: Iterable[OwnZone] = (), ready: Callable[[str, str], list[Part] | None] = _none_ready
) -> tuple[list[Part], list[RuleError]]:
    """Return the documents of some files, compiled, and what is wrong with the others; see `read_rules`.

    ``ready`` returns those of a text that was compiled before, given its origin too.
    """
    sets = country_sets(own)
    good: list[Part] = []
    first: dict[str, str] = {}
    broken: list[RuleError] = []
    for path in files:
        if len(good) >= MOST_RULES:
            what = f"more than {MOST_RULES:,} rules: this file and those behind it are left out"
            broken.append(RuleError(what, where=str(path), remedy="ask by owner, provider or set, not rule by rule"))
            break
        try:
            text = rule_text(path)
            found = ready(text, str(path)) or compiled(text, str(path), sets)
        except RuleError as error:
            broken.append(error)
            continue
        twice = {number for part in found for number in rule_ids(part) if number in first}
        broken += [RuleError(f"has the id of {first[number]}", where=str(path), remedy=FRESH) for number in twice]
        new = [part for part in found if not twice & set(rule_ids(part))]
        first |= {number: str(path) for part in new for number in rule_ids(part)}
        good += new
    return good, broken


def rule_ids(part: Part) -> tuple[str, ...]:
    """Return the id of a rule or a correlation; a filter needs none."""
    if isinstance(part, Filter):
        return ()
    return (part.rule.id if isinstance(part, Correlation) else part.id,)


def rule_files(folder: str = "") -> Sequence[Path]:
    """Return the rule files of a folder, in order of name, or the one that is named; raises UsageError."""
    where = Path(folder) if folder else shipped("rules")
    remedy = "name a folder that holds *.yml files, or one such file"
    try:
        if stat.S_ISREG(where.stat().st_mode):
            return [where]
        return sorted(path for path in where.iterdir() if path.suffix in (".yml", ".yaml"))
    except FileNotFoundError as error:
        raise UsageError("no such folder of rules", where=str(where), remedy=remedy) from error
    except OSError as error:
        raise UsageError(error.strerror or str(error), where=str(where), remedy=remedy) from error


def rule_text(path: Path) -> str:
    """Return the text of a rule file, read no further than MOST_RULE_BYTES; raises RuleError."""
    try:
        if not stat.S_ISREG(path.stat().st_mode):  # a FIFO would make us wait for its writer
            raise RuleError("no regular file", where=str(path), remedy="take it out of the folder")
        _only_ours(path)
        with path.open("rb") as file:
            return file.read(MOST_RULE_BYTES).decode("utf-8")
    except OSError as error:
        raise RuleError(error.strerror or str(error), where=str(path), remedy="make it readable") from error
    except UnicodeDecodeError as error:
        raise RuleError("no UTF-8 text", where=str(path), remedy="save it as UTF-8") from error


def _only_ours(path: Path) -> None:
    """Refuse a file that others may write, or replace, when root reads it; raises RuleError.

    Who can write the shipped rules can write the program, so those are not looked at.
    """
    if os.geteuid() != 0 or path.parent == shipped("rules"):
        return
    for place in (path, path.resolve().parent):
        mode = place.stat().st_mode
        if mode & OTHERS_WRITE and not mode & stat.S_ISVTX:
            what = f"{'others' if mode & stat.S_IWOTH else 'its group'} may write {place}, and root would follow it"
            raise RuleError(what, where=str(path), remedy=f"chmod go-w {place}")
