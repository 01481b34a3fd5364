"""The same rules elsewhere: the field mapping is whole, and a real backend converts every rule it can.

The second needs sigma-cli with the elasticsearch plugin in a place of its own, since its plugins ask for another
pySigma than ours: ``EGRESS_WATCH_SIGMA=/path/to/sigma``.
"""

from __future__ import annotations

import os
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


@pytest.mark.skipif(not SIGMA, reason="EGRESS_WATCH_SIGMA names no sigma-cli")
@pytest.mark.parametrize("path", sorted((ROOT / "rules").glob("*.yml")), ids=lambda path: path.stem)
def test_a_backend_of_another_product_converts_the_rule(path: Path) -> None:
    """Lucene queries speak ECS alone; a correlation that a backend refuses is refused by name."""
    command = [SIGMA, "convert", "-t", "lucene", "-p", PIPELINE, path]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if "\ncorrelation:" in path.read_text("utf-8"):
        assert "does not support correlation rules" in done.stderr
        return
    assert done.returncode == 0, done.stderr
    known = ("source.", "destination.", "network.", "egress_watch.")
    names = [part.split(":")[0].lstrip("(") for part in done.stdout.split() if ":" in part]
    assert names
    assert all(name.startswith(known) for name in names), names
