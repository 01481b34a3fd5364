"""Tenzir, an engine that is not ours: it reads our formats, and takes what our sinks send.

Its program is found beside this Python (`pip install --no-deps tenzir`), on the path, or by EGRESS_WATCH_TENZIR.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from pathlib import Path

import pytest
from certificates import Authority
from receiving import Receiver, eventually
from receiving_brokers import Program, free_port
from receiving_web import TOKEN, secret
from running import STRICT

from egress_watch.config import SinkSettings
from egress_watch.exports.format import json_line

TENZIR = (
    os.environ.get("EGRESS_WATCH_TENZIR")
    or shutil.which("tenzir", path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}")
    or ""
)
needed = pytest.mark.skipif(not TENZIR and not STRICT, reason="tenzir is not installed")
"""Where the real parts must run, its absence is a failure."""
HOST, PEER, SELF = "127.0.0.1", "sensor.test", "localhost"
_SYSLOG = "select text=data.parse_syslog().message"
_OCTETS = "{ read_syslog octet_counting=true }\nselect text=message"
SOURCES = {
    "syslog+udp": (f'accept_udp "{{at}}"\n{_SYSLOG}', "syslog+udp://{at}"),
    "syslog+tcp": (f'accept_tcp "{{at}}" {_OCTETS}', "syslog+tcp://{at}"),
    "syslog+tls": (f'accept_tcp "{{at}}", {{tls}} {_OCTETS}', "syslog+tls://{at}"),
    "relp": (f'accept_relp "{{at}}"\n{_SYSLOG}', "relp://{at}"),
    "relp+tls": (f'accept_relp "{{at}}", {{tls}}\n{_SYSLOG}', "relp+tls://{at}"),
    "elastic": ('accept_opensearch "{at}"', "elastic:http://{at}/egress"),
    "splunk-unacknowledged": (f'accept_splunk "{{at}}", hec_token="{TOKEN}"', "splunk-unacknowledged:http://{at}"),
    "webhook": ('accept_http "{at}" { read_json arrays_of_objects=true }', "webhook:http://{at}/egress"),
}
"""By the scheme of the sink: what Tenzir is to run, and where the sink is to send."""


def read(path: Path, reader: str) -> list[dict]:
    """Return the events that Tenzir finds in a file; a warning of its parser is a failure."""
    assert TENZIR, "pip install --no-deps tenzir"
    pipeline = f'from_file "{path}" {{ {reader} }}\nwrite_ndjson'
    done = subprocess.run([TENZIR, "--bare-mode", pipeline], capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    assert "warning" not in done.stderr, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


class Engine(Program):
    """A pipeline that receives and writes a file."""

    def __init__(self, folder: Path, scheme: str) -> None:
        assert TENZIR, "pip install --no-deps tenzir"
        self._held, port = folder / "held", free_port()
        source, to = SOURCES[scheme]
        told, tls = _secure(folder) if scheme.endswith("+tls") else ({}, "")
        if scheme.startswith("splunk"):
            told = {"secret_file": secret(folder, TOKEN)}
        at = f"{HOST}:{port}"
        whole = source.replace("{at}", at).replace("{tls}", tls)
        sink = f'to_file "{self._held}", append=true {{ write_ndjson }}'
        to = to.replace("{at}", at)
        self.settings = SinkSettings("siem", to, timeout_s=10.0, retry_s=0.05, retry_most_s=0.2, **told)
        super().__init__([TENZIR, "--bare-mode", f"{whole}\n{sink}"], port)

    def listens(self) -> None:
        """Wait until its port is taken: nothing is sent there, which it would take for a broken client."""
        line = f":{self.port:04X} 00000000:0000"
        tables = [Path(f"/proc/net/{name}") for name in ("tcp", "udp")]
        assert eventually(lambda: any(line in table.read_text() for table in tables))

    def bodies(self) -> list[bytes]:
        """Return the records in its file."""
        return [_body(event) for event in self.events()]

    def events(self) -> list[dict]:
        """Return what it made of the records, as far as its file is whole."""
        text = self._held.read_text() if self._held.exists() else ""
        return [_event(line) for line in text.split("\n")[:-1]]


def _event(line: str) -> dict:
    """Return what stands in a line; one that was cut off by a kill is only text, and no record of ours."""
    try:
        return json.loads(line)
    except ValueError:
        return {"text": line}


def _secure(folder: Path) -> tuple[dict[str, str], str]:
    """Return what makes a sink and Tenzir ask each other for a certificate."""
    authority = Authority(folder)
    cert, key = authority.signed(SELF)
    mine, mine_key = authority.signed(PEER)
    files = f'certfile: "{cert}", keyfile: "{key}", client_ca: "{authority.ca_file}"'
    told = {"ca_file": authority.ca_file, "cert_file": mine, "key_file": mine_key, "server_name": SELF}
    return told, f"tls={{ {files}, require_client_cert: true }}"


def _body(event: dict) -> bytes:
    """Return the record in an event: the message of syslog, what stands in Splunk's envelope, or the event itself."""
    return event["text"].encode() if "text" in event else json_line(event.get("event", event)).encode()


@contextmanager
def engine(folder: Path, scheme: str) -> Iterator[Receiver]:
    """Run Tenzir as the receiver of a kind of sink."""
    run = Engine(folder, scheme)
    try:
        yield Receiver(run.settings, run.bodies, run.stop, run.start)
    finally:
        run.stop()


ENGINES: dict[str, Callable[[Path], AbstractContextManager[Receiver]]] = {
    f"{scheme} to Tenzir": partial(engine, scheme=scheme) for scheme in SOURCES
}
"""Receivers for `receiving.RECEIVERS`, beside those of their scheme."""
