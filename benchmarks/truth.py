"""Compare our flows with an independent tool's, over every capture of the shared corpus.

In: captures and what tshark 4.0.17 says of each. Out: the share of equal conversations, and a name for each difference.
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
import time
import tomllib
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

from egress_watch.decode import decode
from egress_watch.flows import FlowTable
from egress_watch.model import Flows, Tally, address_text, address_words
from egress_watch.sources import open_inputs
from egress_watch.watch import count

CORPUS = Path(__file__).resolve().parents[2] / "shared" / "corpus"
LINKS = {"EN10MB", "LINUX_SLL", "LINUX_SLL2", "RAW", "RAW(12)", "IPV4", "IPV6", "NULL", "LOOP"}
"""Link types of this version, as the manifest names them."""
BEFORE_IP = {"llc", "mpls", "pppoes", "cmd", "nsh", "macsec"}
"""What tshark calls the headers between Ethernet and IP that a first version might leave out."""
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
    before_ip: frozenset[str]

    @property
    def listed(self) -> bool:
        """Whether this version reads all link types in it."""
        return bool(self.link) and set(self.link.split(",")) <= LINKS

    @property
    def source(self) -> str:
        """The folder of the test suite it comes from."""
        return self.file.partition("/")[0]


class Measured(NamedTuple):
    """What we say of one capture."""

    tally: Tally
    flow_bytes: int
    conversations: dict[Key, Counts]


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
    conversations: int
    differences: list[Difference]


def captures(corpus: Path) -> list[Capture]:
    """Return all captures of the corpus."""
    with (corpus / "manifest.tsv").open(encoding="utf-8", newline="") as rows:
        return [_capture(row) for row in csv.DictReader(rows, delimiter="\t")]


def _capture(row: dict[str, str]) -> Capture:
    frames = int(row["packets_tshark"] or 0)
    return Capture(row["path"], row["linktype"], frames, frozenset(row["encap"].split(",")) & BEFORE_IP)


def measure(path: Path) -> Measured:
    """Run one capture through sources, decode and the flow table, with the time-outs that users have."""
    tally, table, ended = Tally(), FlowTable(), []
    for frames in open_inputs([str(path)]).frames():
        packets = decode(frames)
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
    """What tshark says of all captures: ``rows`` by file, ``fragments`` the pairs that have later fragments."""

    def __init__(self, corpus: Path) -> None:
        self.rows: dict[str, list[tuple[Key, Counts]]] = {}
        self.fragments: dict[str, set[Key]] = {}
        for path in sorted((corpus / "truth" / "conv_outer").glob("*.ndjson.gz")):
            with gzip.open(path, "rt", encoding="utf-8") as lines:
                for line in lines:
                    self._take(json.loads(line))

    def _take(self, row: dict[str, Any]) -> None:
        a, b = ((*address_words(row[end]), row[f"{end}p"] or 0) for end in "ab")
        counts = row["pkts_ab"], row["ip_ab"], row["pkts_ba"], row["ip_ba"]
        key, counts = ordered(row["proto"], a, b, counts)
        self.rows.setdefault(row["file"], []).append((key, counts))
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
        Difference(capture.file, key, ours.get(key), theirs.get(key), reason(capture, measured, key, theirs))
        for key in sorted(keys)
        if ours.get(key) != theirs.get(key)
    ]
    return Compared(capture, measured.tally.frames, len(keys), differences)


def reason(capture: Capture, measured: Measured, key: Key, theirs: dict[Key, Counts]) -> str:
    """Name the difference: by the file, where it was looked at by hand, else by a rule that fits."""
    if capture.file in LOOKED_AT:
        return LOOKED_AT[capture.file]
    if not measured.tally.frames:
        return "not this version's: capture format"
    if not capture.listed:
        return "not this version's: link type " + capture.link
    pair = {other: counts for other, counts in theirs.items() if portless(other)[1:] == portless(key)[1:]}
    if any(protocol == AUTHENTICATION for protocol, *_ in pair):
        return "by choice: we name the protocol behind an authentication header"
    if any(packets and size == packets * IPV6_HEADER_BYTES for packets, size in _ways(pair)):
        return "jumbogram: tshark counts the IPv6 header alone"
    return "unexplained"


def _ways(conversations: dict[Key, Counts]) -> Iterator[tuple[int, int]]:
    for counts in conversations.values():
        yield counts[:2]
        yield counts[2:]


def compare_all(corpus: Path) -> list[Compared]:
    """Compare every capture of the corpus."""
    truth = Truth(corpus)
    return [compare(capture, measure(corpus / "pcaps" / capture.file), truth) for capture in captures(corpus)]


def share(compared: Iterable[Compared]) -> tuple[int, int, int]:
    """Return captures, conversations, and how many of them are equal."""
    rows = list(compared)
    total = sum(row.conversations for row in rows)
    return len(rows), total, total - sum(len(row.differences) for row in rows)


def groups(compared: list[Compared]) -> dict[str, dict[str, tuple[int, int, int]]]:
    """Return the shares by table and row."""
    listed = [row for row in compared if row.capture.listed]
    plain = [row for row in listed if not row.capture.before_ip]
    whole = {
        "link types of this version": share(listed),
        "  of these, files without MPLS, PPPoE, LLC and the like": share(plain),
        "all captures": share(compared),
    }
    by_source = {name: share(row for row in listed if row.capture.source == name) for name in _names(listed, "source")}
    by_link = {name or "(not told)": share(r for r in compared if r.capture.link == name) for name in
               _names([row for row in compared if row.conversations], "link")}  # fmt: skip
    return {"whole": whole, "source folder (link types of this version)": by_source, "link type": by_link}


def _names(compared: list[Compared], attribute: str) -> list[str]:
    return sorted({getattr(row.capture, attribute) for row in compared})


def show(compared: list[Compared], seconds: float) -> None:
    """Print the tables for a person."""
    for title, rows in groups(compared).items():
        print(f"\n{title:<60} {'captures':>9} {'conversations':>14} {'equal':>7} {'share':>9}")
        for name, (files, total, equal) in rows.items():
            part = f"{equal / total:.2%}" if total else "-"
            print(f"{name:<60} {files:>9,} {total:>14,} {equal:>7,} {part:>9}")
    print("\ndifferences by reason")
    for name, number in reasons(compared).most_common():
        print(f"{number:>7,}  {name}")
    other = [row for row in compared if row.frames != row.capture.frames]
    print(f"\nframes: the same number in {len(compared) - len(other):,} of {len(compared):,} captures; not in")
    for row in other:
        print(f"  {row.capture.file}: ours {row.frames:,}, tshark's {row.capture.frames:,}")
    print(f"\n{len(compared):,} captures in {seconds:.1f} s")


def reasons(compared: Iterable[Compared]) -> Counter[str]:
    """Count the differences by reason."""
    return Counter(difference.reason for row in compared for difference in row.differences)


def show_json(compared: list[Compared], seconds: float) -> None:
    """Print shares, reasons and every difference as one JSON object."""
    columns = ("captures", "conversations", "equal")
    tables = {
        title: {name.strip(): dict(zip(columns, counts, strict=True)) for name, counts in table.items()}
        for title, table in groups(compared).items()
    }
    rows = [difference._asdict() | {"key": text(difference.key)} for row in compared for difference in row.differences]
    print(json.dumps({"seconds": round(seconds, 1), **tables, "reasons": reasons(compared), "differences": rows}))


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
    compared = compare_all(options.corpus)
    (show_json if options.json else show)(compared, time.perf_counter() - begin)


if __name__ == "__main__":
    main()
