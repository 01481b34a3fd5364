"""The rules: Sigma files of a folder, read and parsed; a broken one never stops the others.

In: settings, or a folder. Out: `Rule` rows, and what is wrong with the rest. Never: a wait for a writer of a FIFO.
"""

from __future__ import annotations

import stat
from collections.abc import Iterable, Sequence
from pathlib import Path

from egress_watch.config import Config, OwnZone
from egress_watch.errors import ConfigError, RuleError, UsageError
from egress_watch.library.folders import shipped
from egress_watch.library.tables import country_sets
from egress_watch.rules import Rule, parse

MOST_RULE_BYTES = 1 << 20


def rules(config: Config) -> tuple[list[Rule], list[RuleError]]:
    """Return the sound rules of the configured folder, without the disabled ones, and what is wrong with the others."""
    off = set(config.rules.disabled)
    files = rule_files(config.rules.folder)
    good, broken = read_rules([path for path in files if path.stem not in off], config.own_zone)
    unknown = off - {rule.id for rule in good} - {path.stem for path in files}
    if unknown:
        raise ConfigError(f"rules.disabled names no rule: {', '.join(sorted(unknown))}", remedy="see `rules check`")
    return [rule for rule in good if rule.id not in off], broken


def read_rules(files: Iterable[Path], own: Iterable[OwnZone] = ()) -> tuple[list[Rule], list[RuleError]]:
    """Return the sound rules of some files and what is wrong with the others; an id stands for its first rule.

    A rule may name the shipped zones and the user's ``own`` as sets of countries.
    """
    sets = country_sets(own)
    good: dict[str, Rule] = {}
    broken: list[RuleError] = []
    for path in files:
        try:
            rule = parse(rule_text(path), str(path), sets)
        except RuleError as error:
            broken.append(error)
            continue
        first = good.setdefault(rule.id, rule)
        if first is not rule:
            broken.append(RuleError(f"has the id of {first.origin}", where=str(path), remedy="give it a fresh UUID"))
    return list(good.values()), broken


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
        with path.open("rb") as file:
            return file.read(MOST_RULE_BYTES).decode("utf-8")
    except OSError as error:
        raise RuleError(error.strerror or str(error), where=str(path), remedy="make it readable") from error
    except UnicodeDecodeError as error:
        raise RuleError("no UTF-8 text", where=str(path), remedy="save it as UTF-8") from error
