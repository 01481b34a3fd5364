"""The service files: the unit is closed, says what the program understands, and its settings are sound."""

from __future__ import annotations

import configparser
import shlex
import shutil
import subprocess
from pathlib import Path

import pytest
from running import ROOT, STRICT

from egress_watch.cli import parser
from egress_watch.config import load

UNIT = ROOT / "contrib" / "systemd" / "egress-watch.service"
SETTINGS = ROOT / "contrib" / "systemd" / "egress-watch.toml"
needs_systemd = pytest.mark.skipif(
    not STRICT and not shutil.which("systemd-analyze"), reason="systemd-analyze is not here"
)


def unit() -> configparser.SectionProxy:
    """Return the [Service] section; of keys given twice the last."""
    found = configparser.ConfigParser(strict=False, interpolation=None)
    found.optionxform = str  # type: ignore[assignment,method-assign]
    found.read(UNIT, encoding="utf-8")
    return found["Service"]


def test_what_the_unit_starts_can_be_typed():
    """The command of the unit parses, and names the settings that are installed."""
    program, *words = shlex.split(unit()["ExecStart"])
    options = parser(words).parse_args(words)
    assert program.endswith("/egress-watch")
    assert options.quiet
    assert options.config == "/etc/egress-watch/egress-watch.toml"


def test_the_unit_has_one_right_and_no_root():
    """CAP_NET_RAW alone, as a user of its own."""
    service = unit()
    assert service["User"] not in {"", "root"}
    assert service["AmbientCapabilities"] == service["CapabilityBoundingSet"] == "CAP_NET_RAW"


@needs_systemd
def test_systemd_finds_the_unit_closed():
    """`systemd-analyze security` gives it 2.0 or less, of 10."""
    words = ["systemd-analyze", "security", "--offline=yes", "--threshold=20", str(UNIT)]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


@needs_systemd
def test_systemd_understands_every_line_of_the_unit():
    """`systemd-analyze verify` has nothing to say but that the program is not installed here."""
    done = subprocess.run(["systemd-analyze", "verify", str(UNIT)], capture_output=True, text=True, check=False)
    told = [line for line in done.stderr.splitlines() if line and "is not executable" not in line]
    assert told == []


def test_the_sample_settings_are_sound():
    """They load, name an interface, and keep the ring as it is by default."""
    found = load(str(SETTINGS))
    assert found.watch.interfaces == ("eth1",)
    assert found.watch.ring_bytes == load().watch.ring_bytes
    assert found.db.startswith("/var/lib/egress-watch/")
    assert f"StateDirectory={Path(found.db).parent.name}" in UNIT.read_text(encoding="utf-8")
