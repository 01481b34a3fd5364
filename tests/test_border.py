"""The comparison with published regions: truth, sides and sums are what they say; few addresses, the shipped table."""

from __future__ import annotations

import subprocess
import sys
from ipaddress import ip_address, ip_network
from pathlib import Path

import numpy as np
import pytest
from judging import HOME

BENCHMARKS = Path(__file__).parent.parent / "benchmarks"
sys.path.append(str(BENCHMARKS))

from border import (  # noqa: E402 - found in the folder named above
    CANNOT,
    DRAWS,
    PROVIDERS,
    STATUSES,
    Tally,
    drawn,
    judgement,
    known,
    one_of_each,
    places,
    side,
    tally,
    words,
)
from published import Published, published, shipped  # noqa: E402 - see above

from egress_watch import library  # noqa: E402 - see above
from egress_watch.config import Config  # noqa: E402 - see above

COUNTRIES = {"here": "NL", "near": "NL", "there": "US"}


def rows(*given):
    """Return published rows of one provider."""
    return Published("some", [(ip_network(prefix), "some", region) for prefix, region in given], COUNTRIES)


@pytest.fixture(scope="module")
def know():
    """Return what judges, over the shipped files."""
    return library.knowledge(Config())


@pytest.mark.parametrize(
    ("address", "country"),
    [
        ("10.0.0.1", "NL"),
        ("10.1.0.1", "US"),  # a narrower row
        ("10.1.2.3", "US"),  # a narrower row without a region hides nothing
        ("10.2.0.1", ""),  # one row for two countries
        ("10.3.0.1", "NL"),  # two regions of one country
        ("10.4.0.1", ""),  # the narrowest is global
        ("10.5.0.1", ""),  # a region whose country is not published
        ("11.0.0.1", ""),
        ("2001:db8::1", "US"),
    ],
)
def test_the_truth_is_what_the_narrowest_row_with_a_region_says(address, country):
    """Rows are weighed by length alone; what they leave open has no country."""
    truth = rows(
        ("10.0.0.0/8", "here"), ("10.1.0.0/16", "there"), ("10.1.2.0/24", ""), ("10.2.0.0/16", "here"),
        ("10.2.0.0/16", "there"), ("10.3.0.0/16", "here"), ("10.3.0.0/16", "near"), ("10.4.0.0/16", "GLOBAL"),
        ("10.5.0.0/16", "elsewhere"), ("2001:db8::/32", "there"),
    )  # fmt: skip
    assert truth.country(ip_address(address)) == country
    assert truth.without_region == 2


@pytest.mark.parametrize("way", DRAWS)
def test_the_same_seed_draws_the_same_addresses(way):
    """Addresses lie in the prefixes with a region, half of them in IPv6, and depend on the seed alone."""
    truth = rows(("10.0.0.0/8", "here"), ("2001:db8::/32", "there"), ("192.0.2.0/24", ""))
    one, again, other = (drawn(truth, DRAWS[way], 40, seed) for seed in (1, 1, 2))
    assert (one.addresses == again.addresses).all()
    assert (one.addresses != other.addresses).any()
    assert one.countries == ["NL"] * 20 + ["US"] * 20
    assert one.left_out == 0


def test_sides_are_counted(know):
    """A side needs all countries on it; what is untold is never wrong."""
    asked = [("NL", "IS"), ("US",), ("NL", "US"), (), ("", "NL")]
    assert [side(countries, know) for countries in asked] == ["in", "out", CANNOT, CANNOT, "in"]
    assert tally(["in", "out", CANNOT, "in"], ["in", "in", "in", "out"]) == Tally(4, 2, 1)


@pytest.mark.parametrize(
    ("status", "countries", "truth", "judged"),
    [
        ("agreed", ("NL",), "DE", "right"),
        ("agreed", ("US",), "DE", "wrong"),
        ("disputed", ("US", "DE"), "DE", "cannot tell"),
        ("anycast", (), "anycast", "right"),
        ("agreed", ("US",), "anycast", "wrong"),
        ("edge", (), "DE", "cannot tell"),
    ],
)
def test_known_addresses_are_judged_by_side(know, status, countries, truth, judged):
    """A country in no one place is right for anycast and untold for the rest."""
    assert judgement(HOME._replace(location_status=status, countries=countries), truth, know) == judged


def test_no_answer_is_on_the_wrong_side_of_what_clouds_publish(know):
    """For 200 random addresses of each cloud our side is the published one, and none is untold."""
    all_rows = shipped()
    for provider in PROVIDERS:
        sample = drawn(published(provider, all_rows), DRAWS["by prefix"], 200, 5)
        truth = [side([country], know) for country in sample.countries]
        ours = [side(place.countries, know) for place in places(know, sample.addresses)]
        assert tally(ours, truth) == Tally(len(truth), 0, 0), provider
        assert len(truth) >= 190


def test_no_known_address_is_judged_wrong(know):
    """Known addresses are right, or cannot be told; where a list is published they are right."""
    listed = known()
    answers = places(know, words(ip_address(row.address) for row in listed))
    judged = [(row, judgement(place, row.truth, know)) for row, place in zip(listed, answers, strict=True)]
    assert [row for row, found in judged if found == "wrong"] == []
    assert [row for row, found in judged if row.sure == "published" and found != "right"] == []
    assert len({row.address for row in listed}) == len(listed) >= 40


def test_every_status_is_found(know):
    """The search finds an address for each status but the user's own override."""
    found = one_of_each(know, 3)
    assert set(STATUSES) - set(found) == {"override"}
    asked = np.array(list(found.values()), np.uint64)
    assert [place.location_status for place in places(know, asked)] == list(found)


def test_the_command_prints_three_tables():
    """The command prints clouds, known addresses and one address of each status."""
    command = [sys.executable, str(BENCHMARKS / "border.py"), "--count", "20"]
    printed = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    for words_in_it in (*PROVIDERS.values(), *STATUSES, "by prefix", "by address", "published, right"):
        assert words_in_it in printed
