"""What the documents say is what the program does."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from egress_watch.cli import COMMANDS, main, parser
from egress_watch.rules import FIELDS
from egress_watch.store.schema import DEVICES, FACTS, HEALTH, HISTORY, HOURS, MARKS, NEWEST, SEGMENTS, TABLES
from egress_watch.store.schema_habits import HABITS
from egress_watch.store.schema_heard import HEARD
from egress_watch.store.schema_outbox import OUTBOX

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
SCHEMA = (ROOT / "docs" / "schema.md").read_text(encoding="utf-8")
DEMO = re.compile(r"<!-- demo -->\n```text\n(.*?)```\n<!-- /demo -->", re.DOTALL)
SHOWN = re.compile(r"^\$ (?:\.venv/bin/)?egress-watch (.*?)(?:\s{2,}#.*)?$", re.MULTILINE)


DEMO_SETTINGS = ("captures/city.pcapng", "--config", "captures/city.conf.toml")


def report(folder: Path) -> str:
    """Return what `make demo` prints, without the last lines, which name the database."""
    command = [sys.executable, "-m", "egress_watch", "replay", *DEMO_SETTINGS, "--db", str(folder / "demo.db")]
    env = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONIOENCODING": "utf-8", "NO_COLOR": "1"}
    env.pop("COLUMNS", None)
    shown = subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True, check=True)
    lines = shown.stdout.partition("\nDatabase:")[0].split("\n")
    return "\n".join(line.rstrip() for line in lines) + "\n"


def test_the_readme_shows_the_demo_as_it_is(tmp_path: Path) -> None:
    """The report in README is the report; EGRESS_WATCH_README=write puts a new one there."""
    real = report(tmp_path)
    if os.environ.get("EGRESS_WATCH_README") == "write":
        block = f"<!-- demo -->\n```text\n{real}```\n<!-- /demo -->"
        (ROOT / "README.md").write_text(DEMO.sub(lambda _: block, README), encoding="utf-8")
        return
    found = DEMO.search(README)
    assert found
    assert found[1] == real


@pytest.mark.parametrize("name", COMMANDS)
def test_each_command_is_in_the_readme_and_has_help_with_examples(
    name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """A command that nobody can find is not there."""
    assert f"`{name} " in README or f"`{name}`" in README
    with pytest.raises(SystemExit) as stop:
        main([name, "--help"])
    assert stop.value.code == 0
    shown = capsys.readouterr().out
    assert "examples:" in shown
    assert f"egress-watch {name}" in shown.partition("examples:")[2]


@pytest.mark.parametrize("line", SHOWN.findall(README) + SHOWN.findall((ROOT / "docs" / "rules.md").read_text("utf-8")))
def test_each_command_line_shown_can_be_typed(line: str) -> None:
    """What README and docs/rules.md show after the prompt parses."""
    words = re.split(r"\s+", line.partition(">")[0].partition("|")[0].strip())
    assert parser(words).parse_args(words)


def test_each_example_in_the_help_can_be_typed(capsys: pytest.CaptureFixture[str]) -> None:
    """The examples under --help parse, the parts of other programs in a pipe left out."""
    for name in COMMANDS:
        with pytest.raises(SystemExit):
            main([name, "--help"])
        examples = capsys.readouterr().out.partition("examples:")[2].partition("exit codes")[0]
        for line in examples.strip().splitlines():
            mine = next(part for part in line.split("|") if "egress-watch" in part).partition("egress-watch ")[2]
            words = mine.partition(">")[0].split()
            assert parser(words).parse_args(words), line


def test_the_schema_document_names_every_table_and_column() -> None:
    """docs/schema.md has every table, every column of the view `flows`, and the schema's version."""
    tables = re.findall(
        r"CREATE TABLE (\w+)",
        TABLES + HISTORY + DEVICES + FACTS + HOURS + MARKS + SEGMENTS + HEARD + HEALTH + HABITS + OUTBOX,
    )
    assert tables
    for name in (*tables, *(field.name for field in FIELDS)):
        assert f"`{name}`" in SCHEMA, name
    assert f"now **{NEWEST}**" in SCHEMA


def test_every_file_the_documents_link_to_is_there() -> None:
    """Relative links in README, CONTRIBUTING and docs lead somewhere."""
    for page in (ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))):
        for target in re.findall(r"\]\(([^)#:]+)\)", page.read_text(encoding="utf-8")):
            assert (page.parent / target).exists(), f"{page.name}: {target}"
