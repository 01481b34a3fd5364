from __future__ import annotations

from dataclasses import FrozenInstanceError
from ipaddress import IPv4Address, IPv6Address

import pytest
from build import frames, packets, udp
from hypothesis import given
from hypothesis import strategies as st

from egress_watch.flows import FlowTable
from egress_watch.model import (
    EMPTY,
    END_REASONS,
    GLYPHS,
    VERDICTS,
    Tally,
    address_text,
    address_words,
    mac_text,
)

MAPPED = 0xFFFF << 32


@given(st.integers(0, 2**32 - 1))
def test_an_ipv4_address_is_its_mapped_ipv6_address(number):
    """IPv4 lies at ::ffff:a.b.c.d (RFC 4291, section 2.5.5.2), and its text is the dotted one, both ways."""
    text = str(IPv4Address(number))
    assert address_words(text) == (0, MAPPED | number)
    assert address_text(0, MAPPED | number) == text


@given(st.integers(0, 2**128 - 1).filter(lambda number: number >> 32 != 0xFFFF))
def test_an_ipv6_address_is_its_two_halves(number):
    """The words are the upper and the lower 64 bits, and the text is the canonical one of RFC 5952."""
    words = number >> 64, number & (1 << 64) - 1
    assert address_text(*words) == str(IPv6Address(number))
    assert address_words(str(IPv6Address(number))) == words


@given(
    st.one_of(
        st.tuples(st.just(0), st.integers(MAPPED - 9, MAPPED + 2**32 + 9)), st.tuples(*[st.integers(0, 2**64 - 1)] * 2)
    )
)
def test_text_and_words_are_one_to_one(words):
    """Every pair of words has a text of its own, also at the edges of the mapped range."""
    assert address_words(address_text(*words)) == words


@pytest.mark.parametrize("text", ["", "1.2.3", "1.2.3.4/24", "::g", "01.2.3.4", "example.com", " 1.2.3.4"])
def test_what_is_no_address_is_refused(text):
    """A ValueError, never a guess."""
    with pytest.raises(ValueError, match="address"):
        address_words(text)


@pytest.mark.parametrize(
    ("mac", "text"),
    [(0, ""), (1, "00:00:00:00:00:01"), (0x4419B60B6E11, "44:19:b6:0b:6e:11"), (2**48 - 1, ":".join(["ff"] * 6))],
)
def test_a_mac_is_six_bytes_in_text(mac, text):
    """Lower case with colons; no MAC is no text."""
    assert mac_text(mac) == text


def test_every_verdict_has_a_glyph_of_its_own():
    """Word and glyph always go together, so no two verdicts may share one."""
    assert set(GLYPHS) == set(VERDICTS)
    assert len(set(GLYPHS.values())) == len(VERDICTS) == 4


def test_end_reasons_keep_their_numbers():
    """The position is the code in the database: reasons are added at the end and never moved."""
    assert END_REASONS[:6] == ("end", "fin", "rst", "idle", "active", "evicted")


def test_plural_types_know_their_length():
    """Frames, packets and flows count their rows."""
    wires = [udp("10.0.0.1:1", "1.2.3.4:5"), udp("10.0.0.1:2", "1.2.3.4:5")]
    table = FlowTable()
    table.update(packets(*wires))
    assert [len(frames(*wires)), len(packets(*wires)), len(table.flush())] == [2, 2, 2]


def test_a_tally_starts_at_nothing_and_shares_nothing():
    """Two tallies count apart."""
    one, other = Tally(), Tally()
    one.skipped["arp"] = 1
    one.damage.append(None)
    assert (other.skipped, other.damage, other.frames) == ({}, [], 0)


def test_a_snapshot_is_frozen_and_empty_is_a_value():
    """What a screen shows cannot change under it."""
    with pytest.raises(FrozenInstanceError):
        EMPTY.alerts = ()
    assert EMPTY.recordings == EMPTY.alerts == ()
