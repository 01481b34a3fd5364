"""Capture files that are cut, wrong or hostile, and what pcapng says beside its frames."""

from __future__ import annotations

import errno
import gzip
import io
import lzma
import struct

import numpy as np
import pytest
import zstandard
from build_capture import (
    KUZNETZOV,
    Dribble,
    Frame,
    block,
    dropped,
    enhanced,
    interface,
    offset_s,
    old_packet,
    option,
    pcap,
    pcap_head,
    pcap_record,
    pcapng,
    resolution,
    section,
    simple,
    some_frames,
    statistics,
)
from hypothesis import given, settings
from hypothesis import strategies as st

from egress_watch.model import Damage
from egress_watch.sources import open_inputs, window
from egress_watch.sources import pcapng as pcapng_format
from egress_watch.sources.interfaces import nanoseconds

pytestmark = pytest.mark.usefixtures("way")

FRAMES = some_frames(6)
WHOLE = {
    "pcap": pcap(FRAMES),
    "pcap-be": pcap(FRAMES, ">"),
    "kuznetzov": pcap(FRAMES, magic=KUZNETZOV),
    "pcapng": pcapng(FRAMES),
    "pcapng-two-sections": pcapng(FRAMES[:3], ">") + pcapng(FRAMES[3:]),
}
EVERYTHING = (
    section()
    + interface(1, 96, resolution(9) + offset_s(10))
    + interface(113, 0, resolution(0x80 | 20))
    + enhanced(b"first", 5, 0, 99, option(2, bytes(4)) + dropped(4, 3))
    + block(0xBAD, b"a custom block")
    + old_packet(b"second", 7, 1, 2)
    + simple(b"third", 300)
    + enhanced(b"stranger", 5, 9)
    + statistics(0, dropped(5, 8))
    + section(">")
    + interface(101, order=">")
    + enhanced(b"fourth", 1_000_000, order=">")
)


def read(data, step=1 << 20):
    """Return the rows, all damage and the lost frames of some bytes given as standard input."""
    batches = list(open_inputs(["-"], Dribble(data, step)).frames())
    found = [
        (int(time_ns), int(wire), int(link), int(iface), batch.data[start : start + caught].tobytes())
        for batch in batches
        for start, caught, wire, time_ns, link, iface in zip(
            batch.start, batch.caught, batch.wire, batch.time_ns, batch.link, batch.interface, strict=True
        )
    ]
    damage = [damage for batch in batches for damage in batch.damage]
    return found, damage, sum(batch.lost for batch in batches)


def texts(data):
    """Return the bytes of the frames only."""
    return [row[-1] for row in read(data)[0]]


@pytest.mark.parametrize("form", WHOLE)
def test_every_prefix_gives_a_prefix_and_accounts_for_the_rest(form):
    """Cut anywhere, a file gives the whole frames before the cut, and damage covers the bytes behind them."""
    data = WHOLE[form]
    whole, damage, _ = read(data)
    assert len(whole) == len(FRAMES)
    assert damage == []
    counts = []
    for cut in range(len(data)):
        found, damage, _ = read(data[:cut])
        assert found == whole[: len(found)]
        assert len(damage) <= 1
        for one in damage:
            assert one.offset + one.lost_bytes == cut or (one.offset, one.lost_bytes) == (0, -1)
        counts.append(len(found))
    assert counts == sorted(counts)
    assert counts[-1] == len(FRAMES) - 1


@pytest.mark.parametrize("form", ["pcap", "pcapng"])
def test_the_damage_of_every_cut_file_names_the_last_whole_record(tmp_path, form):
    """On disk the lost bytes are known even where reading stopped at once, and whole records leave none."""
    data, path = WHOLE[form], tmp_path / "cut"
    silent = 0
    for cut in range(len(data)):
        path.write_bytes(data[:cut])
        damage = [damage for batch in open_inputs([str(path)]).frames() for damage in batch.damage]
        assert all(one.offset + one.lost_bytes == cut for one in damage)
        silent += not damage
    blocks = {"pcap": len(FRAMES), "pcapng": len(FRAMES) + 1}[form]
    assert silent == blocks, "only cuts between records go without damage"


@pytest.mark.parametrize("pack", [gzip.compress, lzma.compress, zstandard.compress])
def test_every_prefix_of_a_packed_file_gives_a_prefix(pack):
    """A packed file cut anywhere never raises, keeps what was whole before, and says it is cut."""
    packed, whole = pack(WHOLE["pcap"]), read(WHOLE["pcap"])[0]
    for cut in range(len(packed)):
        found, damage, _ = read(packed[:cut])
        assert found == whole[: len(found)]
        assert damage
    assert read(packed)[:2] == (whole, [])


def test_a_gzip_with_a_wrong_checksum_keeps_what_came_before():
    """A long packed file that is broken at its very end gives nearly all of its frames, and the damage."""
    noise = np.random.default_rng(2).bytes(600_000)
    frames = [Frame(n * 1000, noise[n * 600 : n * 600 + 600]) for n in range(1000)]
    packed = bytearray(gzip.compress(pcap(frames)))
    packed[-5] ^= 1
    found, damage, _ = read(bytes(packed))
    assert len(found) >= 999
    assert [row[-1] for row in found] == [frame.data for frame in frames[: len(found)]]
    assert [one.reason for one in damage if one.reason.startswith("broken gzip data")]


def test_garbage_behind_a_gzip_member_is_told():
    """Whatever follows the packed data is not silently ignored."""
    found, damage, _ = read(gzip.compress(WHOLE["pcap"]) + b"garbage, for sure")
    assert len(found) == len(FRAMES)
    assert [one.reason[:16] for one in damage] == ["broken gzip data"]


def test_a_read_error_ends_the_file_with_damage():
    """An EIO in the middle keeps the frames before it; what is lost is not known."""
    data = WHOLE["pcap"][:-1]
    batches = list(open_inputs(["-"], Dribble(data, 40, OSError(errno.EIO, "Input/output error"))).frames())
    assert sum(map(len, batches)) == len(FRAMES) - 1
    last = len(pcap(FRAMES[:-1]))
    assert batches[-1].damage == (Damage("-", last, "Input/output error", -1),)


@pytest.mark.parametrize("claim", [4 * 262_144 + 1, 2**32 - 1])
def test_a_record_that_claims_too_much_ends_a_pcap(tmp_path, claim):
    """Even where that many bytes follow, the length is not believed; the rest of the file is counted as lost."""
    good = pcap(FRAMES)
    data = good + struct.pack("<IIII", 1, 2, claim, claim) + bytes(min(claim, 2_000_000)) + pcap_record(FRAMES[1])
    path = tmp_path / "x"
    path.write_bytes(data)
    batches = list(open_inputs([str(path)]).frames())
    assert sum(map(len, batches)) == len(FRAMES)
    (damage,) = (damage for batch in batches for damage in batch.damage)
    assert damage == Damage(str(path), len(good), f"a record claims {claim:,} bytes", len(data) - len(good))


HEAD = section() + interface() + enhanced(b"kept")
LIES = {
    "shorter than a block": (struct.pack("<II", 6, 8), "claims a length of 8 bytes"),
    "nothing": (struct.pack("<II", 6, 0), "claims a length of 0 bytes"),
    "no multiple of four": (struct.pack("<II", 6, 33) + bytes(25), "multiple of four"),
    "far more than 16 MiB": (struct.pack("<II", 6, 0x7FFFFFF0), "claims a length of 2,147,483,632 bytes"),
    "another at the end": (enhanced(b"abcd")[:-4] + bytes(4), "two different lengths"),
    "a frame longer than its block": (
        block(6, struct.pack("<IIIII", 0, 0, 0, 5, 5) + b"abcd"),
        "a frame claims to be longer than its block",
    ),
    "a frame of 4 GiB": (block(6, struct.pack("<IIIII", 0, 0, 0, 2**32 - 1, 5)), "a frame claims to be longer"),
    "no room for its fields": (block(6, bytes(8)), "too short for its kind"),
    "an interface without a link": (block(1, b""), "too short for its kind"),
    "a section without magic": (block(0x0A0D0D0A, bytes(16)), "no byte-order magic"),
    "a section of another version": (section(version=(1, 1)), "version 1.1 of the pcapng format is not known"),
    "a section with another end": (section()[:-4] + bytes(4), "two different lengths"),
}


@pytest.mark.parametrize("lie", LIES)
def test_a_block_that_lies_ends_a_pcapng_and_all_before_it_is_kept(lie):
    """The damage stands at the start of the block that lies; nothing behind it is guessed at."""
    wrong, words = LIES[lie]
    found, damage, _ = read(HEAD + wrong + enhanced(b"never read") + bytes(64))
    assert [row[-1] for row in found] == [b"kept"]
    (one,) = damage
    assert one.offset == len(HEAD)
    assert words in one.reason


def test_a_length_never_makes_a_buffer(tmp_path, monkeypatch):
    """A block that claims 16 MiB in a file of 100 bytes makes no buffer larger than a piece."""
    made = []
    real = window.Window._grown
    monkeypatch.setattr(window.Window, "_grown", lambda self, kept, more: made.append(more) or real(self, kept, more))
    path = tmp_path / "x"
    path.write_bytes(HEAD + struct.pack("<II", 6, 1 << 24))
    list(open_inputs([str(path)]).frames())
    assert max(made) <= window.PIECE_BYTES


def test_a_block_larger_than_a_piece_is_read_whole():
    """A frame of 5 MiB in a pcapng spans several pieces and comes out as it was."""
    data = np.random.default_rng(3).bytes(5 << 20)
    assert texts(section() + interface() + enhanced(data) + enhanced(b"next")) == [data, b"next"]


def test_everything_a_pcapng_can_hold_comes_out():
    """Several sections, byte orders, interfaces, clocks and kinds of block give their frames in order."""
    found, damage, lost = read(EVERYTHING)
    second_ns = 7 * 10**9 >> 20
    assert found == [
        (10_000_000_005, 99, 1, 0, b"first"),
        (second_ns, 6, 113, 1, b"second"),
        (second_ns, 300, 1, 0, b"third\0\0\0"),
        (1_000_000_000, 6, 101, 2, b"fourth"),
    ]
    stranger = EVERYTHING.index(b"stranger") - 28
    assert damage == [Damage("-", stranger, "1 frames name an interface that was never described", 8)]
    assert lost == 8 + 2


@settings(deadline=None, max_examples=60)
@given(step=st.integers(1, 200), first=st.integers(1, 200), piece=st.integers(1, 200))
def test_no_cutting_shows_in_what_a_pcapng_gives(step, first, piece):
    """However the bytes arrive and are buffered, frames, damage and drops are the same."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(window, "FIRST_BYTES", first)
        patch.setattr(window, "PIECE_BYTES", piece)
        small = read(EVERYTHING, step)
    assert small == read(EVERYTHING)


def test_a_simple_packet_is_cut_by_the_snaplen_of_the_first_interface():
    """Its captured length is the smaller of the snaplen and its own; its time is that of the frame before."""
    start = section() + interface(1, 4)
    assert texts(start + simple(b"abcdefgh")) == [b"abcd"]
    assert texts(start + simple(b"ab")) == [b"ab"]
    times = [row[0] for row in read(start + simple(b"a") + enhanced(b"b", 5) + simple(b"c"))[0]]
    assert times == [0, 5000, 5000]


def test_frames_before_their_interface_are_strangers_however_late_it_comes():
    """An interface described behind a frame does not serve that frame."""
    data = section() + enhanced(b"too early") + interface() + enhanced(b"fine") + simple(b"also fine")
    found, damage, _ = read(data)
    assert [row[-1][:4] for row in found] == [b"fine", b"also"]
    assert [(one.offset, one.lost_bytes) for one in damage] == [(28, 9)]


def test_a_section_forgets_the_interfaces_of_the_one_before():
    """A section without interfaces has none, and numbers go on where they were."""
    lonely = section() + enhanced(b"lonely")
    found, damage, _ = read(HEAD + lonely + HEAD)
    assert [(row[3], row[-1]) for row in found] == [(0, b"kept"), (1, b"kept")]
    assert len(damage) == 1


def test_more_interfaces_than_can_be_kept_end_the_file():
    """A section that describes interfaces without end meets a bound of 65,536."""
    found, damage, _ = read(HEAD + interface() * 65_536 + enhanced(b"never read"))
    assert [row[-1] for row in found] == [b"kept"]
    assert [one.reason for one in damage] == ["a section has more than 65,536 interfaces"]


@pytest.mark.parametrize(
    ("told", "lost"),
    [
        (statistics(0, dropped(5, 8)) * 2, 8),
        (statistics(0, dropped(5, 8)) + statistics(0, dropped(5, 11)), 11),
        (statistics(0, dropped(5, 8) + dropped(7, 5)), 13),
        (statistics(0, dropped(5, 8)) + statistics(0, dropped(5, 3)), 8),
        (statistics(0, dropped(5, 2**64 - 1)), 0),
        (statistics(0, b"\5\0\xff\xff"), 0),
        (block(5, b""), 0),
        (enhanced(b"x", options=dropped(4, 2)) + enhanced(b"y", options=dropped(4, 3)), 5),
        (enhanced(b"x", options=dropped(4, 2)) + statistics(0, dropped(5, 6)), 6),
        (enhanced(b"x", options=option(1, b"a comment") + option(4, bytes(4)) + dropped(4, 2)), 2),
        (enhanced(b"x", options=option(0, b"") + dropped(4, 2)), 0),
        (enhanced(b"x", options=dropped(4, 2)[:8]), 0),
        (old_packet(b"x", drops=0xFFFF) + old_packet(b"y", drops=4), 4),
    ],
)
def test_drops_are_told_once(told, lost):
    """Running totals count by their growth, and never twice beside the drops told with the frames."""
    assert read(section() + interface() + told)[1:] == ([], lost)


def test_an_old_packet_is_read_in_either_byte_order():
    """The 16-bit interface and drop count of a Packet Block stand in the order of their section."""
    data = section(">") + interface(order=">") * 2 + old_packet(b"abc", 9, 1, 3, ">")
    assert read(data) == ([(9000, 3, 1, 1, b"abc")], [], 3)


@given(ticks=st.integers(0, 2**64 - 1), code=st.integers(0, 255))
def test_every_clock_is_exact_and_never_wraps(ticks, code):
    """Any resolution gives the exact time in whole nanoseconds, clamped; only beyond 2**-34 s may 1 ns be lost."""
    power = code & 0x7F
    exact = ticks * 10**9 // (2**power if code & 0x80 else 10**power)
    found = int(nanoseconds(np.array([ticks], np.uint64), code)[0])
    assert 0 <= min(exact, 2**63 - 1) - found <= (code & 0x80 != 0 and power > 34)


@pytest.mark.parametrize(
    ("seconds", "time_ns"),
    [(0, 5_000), (-1, 5_000 - 10**9), (2**62, 2**63 - 1), (-(2**62), 5_000 - (2**63 - 1))],
)
def test_an_offset_of_the_clock_is_added_and_clamped(seconds, time_ns):
    """if_tsoffset counts in seconds; nothing overflows."""
    found = read(section() + interface(options=offset_s(seconds)) + enhanced(b"x", 5))[0]
    assert [row[0] for row in found] == [time_ns]


BLOCKS = st.one_of(
    st.builds(interface, st.integers(0, 65535), st.integers(0, 40), st.just(b"") | st.builds(resolution, st.just(9))),
    st.builds(enhanced, st.binary(max_size=40), st.integers(0, 2**64 - 1), st.integers(0, 3)),
    st.builds(old_packet, st.binary(max_size=40), st.integers(0, 2**64 - 1), st.integers(0, 3), st.integers(0, 65535)),
    st.builds(simple, st.binary(max_size=40)),
    st.builds(statistics, st.integers(0, 3), st.builds(dropped, st.sampled_from([5, 7]), st.integers(0, 2**64 - 1))),
    st.builds(block, st.integers(7, 2**32 - 1).filter(lambda kind: kind != 0x0A0D0D0A), st.binary(max_size=40)),
    st.just(section()),
)


def slowly(data):
    """Read the bytes of the frames of a sound little-endian pcapng the obvious way, one block after the other."""
    at, found, snaplens = 0, [], []
    while at < len(data):
        kind, length = struct.unpack_from("<II", data, at)
        body = data[at + 8 : at + length - 4]
        if kind == 0x0A0D0D0A:
            snaplens = []
        elif kind == 1:
            snaplens.append(struct.unpack_from("<HHI", body)[2])
        elif kind in {2, 6} and struct.unpack_from("<H" if kind == 2 else "<I", body)[0] < len(snaplens):
            found.append(body[20 : 20 + struct.unpack_from("<I", body, 12)[0]])
        elif kind == 3 and snaplens:
            limits = (struct.unpack_from("<I", body)[0], snaplens[0] or 2**32, length - 16)
            found.append(body[4 : 4 + min(limits)])
        at += length
    return found


@settings(deadline=None)
@given(blocks=st.lists(BLOCKS, max_size=30), step=st.integers(1, 300))
def test_any_sound_pcapng_gives_what_the_obvious_reader_gives(blocks, step):
    """Columns and a plain loop agree on every sequence of sound blocks."""
    data = section() + b"".join(blocks)
    found, damage, lost = read(data, step)
    assert [row[-1] for row in found] == slowly(data)
    assert all("never described" in one.reason for one in damage)
    assert lost >= 0


SEEDS = [*WHOLE.values(), EVERYTHING, pcap(FRAMES, version=(2, 3)), gzip.compress(WHOLE["pcapng"])]
SEEDS += [lzma.compress(WHOLE["pcap"]), zstandard.compress(EVERYTHING)]


@settings(deadline=None, max_examples=400)
@given(
    seed=st.sampled_from(SEEDS),
    changes=st.lists(st.tuples(st.integers(0, 4000), st.binary(min_size=1, max_size=8)), max_size=6),
    cut=st.integers(0, 4000),
    step=st.sampled_from([1, 13, 1 << 20]),
)
def test_changed_bytes_never_raise_and_every_frame_lies_in_its_buffer(seed, changes, cut, step):
    """Whatever is changed in a file, reading ends, and what comes out points into the bytes that were read."""
    data = bytearray(seed)
    for at, new in changes:
        data[at % len(data) : at % len(data) + len(new)] = new
    data = data[: len(data) - cut % len(data) if cut % 3 == 0 else len(data)]
    found, damage, lost = read(bytes(data), step)
    assert sum(len(row[-1]) for row in found) <= max(len(data), len(EVERYTHING)) * 1100
    assert len(damage) <= 2
    assert lost >= 0


@settings(deadline=None, max_examples=200)
@given(head=st.sampled_from([b"", pcap_head(), pcap_head(">", version=(2, 3)), section(), HEAD]), tail=st.binary())
def test_random_bytes_behind_any_header_never_raise(head, tail):
    """Noise is damage, or frames by chance, and nothing else."""
    _, damage, lost = read(head + tail)
    assert len(damage) <= 2
    assert lost >= 0


def test_many_tiny_sections_in_one_piece_are_all_read():
    """Two thousand sections of one frame each, as concatenated files give, come out as two thousand frames."""
    assert texts(HEAD * 2_000) == [b"kept"] * 2_000


def test_the_format_reads_any_stream():
    """A format needs nothing of a stream but `readinto`; a file in memory will do."""
    batches = list(pcapng_format.frames(io.BytesIO(WHOLE["pcapng"]), "memory"))
    assert sum(map(len, batches)) == len(FRAMES)
    assert batches[0].origin == "memory"
