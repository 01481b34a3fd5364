"""`doctor` on a good mirror and on broken ones, on a cable between two name spaces."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from build import tcp
from build_capture import Frame, pcap
from namespaces import Pair, connected, end_all, needs_namespaces, started
from running import command, environment, run

pytestmark = needs_namespaces
CAM, CLOUD = "10.0.0.5:4000", "52.1.2.3:443"


@pytest.fixture
def pair() -> Iterator[Pair]:
    """Give two spaces with a cable whose watched end takes nothing apart or together."""
    with connected() as found:
        found.run("ethtool", "-K", "mon0", "gro", "off")
        try:
            yield found
        finally:
            end_all()


def mirrored(tmp_path: Path, *, back: bool) -> Path:
    """Make a capture of a connection, of one direction or of both."""
    wires = []
    for n in range(100):
        wires.append(tcp(CAM, CLOUD, "PA", b"x" * (n + 1), t=n / 1000))
        if back:
            wires.append(tcp(CLOUD, CAM, "PA", b"y" * (n + 1), t=n / 1000))
    path = tmp_path / "mirror.pcap"
    path.write_bytes(pcap([Frame(one.time_ns, one.data) for one in wires]))
    return path


def examined(pair: Pair, tmp_path: Path, capture: Path | None = None, *before: str) -> dict[str, list[dict[str, str]]]:
    """Return what the doctor finds, by what it is about, while a capture is sent over and over."""
    if capture:
        words = ("tcpreplay", "-q", "--pps=500", "--loop=100000", "-i", "gen0", str(capture))
        started(pair.inside(*words, far=True))
    words = command("doctor", "-i", "mon0", "--seconds", "1.5", "--json", "--db", tmp_path / "none.db")
    done = subprocess.run(pair.inside(*before, *words), capture_output=True, text=True, check=False, env=environment())
    assert "Traceback" not in done.stderr, done.stderr
    found: dict[str, list[dict[str, str]]] = {}
    for one in json.loads(done.stdout):
        assert one["remedy"] or one["state"] == "ok", one
        found.setdefault(one["about"], []).append(one)
    bad = any(one["state"] == "trouble" for some in found.values() for one in some)
    assert done.returncode == bad
    return found


def states(found: dict[str, list[dict[str, str]]], about: str) -> set[str]:
    """Return the states of what is about something."""
    return {one["state"] for one in found.get(about, [])}


def test_a_good_mirror_is_fine(pair: Pair, tmp_path: Path) -> None:
    """Both directions, no copies, nothing of our own: every line about interface, rights and mirror is ok."""
    found = examined(pair, tmp_path, mirrored(tmp_path, back=True))
    assert [states(found, about) for about in ("interface", "rights", "mirror")] == [{"ok"}] * 3
    assert any("50% of" in one["what"] for one in found["mirror"])


def test_an_interface_that_is_down_is_told(pair: Pair, tmp_path: Path) -> None:
    """It is trouble, with the command that brings it up, and nothing is listened to."""
    pair.run("ip", "link", "set", "mon0", "down")
    found = examined(pair, tmp_path)
    bad = [one for one in found["interface"] if one["state"] == "trouble"]
    assert len(bad) == 1
    assert bad[0]["remedy"] == "ip link set mon0 up"
    assert "mirror" not in found


def test_a_mirror_of_one_direction_is_told(pair: Pair, tmp_path: Path) -> None:
    """Packets leave and none comes back: the mirror is half a mirror."""
    found = examined(pair, tmp_path, mirrored(tmp_path, back=False))
    bad = [one for one in found["mirror"] if one["state"] == "trouble"]
    assert ["one direction is missing" in one["what"] for one in bad] == [True]


def test_silence_is_told(pair: Pair, tmp_path: Path) -> None:
    """An interface that is up and hears nothing is no mirror."""
    assert states(examined(pair, tmp_path), "mirror") == {"trouble"}


def test_an_interface_that_the_kernel_uses_is_told(pair: Pair, tmp_path: Path) -> None:
    """An address, ARP, and frames glued together each have their remedy."""
    pair.run("ip", "addr", "add", "192.0.2.7/24", "dev", "mon0")
    pair.run("ip", "link", "set", "mon0", "arp", "on")
    pair.run("ethtool", "-K", "mon0", "gro", "on")
    found = examined(pair, tmp_path, mirrored(tmp_path, back=True))
    odd = " ".join(f"{one['what']} {one['remedy']}" for one in found["interface"] if one["state"] == "warning")
    for word in ("address", "arp off", "gro off"):
        assert word in odd, odd


def test_who_may_not_listen_is_told(pair: Pair, tmp_path: Path) -> None:
    """Without CAP_NET_RAW the right is named, and the rest is looked at all the same."""
    without = ("setpriv", "--bounding-set=-net_raw", "--inh-caps=-net_raw", "--")
    found = examined(pair, tmp_path, None, *without)
    assert states(found, "rights") == {"trouble"}
    assert "CAP_NET_RAW" in found["rights"][0]["remedy"] + found["rights"][0]["what"]
    assert states(found, "rules") == {"ok"}


def test_without_an_interface_the_rest_is_looked_at(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """No interface is a warning; one that is not there is trouble; a folder that is not there too."""
    code, out, _ = run(capsys, "doctor", "--db", tmp_path / "a.db")
    assert "none was named" in out
    assert code == 0
    code, out, _ = run(capsys, "doctor", "-i", "nowhere9", "--db", tmp_path / "no" / "a.db")
    assert (code, "nowhere9: there is none" in out, "make the folder" in out) == (1, True, True)
