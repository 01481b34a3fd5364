"""docs/sinks.md says what the code does: kinds, promises, and examples that are sound.

EGRESS_WATCH_README=write puts new tables there.
"""

from __future__ import annotations

import os
import re
import tomllib
from pathlib import Path

import pytest

from egress_watch.config import SinkSettings, load
from egress_watch.sinks.kinds import SINKS, checked, kind

PAGE = Path(__file__).parent.parent / "docs" / "sinks.md"
TEXT = PAGE.read_text(encoding="utf-8")
BLOCK = "<!-- table: {} -->\n"
END = "<!-- /table -->"


def table(name: str) -> str:
    """Return a table as the code has it."""
    if name == "promises":
        rows = [("promise", "means"), ("---", "---")]
        rows += [(promise.word, promise.about) for promise in dict.fromkeys(known.promise for known in SINKS)]
    else:
        rows = [("`to`", "what", "promise"), ("---", "---", "---")]
        rows += [(f"`{known.example}`", known.about, known.promise.word) for known in SINKS]
    return "".join(f"| {' | '.join(row)} |\n" for row in rows)


@pytest.mark.parametrize("name", ["promises", "kinds"])
def test_the_tables_are_those_of_the_code(name: str) -> None:
    """Each kind of sink is there with its promise, and each promise with what it means."""
    text = PAGE.read_text(encoding="utf-8")
    head, begin, rest = text.partition(BLOCK.format(name))
    assert begin
    if os.environ.get("EGRESS_WATCH_README") == "write":
        PAGE.write_text(head + begin + table(name) + rest[rest.index(END) :], encoding="utf-8")
        return
    assert rest.startswith(table(name) + END)


def test_every_kind_has_an_example_that_can_be_opened_and_a_row_of_kills(tmp_path: Path) -> None:
    """The settings shown are sound, and there is a figure for each transport."""
    settings = tmp_path / "c.toml"
    settings.write_text("\n".join(re.findall(r"```toml\n(.*?)```", TEXT, re.DOTALL)), encoding="utf-8")
    shown = load(str(settings)).sink
    checked(shown)
    assert {kind(row).scheme for row in shown} == {known.scheme for known in SINKS}
    for known in SINKS:
        assert f"\n| {known.scheme} | {known.promise.word} |" in TEXT


def test_every_key_shown_is_one() -> None:
    """Each example is TOML of known keys, beside the files it names."""
    for block in re.findall(r"```toml\n(.*?)```", TEXT, re.DOTALL):
        for row in tomllib.loads(block)["sink"]:
            assert set(row) <= set(SinkSettings.__dataclass_fields__)
