"""Updates: whatever a publisher, a mirror or a stick serves, the data in use is whole, and what failed is said."""

from __future__ import annotations

import fcntl
import gzip
import hashlib
import io
import json
import lzma
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from datetime import UTC, datetime
from pathlib import Path
from urllib.request import Request

import pytest
from mmdb_writer import MMDBWriter
from netaddr import IPSet
from running import CITY, as_a_user, command, environment, on_a_full_disk, run, spawn
from serving import (
    DAY_S,
    at,
    bomb,
    cut,
    database,
    dated,
    dripping,
    dripping_headers,
    endless,
    moved,
    send,
    serving,
    shipped,
    silent,
    status,
    table_of,
)

from egress_watch.config import Config
from egress_watch.errors import UpdateError
from egress_watch.library import data_files
from egress_watch.library.checks import checked
from egress_watch.library.fetch import _Redirects, fetch
from egress_watch.library.files import kept_files, notices
from egress_watch.library.publishers import publishers
from egress_watch.library.sets import entries, home, in_use, read_pointer

NAMES = ("dbip-country-lite", "server-country", "origin-asn", "cloud")


@pytest.fixture
def place(tmp_path, monkeypatch):
    """Return where updated data lies, in a home of the test's own."""
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "home"))
    return tmp_path / "home" / "egress-watch"


@pytest.fixture
def stick(tmp_path):
    """Return a folder with a newer cloud table, as on a memory stick."""
    return folder_of(tmp_path / "stick", cloud=dated("cloud", 1))


def folder_of(folder, **files):
    """Write databases into a folder."""
    folder.mkdir(exist_ok=True)
    for name, content in files.items():
        (folder / f"{name.replace('_', '-')}.mmdb").write_bytes(content)
    return folder


def built(name="cloud"):
    """Return the date of a database in use."""
    return {file.name: file.built for file in data_files(Config())}[name]


def everything(place):
    """Return all that lies in the place of updated data, byte for byte; the empty lock file aside."""
    return {path.relative_to(place): path.read_bytes() for path in place.rglob("*") if path.is_file()}


def refused(capsys, place, *arguments):
    """Run an update that must fail, hold the data in use to what it was, and return what was said."""
    before = (everything(place), [file.sha256 for file in data_files(Config())])
    code, out, err = run(capsys, "data", "update", *arguments)
    assert code == 1, out + err
    assert (everything(place), [file.sha256 for file in data_files(Config())]) == before
    assert "\n  try: " in err
    assert [path for path in (place / "sets").iterdir() if path.name.startswith(".")] == []
    return err


def cloud_table(tmp_path, url, **limits):
    """Return a table of publishers in which the cloud table is one file."""
    return table_of(tmp_path, [database("cloud", "cloud", "egress-watch-cloud", url)], **limits)


# From a folder, a file and a mirror.


@pytest.mark.usefixtures("place")
def test_a_folder_brings_all_its_files_into_use(capsys, tmp_path):
    """Files are taken by their names, plain or packed; the rest stays as it was."""
    folder = folder_of(tmp_path / "stick", dbip_country_lite=dated("dbip-country-lite", 1))
    (folder / "cloud.mmdb.xz").write_bytes(lzma.compress(dated("cloud", 1), preset=0))
    (folder / "origin-asn.mmdb.gz").write_bytes(gzip.compress(dated("origin-asn", 1), 1))
    code, out, _ = run(capsys, "data", "update", "--from", folder)
    assert code == 0
    assert re.search(r"cloud +2026-10-26 +2026-10-27 +385424 +new: 63,228 nodes", out)
    assert re.search(r"server-country .* kept: not there", out)
    assert "egress-watch rejudge DB" in out
    origins = {file.name: file.origin for file in kept_files()}
    assert origins == dict.fromkeys(NAMES, "updated") | {"server-country": "shipped"}
    assert built("dbip-country-lite") == "2026-09-02"


def test_a_set_tells_where_its_files_come_from(capsys, place, stick):
    """Its manifest has what the shipped one has, and from where and when each file was fetched."""
    assert run(capsys, "data", "update", "--from", stick)[0] == 0
    (row,) = entries(place / "sets" / read_pointer(place).current)
    content = dated("cloud", 1)
    assert (row["sha256"], row["bytes"]) == (hashlib.sha256(content).hexdigest(), len(content))
    assert row["fetched"]["from"] == str(stick / "cloud.mmdb")
    assert datetime.fromisoformat(row["fetched"]["at"]) <= datetime.now(UTC)
    assert row["source"]["url"].startswith("https://")
    assert Path(row["path"]).read_bytes() == content


def test_the_list_says_which_set_is_in_use(capsys, place, stick, tmp_path):
    """The user's own file, the updated ones and the shipped ones are told apart, each with its digest."""
    assert run(capsys, "data", "update", "--from", stick)[0] == 0
    settings = tmp_path / "own.toml"
    own = shutil.copy(folder_of(tmp_path / "own", own=shipped("dbip-country-lite")) / "own.mmdb", tmp_path)
    settings.write_text(f'[data]\ncountry_db = "{own}"\n')
    code, out, _ = run(capsys, "data", "--config", settings, "--json")
    assert code == 0
    rows = {row["name"]: row for row in map(json.loads, out.splitlines())}
    assert rows["DBIP-Country-Lite"]["in_use"] == "your own file"
    assert rows["DBIP-Country-Lite"]["sha256"] == hashlib.sha256(shipped("dbip-country-lite")).hexdigest()
    assert (rows["cloud"]["in_use"], rows["origin-asn"]["in_use"]) == ("updated", "shipped")
    assert rows["cloud"]["path"].startswith(str(place))


@pytest.mark.usefixtures("place")
def test_one_file_is_known_by_its_metadata(capsys, tmp_path):
    """Whatever it is called, its type says which database it is."""
    path = folder_of(tmp_path / "x", anything=dated("cloud", 2)) / "anything.mmdb"
    assert run(capsys, "data", "update", "--from", path)[0] == 0
    assert built() == "2026-10-28"


@pytest.mark.usefixtures("place")
def test_only_what_is_named_is_taken(capsys, tmp_path):
    """--only leaves the other files of a folder alone; a name that is none is a mistake."""
    folder = folder_of(tmp_path / "x", cloud=dated("cloud", 1), origin_asn=dated("origin-asn", 1))
    assert run(capsys, "data", "update", "--from", folder, "--only", "cloud")[0] == 0
    assert (built("cloud"), built("origin-asn")) == ("2026-10-27", "2026-09-16")
    code, _, err = run(capsys, "data", "update", "--from", folder, "--only", "clouds")
    assert code == 2
    assert "one of: dbip-country-lite, server-country, origin-asn, cloud" in err


@pytest.mark.usefixtures("place")
def test_a_file_from_another_set_stays_with_the_next_one(capsys, stick, tmp_path):
    """An update of one database keeps what an earlier one brought of another."""
    assert run(capsys, "data", "update", "--from", stick)[0] == 0
    assert run(capsys, "data", "update", "--from", folder_of(tmp_path / "x", origin_asn=dated("origin-asn", 1)))[0] == 0
    assert (built("cloud"), built("origin-asn")) == ("2026-10-27", "2026-09-17")


def test_a_mirror_is_a_set_that_is_served(capsys, place, stick, tmp_path, monkeypatch):
    """A set of one installation, served as it is, updates another one, manifest and all."""
    assert run(capsys, "data", "update", "--from", stick)[0] == 0
    served = place / "sets" / read_pointer(place).current
    pages = {f"/data/{path.name}": path.read_bytes() for path in served.iterdir()}
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "other"))
    with serving(pages) as url:
        code, _, err = run(capsys, "data", "update", "--from", f"{url}/data/")
    assert code == 0, err
    assert f"fetching cloud: {url}/data/cloud.mmdb" in err
    assert built() == "2026-10-27"


@pytest.mark.parametrize(
    "rows",
    ["7", "[{}]", '[{"name": 1}]', "[", "[" * 100_000, '[{"name": "cloud", "sha256": "00"}]',
     '[{"name": "cloud", "sha256": "00", "providers": {"aws": 7}}]'],
)  # fmt: skip
def test_a_manifest_that_does_not_fit_stops_the_update(capsys, place, stick, rows):
    """A manifest of another make, or one that names another file, is never passed over."""
    run(capsys, "data", "update", "--from", stick)
    pages = {"/cloud.mmdb": dated("cloud", 2), "/manifest.json": rows.encode()}
    with serving(pages) as url:
        err = refused(capsys, place, "--from", url)
    assert "manifest" in err


@pytest.mark.usefixtures("place")
@pytest.mark.parametrize(
    "given", ["no-such-folder", "x" * 5000, "ftp://example.org/x", "file:///etc", "http://", "http:///x"]
)
def test_a_place_that_is_none_is_a_mistake(capsys, given):
    """Only files, folders, and addresses over http or https are places."""
    code, _, err = run(capsys, "data", "update", "--from", given)
    assert code in {1, 2}
    assert "\n  try: " in err


@pytest.mark.usefixtures("place")
def test_a_password_in_an_address_is_refused_and_not_repeated(capsys):
    """It would stand in the manifest for ever."""
    code, _, err = run(capsys, "data", "update", "--from", "https://me:secret@mirror.example/x")
    assert code == 1
    assert "secret" not in err


@pytest.mark.usefixtures("place")
def test_an_empty_folder_says_which_names_it_should_hold(capsys, tmp_path):
    """Nothing found is a failure, with the names that were looked for."""
    (tmp_path / "x").mkdir()
    (tmp_path / "x" / "GeoLite2-Country.mmdb").write_bytes(shipped("dbip-country-lite"))
    code, _, err = run(capsys, "data", "update", "--from", tmp_path / "x")
    assert code == 1
    assert "origin-asn.mmdb" in err


# What publishers, mirrors and sticks must not get past.

CLOUD = "/cloud.mmdb"
BAD = {
    "cut": (lambda: cut(dated("cloud", 2)), "cut short"),
    "half a file": (lambda: dated("cloud", 2)[:200_000], "cut short"),
    "half a packed file": (lambda: gzip.compress(dated("cloud", 2))[:50_000], "damaged or cut short"),
    "half an xz file": (lambda: lzma.compress(dated("cloud", 2), preset=0)[:50_000], "damaged or cut short"),
    "endless": (lambda: endless, "holds more than 2,000,000 bytes"),
    "announced too large": (
        lambda: lambda page: send(page, b"", Content_Length="3000000"),
        "holds more than 2,000,000 bytes",
    ),
    "gzip bomb": (lambda: bomb(300_000_000), "when unpacked"),
    "stale": (lambda: dated("cloud", -40), "older than the one in use of 2026-10-27"),
    "of the future": (lambda: at("cloud", int(time.time()) + 3 * DAY_S), "yet to come"),
    "a web page": (lambda: b"<!doctype html><title>Sign in</title>", "is a web page"),
    "passwords": (lambda: b"root:x:0:0:root:/root:/bin/bash\n" * 30, "is a text"),
    "noise": (lambda: hashlib.shake_256(b"x").digest(60_000), "no MaxMind database"),
    "nothing": (lambda: b"", "is empty"),
    "another database": (lambda: small("GeoLite2-Country"), "is of type 'GeoLite2-Country'"),
    "a small one": (lambda: small("egress-watch-cloud"), "a part of it is missing"),
    "torn": (lambda: torn(dated("cloud", 2)), ""),
    "404": (lambda: status(404), "no such file"),
    "410": (lambda: status(410), "no such file"),
    "500": (lambda: status(500), "answers 500"),
    "403": (lambda: status(403), "answers 403"),
    "a loop": (lambda: moved(CLOUD), "redirects"),
    "out of http": (lambda: moved("file:///etc/passwd"), "no http or https address"),
    "to ftp": (lambda: moved("ftp://127.0.0.1/x"), "no http or https address"),
    "dripping": (lambda: dripping, "took longer than 2 s"),
    "dripping headers": (lambda: dripping_headers, "took longer than 2 s"),
    "silent": (lambda: silent, "silent for 1 s"),
}


def small(kind):
    """Return a sound database of a type with a single record, built today."""
    writer = MMDBWriter(6, kind, ipv4_compatible=True)
    writer.insert_network(IPSet(["52.208.0.0/13"]), {"provider": "aws", "region": "eu-west-1"})
    with tempfile.NamedTemporaryFile() as file:
        writer.to_db_file(file.name)
        return Path(file.name).read_bytes()


def torn(content):
    """Return a database whose records are noise, its tree and its metadata whole."""
    start = content.rindex(b"\xab\xcd\xefMaxMind.com")
    return content[: start - 3000] + b"\xff" * 3000 + content[start:]


@pytest.mark.parametrize("name", BAD)
def test_a_bad_download_leaves_the_data_in_use(capsys, place, stick, tmp_path, name):
    """Whatever is served, the set in use stays byte for byte, and the error says what, where and what to do."""
    run(capsys, "data", "update", "--from", stick)
    answer, words = BAD[name]
    with serving({CLOUD: answer()}) as url:
        table = cloud_table(
            tmp_path, f"{url}{CLOUD}", whole_s=2.0 if "drip" in name else 20.0, most_bytes=2_000_000,
            most_packed_bytes=2_000_000,
        )  # fmt: skip
        err = refused(capsys, place, "--publishers", table)
    assert words in err
    assert f"egress-watch: {url}{CLOUD}" in err or "file:" in err or "ftp:" in err
    assert built() == "2026-10-27"


@pytest.mark.usefixtures("place")
def test_a_database_of_wrong_answers_is_refused(capsys, stick, monkeypatch):
    """A file that is sound in every other way, but whose answers are not the known ones, is refused."""
    monkeypatch.setattr(
        "egress_watch.library.checks.table",
        lambda _: {"share": 0.75, "cloud": {"52.208.0.1": "aws eu-west-1", "18.184.0.1": "aws mars-1"}},
    )
    run(capsys, "data")
    code, _, err = run(capsys, "data", "update", "--from", stick)
    assert code == 1
    assert "knows 1 of 2 well-known addresses; wrong at 18.184.0.1" in err
    assert not notices()
    assert built() == "2026-10-26"


@pytest.mark.usefixtures("place")
def test_a_wrong_sha256_is_refused(capsys, stick):
    """A file that is not the one in the manifest beside it is refused, from a folder too."""
    rows = [{"name": "cloud", "sha256": "0" * 64}]
    (stick / "manifest.json").write_text(json.dumps(rows))
    code, _, err = run(capsys, "data", "update", "--from", stick)
    assert code == 1
    assert f"{stick / 'cloud.mmdb'}: its sha256 is not the one in the manifest" in err
    assert built() == "2026-10-26"


def test_one_bad_file_keeps_no_other_back(capsys, place, tmp_path):
    """What is good comes into use, what is bad is said, and the exit code tells that not all is new."""
    folder = folder_of(tmp_path / "x", cloud=dated("cloud", 1), origin_asn=b"oops")
    code, out, err = run(capsys, "data", "update", "--from", folder)
    assert code == 1
    assert "origin-asn.mmdb: is a text" in err
    assert re.search(r"origin-asn .* kept: refused", out)
    held = sorted(path.name for path in (place / "sets" / read_pointer(place).current).iterdir())
    assert held == ["cloud.mmdb", "manifest.json"]
    assert (built("cloud"), built("origin-asn")) == ("2026-10-27", "2026-09-16")


@pytest.mark.usefixtures("place")
def test_older_data_is_taken_only_when_asked_for(capsys, tmp_path):
    """--older takes what is refused as stale otherwise."""
    folder = folder_of(tmp_path / "x", cloud=dated("cloud", -3))
    assert run(capsys, "data", "update", "--from", folder)[0] == 1
    assert run(capsys, "data", "update", "--from", folder, "--older")[0] == 0
    assert built() == "2026-10-23"
    assert "updated cloud: older than what this version ships" in run(capsys, "data")[1]


def test_the_same_file_again_changes_nothing(capsys, place, stick):
    """No new set is made, and the one before is not pushed out."""
    run(capsys, "data", "update", "--from", stick)
    before = everything(place)
    code, out, _ = run(capsys, "data", "update", "--from", stick)
    assert code == 0
    assert "the same as in use" in out
    assert everything(place) == before


@pytest.mark.usefixtures("place")
def test_a_monthly_file_is_that_of_the_month_before_until_it_is_there(capsys, tmp_path):
    """{month} is this month, then the one before; a redirect within the limits is followed."""
    row = next(each for each in publishers().databases if each.name == "dbip-country-lite")
    this, last = row.addresses(datetime.now(UTC).date())
    assert this.endswith(f"{datetime.now(UTC):%Y-%m}.mmdb.gz")
    page = Path(last).name
    pages = {f"/{page}": moved("/there"), "/there": gzip.compress(dated("dbip-country-lite", 1), 1)}
    with serving(pages) as url:
        mine = database("dbip-country-lite", "country", "DBIP-Country", f"{url}/dbip-country-lite-{{month}}.mmdb.gz")
        code, _, err = run(capsys, "data", "update", "--publishers", table_of(tmp_path, [mine]))
    assert code == 0, err
    assert built("dbip-country-lite") == "2026-09-02"


def test_no_step_leads_from_https_down_to_http():
    """A redirect that gives up the encryption is not followed."""
    with pytest.raises(UpdateError, match="from https down to http"):
        _Redirects(publishers().limits).redirect_request(
            Request("https://a.example/x"), io.BytesIO(), 302, "Found", {}, "http://a.example/x"
        )


def test_a_server_that_is_not_there_is_said(tmp_path):
    """A closed port is told with its address."""
    with serving({}) as url:
        pass
    with pytest.raises(UpdateError) as caught:
        fetch(f"{url}/x", tmp_path / "x", publishers().limits, 100)
    assert caught.value.where == f"{url}/x"
    assert caught.value.remedy


@pytest.mark.usefixtures("place")
@pytest.mark.parametrize("text", ["", "[limits]", "database = 7", "x = [", "[limits]\nconnect_s = 1", "\xff"])
def test_a_table_of_publishers_of_another_make_is_a_mistake(capsys, tmp_path, text):
    """The file is named, and nothing is fetched."""
    path = tmp_path / "p.toml"
    path.write_bytes(text.encode("latin-1"))
    code, _, err = run(capsys, "data", "update", "--publishers", path)
    assert code == 2
    assert str(path) in err


# Going back, one at a time, and what a killed update leaves.


@pytest.mark.usefixtures("place")
def test_rollback_goes_back_to_the_set_before_and_then_to_the_shipped_data(capsys, stick, tmp_path):
    """Each step says what is in use now; where there is nothing left, that is said."""
    run(capsys, "data", "update", "--from", stick)
    run(capsys, "data", "update", "--from", folder_of(tmp_path / "x", cloud=dated("cloud", 2)))
    assert built() == "2026-10-28"
    code, out, _ = run(capsys, "data", "rollback")
    assert code == 0
    assert re.search(r"In use now: set \S+: .*cloud 2026-10-27", out)
    assert built() == "2026-10-27"
    code, out, _ = run(capsys, "data", "rollback")
    assert (code, built()) == (0, "2026-10-26")
    assert "In use now: the shipped data" in out
    code, _, err = run(capsys, "data", "rollback")
    assert code == 2
    assert "nothing to go back to" in err
    assert not notices()


def test_only_the_set_before_is_kept(capsys, place, tmp_path):
    """After three updates two sets are there."""
    for days in (1, 2, 3):
        run(capsys, "data", "update", "--from", folder_of(tmp_path / "x", cloud=dated("cloud", days)))
    assert sorted(path.name for path in (place / "sets").iterdir()) == sorted(read_pointer(place))
    assert built() == "2026-10-29"


@pytest.mark.parametrize("verb", [("update", "--from", "."), ("rollback",)], ids=["update", "rollback"])
def test_two_updates_at_a_time_are_one_too_many(capsys, place, stick, verb):
    """The second one is told so, and touches nothing."""
    run(capsys, "data", "update", "--from", stick)
    with (place / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        before = everything(place)
        code, _, err = run(capsys, "data", *verb)
    assert code == 1
    assert "another update is running" in err
    assert everything(place) == before


def test_an_update_killed_on_the_way_leaves_no_trace(capsys, place, stick, tmp_path):
    """After SIGKILL the old set is in use, no half file has a final name, and the next update cleans up."""
    run(capsys, "data", "update", "--from", stick)
    asked = threading.Event()

    def slow(page):
        asked.set()
        dripping(page)

    with serving({CLOUD: slow}) as url:
        words = command("data", "update", "--publishers", cloud_table(tmp_path, f"{url}{CLOUD}"))
        with subprocess.Popen(words, env=environment(), stderr=subprocess.DEVNULL) as update:
            assert asked.wait(30)
            update.send_signal(signal.SIGKILL)
    assert [path for path in (place / "sets").iterdir() if path.name.startswith(".new-")]
    assert (built(), notices()) == ("2026-10-27", [])
    run(capsys, "data", "update", "--from", folder_of(tmp_path / "x", cloud=dated("cloud", 2)))
    assert sorted(path.name for path in (place / "sets").iterdir()) == sorted(read_pointer(place))
    assert built() == "2026-10-28"


def test_ctrl_c_ends_an_update_in_good_order(capsys, place, stick, tmp_path):
    """The exit code is 130, and nothing is left of what was fetched."""
    run(capsys, "data", "update", "--from", stick)
    before = everything(place)
    asked = threading.Event()

    def slow(page):
        asked.set()
        dripping(page)

    with serving({CLOUD: slow}) as url:
        words = command("data", "update", "--publishers", cloud_table(tmp_path, f"{url}{CLOUD}"))
        with subprocess.Popen(words, env=environment(), stderr=subprocess.PIPE) as update:
            assert asked.wait(30)
            time.sleep(0.3)
            update.send_signal(signal.SIGINT)
            err = update.communicate(timeout=30)[1]
    assert update.returncode == 130
    assert b"Traceback" not in err
    assert everything(place) == before


@pytest.mark.parametrize("step", range(12))
def test_an_interruption_at_any_step_leaves_a_sound_set(capsys, place, stick, tmp_path, monkeypatch, step):
    """Wherever an update stops, the set in use is the old one or the new one, whole and without a notice."""
    run(capsys, "data", "update", "--from", stick)
    folder = folder_of(tmp_path / "x", cloud=dated("cloud", 2))
    left = [step]

    def stopping(real):
        def call(*arguments, **options):
            if not left[0]:
                raise KeyboardInterrupt
            left[0] -= 1
            return real(*arguments, **options)

        return call

    with monkeypatch.context() as patch:
        patch.setattr("os.fsync", stopping(os.fsync))
        patch.setattr("pathlib.Path.rename", stopping(Path.rename))
        patch.setattr("pathlib.Path.replace", stopping(Path.replace))
        patch.setattr("egress_watch.library.update.checked", stopping(checked))
        code = run(capsys, "data", "update", "--from", folder)[0]
    assert code in {0, 130}
    assert built() in {"2026-10-27", "2026-10-28"}
    assert built() == "2026-10-28" or code == 130
    assert notices() == []
    entries(place / "sets" / read_pointer(place).current)
    assert run(capsys, "data", "update", "--from", folder)[0] == 0
    assert built() == "2026-10-28"
    assert sorted(path.name for path in (place / "sets").iterdir()) == sorted(read_pointer(place))


def test_a_full_disk_leaves_the_data_in_use(place, stick):
    """What cannot be written is said with a remedy, and is not left lying about."""
    with serving({CLOUD: dated("cloud", 1)}) as url:
        for origin in (stick, url):
            done = spawn("data", "update", "--from", origin, limits=on_a_full_disk(100_000))
            assert done.returncode == 1
            assert b"make room" in done.stderr
            assert [path.name for path in (place / "sets").iterdir()] == []
    assert built() == "2026-10-26"


def test_a_home_that_cannot_be_written_is_said(tmp_path, stick):
    """A file where the folder should be is no traceback."""
    (tmp_path / "file").write_text("")
    done = spawn("data", "update", "--from", stick, env=environment(XDG_DATA_HOME=str(tmp_path / "file")))
    assert done.returncode == 1
    assert b"XDG_DATA_HOME" in done.stderr


def test_the_proxy_of_the_environment_is_used(tmp_path, monkeypatch):
    """Behind a proxy the address is asked for there, and nowhere else."""
    with serving({"http://publisher.invalid/x": b"came through"}) as url:
        for name in ("no_proxy", "NO_PROXY"):
            monkeypatch.delenv(name, raising=False)
        monkeypatch.setenv("http_proxy", url)
        assert fetch("http://publisher.invalid/x", tmp_path / "x", publishers().limits, 100)
    assert (tmp_path / "x").read_bytes() == b"came through"


# Damage to what was updated.


def _overwrite(path):
    path.write_bytes(b"x" * path.stat().st_size)


DAMAGE = {
    "file gone": lambda folder: (folder / "cloud.mmdb").unlink(),
    "file cut": lambda folder: os.truncate(folder / "cloud.mmdb", 1000),
    "file overwritten": lambda folder: _overwrite(folder / "cloud.mmdb"),
    "file a folder": lambda folder: ((folder / "cloud.mmdb").unlink(), (folder / "cloud.mmdb").mkdir()),
    "manifest gone": lambda folder: (folder / "manifest.json").unlink(),
    "manifest cut": lambda folder: os.truncate(folder / "manifest.json", 20),
    "manifest of another make": lambda folder: (folder / "manifest.json").write_text('[{"name": 1}]'),
    "manifest leads elsewhere": lambda folder: (folder / "manifest.json").write_text(
        (folder / "manifest.json").read_text().replace('"cloud.mmdb"', '"../../../x.mmdb"')
    ),
    "set gone": shutil.rmtree,
}


@pytest.mark.parametrize("name", DAMAGE)
def test_a_damaged_set_gives_way_to_the_one_before_and_then_to_the_shipped_data(capsys, place, stick, tmp_path, name):
    """The last good data judges, and every list and replay says so."""
    run(capsys, "data", "update", "--from", stick)
    run(capsys, "data", "update", "--from", folder_of(tmp_path / "x", cloud=dated("cloud", 2)))
    pointer = read_pointer(place)
    DAMAGE[name](place / "sets" / pointer.current)
    assert built() == "2026-10-27"
    assert f"the set {pointer.previous} is in use instead" in run(capsys, "data")[1]
    DAMAGE[name](place / "sets" / pointer.previous)
    assert built() == "2026-10-26"
    code, _, err = run(capsys, "replay", CITY, "--db", tmp_path / "a.db", "--json")
    assert code == 0
    assert len([line for line in err.splitlines() if "the shipped data is in use instead" in line]) == 1
    assert run(capsys, "data", "update", "--from", tmp_path / "x")[0] == 0
    assert (built(), notices()) == ("2026-10-28", [])


BAD_POINTERS = (
    None, b"", b"{", b"[]", b'{"current": 7, "previous": ""}', b'{"current": "../..", "previous": ""}',
    b"[" * 90_000, b"\xff", bytes(2 << 20),
)  # fmt: skip


@pytest.mark.parametrize("text", BAD_POINTERS)
def test_a_damaged_pointer_gives_the_newest_sound_set(capsys, place, stick, text):
    """A pointer that is gone or garbled is said, and mended by the next update or rollback."""
    run(capsys, "data", "update", "--from", stick)
    (place / "current.json").unlink()
    if text is not None:
        (place / "current.json").write_bytes(text)
    assert built() == "2026-10-27"
    assert "current.json" in notices()[0]
    assert run(capsys, "data", "rollback")[0] == 0
    assert (built(), notices()) == ("2026-10-26", [])


def test_a_place_that_may_not_be_read_is_said(capsys, place, stick):
    """A folder of another user's is no traceback: the shipped data judges, and that is told."""
    run(capsys, "data", "update", "--from", stick)
    for path in (place / "sets", place):
        path.chmod(0)
        done = spawn("data", limits=as_a_user)
        path.chmod(0o700)
        assert done.returncode == 0
        assert b"the shipped data is in use instead" in done.stdout
    assert notices() == []


def test_a_copied_set_is_told_by_its_digest(capsys, place, stick):
    """A file whose time of change is another is read whole; if it is the same, it is in use."""
    run(capsys, "data", "update", "--from", stick)
    os.utime(place / "sets" / read_pointer(place).current / "cloud.mmdb")
    assert (built(), notices()) == ("2026-10-27", [])


@pytest.mark.parametrize("given", ["", "relative/path"])
def test_a_data_home_that_is_no_absolute_path_counts_as_none(monkeypatch, tmp_path, given):
    """The XDG specification says so; then it is ~/.local/share."""
    monkeypatch.setenv("XDG_DATA_HOME", given)
    monkeypatch.setenv("HOME", str(tmp_path))
    assert home() == tmp_path / ".local" / "share" / "egress-watch"


def test_without_a_place_the_shipped_data_judges():
    """A user without a home is no trouble."""
    assert in_use(None) == ([], "", [])


RUNNING = """
import shutil, sys
from pathlib import Path
from egress_watch.config import Config
from egress_watch.library import atlas
from egress_watch.library.files import kept_files
from egress_watch.model import address_words
places = atlas(Config())
def said(): return [str(places.sheet(address_words(a)).evidence) for a in ("52.208.0.10", "145.53.1.1", "2a02:a450::1")]
before = said()
for number, file in enumerate(kept_files()):
    assert file.origin == "updated", file
    if number % 2:
        file.path.write_bytes(b"x" * 100)
    else:
        file.path.unlink()
places.sheet(address_words("8.8.8.8"))
assert said() == before
shutil.rmtree(sys.argv[1])
assert said() == before
assert "KPN" in str(places.sheet(address_words("195.121.1.34")).evidence)
print("judged on")
"""


def test_files_removed_or_overwritten_under_a_running_recorder_harm_nothing(capsys, place, tmp_path):
    """What was opened is in private memory: it goes on to judge as before."""
    files = {name.replace("-", "_"): dated(name, 1) for name in NAMES}
    assert run(capsys, "data", "update", "--from", folder_of(tmp_path / "x", **files))[0] == 0
    words = [sys.executable, "-c", RUNNING, str(place)]
    done = subprocess.run(words, env=environment(), capture_output=True, text=True, check=False, timeout=60)
    assert done.stdout == "judged on\n", done.stderr
