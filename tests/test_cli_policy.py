"""`policy observe`, `show` and `promote`, as they are typed, from the city's traffic to an alert on drift."""

from __future__ import annotations

import json
import os
import re
import shutil
import tomllib
from pathlib import Path

import pytest
from running import CITY, ROOT, rows, run

SITE = ROOT / "captures" / "city.site.toml"
GUIDE = ROOT / "docs" / "policy.md"
BLOCK = re.compile(r"<!-- (\w+) -->\n```(\w+)\n(.*?)```\n<!-- /\1 -->", re.DOTALL)
UNTIL = "2026-11-02T08:30"


pytestmark = pytest.mark.usefixtures("town")


@pytest.fixture
def town(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """Work in a folder with the town's hour in city.db and rules of its own."""
    monkeypatch.chdir(tmp_path)
    for name in ("city.inventory.toml", "city.site.toml"):
        shutil.copy(ROOT / "captures" / name, tmp_path / name)
    assert run(capsys, "replay", CITY, "--config", "city.site.toml", "--db", "city.db", "--quiet")[0] == 0
    rules = tmp_path / "rules"
    rules.mkdir(mode=0o755)
    for path in (ROOT / "rules").glob("*.yml"):
        (rules / path.name).write_bytes(path.read_bytes())
        (rules / path.name).chmod(0o644)


def observed(capsys: pytest.CaptureFixture[str], *more: object) -> str:
    """Return what observe writes."""
    code, out, err = run(capsys, "policy", "observe", "city.db", *more)
    assert (code, err) == (0, "")
    return out


def answered(text: str) -> str:
    """Return a file in which what leaves the zone is refused and all else is allowed."""
    head, *needs = (
        text.replace('by = ""', 'by = "A. Jansen"').replace('\non = ""', '\non = "2026-11-24"').split("[[need]]")
    )
    answers = ["refuse" if 'verdict = "OUT"' in need else "allow" for need in needs]
    told = [need.replace('review = ""', f'review = "{answer}"') for need, answer in zip(needs, answers, strict=True)]
    return "[[need]]".join([head, *told])


def drift(capsys: pytest.CaptureFixture[str]) -> list[dict]:
    """Replay the town under the rules in its folder and return the alerts on drift."""
    settings = Path("strict.toml")
    settings.write_text(Path("city.site.toml").read_text(encoding="utf-8") + '[rules]\nfolder = "rules"\n', "utf-8")
    Path("strict.db").unlink(missing_ok=True)
    code, _, err = run(capsys, "replay", CITY, "--config", settings, "--db", "strict.db", "--quiet")
    assert code == 0, err
    return [row for row in rows(capsys, "alerts", "strict.db") if row["title"].startswith("Outside the policy")]


def test_from_half_an_hour_of_traffic_to_alerts_on_drift(capsys: pytest.CaptureFixture[str]) -> None:
    """What was refused and what was not seen by half past eight is an alert; all that was allowed is quiet."""
    Path("policy.toml").write_text(answered(observed(capsys, "--until", UNTIL)), encoding="utf-8")
    code, out, err = run(capsys, "policy", "promote", "policy.toml", "--to", "rules")
    assert (code, err) == (0, "")
    assert "rules/policy-segment-cameras.yml" in out
    assert run(capsys, "rules", "check", "rules")[1].endswith("documents, 0 findings\n")
    assert run(capsys, "rules", "test", "rules")[0] == 0
    found = drift(capsys)
    refused = {row["device_ip"] for row in found if row["verdict"] == "OUT"}
    assert refused == {"10.20.0.51", "10.20.110.12", "10.20.130.32", "10.20.130.34", "10.20.140.43"}
    review = tomllib.loads(Path("policy.toml").read_text(encoding="utf-8"))
    assert sum(need["review"] == "refuse" for need in review["need"]) == 5
    assert review["observed"]["until"].startswith("2026-11-02T08:")
    unseen = [row for row in found if row["verdict"] != "OUT"]
    assert unseen
    assert len(unseen) < 6


def test_a_whole_hour_that_was_allowed_is_quiet_but_for_what_nobody_answered(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Policies of segments and of devices alike; a connection that nobody answers shows no need."""
    for by in ("segment", "device"):
        text = answered(observed(capsys, "--by", by)).replace('review = "refuse"', 'review = "allow"')
        Path("policy.toml").write_text(text, encoding="utf-8")
        for path in Path("rules").glob("policy-*"):
            path.unlink()
        assert run(capsys, "policy", "promote", "policy.toml", "--to", "rules")[0] == 0
        assert [(row["device_ip"], row["bytes_in"]) for row in drift(capsys)] == [("10.20.0.61", 0)]


def test_an_exception_holds_for_the_rules_that_are_named(capsys: pytest.CaptureFixture[str]) -> None:
    """`--except` lets another rule leave alone what was allowed, and only that rule."""
    text = answered(observed(capsys)).replace('review = "refuse"', 'review = "allow"')
    Path("policy.toml").write_text(text, encoding="utf-8")
    leaves = "789c1eb2-bcaa-4621-a9b5-f4906251152b"
    assert run(capsys, "policy", "promote", "policy.toml", "--to", "rules", "--except", leaves)[0] == 0
    drift(capsys)
    titles = {row["title"] for row in rows(capsys, "alerts", "strict.db")}
    assert "Data leaves the zone" not in titles
    assert "Destination owned by a Chinese group" in titles
    code, _, err = run(
        capsys, "policy", "promote", "policy.toml", "--to", "rules", "--except", "no-such-rule", "--replace"
    )
    assert (code, "no sound rule is named 'no-such-rule'" in err) == (2, True)


def test_what_nobody_reviewed_is_not_promoted(capsys: pytest.CaptureFixture[str]) -> None:
    """One need without an answer, or nobody who answers, and no file is written."""
    text = observed(capsys)
    whole = answered(text)
    for wrong, why in (
        (text, "nobody answers for this review"),
        (whole.replace('review = "allow"\nreason', 'review = ""\nreason', 1), "is not reviewed"),
        (whole.replace('on = "2026-11-24"', 'on = "today"'), "is no day"),
        (whole.replace("[[need]]", "[[needs]]", 1), "not the shape"),
        (re.sub(r'\nname = "[^"]*"', '\nname = "*.org"', whole, count=1), "cannot be"),
        ("", "nobody answers"),
    ):
        Path("policy.toml").write_text(wrong, encoding="utf-8")
        code, out, err = run(capsys, "policy", "promote", "policy.toml", "--to", "rules")
        assert (code, out, why in err) == (2, "", True), err
        assert not list(Path("rules").glob("policy-*"))


def test_promote_replaces_its_own_files_only_and_only_when_told(capsys: pytest.CaptureFixture[str]) -> None:
    """An earlier review stays until --replace, a file of somebody else always, and a folder must be there."""
    Path("policy.toml").write_text(answered(observed(capsys)), encoding="utf-8")
    promote = ("policy", "promote", "policy.toml", "--to", "rules")
    assert "no such folder" in run(capsys, *promote[:-1], "nowhere")[2]
    assert run(capsys, *promote)[0] == 0
    before = Path("rules/policy-segment-cameras.yml").read_text(encoding="utf-8")
    assert "an earlier review is in force" in run(capsys, *promote)[2]
    few = answered(observed(capsys)).split("[[need]]")
    kept = [few[0], *(need for need in few[1:] if '"cameras"' in need)]
    Path("policy.toml").write_text("[[need]]".join(kept).replace('"allow"', '"refuse"'), encoding="utf-8")
    code, out, _ = run(capsys, *promote, "--replace")
    assert code == 0
    assert "rules/policy-segment-street.yml: stays as it was" in out
    assert Path("rules/policy-segment-cameras.yml").read_text(encoding="utf-8") != before
    Path("rules/policy-segment-cameras.yml").write_text("title: mine\n", encoding="utf-8")
    assert "is not of `policy promote`" in run(capsys, *promote, "--replace")[2]
    assert Path("rules/policy-segment-cameras.yml").read_text(encoding="utf-8") == "title: mine\n"


def test_show_tells_breadth_evidence_and_open_points(capsys: pytest.CaptureFixture[str]) -> None:
    """As a table and as JSON; a mistake in the file is exit code 2."""
    Path("policy.toml").write_text(observed(capsys), encoding="utf-8")
    code, out, _ = run(capsys, "policy", "show", "policy.toml")
    assert code == 0
    assert "days of traffic: 1" in out
    assert "ieu.hik-connect.com" in out
    needs = [json.loads(line) for line in run(capsys, "policy", "show", "policy.toml", "--json")[1].splitlines()]
    assert all(need["evidence"]["flows"] and need["breadth"]["opens"] for need in needs)
    assert f"{len(needs)} needs, 0 mistakes, {len(needs) + 2} open points" in out
    Path("policy.toml").write_text("[[need]]\n", encoding="utf-8")
    assert run(capsys, "policy", "show", "policy.toml")[0] == 2


def test_no_flows_in_the_time_asked_for_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    """A policy of nothing would make everything drift."""
    code, out, err = run(capsys, "policy", "observe", "city.db", "--until", "2020-01-01")
    assert (code, out, "no flows in that time" in err) == (2, "", True)


def test_the_guide_shows_the_town_as_it_is(capsys: pytest.CaptureFixture[str]) -> None:
    """The blocks of docs/policy.md are what the commands print; EGRESS_WATCH_README=write puts new ones there."""
    proposals = observed(capsys, "--until", UNTIL)
    Path("policy.toml").write_text(answered(proposals), encoding="utf-8")
    shown = run(capsys, "policy", "show", "policy.toml")[1]
    promoted = run(capsys, "policy", "promote", "policy.toml", "--to", "rules")[1]
    alerts = [f"{row['device_ip']:13} {row['level']:7} {row['title']}\n    {row['why']}\n" for row in drift(capsys)]
    some = proposals.partition("\n\n[[need]]")[0] + "\n\n[[need]]" + proposals.split("[[need]]")[1]
    real = {
        "proposals": some.rstrip("\n") + "\n", "shown": "\n\n".join(shown.split("\n\n")[:2]) + "\n",
        "promoted": promoted, "rule": Path("rules/policy-segment-cameras.yml").read_text(encoding="utf-8"),
        "drift": "".join(alerts),
    }  # fmt: skip
    guide = GUIDE.read_text(encoding="utf-8")
    if os.environ.get("EGRESS_WATCH_README") == "write":
        guide = BLOCK.sub(lambda one: one[0].replace(one[3], real[one[1]]), guide)
        GUIDE.write_text(guide, encoding="utf-8")
    assert {name: text for name, _, text in BLOCK.findall(guide)} == real
