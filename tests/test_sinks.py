"""The ways out: a file that is whole or not there, and a standard output that may close."""

from __future__ import annotations

import os
import stat
import subprocess
import threading

import pytest
from running import as_a_user, city_db, command, complaints, environment, spawn

from egress_watch import sinks
from egress_watch.errors import StoreError


@pytest.fixture
def target(tmp_path):
    """Return a file to write."""
    return tmp_path / "out.txt"


def test_a_file_is_written_with_line_breaks_for_its_owner_only(target):
    """Each line ends with a line break, in UTF-8, and nobody else may read it."""
    sinks.write(str(target), ["a", "✓"])
    assert target.read_bytes() == "a\n✓\n".encode()
    assert stat.S_IMODE(target.stat().st_mode) == 0o600


def test_an_old_file_is_replaced_whole(target):
    """What was there is gone, its wider permissions too, and no other file is left behind."""
    target.write_text("old and long")
    target.chmod(0o644)
    sinks.write(str(target), ["new"])
    assert target.read_text() == "new\n"
    assert stat.S_IMODE(target.stat().st_mode) == 0o600
    assert list(target.parent.iterdir()) == [target]


@pytest.mark.parametrize("error", [KeyboardInterrupt, StoreError("gone"), ValueError])
def test_a_writer_that_is_stopped_leaves_the_old_file(target, error):
    """Whatever stops the lines half-way, the old content stays and the half-written file goes."""
    target.write_text("old")

    def lines():
        yield "half"
        raise error

    with pytest.raises(BaseException):  # noqa: B017, PT011 - each of them
        sinks.write(str(target), lines())
    assert target.read_text() == "old"
    assert list(target.parent.iterdir()) == [target]


def test_two_writers_of_one_file_do_not_mix(target):
    """Of two that write the same file at once, one wins whole."""

    def inner():
        yield "inner"

    def outer():
        yield "outer 1"
        sinks.write(str(target), inner())
        yield "outer 2"

    sinks.write(str(target), outer())
    assert target.read_text() == "outer 1\nouter 2\n"
    assert list(target.parent.iterdir()) == [target]


def test_a_planted_link_is_not_followed_by_the_half_written_file(target, tmp_path):
    """A link under the name a half-written file might have is left alone."""
    victim = tmp_path / "victim"
    victim.write_text("precious")
    (tmp_path / "out.txt.part").symlink_to(victim)
    sinks.write(str(target), ["new"])
    assert victim.read_text() == "precious"


def test_a_link_stays_a_link(target, tmp_path):
    """A symbolic link is written through."""
    link = tmp_path / "link"
    link.symlink_to(target)
    sinks.write(str(link), ["new"])
    assert link.is_symlink()
    assert target.read_text() == "new\n"


def test_a_device_stays_a_device():
    """Writing to /dev/null does not make a file of it."""
    sinks.write(os.devnull, ["gone"])
    assert stat.S_ISCHR(os.stat(os.devnull).st_mode)  # noqa: PTH116 - by its very name


def test_a_fifo_is_written_to(tmp_path):
    """A FIFO gets the lines and stays one."""
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    got = []
    reader = threading.Thread(target=lambda: got.append(fifo.read_text()))
    reader.start()
    sinks.write(str(fifo), ["a", "b"])
    reader.join(10)
    assert got == ["a\nb\n"]
    assert fifo.is_fifo()


@pytest.mark.parametrize("name", ["missing/out.txt", ".", "x" * 300, "loop"])
def test_a_place_that_cannot_be_written_is_named(tmp_path, name):
    """The error says where, what and what to do."""
    (tmp_path / "loop").symlink_to("loop")
    with pytest.raises(StoreError) as caught:
        sinks.write(str(tmp_path / name), ["a"])
    assert caught.value.where == str(tmp_path / name)
    assert caught.value.what
    assert caught.value.remedy


def test_a_read_only_folder_is_named(tmp_path):
    """A folder without the right to write gives the reason, exit code 1 and no file."""
    db, shut = city_db(tmp_path), tmp_path / "shut"
    shut.mkdir(mode=0o500)
    done = spawn("flows", db, "-o", shut / "out.csv", limits=as_a_user)
    assert done.returncode == 1
    assert b"out.csv: Permission denied\n  try: " in done.stderr
    assert not list(shut.iterdir())


def test_a_full_standard_output_is_said_once(tmp_path):
    """No room behind standard output is exit code 1 and one message."""
    with open("/dev/full", "wb") as full:  # noqa: PTH123 - a device
        told = {"stdout": full, "stderr": subprocess.PIPE, "env": environment()}
        done = subprocess.run(command("flows", city_db(tmp_path)), check=False, **told)
    assert done.returncode == 1
    assert (
        done.stderr == b"egress-watch: standard output: No space left on device\n  try: make room, or write elsewhere\n"
    )


@pytest.mark.parametrize("arguments", [["flows"], ["alerts"], ["flows", "--format", "ndjson"]])
def test_a_reader_that_has_seen_enough_is_no_error(tmp_path, arguments):
    """A closed pipe ends the output in silence with exit code 0."""
    name, *rest = arguments
    read, write = os.pipe()
    os.close(read)
    told = {"stdout": write, "stderr": subprocess.PIPE, "env": environment()}
    done = subprocess.run(command(name, city_db(tmp_path), *rest), check=False, **told)
    os.close(write)
    assert (done.returncode, complaints(done)) == (0, [])


def test_a_closed_standard_output_is_said(tmp_path):
    """Without any standard output there is a message, not a traceback."""
    line = 'exec "$@" >&-'
    done = subprocess.run(
        ["sh", "-c", line, "sh", *command("flows", city_db(tmp_path))],
        stderr=subprocess.PIPE,
        env=environment(),
        check=False,
    )
    assert done.returncode == 1
    assert done.stderr.startswith(b"egress-watch: standard output: is closed\n  try: ")
