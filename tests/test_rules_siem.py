"""The same rules elsewhere: the field mapping is whole, and real backends convert every rule they can.

The second needs sigma-cli with its plugins in a place of its own, since they ask for another pySigma than ours:
`make test-sigma` puts them there. Or ``EGRESS_WATCH_SIGMA=/path/to/sigma``.
"""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

import pytest
import yaml

from egress_watch.library import country_sets
from egress_watch.rules import FIELDS

ROOT = Path(__file__).parent.parent
PIPELINE = ROOT / "rules" / "pipelines" / "ecs.yaml"
SIGMA = os.environ.get("EGRESS_WATCH_SIGMA", "")


def test_the_mapping_knows_every_field_and_every_set() -> None:
    """No field is left unmapped, none is made up, and the sets are those of the shipped data."""
    pipeline = yaml.safe_load(PIPELINE.read_text("utf-8"))
    (mapping,) = (one["mapping"] for one in pipeline["transformations"] if "mapping" in one)
    assert list(mapping) == [field.name for field in FIELDS]
    assert len(set(mapping.values())) == len(FIELDS)
    assert pipeline["vars"] == country_sets()


needs_sigma = pytest.mark.skipif(not SIGMA, reason="EGRESS_WATCH_SIGMA names no sigma-cli")
RULES = sorted((ROOT / "rules").glob("*.yml"))
COUNTING = {path for path in RULES if "\ncorrelation:" in path.read_text("utf-8")}
SUMMING = {path for path in COUNTING if "type: value_sum" in path.read_text("utf-8")}
REFUSED = {"lucene": COUNTING, "esql": SUMMING, "splunk": SUMMING}
"""What a backend knows no query for."""


def converted(target: str, *paths: Path) -> subprocess.CompletedProcess[str]:
    """Convert some rules with the shipped mapping."""
    command = [SIGMA, "convert", "-t", target, "-p", PIPELINE, *paths]
    return subprocess.run(command, capture_output=True, text=True, check=False)


@needs_sigma
@pytest.mark.parametrize("target", REFUSED)
def test_a_backend_of_another_product_converts_the_rules(target: str) -> None:
    """Every rule it has a query for; one that it has none for is refused in words."""
    done = converted(target, *(path for path in RULES if path not in REFUSED[target]))
    assert done.returncode == 0, done.stderr
    assert "destination." in done.stdout
    refused = converted(target, min(REFUSED[target]))
    assert refused.returncode != 0
    assert "not support" in refused.stderr


@needs_sigma
def test_queries_speak_ecs_alone() -> None:
    """One Lucene query a rule, and each of its fields is one of the mapping."""
    done = converted("lucene", *(path for path in RULES if path not in COUNTING))
    queries = done.stdout.strip().split("\n\n")
    assert len(queries) == len(RULES) - len(COUNTING)
    known = ("source.", "destination.", "network.", "egress_watch.")
    asked = re.findall(r"(?:^|[\s(])([a-z_.]+):", done.stdout)  # a colon within a value is escaped
    names = {*asked, *re.findall(r"_exists_:([a-z_.]+)", done.stdout)} - {"_exists_"}
    assert len(names) > len(known)
    assert all(name.startswith(known) for name in names), names
