"""The file of lines: whole lines only, on the disk before they count, and another file in time."""

from __future__ import annotations

import os
import resource
import stat
import time

import pytest
from receiving import message

from egress_watch.config import SinkSettings
from egress_watch.sinks.kinds import opened
from egress_watch.sinks.sink import SinkDown


@pytest.fixture
def path(tmp_path):
    """Return a file to write."""
    return tmp_path / "alerts.json"


def log(path, **more):
    """Open the sink."""
    return opened(SinkSettings("log", f"file:{path}", **more))


def put(sink, *bodies):
    """Deliver some lines."""
    assert sink.deliver([message(number, body) for number, body in enumerate(bodies)]).done == len(bodies)


def lines(folder):
    """Return all lines of a file and of those before it, the oldest first."""
    files = sorted(folder.iterdir(), key=lambda file: int(file.suffix[1:]) if file.suffix[1:].isdigit() else 0)
    return [line for file in reversed(files) for line in file.read_bytes().splitlines()]


def test_it_is_for_its_owner_alone_and_grows(path):
    """A new file has mode 0600, an old one is written on, and each line ends."""
    for body in (b"a", b"b"):
        sink = log(path)
        put(sink, body)
        sink.close()
    assert path.read_bytes() == b"a\nb\n"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_half_a_line_of_a_killed_process_goes(path):
    """What was not whole was not counted, so it comes again whole; whole lines before it stay."""
    path.write_bytes(b"whole\n" + b"h" * 200_000)
    sink = log(path)
    put(sink, b"again")
    sink.close()
    assert path.read_bytes() == b"whole\nagain\n"


def test_a_full_disk_leaves_whole_lines_and_goes_on(path):
    """Nothing counts while there is no room, half a line is taken back, and with room the same sink goes on."""
    sink = log(path)
    put(sink, b"first")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, hard))
    try:
        with pytest.raises(SinkDown) as caught:
            sink.deliver([message(1, b"x" * 5000)])
        assert path.read_bytes() == b"first\n"
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert str(path) in caught.value.what
    assert caught.value.receipt.done == 0
    put(sink, b"second")
    sink.close()
    assert path.read_bytes() == b"first\nsecond\n"


def test_beyond_its_size_a_new_file_is_begun(path):
    """Files are renamed, never truncated; so many are kept, and within them no line is lost or out of order."""
    sink = log(path, rotate_bytes=50, keep=100)
    bodies = [b"%06d" % number for number in range(100)]
    for body in bodies:
        put(sink, body)
    sink.close()
    assert lines(path.parent) == bodies
    assert all(file.stat().st_size <= 50 for file in path.parent.iterdir())


@pytest.mark.parametrize("keep", [0, 1, 3])
def test_so_many_older_files_are_kept(path, keep):
    """The newest are, the others go."""
    sink = log(path, rotate_bytes=1, keep=keep)
    for number in range(6):
        put(sink, b"%d" % number)
    sink.close()
    assert lines(path.parent) == [b"%d" % number for number in range(6)][-keep - 1 :]


def test_after_its_time_a_new_file_is_begun(path):
    """What was written yesterday does not get today's lines."""
    sink = log(path)
    put(sink, b"yesterday")
    sink.close()
    day_ago = time.time() - 86_400
    os.utime(path, (day_ago, day_ago))
    sink = log(path)
    put(sink, b"today")
    sink.close()
    assert path.read_bytes() == b"today\n"
    assert path.with_name("alerts.json.1").read_bytes() == b"yesterday\n"


def test_a_clock_that_steps_back_begins_no_file(path):
    """A file of the future is written on."""
    path.write_bytes(b"tomorrow\n")
    day_ahead = time.time() + 86_400
    os.utime(path, (day_ahead, day_ahead))
    sink = log(path)
    put(sink, b"today")
    sink.close()
    assert path.read_bytes() == b"tomorrow\ntoday\n"


def test_a_file_that_is_moved_away_is_begun_anew(path):
    """Logrotate may rename or remove it at any time."""
    sink = log(path)
    put(sink, b"a")
    path.rename(path.with_name("moved"))
    put(sink, b"b")
    path.unlink()
    put(sink, b"c")
    sink.close()
    assert path.read_bytes() == b"c\n"
    assert path.with_name("moved").read_bytes() == b"a\n"


def test_two_do_not_write_one_file(path):
    """The second one is told, and writes when the first has gone."""
    one, other = log(path), log(path)
    put(one, b"a")
    with pytest.raises(SinkDown, match="another process writes to it"):
        other.deliver([message(1, b"b")])
    one.close()
    put(other, b"b")
    other.close()
    assert path.read_bytes() == b"a\nb\n"


def test_a_folder_that_is_not_there_is_down_until_it_is(tmp_path):
    """A disk may be mounted late."""
    path = tmp_path / "late" / "alerts.json"
    sink = log(path)
    with pytest.raises(SinkDown, match="No such file"):
        sink.deliver([message(1, b"a")])
    path.parent.mkdir()
    put(sink, b"a")
    sink.close()
    assert path.read_bytes() == b"a\n"
