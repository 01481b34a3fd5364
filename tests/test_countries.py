"""Country codes: the assigned ones, and what a person meant by another."""

from __future__ import annotations

import maxminddb
import pytest
from test_data import COUNTRIES

from egress_watch.config import Config
from egress_watch.countries import ASSIGNED, KNOWN, meant
from egress_watch.library import DATA, atlas
from egress_watch.model import address_words


def test_the_codes_are_those_of_the_standard():
    """249 codes, the same that the data files are checked against, and Kosovo's beside them."""
    assert len(ASSIGNED) == 249
    assert ASSIGNED == COUNTRIES
    assert {"XK"} == KNOWN - ASSIGNED


@pytest.fixture(scope="module")
def said():
    """Return the first address of a prefix of each code that DB-IP answers with."""
    with maxminddb.open_database(DATA / "dbip-country-lite.mmdb") as reader:
        return {record["country"]["iso_code"]: network[0] for network, record in reader}


def test_a_country_database_answers_with_known_codes(said):
    """What DB-IP says can be written by a user too; ZZ is its word for nowhere."""
    assert said.keys() - {"ZZ"} <= KNOWN


def test_no_country_is_not_taken_for_one(said):
    """An address that DB-IP gives to ZZ stands in no country as far as it is concerned."""
    assert "ZZ" not in atlas(Config()).sheet(address_words(str(said["ZZ"]))).place.countries


@pytest.mark.parametrize(
    ("code", "remedy"), [("nl", "write NL"), ("UK", "write GB"), ("uk ", "write GB"), ("EL", "write GR"), ("EU", "two")]
)
def test_what_was_meant_is_said(code, remedy):
    """A slip of the pen gets the code it should have been; what cannot be guessed gets the form."""
    assert remedy in meant(code)
