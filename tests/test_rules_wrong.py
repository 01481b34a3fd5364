"""Rules that are wrong or hostile: what `rules check` says of a whole folder of them, and that none does harm."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest
from running import run
from test_rules import rule_text
from test_rules_correlations import BASE, BASE_RULE

from egress_watch.library import read_rules, rule_files
from egress_watch.rules import parse, schema
from egress_watch.store import holds, prepare

WRONG = Path(__file__).parent / "wrong_rules"
GOLDEN = Path(__file__).parent / "golden" / "wrong_rules.txt"


@pytest.fixture
def wrong(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a copy of the wrong rules that only their owner may write, whatever the checkout's modes are."""
    folder = tmp_path / "wrong_rules"
    folder.mkdir(mode=0o755)
    for path in sorted(WRONG.iterdir()):
        (folder / path.name).write_bytes(path.read_bytes())
        (folder / path.name).chmod(0o644)
    monkeypatch.chdir(tmp_path)
    return folder


def test_each_wrong_rule_is_told_with_its_place_and_a_remedy(capsys: pytest.CaptureFixture[str], wrong: Path) -> None:
    """The messages are those of the golden file; EGRESS_WATCH_GOLDEN=write puts new ones there."""
    code, out, _ = run(capsys, "rules", "check", wrong.name)
    assert code == 2
    if os.environ.get("EGRESS_WATCH_GOLDEN") == "write":
        GOLDEN.write_text(out, encoding="utf-8")
    assert out == GOLDEN.read_text(encoding="utf-8")
    told = {line.partition(".yml")[0] for line in out.splitlines() if line.startswith("wrong_rules/")}
    assert told == {f"wrong_rules/{path.stem}" for path in wrong.iterdir()} - {
        "wrong_rules/sound", "wrong_rules/twin-one",
    }  # fmt: skip


def test_the_sound_rule_among_them_runs(wrong: Path) -> None:
    """Whatever is wrong with its neighbours, and of two with one id the first."""
    rules, broken = read_rules(rule_files(str(wrong)))
    assert {rule.title for rule in rules} == {"A sound rule among the wrong ones", "Twin"}
    assert len(broken) >= 50
    assert prepare([(rule.predicate, rule.origin) for rule in rules]) == []


def test_an_expression_that_blows_up_elsewhere_takes_no_time_here() -> None:
    """RE2 is linear: the classic expression over the longest name a rule can meet is not cut off by the time limit."""
    rule = parse(rule_text("name|re: '^(a+)+$'"), "r.yml")
    flow = {"name": "a" * 100_000 + "!"}
    assert holds(rule.predicate, None, [flow], schema()) is False
    assert holds(rule.predicate, None, [{"name": "a" * 100_000}], schema()) is True


@pytest.mark.parametrize(
    "name", ["x' OR 1=1 --", "x'; DROP TABLE flows; --", 'x" OR "1"="1', "x` OR 1 --", "x\\' OR 1=1 --", "x' ESCAPE 'x"]
)
@pytest.mark.parametrize("modifier", ["", "|contains", "|startswith", "|endswith", "|re", "|cased"])
def test_sql_in_a_value_is_a_value(name: str, modifier: str) -> None:
    """It matches itself, if it is a sound value at all, and never a flow that is called otherwise."""
    text = rule_text(f"name{modifier}: {name!r}" if "'" not in name else f'name{modifier}: "{_escaped(name)}"')
    rule = parse(text, "r.yml")
    assert holds(rule.predicate, None, [{"name": "innocent.example"}], schema()) is False


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"')


def test_two_thousand_rules_are_cut_at_a_thousand(tmp_path: Path) -> None:
    """The first thousand run, in the order of their files, and one message tells of the others."""
    folder = tmp_path / "many"
    folder.mkdir(mode=0o755)
    body = BASE_RULE.replace("name: base\n", "")
    for file in range(40):
        documents = [body.replace(BASE, f"{BASE[:24]}{file:06d}{rule:06d}") for rule in range(50)]
        (folder / f"{file:02d}.yml").write_text("---\n".join(documents), encoding="utf-8")
    shutil.copy(WRONG / "sound.yml", folder / "99.yml")
    rules, broken = read_rules(rule_files(str(folder)))
    assert len(rules) == 1000
    assert [error.where for error in broken] == [str(folder / "20.yml")]
    assert "more than 1,000 rules" in broken[0].what
