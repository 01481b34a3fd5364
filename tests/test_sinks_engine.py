"""A receiver that is not ours takes what we send: Tenzir's bulk API and event collector.

Opt-in, as in test_exports_engine.py: it runs where `tenzir` is installed. EGRESS_WATCH_TENZIR names the program.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from contextlib import contextmanager

import pytest
from receiving import HOSTILE, deliver, eventually, message
from receiving_brokers import free_port, listens
from receiving_web import TOKEN, secret

from egress_watch.config import SinkSettings
from egress_watch.exports.format import json_line
from egress_watch.exports.plain import printable
from egress_watch.sinks.kinds import opened

TENZIR = os.environ.get("EGRESS_WATCH_TENZIR") or shutil.which("tenzir")
pytestmark = pytest.mark.skipif(not TENZIR, reason="tenzir is not installed")
BODIES = [json_line({"n": number, "name": printable(text[:4096])}).encode() for number, text in enumerate(HOSTILE * 20)]
BATCH = [message(number, body) for number, body in enumerate(BODIES)]


@contextmanager
def tenzir(tmp_path, source, port):
    """Run a pipeline that receives; give what returns the events it holds."""
    path = tmp_path / "events.json"
    pipeline = f'{source}\nto_file "{path}" {{ write_ndjson }}'
    with (tmp_path / "log").open("wb") as log:
        process = subprocess.Popen([TENZIR, "--bare-mode", pipeline], stdout=log, stderr=log)
    try:
        listens(port)
        yield lambda: [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []
    finally:
        process.terminate()
        process.wait()


def test_the_engine_takes_bulks(tmp_path):
    """Each record comes, with its text as it was."""
    port = free_port()
    with tenzir(tmp_path, f'accept_opensearch "127.0.0.1:{port}"', port) as held:
        sink = opened(SinkSettings("es", f"elastic:http://127.0.0.1:{port}/egress"))
        assert deliver(sink, BATCH) == 0
        sink.close()
        assert eventually(lambda: len(held()) >= len(BATCH))
        assert held() == [json.loads(body) for body in BODIES]


def test_the_engine_takes_events(tmp_path):
    """Each event comes in its envelope, with its text as it was."""
    port = free_port()
    source = f'accept_splunk "127.0.0.1:{port}", hec_token="{TOKEN}"'
    with tenzir(tmp_path, source, port) as held:
        to, token = f"splunk-unacknowledged:http://127.0.0.1:{port}", secret(tmp_path, TOKEN)
        sink = opened(SinkSettings("hec", to, secret_file=token))
        assert deliver(sink, BATCH) == 0
        sink.close()
        assert eventually(lambda: len(held()) >= len(BATCH))
        assert [event["event"] for event in held()] == [json.loads(body) for body in BODIES]
        assert {(event["host"], event["sourcetype"]) for event in held()} == {("north", "egress_watch:ecs")}
