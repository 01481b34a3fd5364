"""Passive means passive: no command opens a connection, asks a resolver or makes a socket, but `data update` does."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest
from running import CITY, environment
from serving import dated, serving

TRIPWIRE = """
import json, sys
touched = []
sys.addaudithook(lambda event, _: touched.append(event) if event.startswith("socket.") else None)
from egress_watch.cli import main
code = main(json.loads(sys.argv[1]))
print(json.dumps([code, touched]), file=sys.stderr)
"""
PROBE = """
import socket, sys
touched = []
sys.addaudithook(lambda event, _: touched.append(event) if event.startswith("socket.") else None)
socket.socket().close()
print(touched)
"""


def touched(*arguments: str) -> list:
    """Return the exit code of a command and every socket event of its process (PEP 578)."""
    words = [sys.executable, "-c", TRIPWIRE, json.dumps(arguments)]
    done = subprocess.run(words, capture_output=True, text=True, check=True, env=environment())
    return json.loads(done.stderr.splitlines()[-1])


def test_the_tripwire_trips():
    """A process that makes a socket is noticed, so silence below means something."""
    done = subprocess.run([sys.executable, "-c", PROBE], capture_output=True, text=True, check=True)
    assert "socket.__new__" in done.stdout


@pytest.mark.parametrize(
    "arguments",
    [
        ("flows", "{db}", "--format", "csv"),
        ("alerts", "{db}"),
        ("devices", "{db}"),
        ("inventory", "suggest", "{db}"),
        ("export", "{db}"),
        ("where", "52.208.0.10", "--name", "dev.hik-connect.com"),
        ("who", "hikvision", "AS1136"),
        ("data",),
        ("data", "update", "--from", "{stick}"),
        ("data", "update", "--from", "{stick}/cloud.mmdb"),
        ("rules", "check"),
        ("config",),
    ],
    ids=lambda arguments: "-".join(word for word in arguments[:2] if word.isalpha()),
)
def test_no_command_touches_the_network(tmp_path, monkeypatch, arguments):
    """From a capture to rows, alerts and evidence sheets no socket is ever made; nor by an update from a stick."""
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "home"))
    stick = tmp_path / "stick"
    stick.mkdir()
    (stick / "cloud.mmdb").write_bytes(dated("cloud", 1))
    db = str(tmp_path / "a.db")
    assert touched("replay", str(CITY), "--db", db) == [0, []]
    assert touched(*(word.format(db=db, stick=stick) for word in arguments)) == [0, []]


def test_going_back_touches_no_network(tmp_path, monkeypatch):
    """Rollback works on what is on the disk."""
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "home"))
    (tmp_path / "cloud.mmdb").write_bytes(dated("cloud", 1))
    assert touched("data", "update", "--from", str(tmp_path / "cloud.mmdb")) == [0, []]
    assert touched("data", "rollback") == [0, []]


def test_only_an_update_that_was_asked_for_connects(tmp_path, monkeypatch):
    """`data update` from an address is the one command that makes sockets, and only to what it was given."""
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "home"))
    with serving({"/cloud.mmdb": dated("cloud", 1)}) as url:
        code, events = touched("data", "update", "--from", url)
    assert code == 0
    assert "socket.connect" in events
