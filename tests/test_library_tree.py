"""The search tree gives for whole columns what maxminddb gives for one address, and breaks only in words."""

from __future__ import annotations

import gc
import os
import shutil
from contextlib import suppress
from functools import cache
from ipaddress import ip_network
from pathlib import Path

import maxminddb
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from mmdb_writer import MMDBWriter, TreeWriter
from netaddr import IPSet

from egress_watch.errors import DataError
from egress_watch.library.files import kept_files
from egress_watch.library.mmdb import _SHAPES, MOST_OPEN, Database, Records, _reading, opened, records
from egress_watch.library.tree import Tree
from egress_watch.model import address_text, address_words
from egress_watch.places.knowledge import NOTHING

IPV4 = st.integers(0, 2**32 - 1).map(lambda low: (0, 0xFFFF << 32 | low))
ROUTED = st.builds(lambda high, low: (0x2000 << 48 | high, low), st.integers(0, 2**60), st.integers(0, 2**64 - 1))
ANY = st.tuples(st.integers(0, 2**64 - 1), st.integers(0, 2**64 - 1))
SMALL = st.integers(0, 2**32 - 1).map(lambda low: (0, low))
ADDRESSES = st.lists(st.one_of(IPV4, ROUTED, ANY, SMALL), max_size=40)
FILES = {file.name: file for file in kept_files()}
NETWORKS4 = ("1.0.0.0/8", "1.2.0.0/16", "1.2.3.0/24", "1.2.3.4/32", "96.0.0.0/3", "255.255.255.255/32")
NETWORKS6 = ("2001:db8::/32", "2001:db8:0:1::/64", "2001:db8::5/128", "2a00::/12", "::/96", "fe80::/10")


def asked(answers, addresses):
    """Return the answers of a file for a list of addresses, without their prefixes."""
    numbers = answers.numbers(np.array(addresses, np.uint64).reshape(-1, 2))
    return [answers.found[number] for number in numbers.tolist()]


def said(record):
    """Return what a record of a shipped file says, in the order country, AS, provider and region."""
    if not record:
        return ("", 0, "", "", "")
    return (
        record.get("country_code") or record.get("country", {}).get("iso_code", ""),
        record.get("autonomous_system_number", 0), record.get("autonomous_system_organization", ""),
        record.get("provider", ""), record.get("region", ""),
    )  # fmt: skip


def edges(reader, addresses):
    """Return the first and last address of the network that each address lies in, and the ones beyond."""
    for address in addresses:
        text = address_text(*address)
        network = ip_network(f"{text}/{reader.get_with_prefix_len(text)[1]}", strict=False)
        ends = int(network.network_address), int(network.broadcast_address)
        for number in (ends[0] - 1, *ends, ends[1] + 1):
            if 0 <= number < 1 << network.max_prefixlen:
                yield address_words(str(type(network.network_address)(number)))


@pytest.mark.parametrize("name", FILES)
@settings(deadline=None)
@given(addresses=ADDRESSES)
def test_whole_columns_say_what_single_look_ups_say(name, addresses):
    """For any addresses, and at the edges of their networks, the walk finds the record that maxminddb finds."""
    answers = records(FILES[name].path, FILES[name].kind, own=False)
    reader = opened(FILES[name].path).reader
    addresses = [*addresses, *edges(reader, addresses[:8])]
    assert [found[1:] for found in asked(answers, addresses)] == [
        said(reader.get(address_text(*address))) for address in addresses
    ]


def children(tree, bits):
    """Return pairs of numbers as the format lays them out in records of so many bits."""
    if bits != 28:
        return b"".join(number.to_bytes(bits // 8, "big") for pair in tree for number in pair)
    middle = [(left >> 24) << 4 | right >> 24 for left, right in tree]
    low = [(left & 0xFFFFFF, right & 0xFFFFFF) for left, right in tree]
    return b"".join(
        left.to_bytes(3, "big") + bytes([both]) + right.to_bytes(3, "big")
        for (left, right), both in zip(low, middle, strict=True)
    )


@st.composite
def trees(draw):
    """Return the bits of a record, and pairs of numbers that mostly lead on."""
    bits = draw(st.sampled_from((24, 28, 32)))
    nodes = draw(st.integers(0, 40))
    single_bit = st.integers(0, bits - 1).map(lambda bit: 1 << bit)
    number = st.one_of(st.integers(0, nodes), single_bit, single_bit.map(lambda number: 2**bits - 1 - number))
    return bits, draw(st.lists(st.tuples(number, number), min_size=nodes, max_size=nodes))


def walked(tree, address, *, narrow):
    """Walk down bit by bit, as the format tells it."""
    high, low = address
    ipv4 = high == 0 and low >> 32 == 0xFFFF
    if narrow and not ipv4:
        return 0
    path = f"{low & 0xFFFFFFFF:032b}" if ipv4 else f"{high:064b}{low:064b}"
    place = 0
    for bit in "0" * 96 * (ipv4 and not narrow) + path:
        if place >= len(tree):
            break
        place = tree[place][int(bit)]
    return place


@given(shape=trees(), addresses=ADDRESSES, narrow=st.booleans())
def test_any_tree_is_walked_as_the_format_tells(shape, addresses, narrow):
    """Whatever numbers a tree holds, loops included, each address ends where a walk bit by bit ends."""
    bits, pairs = shape
    content = children(pairs, bits) + bytes(16)
    tree = Tree(memoryview(content), len(pairs), bits, narrow=narrow)
    ends = tree.leaves(np.array(addresses, np.uint64).reshape(-1, 2)).tolist()
    assert ends == [walked(pairs, address, narrow=narrow) for address in addresses]


@pytest.mark.parametrize(("nodes", "bits"), [(3, 24), (-1, 24), (1, 20), (1, 0)])
def test_a_tree_that_cannot_be_is_refused(nodes, bits):
    """More nodes than the file holds, fewer than none, or records of another size end in an error when laid out."""
    with pytest.raises((ValueError, LookupError)):
        Tree(memoryview(bytes(2 * 6 + 16)), nodes, bits, narrow=False)


@cache
def written(folder, bits, version):
    """Write a tiny file with records of so many bits, and return its path."""
    path = folder / f"{bits}-{version}.mmdb"
    writer = MMDBWriter(version, "tiny", ipv4_compatible=version == 6)
    for row, network in enumerate((*NETWORKS4, *(NETWORKS6 if version == 6 else ()))):
        if network != "::/96":  # holds the IPv4 tree
            writer.insert_network(IPSet([network]), {"country_code": f"{row:02}"})
    sized(writer, bits).write(str(path))
    return path


def sized(writer, bits):
    """Return the writer's inner one, told to write records of so many bits however small the file is."""

    class Sized(TreeWriter):
        def _adjust_record_size(self):
            self.record_size = bits
            self.data_offset = bits // 4 * self._node_counter

    return Sized(writer.tree, writer._build_meta())


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Return a folder for the tiny files."""
    return tmp_path_factory.mktemp("tiny")


NEAR = st.sampled_from((*NETWORKS4, *NETWORKS6)).map(lambda prefix: address_words(prefix.partition("/")[0]))
CLOSE = st.builds(lambda near, by: (near[0], (near[1] + by) % 2**64), NEAR, st.integers(-300, 300))


@pytest.mark.parametrize("version", [4, 6])
@pytest.mark.parametrize("bits", [24, 28, 32])
@given(addresses=st.lists(st.one_of(CLOSE, IPV4, ANY), max_size=30))
def test_every_size_of_record_is_read(folder, bits, version, addresses):
    """Records of 24, 28 and 32 bits are read alike, in files of IPv4 alone and of both."""
    path = written(folder, bits, version)
    reader = opened(path).reader
    assert (reader.metadata().record_size, reader.metadata().ip_version) == (bits, version)
    answers = records(path, "country", own=False)
    for address, found in zip(addresses, asked(answers, addresses), strict=True):
        text = address_text(*address)
        outside = version == 4 and ":" in text
        assert found[1:] == said(None if outside else reader.get(text)), text


@pytest.mark.parametrize("version", [4, 6])
@pytest.mark.parametrize("bits", [24, 28, 32])
@settings(deadline=None)
@given(data=st.data())
def test_a_broken_file_is_named_or_answers(folder, bits, version, data):
    """A file that was cut or whose bytes were flipped gives answers or a DataError, nothing else."""
    content = bytearray(written(folder, bits, version).read_bytes())
    for place in data.draw(st.lists(st.integers(0, len(content) - 1), max_size=8)):
        content[place] ^= data.draw(st.integers(1, 255))
    path = folder / f"broken-{bits}-{version}.mmdb"
    path.write_bytes(content[: data.draw(st.one_of(st.just(len(content)), st.integers(0, len(content))))])
    addresses = [*(address_words(prefix.partition("/")[0]) for prefix in (*NETWORKS4, *NETWORKS6)), (2**64 - 1, 0)]
    with suppress(DataError):
        answers = Database(path)
        asked(records_of(answers), addresses)


def records_of(database):
    """Return the answers of an opened database."""
    return Records(database, _reading(database.reader, _SHAPES["country"]))


def test_a_tree_longer_than_its_file_is_refused(folder):
    """A file whose metadata promise more nodes than it holds is refused when it is opened."""
    content = written(folder, 24, 6).read_bytes()
    head, mark, metadata = content.rpartition(b"node_count")
    path = folder / "promises.mmdb"
    # a number of two bytes (type 6, format 2.0) or of one becomes 0xFFFF or 0xFF nodes
    size = metadata[0] & 0b11111
    path.write_bytes(head + mark + metadata[:1] + b"\xff" * size + metadata[1 + size :])
    with pytest.raises(DataError):
        Database(path)


def test_nothing_of_the_tree_is_kept_before_the_first_question(folder):
    """Opening a file makes no table; the first question makes the one it needs."""
    database = Database(written(folder, 24, 6))
    before = set(vars(database.tree))
    database.tree.leaves(np.array([address_words("1.2.3.4")], np.uint64))
    assert set(vars(database.tree)) - before == {"_ipv4_doors"}
    database.tree.leaves(np.array([address_words("2a00::1")], np.uint64))
    assert set(vars(database.tree)) - before == {"_ipv4_doors", "_ipv6_doors"}


def test_an_empty_column_is_no_trouble(folder):
    """No addresses have no answers."""
    answers = records(written(folder, 28, 6), "country", own=False)
    assert asked(answers, []) == []
    assert answers.found == [NOTHING]


def test_maxminddb_agrees_that_the_tiny_files_are_sound(folder):
    """The files of these tests hold what was put into them."""
    with maxminddb.open_database(str(written(folder, 32, 6))) as reader:
        assert reader.get("1.2.3.4") == {"country_code": "03"}
        assert reader.get("2001:db8::5") == {"country_code": "08"}


def test_a_file_that_was_replaced_is_opened_anew_and_the_one_before_is_let_go(tmp_path):
    """Whoever asks again gets what lies there now; a recorder that loads data every day keeps neither old file."""
    path = tmp_path / "own.mmdb"
    shutil.copy(FILES["server-country"].path, path)
    first = opened(path)
    assert opened(path) is first
    before = len(list(Path("/proc/self/fd").iterdir()))
    for turn in range(40):
        fresh = tmp_path / "fresh.mmdb"
        shutil.copy(FILES["server-country"].path, fresh)
        os.utime(fresh, ns=(turn, turn))
        fresh.replace(path)
        again = opened(path)
        assert again is not first
        first = again
    del again
    gc.collect()
    assert len(list(Path("/proc/self/fd").iterdir())) <= before + 3 * MOST_OPEN
