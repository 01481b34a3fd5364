"""Metrics: what Prometheus' own parser reads is what the database says, and what the dashboard asks for."""

from __future__ import annotations

import json
import re
import subprocess
import urllib.error
import urllib.request
from pathlib import Path

import pytest
from judging import START_S
from prometheus_client.parser import text_string_to_metric_families
from running import CITY, ROOT, command, environment, run
from test_store_standing import MINUTE, recorded

from egress_watch.model import Health

CONTRIB = ROOT / "contrib"


def values(text: str) -> dict[str, dict[tuple[tuple[str, str], ...], float]]:
    """Return the samples of a text by name and labels."""
    found: dict[str, dict[tuple[tuple[str, str], ...], float]] = {}
    for family in text_string_to_metric_families(text):
        for one in family.samples:
            found.setdefault(one.name, {})[tuple(sorted(one.labels.items()))] = one.value
    return found


@pytest.fixture(scope="module")
def city(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give the city's capture as a database."""
    path = tmp_path_factory.mktemp("metrics") / "city.db"
    words = command("replay", CITY, "--db", path, "--quiet")
    subprocess.run(words, check=True, env=environment(), capture_output=True)
    return path


def test_the_figures_are_those_of_the_database(city: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Every counter comes out as `status` has it."""
    code, text, _ = run(capsys, "metrics", city)
    told = json.loads(run(capsys, "status", city, "--json")[1])
    found = {name: some[()] for name, some in values(text).items() if () in some}
    assert code == 0
    for name in ("frames", "packets", "lost", "flows", "evicted", "unstored"):
        assert found[f"egress_watch_{name}_total"] == told["totals"][name]
    assert found["egress_watch_up"] == 1
    assert found["egress_watch_recording"] == 0
    assert found["egress_watch_open_alerts"] == sum(told["open_alerts"].values()) > 0
    assert found["egress_watch_last_packet_timestamp_seconds"] == told["totals"]["last_ns"] / 1e9
    by_verdict = values(text)["egress_watch_flows_bytes"]
    assert {dict(key)["verdict"]: n for key, n in by_verdict.items()} == {
        verdict: sum(both) for verdict, both in told["bytes"].items()
    }


def test_losses_and_lateness_have_their_interface(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """What the minutes say comes out under the interface's name, and what found no room as a counter."""
    path = recorded(tmp_path / "a.db", Health(MINUTE, 'mon"0\n', 9, 900, 3, 2, 1, 0, 5 * 10**8), unstored=4)
    found = values(run(capsys, "metrics", path)[1])
    assert found["egress_watch_lost_lately"] == {(("interface", 'mon"0\n'),): 6}
    assert found["egress_watch_lag_seconds"] == {(("interface", 'mon"0\n'),): 0.5}
    assert found["egress_watch_unstored_total"] == {(): 4}
    assert START_S > 0


def names(text: str) -> set[str]:
    """Return the metrics that a text speaks of."""
    return set(re.findall(r"\begress_watch_[a-z_]+\b", text))


def test_what_the_dashboard_and_its_table_name_is_there(city: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """No panel asks for a metric that nobody gives, and the table of contrib lists every one of them, no other."""
    told = run(capsys, "metrics", city)[1]
    given = {line.split()[2] for line in told.splitlines() if line.startswith("# TYPE")}
    listed = names((CONTRIB / "README.md").read_text(encoding="utf-8").partition("## Metrics")[2])
    assert listed == given
    assert names((CONTRIB / "grafana" / "prometheus.json").read_text(encoding="utf-8")) <= given


def test_they_are_served_where_asked_and_nowhere_else(city: Path) -> None:
    """A scrape over the loopback reads the same; the address is printed; a wrong address stops the start."""
    words = command("metrics", city, "--listen", "127.0.0.1:0")
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True, env=environment()) as server:
        try:
            assert server.stdout
            url = server.stdout.readline().strip()
            assert re.fullmatch(r"http://127\.0\.0\.1:\d+/metrics", url)
            with urllib.request.urlopen(url, timeout=20) as answer:
                found = values(answer.read().decode())
            assert found["egress_watch_up"] == {(): 1}
            assert found["egress_watch_flows_total"][()] > 0
        finally:
            server.terminate()


@pytest.mark.parametrize("where", ["nowhere", "127.0.0.1:http", "127.0.0.1:70000", ":9477", "203.0.113.1:9477"])
def test_an_address_that_is_none_stops_the_start(city: Path, capsys: pytest.CaptureFixture[str], where: str) -> None:
    """Exit code 2 and a remedy."""
    code, _, err = run(capsys, "metrics", city, "--listen", where)
    assert (code, "try:" in err) == (2, True)


def test_no_database_is_said_at_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """There is nothing to serve."""
    assert run(capsys, "metrics", tmp_path / "none.db")[0] == 2
