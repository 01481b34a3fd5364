"""Print the figures of a database for Prometheus, or serve them.

Without --listen they are printed once, in the text format that Prometheus and other collectors read. With it an HTTP
server answers every scrape from the database as it is then; it listens where it is told to and knows nothing but
/metrics. The recorder itself opens no port.

In: a database. Out: metrics. Never: a write, or a port that was not asked for.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Iterator, Mapping
from datetime import date
from typing import TYPE_CHECKING, Any

from egress_watch import sinks
from egress_watch.cli.judges import today
from egress_watch.config import load
from egress_watch.errors import EgressWatchError, UsageError

if TYPE_CHECKING:
    from prometheus_client.core import Metric

HELP = "print or serve the figures of a recording for Prometheus"
EXAMPLES = (
    "egress-watch metrics egress.db",
    "egress-watch metrics egress.db --listen 127.0.0.1:9477",
)
MOST_STALE_S = 1.0
"""An answer is given again for so long: many scrapers cost no more than one."""


def arguments(command: argparse.ArgumentParser) -> None:
    """Declare the options."""
    command.add_argument("db", metavar="DB", nargs="?", default="", help="the database; default: db of the settings")
    command.add_argument("--config", default="", metavar="FILE", help="a TOML file of settings")
    command.add_argument("--listen", default="", metavar="ADDRESS:PORT", help="serve them at /metrics until stopped")


def run(options: argparse.Namespace) -> int:
    """Print the metrics once, or serve them."""
    from prometheus_client import CollectorRegistry, generate_latest

    registry = CollectorRegistry()
    registry.register(Figures(options.db or load(options.config).db))
    if options.listen:
        _serve(registry, *_address(options.listen))
    else:
        sinks.write("-", [generate_latest(registry)])
    return 0


class Figures:
    """Collects the metrics of one database whenever it is asked."""

    def __init__(self, db: str) -> None:
        self._db = db
        self._told: dict[str, Any] = {}
        self._asked_s = 0.0
        self._standing()  # a database that is not there is said at once

    def collect(self) -> Iterator[Metric]:
        """Yield every metric; `egress_watch_up` alone where the database cannot be read now."""
        try:
            told = self._standing()
        except EgressWatchError:
            yield _gauge("up", "1 where the database can be read", 0)
            return
        yield _gauge("up", "1 where the database can be read", 1)
        yield from metrics(told)

    def _standing(self) -> dict[str, Any]:
        from egress_watch.store.standing import standing

        if time.monotonic() - self._asked_s > MOST_STALE_S or not self._told:
            self._told, self._asked_s = standing(self._db), time.monotonic()
        return self._told


def metrics(told: Mapping[str, Any]) -> Iterator[Metric]:
    """Yield the metrics of a database as it stands."""
    totals, recordings = told["totals"], told["recordings"]
    yield _counter("frames", "frames read", totals["frames"])
    yield _counter("packets", "of these, IP packets", totals["packets"])
    yield _counter("lost", "frames lost before they were seen, by the kernel or the capture", totals["lost"])
    yield _counter("flows", "flow records written", totals["flows"])
    yield _counter("evicted", "flows ended early since too many were open", totals["evicted"])
    yield _counter("unstored", "flows that found no room on a full disk", totals["unstored"])
    yield _labelled("skipped", "reason", "frames that are no IP packet", told["skipped"])
    both = {verdict: out + back for verdict, (out, back) in told["bytes"].items()}
    yield _labelled("flows_bytes", "verdict", "bytes of flows by verdict, both ways", both, counts=False)
    yield _labelled("alerts", "level", "alerts opened", told["alerts"])
    yield _gauge("open_alerts", "alerts that are open", sum(told["open_alerts"].values()))
    yield _gauge("rules_set_aside", "rules that are broken or were too slow", len(told["broken_rules"]))
    yield _gauge("last_packet_timestamp_seconds", "time of the newest packet", (totals["last_ns"] or 0) / 1e9)
    yield _gauge("last_written_timestamp_seconds", "when the database was last written", told["written_ns"] / 1e9)
    yield _gauge("recording", "processes that record now", sum(bool(row["pid"]) for row in recordings))
    yield _gauge("database_bytes", "size of what is stored", told["space"]["used_bytes"])
    yield _gauge("disk_free_bytes", "room on its disk", told["space"]["disk_free_bytes"])
    yield from _by_row(told)


def _by_row(told: Mapping[str, Any]) -> Iterator[Metric]:
    waiting = {row["name"]: (row["alerts_waiting"] or 0) + (row["flows_waiting"] or 0) for row in told["sinks"]}
    yield _labelled("sink_lag_records", "sink", "records that wait for a sink", waiting, counts=False)
    up = {row["name"]: int(not row["failures"]) for row in told["sinks"]}
    yield _labelled("sink_up", "sink", "1 where the last delivery was taken", up, counts=False)
    ages = {row["name"]: _days(row["built"]) for row in json.loads(told["files"])}
    yield _labelled("data_age_days", "file", "age of a data file", ages, counts=False)
    lost = {row["interface"]: row["lost"] + row["overruns"] + row["dropped"] for row in told["interfaces"]}
    yield _labelled("lost_lately", "interface", "frames lost in the last 15 minutes recorded", lost, counts=False)
    lag = {row["interface"]: row["lag_ns"] / 1e9 for row in told["interfaces"]}
    yield _labelled("lag_seconds", "interface", "the longest a frame waited in those minutes", lag, counts=False)


def _days(built: str) -> int:
    try:
        return (today() - date.fromisoformat(built[:10])).days
    except ValueError:  # the user's own file may have no date
        return 0


def _gauge(name: str, about: str, value: float) -> Metric:
    from prometheus_client.core import GaugeMetricFamily

    return GaugeMetricFamily(f"egress_watch_{name}", about, value=value)


def _counter(name: str, about: str, value: float) -> Metric:
    from prometheus_client.core import CounterMetricFamily

    return CounterMetricFamily(f"egress_watch_{name}", about, value=value)


def _labelled(name: str, label: str, about: str, values: Mapping[str, float], *, counts: bool = True) -> Metric:
    from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily

    family = (CounterMetricFamily if counts else GaugeMetricFamily)(f"egress_watch_{name}", about, labels=[label])
    for key, value in values.items():
        family.add_metric([str(key)], value)
    return family


def _address(text: str) -> tuple[str, int]:
    host, _, port = text.rpartition(":")
    if not host or not port.isascii() or not port.isdigit() or not 0 <= int(port) < 1 << 16:
        raise UsageError(f"{text!r} is no address to listen on", where="metrics", remedy="give 127.0.0.1:9477")
    return host.strip("[]"), int(port)


def _serve(registry: Any, host: str, port: int) -> None:
    from prometheus_client import start_http_server

    try:
        server, thread = start_http_server(port, host, registry)
    except OSError as error:
        what = f"cannot listen on {host}:{port}: {error.strerror or error}"
        raise UsageError(what, where="metrics", remedy="name a free port of this machine") from error
    sinks.write("-", [f"http://{host}:{server.server_port}/metrics"])
    try:
        thread.join()
    except KeyboardInterrupt:
        server.shutdown()
