"""Compare the names we hear with those tshark (4.0.17) finds, over the shared corpus.

In: the corpus folder. Out: found, missed and extra names by protocol, every miss with its reason. Never: a capture
copied.

`make names-truth`, or `python benchmarks/names_truth.py --misses`. Tunnels are opened, as tshark opens them. A name
counts once for each capture, connection and protocol. Names are compared in the form we keep them in; what is no name
to us (an address, or bytes that are no host name) is counted apart. A DNS answer counts for each pair of the name asked
for and an address it leads to.
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

import numpy as np

from egress_watch.decode import decode
from egress_watch.decode.carriers import Policy, Tables
from egress_watch.fast import PlainNames
from egress_watch.model import Packets, address_words
from egress_watch.names import Names, http
from egress_watch.names.bearers import connections
from egress_watch.names.plain import reading
from egress_watch.names.reader import Heard, Refusal, Said
from egress_watch.names.text import domain, host
from egress_watch.sources import open_inputs

CORPUS = Path(__file__).resolve().parents[2] / "shared" / "corpus"
LOOKED_AT: dict[str, dict[str, str]] = tomllib.loads(
    Path(__file__).with_name("names_truth.toml").read_text(encoding="utf-8")
)
"""Reasons found by hand, by protocol and capture."""
PROTOCOLS = ("tls", "quic", "http", "dns", "mdns", "llmnr")
PORT = {"dns": 53, "mdns": 5353, "llmnr": 5355}
GOALS = {"tls": 0.99, "http": 0.99, "dns": 0.99, "quic": 0.97}
ANY = "a name below local"
"""The truth lists owners and addresses of a message apart, so that it cannot be told which belong together."""
UNREAD = "its packets are not read, as those that an error of ICMP quotes"
OPENED = Tables(Policy("all"))

Fact = tuple[str, str, str]
"""Protocol; connection in words, or the address that is named; name."""


class Compared(NamedTuple):
    """One capture, compared."""

    file: str
    found: set[Fact]
    missed: dict[Fact, str]
    """By reason."""
    extra: set[Fact]
    no_name: Counter[str]
    """By protocol: what tshark shows and is no name to us."""


class Listening(Names):
    """Names that also notes down every one it hears."""

    def __init__(self) -> None:
        super().__init__()
        self.facts: set[Fact] = set()
        self.decoded: set[str] = set()
        """All connections there are packets of."""

    def hear(self, packets: Packets) -> None:
        """Take in a batch, and note its connections."""
        ports = np.stack((packets.src_port, packets.dst_port), axis=1)
        self.decoded.update(map(_words, set(connections(packets.src, packets.dst, ports, packets.protocol))))
        super().hear(packets)

    def _learn(self, heard: Heard) -> None:
        for one in heard.reading[0]:
            self._fact(heard.reader.SOURCE, heard.bearer.connection, one)
        super()._learn(heard)

    def _take(self, plainest: PlainNames, rows: slice) -> None:
        for number in range(rows.start, rows.stop):
            reader = self._plainest[int(plainest.reader[number])]
            for one in reading(plainest, number, reader)[0]:
                self._fact(reader.SOURCE, plainest.connection[number].tobytes(), one)
        super()._take(plainest, rows)

    def _fact(self, source: str, connection: bytes, said: Said) -> None:
        name = ANY if source == "mdns" else said.name
        self.facts.add((source, said.address.hex() if said.address else _words(connection), name))


def _words(connection: bytes) -> str:
    return f"{connection[:16].hex()} {connection[16:32].hex()} {connection[32:36].hex()}"


class Truth:
    """What tshark says: facts by capture with the connections they were seen on, what is no name, and fragments."""

    def __init__(self, corpus: Path) -> None:
        self.facts: dict[str, dict[Fact, set[str]]] = {}
        self.no_name: dict[str, Counter[str]] = {}
        self.fragments: dict[str, set[frozenset[str]]] = {}
        for kind in ("tls", "quic", "http", "dns"):
            for row in rows(corpus, kind):
                self._take(kind, row)
        for row in rows(corpus, "conv_outer"):
            if row.get("nonfirst_frag"):
                self.fragments.setdefault(row["file"], set()).add(frozenset((_hex(row["a"]), _hex(row["b"]))))

    def _take(self, kind: str, row: dict[str, Any]) -> None:
        raw = row.get("host") if kind == "http" else row.get("sni")
        if kind != "dns" and (not raw or row.get("gquic")):
            return
        facts = list(_answers(row)) if kind == "dns" else [(kind, _where(row), _name(kind, raw))]
        for fact in facts:
            if fact[2]:
                self.facts.setdefault(row["file"], {}).setdefault(fact, set()).add(_where(row))
            else:
                self.no_name.setdefault(row["file"], Counter())[kind] += 1


def rows(corpus: Path, kind: str) -> Iterator[dict[str, Any]]:
    """Yield the rows of one kind of truth."""
    for path in sorted((corpus / "truth" / kind).glob("*.ndjson.gz")):
        with gzip.open(path, "rt", encoding="utf-8") as lines:
            yield from map(json.loads, lines)


def _name(kind: str, raw: str) -> str:
    """Return a name of the truth in our form, "" for what is no name to us."""
    payload = raw.encode("utf-8", "surrogateescape")
    try:
        return http.bare(payload) if kind == "http" else host(payload)
    except Refusal:
        return ""


def _answers(row: dict[str, Any]) -> Iterator[Fact]:
    """Yield the facts of one DNS message: the name asked for (multicast: the owner), and each address it leads to."""
    answers = [(_form(owner), kind, value) for owner, kind, value in row.get("ans") or () if row["resp"] and value]
    addresses = [(owner, _hex(value)) for owner, kind, value in answers if kind in {"A", "AAAA"}]
    if row["via"] == "mdns":
        yield from (("mdns", value, ANY) for owner, value in addresses if owner.endswith(".local"))
        return
    targets: dict[str, set[str]] = {}
    for owner, kind, value in answers:
        if kind == "CNAME":
            targets.setdefault(owner, set()).add(_form(value))
    asked = {_form(name) for name, _ in row["q"]}
    if len(asked) == 1 and (name := asked.pop()):
        yield from ((row["via"], value, name) for owner, value in addresses if owner in _chain(name, targets))


def _chain(asked: str, targets: dict[str, set[str]]) -> set[str]:
    chain, before = {asked}, 0
    while before < len(chain):
        before = len(chain)
        chain |= {target for name in chain for target in targets.get(name, ())}
    return chain


def _form(name: str) -> str:
    """Return a domain name of the truth in our form."""
    try:
        return domain((name or "").encode("utf-8", "surrogateescape").rstrip(b".").split(b"."))
    except Refusal:
        return ""


def _hex(address: str) -> str:
    high, low = address_words(address)
    return f"{high:016x}{low:016x}"


def _where(row: dict[str, Any]) -> str:
    return f"{_hex(row['src'])} {_hex(row['dst'])} {row['sp']:04x}{row['dp']:04x}"


def listen(path: Path) -> Listening:
    """Return all we hear in one capture."""
    names = Listening()
    for frames in open_inputs([str(path)]).frames():
        names.hear(decode(frames, OPENED))
    names.catch_up()
    return names


def compare(corpus: Path, file: str, truth: Truth) -> Compared:
    """Compare one capture with the truth."""
    names, theirs = listen(corpus / "pcaps" / file), truth.facts.get(file, {})
    ours = {fact for fact in names.facts if fact[0] in PROTOCOLS}
    missed = {fact: reason(file, fact, theirs[fact], names, truth) for fact in theirs.keys() - ours}
    return Compared(file, ours & theirs.keys(), missed, ours - theirs.keys(), truth.no_name.get(file, Counter()))


def reason(file: str, fact: Fact, where: set[str], names: Listening, truth: Truth) -> str:
    """Name why we miss a fact: by hand, where the capture was looked at, else by a rule that fits."""
    protocol = fact[0]
    if by_hand := LOOKED_AT.get(protocol, {}).get(file):
        return by_hand
    if not where & names.decoded:
        return UNREAD
    if any(frozenset(one.split()[:2]) in truth.fragments.get(file, ()) for one in where):
        return "in IP fragments, which are not put together"
    if protocol in PORT and not any(one.split()[2].startswith(f"{PORT[protocol]:04x}") for one in where):
        return "an answer from another port than the protocol's"
    return "unexplained"


def captures(corpus: Path) -> list[str]:
    """Return the captures of the manifest."""
    with (corpus / "manifest.tsv").open(encoding="utf-8", newline="") as lines:
        return [row["path"] for row in csv.DictReader(lines, delimiter="\t")]


def compare_all(corpus: Path, only: Iterable[str] = ()) -> list[Compared]:
    """Compare every capture, or some."""
    truth, chosen = Truth(corpus), set(only)
    return [compare(corpus, file, truth) for file in captures(corpus) if not chosen or file in chosen]


class Share(NamedTuple):
    """How one protocol fares."""

    found: int
    missed: int
    unread: int
    """Of the missed, those in packets that are not read at all."""
    extra: int
    no_name: int

    @property
    def share(self) -> float:
        """Return the part of the truth that was found, of packets that are read."""
        return self.found / max(self.found + self.missed - self.unread, 1)

    @property
    def share_of_all(self) -> float:
        """Return the part of the truth that was found."""
        return self.found / max(self.found + self.missed, 1)


def shares(compared: list[Compared]) -> dict[str, Share]:
    """Return the shares by protocol."""
    return {
        protocol: Share(
            sum(fact[0] == protocol for row in compared for fact in row.found),
            sum(fact[0] == protocol for row in compared for fact in row.missed),
            sum(fact[0] == protocol and why == UNREAD for row in compared for fact, why in row.missed.items()),
            sum(fact[0] == protocol for row in compared for fact in row.extra),
            sum(row.no_name[protocol] for row in compared),
        )
        for protocol in PROTOCOLS
    }


def show(compared: list[Compared], seconds: float, *, misses: bool, extras: bool) -> None:
    """Print the table, and the single misses and extras where asked for."""
    titles = ("found", "missed", "unread", "extra", "no name", "share", "of all", "goal")
    print(f"{'protocol':<10}" + "".join(f"{title:>9}" for title in titles))
    for protocol, one in shares(compared).items():
        goal = f"{GOALS[protocol]:.0%}" if protocol in GOALS else ""
        print(
            f"{protocol:<10}"
            + "".join(f"{number:>9,}" for number in one)
            + f"{one.share:>9.2%}{one.share_of_all:>9.2%}{goal:>9}"
        )
    print("\nmissed, by reason")
    for (protocol, why), number in sorted(Counter((f[0], w) for r in compared for f, w in r.missed.items()).items()):
        print(f"{number:>7,}  {protocol:<6} {why}")
    for row in compared:
        for fact, why in sorted(row.missed.items()) if misses else ():
            print("missed", row.file, *fact, f"({why})")
        for fact in sorted(row.extra) if extras else ():
            print("extra", row.file, *fact)
    print(f"\n{len(compared):,} captures in {seconds:.1f} s")


def main() -> None:
    """Compare and print."""
    command = argparse.ArgumentParser(description="Compare the names we hear with tshark's over the shared corpus.")
    command.add_argument("--corpus", type=Path, default=CORPUS, help="default: %(default)s")
    command.add_argument("--misses", action="store_true", help="print every name missed")
    command.add_argument("--extras", action="store_true", help="print every name that tshark does not show")
    command.add_argument("only", nargs="*", help="captures, as in the manifest; all without any")
    options = command.parse_args()
    if not (options.corpus / "manifest.tsv").is_file():
        command.error(f"no corpus at {options.corpus}; name it with --corpus")
    begin = time.perf_counter()
    compared = compare_all(options.corpus, options.only)
    show(compared, time.perf_counter() - begin, misses=options.misses, extras=options.extras)


if __name__ == "__main__":
    main()
