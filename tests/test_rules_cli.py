"""`rules check`, `test`, `backtest` and `fields`, as they are typed."""

from __future__ import annotations

import json
import os
import re
from collections import Counter
from pathlib import Path

import pytest
from running import CITY

from egress_watch.cli import main
from egress_watch.rules import FIELDS, schema
from egress_watch.rules.outline import outline
from egress_watch.store import holds

ROOT = Path(__file__).parent.parent
SETTINGS = ROOT / "captures" / "city.conf.toml"
RULE = """title: Talks to Baidu
id: 5f3c7a52-1f0e-4f57-9d0c-3f6c2f0f7a11
level: low
logsource:
  product: egress_watch
  category: flow
detection:
  s:
    owner: Baidu
  condition: s
egress_watch:
  examples:
    match:
      - { owner: baidu }
    no_match:
      - { owner: Google }
"""
COUNTED = (
    RULE.replace("title:", "name: baidu\ntitle:")
    + """---
title: Four talks to Baidu
id: 5f3c7a52-1f0e-4f57-9d0c-3f6c2f0f7a12
level: low
correlation:
  type: event_count
  rules: baidu
  group-by: device_ip
  timespan: 1h
  condition:
    gte: 4
  generate: true
"""
)


def run(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, str, str]:
    """Run a command and return its exit code and what it printed."""
    code = main([str(argument) for argument in arguments])
    shown = capsys.readouterr()
    return code, shown.out, shown.err


def folder_of(path: Path, text: str) -> Path:
    """Return a folder with one rule file."""
    (path / "baidu.yml").write_text(text, encoding="utf-8")
    return path


def test_the_shipped_rules_find_their_own_examples(capsys: pytest.CaptureFixture[str]) -> None:
    """`rules test` passes and says how much it tried."""
    code, out, _ = run(capsys, "rules", "test")
    assert code == 0
    assert re.fullmatch(r"\d+ rules, \d+ examples, 0 of them wrong\n", out)


def test_an_example_that_goes_wrong_is_told_with_its_line(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """Both ways to be wrong; the exit code is 1."""
    text = RULE.replace("owner: baidu", "owner: Tencent").replace("owner: Google", "owner: Baidu")
    code, out, _ = run(capsys, "rules", "test", folder_of(tmp_path, text))
    assert code == 1
    assert f"{tmp_path}/baidu.yml:14: this example is not found" in out
    assert f"{tmp_path}/baidu.yml:16: this example is found, and should not be" in out


@pytest.mark.parametrize(
    ("old", "new", "what"),
    [
        ("{ owner: baidu }", "{ ownr: baidu }", "unknown field 'ownr'"),
        ("{ owner: baidu }", "{ owner: 7 }", "`owner` is text"),
        ("{ owner: baidu }", "{ bytes_out: '7' }", "`bytes_out` is a whole number"),
        ("{ owner: baidu }", "{ first_owner: 1 }", "`first_owner` is true or false"),
        ("{ owner: baidu }", "baidu", "an example is a flow"),
        ("no_match:", "not_match:", "unknown key 'not_match'"),
        ("      - { owner: Google }\n", "", "a list of flows"),
    ],
)
def test_a_broken_example_is_a_finding(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, old: str, new: str, what: str
) -> None:
    """Examples are checked as strictly as rules."""
    code, out, _ = run(capsys, "rules", "check", folder_of(tmp_path, RULE.replace(old, new)))
    assert (code, what in out) == (2, True), out


def test_a_capture_shows_what_rules_say(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """Without --expect the counts are printed in the form that --expect reads; with it, differences are."""
    folder = folder_of(tmp_path, COUNTED)
    capture = ("rules", "test", folder, "--pcap", CITY, "--config", SETTINGS)
    code, out, _ = run(capsys, *capture)
    assert (code, out) == (0, "baidu: 1\nbaidu: 1\n# 2 rules, 2 alerts\n")
    expect = tmp_path / "expect.txt"
    ids = re.findall(r"id: (\S+)", COUNTED)
    expect.write_text(f"{ids[0]}: 1\n{ids[1]}: 1\n")
    assert run(capsys, *capture, "--expect", expect)[0] == 0
    expect.write_text(f"{ids[0]}: 2\n")
    code, out, _ = run(capsys, *capture, "--expect", expect)
    assert code == 1
    assert "✗ baidu: 1  # expected 2" in out
    assert "✗ baidu: 1  # expected 0" in out
    expect.write_text("baidu: 1\n")  # which of the two?
    code, _, err = run(capsys, *capture, "--expect", expect)
    assert (code, "no rule is named so" in err) == (2, True)


def test_the_city_raises_the_alerts_that_its_story_tells(capsys: pytest.CaptureFixture[str]) -> None:
    """The shipped rules over the demo capture; first contacts are quiet within the first week."""
    code, out, _ = run(capsys, "rules", "test", "--pcap", CITY, "--config", SETTINGS)
    assert code == 0
    assert out.endswith("alerts\n")
    assert "new-" not in out


def test_a_capture_is_tried_with_the_inventory_of_the_settings(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """Rules that ask for segments, suppliers and agreed zones say what they say in a replay."""
    site = ROOT / "captures" / "city.site.toml"
    code, out, _ = run(capsys, "rules", "test", "--pcap", CITY, "--config", site)
    assert code == 0
    assert run(capsys, "replay", CITY, "--config", site, "--db", tmp_path / "a.db", "--quiet")[0] == 0
    rows = run(capsys, "alerts", tmp_path / "a.db", "--format", "ndjson")[1].splitlines()
    assert out.endswith(f"# {len(list((ROOT / 'rules').glob('*.yml')))} rules, {len(rows)} alerts\n")
    assert "contract-zone-broken: 2\n" in out


def test_a_check_explains_what_a_rule_comes_to(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """The SQL condition, and what a correlation counts where it holds; findings as JSON have their spot apart."""
    folder = folder_of(tmp_path, COUNTED)
    code, out, _ = run(capsys, "rules", "check", folder, "--explain")
    assert code == 0
    where = "owner='Baidu' COLLATE NOCASE"
    assert f"{folder}/baidu.yml: Talks to Baidu\n  {where}\n" in out
    counted = "event_count by device_ip within 1 h, from 4 on, of the flows where"
    assert re.search(f"{folder}/baidu.yml: Four talks to Baidu\n  {counted}\n  .*{where}", out)
    folder_of(tmp_path, RULE.replace("owner: Baidu", "ownr: Baidu"))
    found = json.loads(run(capsys, "rules", "check", folder, "--json")[1])
    assert (found["file"], found["line"], found["column"]) == (f"{folder}/baidu.yml", 9, 5)
    assert found["where"] == f"{found['file']}:9:5"


def test_expectations_need_a_capture_and_a_capture_must_be_one(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """Both are told with what to do."""
    assert run(capsys, "rules", "test", "--expect", "x")[0] == 2
    (tmp_path / "no.pcap").write_text("nothing of the kind, but long enough to look at")
    assert run(capsys, "rules", "test", "--pcap", tmp_path / "no.pcap")[0] == 2


def test_a_backtest_lists_each_rule_with_its_cost(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """Hits, alerts and noisy devices as a table and as JSON."""
    db = tmp_path / "a.db"
    run(capsys, "replay", CITY, "--config", SETTINGS, "--db", db)
    folder = folder_of(tmp_path, COUNTED)
    code, out, _ = run(capsys, "rules", "backtest", db, folder, "--since", "7d")
    assert code == 0
    assert "Talks to Baidu (10.20.140.43 4)" in out
    rows = [json.loads(line) for line in run(capsys, "rules", "backtest", db, folder, "--json")[1].splitlines()]
    assert [(row["title"], row["hits"], row["alerts"]) for row in rows] == [
        ("Talks to Baidu", 4, 1), ("Four talks to Baidu", 4, 1)
    ]  # fmt: skip
    assert run(capsys, "rules", "backtest", tmp_path / "none.db")[0] == 2


def test_fields_are_listed_once_each(capsys: pytest.CaptureFixture[str]) -> None:
    """One line a field."""
    code, out, _ = run(capsys, "rules", "fields")
    assert code == 0
    assert [line.split()[0] for line in out.splitlines()] == [field.name for field in FIELDS]


def test_the_schema_for_editors_knows_the_fields_and_their_modifiers(capsys: pytest.CaptureFixture[str]) -> None:
    """A typo in a field is outside the schema, and each shipped key is inside."""
    code, out, _ = run(capsys, "rules", "fields", "--json-schema")
    assert (code, json.loads(out)) == (0, outline())
    (search, _) = outline()["properties"]["detection"]["additionalProperties"]["anyOf"]
    patterns = list(search["patternProperties"])
    assert len(patterns) == len(FIELDS)
    for key, known in (
        ("country", 1),
        ("country|expand", 1),
        ("contry", 0),
        ("country|cidr", 0),
        ("remote_ip|cidr", 1),
    ):
        assert sum(bool(re.search(pattern, key)) for pattern in patterns) == known, key


def test_the_memory_table_has_the_columns_of_the_store() -> None:
    """An example that names nothing is a flow like any other."""
    assert holds("country IS NULL AND bytes_out = 0", None, [{"bytes_out": 0}], schema())


def test_the_guide_shows_the_shipped_rules_on_the_demo(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """The alerts by rule of docs/rules.md are those of the town; EGRESS_WATCH_README=write puts new ones there."""
    site, db, guide = ROOT / "captures" / "city.site.toml", tmp_path / "a.db", ROOT / "docs" / "rules.md"
    assert run(capsys, "replay", CITY, "--config", site, "--db", db, "--quiet")[0] == 0
    rows = [json.loads(line) for line in run(capsys, "alerts", db, "--format", "ndjson")[1].splitlines()]
    by_rule = Counter((row["title"], row["level"]) for row in rows)
    hits = Counter({title: sum(row["hits"] for row in rows if row["title"] == title) for title, _ in by_rule})
    lines = [
        f"{count:>6}  {hits[title]:>4}  {level:13}  {title}"
        for (title, level), count in sorted(by_rule.items(), key=lambda one: (-one[1], one[0]))
    ]
    real = "\n".join(["alerts  hits  level          rule", *lines]) + "\n"
    block = re.compile(r"(<!-- demo -->\n```text\n)(.*?)(```\n<!-- /demo -->)", re.DOTALL)
    text = guide.read_text(encoding="utf-8")
    if os.environ.get("EGRESS_WATCH_README") == "write":
        text = block.sub(lambda found: found[1] + real + found[3], text)
        guide.write_text(text, encoding="utf-8")
    found = block.search(text)
    assert found
    assert found[2] == real


def test_every_shipped_rule_is_in_the_guide() -> None:
    """With its level."""
    guide = (ROOT / "docs" / "rules.md").read_text(encoding="utf-8")
    for path in sorted((ROOT / "rules").glob("*.yml")):
        (level,) = re.findall(r"^level: (\w+)", path.read_text(encoding="utf-8"), re.MULTILINE)[-1:]
        assert f"| `{path.name}` | {level} |" in guide
