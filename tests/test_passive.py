"""Passive means passive: no command opens a connection, asks a resolver or makes a socket."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest
from running import CITY, environment

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
        ("where", "52.208.0.10", "--name", "dev.hik-connect.com"),
        ("rules", "check"),
        ("config",),
    ],
    ids=lambda arguments: arguments[0],
)
def test_no_command_touches_the_network(tmp_path, arguments):
    """From a capture to rows, alerts and evidence sheets no socket is ever made."""
    db = str(tmp_path / "a.db")
    assert touched("replay", str(CITY), "--db", db) == [0, []]
    assert touched(*(word.format(db=db) for word in arguments)) == [0, []]
