"""Compare our flows with an independent tool's, over every capture of the shared corpus.

In: captures and what tshark 4.0.17 says of each. Out: the share of equal conversations, seen from outside (no tunnel
opened) and from inside (all opened), and a name for each difference.
Never: a difference without a name; what nobody has explained yet is called `unexplained`.

A conversation is a protocol and two ends (address and port) within one file. It is equal where packets and layer-3
bytes are the same both ways. One that only one side has counts as a difference. Our records are summed over the file,
since the truth knows no time-outs. The truth keeps later fragments apart, without ports, and we count them with their
datagram: a pair of addresses that has them is compared by protocol and addresses alone, without ports.
"""

from __future__ import annotations

import argparse
import csv
import gzip
import json
import sys
import time
import tomllib
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

from egress_watch.decode import decode
from egress_watch.decode.carriers import Policy, Tables
from egress_watch.flows import FlowTable
from egress_watch.model import Flows, Tally, address_text, address_words
from egress_watch.sources import open_inputs
from egress_watch.watch import count

CORPUS = Path(__file__).resolve().parents[2] / "shared" / "corpus"
VIEWS = {"outer": Tables(Policy("none")), "inner": Tables(Policy("all"))}
"""What the truth calls the two ways to look, and what is opened for each."""
QUOTING = ("/sflow", "/pim/", "/nhrp/", "/openflow", "/udp/lisp/")
"""Protocols that show packets which are not on their way there, as tshark names them in its chains."""
AUTHENTICATION, IPV6_HEADER_BYTES = 51, 40

End = tuple[int, int, int]
"""Address as two words, and port."""
Key = tuple[int, End, End]
"""Protocol and both ends, the lower one first."""
Counts = tuple[int, int, int, int]
"""Packets and bytes from the lower end to the higher, then back."""

LOOKED_AT: dict[str, str] = tomllib.loads(Path(__file__).with_name("truth.toml").read_text(encoding="utf-8"))
"""Why a file differs, for those that were opened by hand, packet by packet."""


class Capture(NamedTuple):
    """A capture as the manifest describes it."""

    file: str
    link: str
    frames: int
    """As tshark counts them."""

    @property
    def source(self) -> str:
        """The folder of the test suite it comes from."""
        return self.file.partition("/")[0]


class Measured(NamedTuple):
    """What we say of one capture."""

    tally: Tally
    flow_bytes: int
    conversations: dict[Key, Counts]

    @property
    def readable(self) -> bool:
        """Whether we read the format of the capture and all its link types."""
        return self.tally.frames > 0 and not any(name.startswith("link type") for name in self.tally.skipped)


class Difference(NamedTuple):
    """A conversation on which the two do not agree; None where one side has none."""

    file: str
    key: Key
    ours: Counts | None
    truth: Counts | None
    reason: str


class Compared(NamedTuple):
    """One capture, compared."""

    capture: Capture
    frames: int
    readable: bool
    """Whether both read the format of the capture and all its link types."""
    quotes: bool
    """Whether tshark shows packets in it that are not on their way there."""
    conversations: int
    differences: list[Difference]


def captures(corpus: Path) -> list[Capture]:
    """Return all captures of the corpus."""
    with (corpus / "manifest.tsv").open(encoding="utf-8", newline="") as rows:
        return [_capture(row) for row in csv.DictReader(rows, delimiter="\t")]


def _capture(row: dict[str, str]) -> Capture:
    frames = int(row["packets_tshark"] or 0)
    return Capture(row["path"], row["linktype"], frames)


def measure(path: Path, tables: Tables) -> Measured:
    """Run one capture through sources, decode and the flow table, with the time-outs that users have."""
    tally, table, ended = Tally(), FlowTable(), []
    for frames in open_inputs([str(path)]).frames():
        packets = decode(frames, tables)
        count(tally, frames, packets)
        ended.append(table.update(packets))
    ended.append(table.flush())
    flow_bytes = sum(int(flows.bytes_out.sum() + flows.bytes_in.sum()) for flows in ended)
    return Measured(tally, flow_bytes, summed(row for flows in ended for row in _rows(flows)))


def _rows(flows: Flows) -> Iterator[tuple[Key, Counts]]:
    columns = (
        flows.protocol, flows.device[:, 0], flows.device[:, 1], flows.device_port, flows.remote[:, 0],
        flows.remote[:, 1], flows.remote_port, flows.packets_out, flows.bytes_out, flows.packets_in, flows.bytes_in,
    )  # fmt: skip
    for protocol, *ends_and_counts in zip(*(column.tolist() for column in columns), strict=True):
        a, b, counts = ends_and_counts[:3], ends_and_counts[3:6], ends_and_counts[6:]
        yield ordered(protocol, tuple(a), tuple(b), tuple(counts))


def ordered(protocol: int, a: End, b: End, counts: Counts) -> tuple[Key, Counts]:
    """Return the conversation with its lower end first; one with itself has a single direction."""
    if a == b:
        return (protocol, a, b), (counts[0] + counts[2], counts[1] + counts[3], 0, 0)
    return ((protocol, a, b), counts) if a < b else ((protocol, b, a), counts[2:] + counts[:2])


def summed(rows: Iterable[tuple[Key, Counts]]) -> dict[Key, Counts]:
    """Add up the rows of each conversation."""
    total: dict[Key, Counts] = {}
    for key, counts in rows:
        packets, size, packets_back, size_back = total.get(key, (0, 0, 0, 0))
        total[key] = packets + counts[0], size + counts[1], packets_back + counts[2], size_back + counts[3]
    return total


class Truth:
    """What tshark says of all captures in one view.

    ``rows`` by file, ``fragments`` the pairs that have later fragments, ``quoting`` the files that show packets which
    are not on their way there.
    """

    def __init__(self, corpus: Path, view: str) -> None:
        self.rows: dict[str, list[tuple[Key, Counts]]] = {}
        self.fragments: dict[str, set[Key]] = {}
        self.quoting: set[str] = set()
        for path in sorted((corpus / "truth" / f"conv_{view}").glob("*.ndjson.gz")):
            with gzip.open(path, "rt", encoding="utf-8") as lines:
                for line in lines:
                    self._take(json.loads(line))

    def _take(self, row: dict[str, Any]) -> None:
        a, b = ((*address_words(row[end]), row[f"{end}p"] or 0) for end in "ab")
        counts = row["pkts_ab"], row["ip_ab"], row["pkts_ba"], row["ip_ba"]
        key, counts = ordered(row["proto"], a, b, counts)
        self.rows.setdefault(row["file"], []).append((key, counts))
        if any(name in chain for chain in row.get("encap") or () for name in QUOTING):
            self.quoting.add(row["file"])
        if row.get("nonfirst_frag"):
            self.fragments.setdefault(row["file"], set()).add(portless(key))


def portless(key: Key) -> Key:
    """Return the key without its ports."""
    protocol, a, b = key
    return protocol, (a[0], a[1], 0), (b[0], b[1], 0)


def without_ports(rows: Iterable[tuple[Key, Counts]], pairs: set[Key]) -> dict[Key, Counts]:
    """Sum the conversations, those between ``pairs`` without regard to ports."""
    bare = ((portless(key), key, counts) for key, counts in rows)
    return summed(ordered(*(pair if pair in pairs else key), counts) for pair, key, counts in bare)


def compare(capture: Capture, measured: Measured, truth: Truth) -> Compared:
    """Compare one capture's conversations with the truth."""
    pairs = truth.fragments.get(capture.file, set())
    ours = without_ports(measured.conversations.items(), pairs)
    theirs = without_ports(truth.rows.get(capture.file, ()), pairs)
    keys = ours.keys() | theirs.keys()
    differences = [
        Difference(capture.file, key, ours.get(key), theirs.get(key), reason(capture, measured, key, theirs, truth))
        for key in sorted(keys)
        if ours.get(key) != theirs.get(key)
    ]
    told = measured.readable and capture.frames > 0
    return Compared(capture, measured.tally.frames, told, capture.file in truth.quoting, len(keys), differences)


def reason(capture: Capture, measured: Measured, key: Key, theirs: dict[Key, Counts], truth: Truth) -> str:
    """Name the difference: by the file, where it was looked at by hand, else by the first rule that fits."""
    pair = {other: counts for other, counts in theirs.items() if portless(other)[1:] == portless(key)[1:]}
    named = {
        LOOKED_AT.get(capture.file, ""): capture.file in LOOKED_AT,
        "not read: capture format": not measured.tally.frames,
        "not told: tshark does not read the capture": not capture.frames,
        f"not read: link type {capture.link}": not measured.readable,
        "by choice: packets shown by a control or monitoring protocol are no traffic": capture.file in truth.quoting,
        "by choice: we name the protocol behind an authentication header": any(
            protocol == AUTHENTICATION for protocol, *_ in pair
        ),
        "jumbogram: tshark counts the IPv6 header alone": any(
            packets and size == packets * IPV6_HEADER_BYTES for packets, size in _ways(pair)
        ),
    }
    return next((name for name, fits in named.items() if fits), "unexplained")


def _ways(conversations: dict[Key, Counts]) -> Iterator[tuple[int, int]]:
    for counts in conversations.values():
        yield counts[:2]
        yield counts[2:]


def compare_all(corpus: Path, view: str) -> list[Compared]:
    """Compare every capture of the corpus in one of VIEWS."""
    truth, tables = Truth(corpus, view), VIEWS[view]
    return [compare(capture, measure(corpus / "pcaps" / capture.file, tables), truth) for capture in captures(corpus)]


def readable(compared: Iterable[Compared]) -> list[Compared]:
    """Return the captures to be judged by: those we read, without files that quote packets."""
    return [row for row in compared if row.readable and not row.quotes]


def share(compared: Iterable[Compared]) -> tuple[int, int, int]:
    """Return captures, conversations, and how many of them are equal."""
    rows = list(compared)
    total = sum(row.conversations for row in rows)
    return len(rows), total, total - sum(len(row.differences) for row in rows)


def groups(compared: list[Compared]) -> dict[str, dict[str, tuple[int, int, int]]]:
    """Return the shares by table and row."""
    judged = readable(compared)
    whole = {
        "everything we read": share(judged),
        "files that quote packets included": share(row for row in compared if row.readable),
        "all captures": share(compared),
    }
    by_source = {name: share(row for row in judged if row.capture.source == name)
                 for name in _names(judged, "source")}  # fmt: skip
    by_link = {name or "(not told)": share(r for r in compared if r.capture.link == name) for name in
               _names([row for row in compared if row.conversations], "link")}  # fmt: skip
    return {"whole": whole, "source folder (everything we read)": by_source, "link type": by_link}


def _names(compared: list[Compared], attribute: str) -> list[str]:
    return sorted({getattr(row.capture, attribute) for row in compared})


def reasons(compared: Iterable[Compared]) -> Counter[str]:
    """Count the differences by reason."""
    return Counter(difference.reason for row in compared for difference in row.differences)


def text(key: Key) -> str:
    """Return a conversation in words."""
    protocol, *ends = key
    return " ".join([str(protocol), *(f"{address_text(high, low)}:{port}" for high, low, port in ends)])


def main() -> None:
    """Compare and print."""
    command = argparse.ArgumentParser(description="Compare our flows with tshark's over the shared corpus.")
    command.add_argument("--corpus", type=Path, default=CORPUS, help="default: %(default)s")
    command.add_argument("--json", action="store_true", help="print one JSON object, with every difference")
    options = command.parse_args()
    if not (options.corpus / "manifest.tsv").is_file():
        command.error(f"no corpus at {options.corpus}; name it with --corpus")
    begin = time.perf_counter()
    views = {view: compare_all(options.corpus, view) for view in VIEWS}
    from truth_show import show, show_json  # it takes its names from here

    (show_json if options.json else show)(views, time.perf_counter() - begin)


if __name__ == "__main__":
    sys.modules["truth"] = sys.modules[__name__]
    main()
