"""The capture files: one contract for every form they come in, and how inputs are found and told apart."""

from __future__ import annotations

import fcntl
import gzip
import io
import json
import lzma
import os
import signal
import sqlite3
import struct
import subprocess
import sys
import termios
import threading
import tracemalloc
from contextlib import closing, suppress
from pathlib import Path
from time import monotonic

import numpy as np
import pytest
import zstandard
from build_capture import KUZNETZOV, MICRO, NANO, Dribble, Frame, pcap, pcapng, some_frames
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from running import CITY, as_a_user, command, environment

from egress_watch.errors import CaptureError, UsageError
from egress_watch.model import PAD_BYTES
from egress_watch.sources import FORMATS, open_inputs, tap, window
from egress_watch.sources.packed import PACKINGS, Unpacked
from egress_watch.sources.tap import Sampler, file_fingerprint

pytestmark = pytest.mark.usefixtures("way")

FRAMES = some_frames()
PLAIN = pcap(FRAMES)
CORPUS = Path(__file__).parents[1].parent / "shared" / "corpus"
NOT_READ = {
    "pcapplusplus/ExamplesTest/pcap_examples/solaris.snoop": "snoop is another format, and the reason says so",
}


def rows(batches):
    """Return the frames of all batches as (time, wire, bytes), and hold each batch to the promises of `Frames`."""
    found = []
    for batch in batches:
        assert len(batch) <= window.BATCH_FRAMES
        ends = batch.start + batch.caught
        assert not len(batch) or int(ends.max()) + PAD_BYTES <= len(batch.data)
        assert not batch.data[-PAD_BYTES:].any()
        columns = (batch.time_ns, batch.wire, batch.start, ends)
        assert {column.dtype for column in columns} == {np.dtype(np.int64)}
        assert batch.link.dtype == batch.interface.dtype == np.int32
        spans = zip(*(column.tolist() for column in columns), strict=True)
        found += [(time_ns, wire, batch.data[start:end].tobytes()) for time_ns, wire, start, end in spans]
    return found


def wanted(frames):
    """Return what `rows` should give for these frames."""
    return [(frame.time_ns, frame.wire_bytes, frame.data) for frame in frames]


def write(folder, **files):
    """Write files by name and return their paths; a double underscore stands for the dot."""
    paths = [folder / name.replace("__", ".") for name in files]
    for path, data in zip(paths, files.values(), strict=True):
        path.write_bytes(data)
    return [str(path) for path in paths]


def pieces(folder):
    """Write the frames in three files whose names tell nothing of their order."""
    return write(folder, b=pcap(FRAMES[:3]), a=gzip.compress(pcapng(FRAMES[3:5])), c=pcap(FRAMES[5:], ">", NANO))


def through_pipe():
    """Return a pipe that holds a capture and is closed at the other end."""
    reading, writing = os.pipe()
    os.write(writing, PLAIN)
    os.close(writing)
    return os.fdopen(reading, "rb", buffering=0)


FORMS = {
    "pcap-us-le": lambda d: (write(d, x=PLAIN), None),
    "pcap-us-be": lambda d: (write(d, x=pcap(FRAMES, ">")), None),
    "pcap-ns-le": lambda d: (write(d, x=pcap(FRAMES, magic=NANO)), None),
    "pcap-ns-be": lambda d: (write(d, x=pcap(FRAMES, ">", NANO)), None),
    "pcap-kuznetzov": lambda d: (write(d, x=pcap(FRAMES, magic=KUZNETZOV)), None),
    "pcap-2.2": lambda d: (write(d, x=pcap(FRAMES, version=(2, 2))), None),
    "pcap-2.3": lambda d: (write(d, x=pcap(FRAMES, ">", version=(2, 3))), None),
    "pcapng-le": lambda d: (write(d, x=pcapng(FRAMES)), None),
    "pcapng-be": lambda d: (write(d, x=pcapng(FRAMES, ">")), None),
    "gzip": lambda d: (write(d, x__pcap=gzip.compress(PLAIN)), None),
    "gzip-members": lambda d: (write(d, x=gzip.compress(PLAIN[:99]) + gzip.compress(PLAIN[99:]) + bytes(64)), None),
    "xz": lambda d: (write(d, x__gz=lzma.compress(PLAIN)), None),
    "xz-streams": lambda d: (write(d, x=lzma.compress(PLAIN[:50]) + bytes(8) + lzma.compress(PLAIN[50:])), None),
    "zstd": lambda d: (write(d, x=zstandard.compress(pcapng(FRAMES))), None),
    "zstd-frames": lambda d: (
        write(d, x=b"\x51\x2a\x4d\x18\2\0\0\0ab" + zstandard.compress(PLAIN[:60]) + zstandard.compress(PLAIN[60:])),
        None,
    ),
    "folder": lambda d: (pieces(d) and [str(d)], None),
    "pieces": lambda d: (pieces(d), None),
    "stdin": lambda _: (["-"], io.BytesIO(PLAIN)),
    "stdin-packed": lambda _: (["-"], Dribble(lzma.compress(PLAIN), 7)),
    "stdin-dribble": lambda _: (["-"], Dribble(pcapng(FRAMES), 3)),
    "pipe": lambda _: (["-"], through_pipe()),
    "file-and-stdin": lambda d: (["-", *write(d, x=pcap(FRAMES[:4]))], io.BytesIO(pcap(FRAMES[4:]))),
}


@pytest.mark.parametrize("form", FORMS)
def test_the_same_frames_come_out_of_every_form(form, tmp_path):
    """One recording gives the same frames in every format, packing and cutting, with nothing damaged or failed."""
    paths, stdin = FORMS[form](tmp_path)
    inputs = open_inputs(paths, stdin)
    batches = list(inputs.frames())
    assert rows(batches) == wanted(FRAMES)
    assert [batch.damage for batch in batches if batch.damage] == []
    assert inputs.failed == inputs.passed_over == []
    assert {batch.origin for batch in batches} == set(inputs.files)
    seen = [batch.read_bytes for batch in batches]
    assert seen == sorted(seen)
    assert stdin or seen[-1] == inputs.total_bytes
    assert set(inputs.fingerprints()) == set(inputs.files)
    if form == "pipe":
        assert not stdin.closed, "whoever brought it closes it"
        stdin.close()


@pytest.mark.parametrize("form", ["pcap-us-le", "pcapng-be", "zstd", "folder", "stdin"])
def test_small_windows_give_the_same_frames(form, tmp_path, monkeypatch):
    """How many bytes are read at a time does not show."""
    monkeypatch.setattr(window, "FIRST_BYTES", 5)
    monkeypatch.setattr(window, "PIECE_BYTES", 11)
    monkeypatch.setattr(window, "BATCH_FRAMES", 2)
    paths, stdin = FORMS[form](tmp_path)
    assert rows(open_inputs(paths, stdin).frames()) == wanted(FRAMES)


def test_batches_stay_untouched_while_later_ones_are_read(tmp_path):
    """A consumer may hold every batch of a file of several pieces; none is overwritten."""
    many = [Frame(n * 1000, n.to_bytes(4, "big") * 20) for n in range(60_000)]
    batches = list(open_inputs(write(tmp_path, x=pcap(many))).frames())
    assert len(batches) > 2
    assert rows(batches) == wanted(many)


def test_a_fifo_is_read_as_it_fills(tmp_path):
    """A named FIFO works, comes last, and is not opened before its turn."""
    fifo = str(tmp_path / "fifo")
    os.mkfifo(fifo)
    inputs = open_inputs([fifo, *write(tmp_path, x=pcap(FRAMES[:2]))])
    assert inputs.files[-1] == fifo
    assert inputs.fingerprint(fifo) == ""
    writer = threading.Thread(target=lambda: Path(fifo).write_bytes(pcap(FRAMES[2:])))
    writer.start()
    found = rows(inputs.frames())
    writer.join()
    assert found == wanted(FRAMES)
    assert inputs.fingerprint(fifo)


def test_a_pipe_hands_over_what_it_has_while_the_writer_thinks():
    """Frames that are in the pipe come out although the pipe stays open."""
    reading, writing = os.pipe()
    with os.fdopen(reading, "rb", buffering=0) as stdin, os.fdopen(writing, "wb", buffering=0) as out:
        out.write(PLAIN)
        batches = open_inputs(["-"], stdin).frames()
        assert rows([next(batches)]) == wanted(FRAMES)


def test_standard_input_is_descriptor_0():
    """Without anything brought in its place, `-` reads what is piped into the program."""
    script = "from egress_watch.sources import open_inputs; print(sum(map(len, open_inputs(['-']).frames())))"
    ran = subprocess.run([sys.executable, "-c", script], input=PLAIN, capture_output=True, check=True)
    assert int(ran.stdout) == len(FRAMES)


def test_a_non_blocking_pipe_is_waited_for():
    """A pipe in non-blocking mode that is empty for a moment is not taken for its end."""
    reading, writing = os.pipe()
    os.set_blocking(reading, False)
    late = threading.Timer(0.05, lambda: (os.write(writing, PLAIN), os.close(writing)))
    with os.fdopen(reading, "rb", buffering=0) as stdin:
        late.start()
        assert rows(open_inputs(["-"], stdin).frames()) == wanted(FRAMES)
    late.join()


def test_link_type_is_the_low_half_of_the_network_field(tmp_path):
    """Bits that tell the length of the check sequence do not change the link type."""
    batch = next(open_inputs(write(tmp_path, x=pcap(FRAMES, network=0x5400_0071))).frames())
    assert set(batch.link.tolist()) == {113}
    assert set(batch.interface.tolist()) == {0}


def test_version_2_3_takes_the_smaller_length_as_captured(tmp_path):
    """Files of version 2.3 exist in both orders of the lengths; either is read."""
    body = pcap(FRAMES, version=(2, 3))[24:]
    straight = pcap([], version=(2, 3)) + pcap(FRAMES)[24:]
    assert body != straight[24:]
    assert rows(open_inputs(write(tmp_path, x=straight)).frames()) == wanted(FRAMES)


def test_a_frame_beyond_the_snaplen_is_read_as_it_is(tmp_path):
    """A record longer than the file's snaplen of 65,535 is kept whole."""
    frame = Frame(0, bytes(200_000))
    assert rows(open_inputs(write(tmp_path, x=pcap([frame]))).frames()) == wanted([frame])


def test_files_are_ordered_by_their_first_frame(tmp_path):
    """Files without frames come first, then by time; equals keep the order in which they were named."""
    paths = write(
        tmp_path, late=pcap(FRAMES[5:]), early=pcapng(FRAMES[:2]), none=pcap([]), same=pcapng(FRAMES[5:]), text=b"hello"
    )
    inputs = open_inputs(paths)
    assert [Path(path).name for path in inputs.files] == ["none", "text", "early", "late", "same"]
    assert inputs.total_bytes == sum(Path(path).stat().st_size for path in paths)


def test_each_file_is_heard_of(tmp_path):
    """Even a capture without frames yields one batch, so that nothing vanishes in silence."""
    paths = write(tmp_path, a=pcap([]), b=pcapng([]))
    inputs = open_inputs(paths)
    assert [batch.origin for batch in inputs.frames()] == paths
    assert inputs.failed == []


def test_a_folder_is_read_one_level_deep_and_says_what_it_passed_over(tmp_path):
    """What in a folder is no capture, or no file, or here twice, is listed with a reason and stops nothing."""
    write(tmp_path, ring0=PLAIN, notes__txt=b"about this ring", ring1__pcap=b"")
    (tmp_path / "below").mkdir()
    write(tmp_path / "below", x=PLAIN)
    os.mkfifo(tmp_path / "fifo")
    (tmp_path / "latest").symlink_to("ring0")
    (tmp_path / "nowhere").symlink_to("gone")
    inputs = open_inputs([str(tmp_path)])
    reasons = {Path(path).name: reason for path, reason in inputs.passed_over}
    assert reasons == {
        "below": "a folder",
        "fifo": "no regular file",
        "nowhere": "No such file or directory",
        "notes.txt": "no capture: a text file",
        "ring0": f"the same file as {tmp_path / 'latest'}",
        "ring1.pcap": "no capture: empty",
    }
    assert rows(inputs.frames()) == wanted(FRAMES)
    assert inputs.failed == []


def test_a_file_named_and_in_a_named_folder_is_read_once(tmp_path):
    """Naming a file and its folder reads it once, and the folder is not called barren for that."""
    inputs = open_inputs([*write(tmp_path, x=PLAIN), str(tmp_path)])
    assert rows(inputs.frames()) == wanted(FRAMES)


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "no capture: empty"),
        (b"Hello W\xc3\xb6rld\n" * 3, "no capture: a text file"),
        (b"PK\3\4" + bytes(40), "no capture: a zip archive, unpack it first"),
        (b"snoop\0\0\0\0\0\0\2", "no capture: a snoop capture, which is not read (editcap can convert it)"),
        (bytes(range(256)), "no capture: of no known format"),
        (gzip.compress(bytes(257) + b"ustar" + bytes(300)), "no capture: a tar archive, unpack it first, packed with"),
        (gzip.compress(lzma.compress(PLAIN)), "no capture: xz data, packed with gzip"),
        (gzip.compress(b""), "no capture: empty"),
        (gzip.compress(PLAIN)[:8], "the gzip data is cut off"),
        (b"\x1f\x8b\x08" + b"\xff" * 60, "broken gzip data"),
        (PLAIN[:20], "the file is cut off here"),
        (pcap(FRAMES, version=(1, 2)), "version 1.2 of the pcap format is not known"),
    ],
)
def test_a_named_file_that_gives_nothing_says_why_and_stops_nothing(tmp_path, data, words):
    """A file that is no capture is a failure with a reason, and the file beside it is read all the same."""
    bad, good = write(tmp_path, bad=data, good=PLAIN)
    inputs = open_inputs([bad, good])
    batches = list(inputs.frames())
    assert rows(batches) == wanted(FRAMES)
    assert [path for path, _ in inputs.failed] == [bad]
    assert inputs.failed[0][1].startswith(words)
    (damage,) = (damage for batch in batches for damage in batch.damage)
    assert (damage.origin, damage.offset) == (bad, 0)
    assert damage.reason == inputs.failed[0][1]
    assert damage.lost_bytes in {len(data), -1}


def test_a_file_that_cannot_be_opened_is_a_failure(tmp_path):
    """A link that points to itself can be named but never read."""
    (tmp_path / "loop").symlink_to("loop")
    loop = str(tmp_path / "loop")
    inputs = open_inputs([loop, *write(tmp_path, x=PLAIN)])
    assert rows(inputs.frames()) == wanted(FRAMES)
    assert inputs.failed == [(loop, "Too many levels of symbolic links")]
    assert loop not in inputs.fingerprints()
    with pytest.raises(CaptureError, match="cannot be read"):
        inputs.fingerprint(loop)


def test_a_file_without_permission_in_a_folder_is_a_failure(tmp_path):
    """Whether it is a capture cannot be told, so it is not passed over in silence, nor for root without rights."""
    first, _ = write(tmp_path, x=PLAIN, y=PLAIN)
    Path(first).chmod(0)
    script = "import sys; from egress_watch.sources import open_inputs; print(open_inputs(sys.argv[1:]).failed)"
    words = [sys.executable, "-c", script, str(tmp_path)]
    done = subprocess.run(words, capture_output=True, text=True, check=True, env=environment(), preexec_fn=as_a_user)
    assert done.stdout.strip() == str([(first, "Permission denied")])


def test_a_file_that_goes_away_is_a_failure(tmp_path):
    """A file deleted between the first look and the reading is reported, not raised."""
    gone, good = write(tmp_path, gone=pcap(FRAMES[:2]), good=PLAIN)
    inputs = open_inputs([gone, good])
    Path(gone).unlink()
    assert rows(inputs.frames()) == wanted(FRAMES)
    assert inputs.failed == [(gone, "No such file or directory")]


def test_what_is_not_there_is_a_usage_error(tmp_path):
    """A missing path, no path at all, and standard input named twice end with exit code 2."""
    for paths in ([str(tmp_path / "gone")], [], ["-", "-"], ["a\0b"]):
        with pytest.raises(UsageError) as caught:
            open_inputs(paths)
        assert caught.value.exit_code == 2


def test_a_folder_without_captures_is_an_error(tmp_path):
    """A folder named for nothing is told at once, even beside a good file."""
    (tmp_path / "folder").mkdir()
    write(tmp_path / "folder", readme=b"nothing here")
    with pytest.raises(CaptureError, match="no capture in this folder"):
        open_inputs([str(tmp_path / "folder"), *write(tmp_path, x=PLAIN)])


def test_standard_input_that_is_no_capture_fails_when_read():
    """It is not touched before, and has no fingerprint after."""
    inputs = open_inputs(["-"], io.BytesIO(b"just some words, nothing else"))
    assert inputs.failed == []
    assert rows(inputs.frames()) == []
    assert inputs.failed == [("-", "no capture: a text file")]
    assert inputs.fingerprints() == {}


@pytest.mark.parametrize("pack", [bytes, gzip.compress, zstandard.compress])
def test_a_pipe_has_the_fingerprint_of_its_file(tmp_path, pack):
    """`cat x | replay -` and `replay x` agree, however the bytes come in, and also behind damage."""
    noise = np.random.default_rng(1).bytes(1_500_000)
    data = pack(pcap([Frame(n, noise[n * 1000 : n * 1000 + 1000]) for n in range(1500)]) + b"\xff" * 700_000)
    path, short = write(tmp_path, x=data, short=data[:-1])
    piped = open_inputs(["-"], Dribble(data, 77_777))
    found = [damage.reason for batch in piped.frames() for damage in batch.damage]
    assert found == ["a record claims 4,294,967,295 bytes"]
    assert piped.fingerprints() == {"-": file_fingerprint(path)}
    assert open_inputs([path]).fingerprint(path) == file_fingerprint(path) != file_fingerprint(short)


def streamed(data, steps):
    """Return the fingerprint of bytes that come in pieces of these sizes, in turn."""
    sampler, at, turn = Sampler(), 0, 0
    while at < len(data):
        step = steps[turn % len(steps)]
        sampler.absorb(memoryview(data)[at : at + step])
        at, turn = at + step, turn + 1
    return sampler.fingerprint()


STEPS = st.lists(st.integers(1, 5000), min_size=1, max_size=5)


@given(st.data(), st.binary(min_size=1, max_size=3000), STEPS)
def test_any_byte_of_a_small_capture_shows_in_its_fingerprint(data, content, steps):
    """Captures of one size that differ in a single byte of the first 8 MiB are two."""
    at = data.draw(st.integers(0, len(content) - 1))
    other = bytearray(content)
    other[at] ^= data.draw(st.integers(1, 255))
    assert streamed(content, [1 << 20]) == streamed(content, steps) != streamed(other, steps)


@pytest.fixture
def small_samples(monkeypatch):
    """Let 4 KiB be hashed whole, and 64 bytes at every KiB behind them."""
    monkeypatch.setattr(tap, "WHOLE_BYTES", 4096)
    monkeypatch.setattr(tap, "STRIDE_BYTES", 1024)
    monkeypatch.setattr(tap, "SAMPLE_BYTES", 64)


AS_LONG_AS_THE_TEST = settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)


@pytest.mark.usefixtures("small_samples")
@AS_LONG_AS_THE_TEST
@given(st.data(), st.integers(1, 9000), STEPS)
def test_a_long_capture_is_hashed_whole_at_first_and_then_sampled(data, size_bytes, steps):
    """A byte shows within the first part and within a sample, and nowhere else, whatever pieces the bytes come in."""
    at = data.draw(st.integers(0, size_bytes - 1))
    first = streamed(bytes(size_bytes), steps)
    other = bytearray(size_bytes)
    other[at] = 1
    assert (streamed(other, [9000]) != first) == (at < 4096 or at % 1024 < 64)


@pytest.mark.usefixtures("small_samples")
@AS_LONG_AS_THE_TEST
@given(st.integers(0, 9000), st.integers(0, 255), STEPS)
def test_a_stream_has_the_fingerprint_of_the_file(tmp_path, size_bytes, salt, steps):
    """However a pipe dribbles, its fingerprint is that of the file with the same bytes."""
    path = tmp_path / "x"
    content = bytes((n * 7 + salt) % 251 for n in range(size_bytes))
    path.write_bytes(content)
    assert streamed(content, steps) == file_fingerprint(str(path))


class Hesitant(Dribble):
    """A stream that is silent before everything it gives."""

    silent = False

    def readinto(self, room):
        """Fill some of the room, every other time."""
        self.silent = not self.silent
        return None if self.silent else super().readinto(room)


@pytest.mark.parametrize("step", [1, 5, 11, 64, 4096])
@pytest.mark.parametrize(
    "pack",
    [
        bytes,
        gzip.compress,
        lzma.compress,
        zstandard.compress,
        lambda data: gzip.compress(data[:99]) + gzip.compress(data[99:]) + bytes(9),
    ],
)
def test_silence_anywhere_changes_nothing(pack, step):
    """A pipe that is silent before every byte gives an empty batch each time, and the same frames and fingerprint."""
    data = pack(pcapng(FRAMES))
    inputs = open_inputs(["-"], Hesitant(data, step))
    batches = list(inputs.frames())
    assert rows(batches) == wanted(FRAMES)
    assert not any(batch.damage for batch in batches)
    assert sum(not len(batch) for batch in batches) >= len(data) // step
    assert inputs.failed == []
    assert inputs.fingerprints() == {"-": streamed(data, [1 << 20])}


def test_silence_behind_damage_changes_nothing():
    """What is read on for the fingerprint only can be silent too."""
    data = PLAIN + b"\xff" * 100_000
    inputs = open_inputs(["-"], Hesitant(data, 4096))
    assert rows(inputs.frames()) == wanted(FRAMES)
    assert inputs.fingerprints() == {"-": streamed(data, [1 << 20])}


def test_a_fifo_that_nobody_writes_to_is_silent(tmp_path, monkeypatch):
    """Reading does not hang before the other end is opened, nor before the first bytes, nor behind the last."""
    monkeypatch.setattr(tap, "SILENCE_S", 0.001)
    fifo = str(tmp_path / "fifo")
    os.mkfifo(fifo)
    batches = open_inputs([fifo]).frames()
    assert len(next(batches)) == 0
    with Path(fifo).open("wb", buffering=0) as out:
        assert len(next(batches)) == 0
        out.write(PLAIN[:5])
        assert len(next(batches)) == 0
        out.write(PLAIN[5:])
        assert rows([next(batches)]) == wanted(FRAMES)
        assert len(next(batches)) == 0
    assert sum(map(len, batches)) == 0


def fed(process, fifo, data):
    """Write to a FIFO that a process reads, until it has taken all and sleeps again."""
    before, until = [], monotonic() + 60
    while process.poll() is None and monotonic() < until:
        with suppress(BlockingIOError):
            data = data[os.write(fifo, data) :] if data else data
        (left,) = struct.unpack("i", fcntl.ioctl(fifo, termios.FIONREAD, bytes(4)))
        idle = not data and not left
        state, *now = Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()
        if idle and state == "S" and now[10:12] == before:  # it sleeps and has spent no time since
            return
        before = now[10:12] if idle else []
        with suppress(subprocess.TimeoutExpired):
            process.wait(0.3 if idle else 0.005)
    pytest.fail("the process did not take what was written")


def test_ctrl_c_ends_the_reading_of_a_silent_pipe(tmp_path):
    """The first Ctrl-C is enough although nothing comes any more; all that came before is stored."""
    path, db = tmp_path / "fifo", tmp_path / "a.db"
    os.mkfifo(path)
    fifo = os.open(path, os.O_RDWR | os.O_NONBLOCK)
    words, pipe = command("replay", path, "--db", db), subprocess.PIPE
    with subprocess.Popen(words, stdout=pipe, stderr=pipe, env=environment()) as process:
        try:
            fed(process, fifo, CITY.read_bytes())
            process.send_signal(signal.SIGINT)
            _, err = process.communicate(timeout=3)
        finally:
            process.kill()
            os.close(fifo)
    assert b"Traceback" not in err
    assert process.returncode == 130, err
    with closing(sqlite3.connect(db)) as connection:
        assert connection.execute("SELECT count(*) FROM flow").fetchone() == (348,)
        assert connection.execute("SELECT state FROM recording").fetchall() == [("interrupted",)]


@pytest.mark.parametrize("name", ["gzip", "xz", "zstd"])
def test_a_bomb_is_only_a_long_stream(name):
    """Unpacking a file that unfolds to 100 MB keeps memory within 48 MiB."""
    pack = {"gzip": gzip.compress, "xz": lambda data: lzma.compress(data, preset=0), "zstd": zstandard.compress}[name]
    bomb = pack(bytes(100_000_000))
    packing = next(packing for packing in PACKINGS if packing.name == name)
    tracemalloc.start()
    stream, room, total = Unpacked(io.BytesIO(bomb), packing), memoryview(bytearray(1 << 20)), 0
    while count := stream.readinto(room):
        total += count
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert total == 100_000_000
    assert peak < 48 << 20


def test_no_two_formats_know_the_same_bytes():
    """Each format's first bytes are known to it alone, and neither knows nothing, text or a packed file."""
    for data in (pcap([], magic=MICRO), pcap([], ">", NANO), pcapng([]), pcapng([], ">")):
        assert sum(known.knows(data) for known in FORMATS) == 1
    for data in (b"", b"\n\r", b"\n\r\r\nabcdefgh", b"text", gzip.compress(PLAIN)):
        assert not any(known.knows(data) for known in FORMATS)


def test_the_corpus_opens_and_counts_as_an_independent_reader_counts():
    """Every real capture opens; whole ones give as many frames as tshark counts, cut ones at least as many."""
    if not CORPUS.is_dir() and os.environ.get("EGRESS_WATCH_STRICT") != "1":
        pytest.skip("the shared corpus is not here")
    with gzip.open(CORPUS / "truth" / "meta.ndjson.gz", "rt") as lines:
        truth = [json.loads(line) for line in lines]
    assert len(truth) > 2000
    different = {}
    for known in truth:
        batches = list(open_inputs([str(CORPUS / "pcaps" / known["file"])]).frames())
        count, damaged = sum(map(len, batches)), any(batch.damage for batch in batches)
        as_expected = count >= known["packets"] if known["rc"] else (count, damaged) == (known["packets"], False)
        if not as_expected:
            different[known["file"]] = (count, known["packets"])
    assert set(different) == set(NOT_READ)
