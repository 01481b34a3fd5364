"""The shipped rules as they were compiled when they were shipped."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path

import pytest

from egress_watch.config import Config
from egress_watch.library import read_rules, rule_files, rules
from egress_watch.library.predicates import FILE, shipped_parts, written
from egress_watch.rules import parts

WITH = ("pysigma", "pysigma-backend-sqlite")


def text_of(path: Path) -> str:
    """Return a rule file's text."""
    return path.read_text(encoding="utf-8")


def compiled() -> dict[str, object]:
    """Return what the file must hold."""
    texts = [text_of(path) for path in rule_files()]
    found = {hashlib.sha256(text.encode()).hexdigest(): written(parts(text, "")) for text in texts}
    return json.loads(json.dumps({"with": {name: version(name) for name in WITH}, "parts": found}))


def test_the_file_is_what_pysigma_makes_of_the_shipped_rules_today() -> None:
    """Every shipped rule is in it, and nothing else; EGRESS_WATCH_PREDICATES=write makes it anew."""
    now = compiled()
    if os.environ.get("EGRESS_WATCH_PREDICATES") == "write":
        FILE.write_text(json.dumps(now, indent=1, sort_keys=True) + "\n", encoding="utf-8")
    told = json.loads(FILE.read_text(encoding="utf-8"))
    assert list(told["parts"]) == sorted(now["parts"])
    if told["with"] == now["with"]:  # another version may write the same question in other words
        assert told["parts"] == now["parts"]


def test_a_replay_runs_the_same_rules_as_were_compiled_anew() -> None:
    """All but the examples, which only a rule's author asks for."""
    good, broken = rules(Config())
    anew, _ = read_rules(rule_files())
    assert broken == []
    assert [rule.id for rule in good] == [rule.id for rule in anew]
    told = json.loads(FILE.read_text(encoding="utf-8"))["with"]
    if told == {name: version(name) for name in WITH}:
        assert good == [replace(rule, examples=()) for rule in anew]


@pytest.mark.parametrize("change", [" ", "\n", "#"])
def test_a_changed_rule_is_compiled_and_not_looked_up(change: str) -> None:
    """One byte more is another rule."""
    text = text_of(rule_files()[0])
    assert shipped_parts(text, "") is not None
    assert shipped_parts(text + change, "") is None


def test_shipped_rules_load_neither_pysigma_nor_yaml() -> None:
    """They would take longer than all else that a replay loads."""
    code = (
        "import sys; from egress_watch.config import Config; from egress_watch.library import rules; rules(Config()); "
    )
    code += "print([name for name in ('sigma', 'yaml') if name in sys.modules])"
    assert subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout == "[]\n"
