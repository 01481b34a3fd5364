"""Pseudonyms: stable, keyed, marked, and nothing of a device left in what goes out."""

from __future__ import annotations

import re
import sqlite3
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from running import CITY, ROOT, city_db, rows, run

from egress_watch.exports.pseudonyms import OURS, THEIRS, Pseudonyms

KEY, OTHER = b"k" * 32, b"o" * 32
PRIVACY = (ROOT / "docs" / "privacy.md").read_text(encoding="utf-8")
ALERT = {
    "device_ip": "10.20.1.1", "device_mac": "44:19:b6:0b:6e:11", "remote_ip": "52.1.2.3", "owner": "Hikvision",
    "why": "10.20.1.1 to ieu.hik-connect.com (Hikvision, seat CN): in IE; not 10.20.1.11",
}  # fmt: skip


@pytest.fixture
def key(tmp_path) -> Path:
    """Return a key file as it should be."""
    path = tmp_path / "key"
    path.write_bytes(KEY)
    path.chmod(0o600)
    return path


@given(text=st.text(min_size=1, max_size=40), kind=st.sampled_from(["ip", "mac", "name"]))
def test_a_pseudonym_is_stable_keyed_and_marked(text, kind):
    """The same key gives the same, another key another, and each kind has its mark."""
    word = Pseudonyms(KEY).word(kind, text)
    assert word == Pseudonyms(KEY).word(kind, text)
    assert word != Pseudonyms(OTHER).word(kind, text)
    assert re.fullmatch(rf"{kind}-[0-9a-f]{{16}}", word)


def test_devices_are_covered_and_remotes_are_not():
    """Address and MAC of the device go, in its sentence too; a longer address that begins like it stays whole."""
    covers = Pseudonyms(KEY)
    row = covers.row(ALERT)
    assert row["device_ip"] == covers.word("ip", "10.20.1.1")
    assert row["device_mac"].startswith("mac-")
    assert row["remote_ip"] == "52.1.2.3"
    assert row["why"] == f"{row['device_ip']} to ieu.hik-connect.com (Hikvision, seat CN): in IE; not 10.20.1.11"


def test_all_covers_remotes_and_their_names():
    """The remote's address, and the name in the sentence."""
    covers = Pseudonyms(KEY, "all")
    row = covers.row(ALERT)
    assert row["remote_ip"].startswith("ip-")
    assert row["why"].startswith(f"{row['device_ip']} to {covers.word('name', 'ieu.hik-connect.com')} (Hikvision")


@pytest.mark.parametrize(("remote", "known"), [("10.20.1.9", False), ("fe80::1", False), ("2a02:a450:7e1d::71", True)])
def test_a_remote_that_is_ours_is_covered_too(remote, known):
    """Within one's own network the remote is a device: a private address, or one the database knows as ours."""
    covers = Pseudonyms(KEY, known=lambda _: known)
    row = covers.row({**ALERT, "remote_ip": remote, "name": "johns-phone.local", "why": f"10.20.1.1 to {remote}: x"})
    assert row["remote_ip"] == covers.word("ip", remote)
    assert row["name"] == covers.word("name", "johns-phone.local")
    assert remote not in row["why"]


def test_a_multicast_group_is_nobody():
    """Groups and broadcasts stay readable."""
    assert Pseudonyms(KEY).row({**ALERT, "remote_ip": "239.255.255.250"})["remote_ip"] == "239.255.255.250"


def ours(db: Path) -> set[str]:
    """Return every address and MAC of our side in a database."""
    connection = sqlite3.connect(db)
    try:
        found = connection.execute("SELECT ip FROM device UNION SELECT mac FROM device WHERE mac <> ''").fetchall()
    finally:
        connection.close()
    return {row[0] for row in found}


def left(text: str, words: set[str]) -> list[str]:
    """Return those words that stand in a text by themselves."""
    return [word for word in words if re.search(rf"(?<![\w.:]){re.escape(word)}(?![\w:]|\.\d)", text)]


@pytest.mark.parametrize("command", ["flows", "alerts", "devices"])
@pytest.mark.parametrize("form", ["table", "ndjson", "csv"])
def test_no_list_shows_a_device(tmp_path, capsys, key, command, form):
    """In no format of any list a device's address or MAC is left, in sentences, facts and remotes neither."""
    db = city_db(tmp_path)
    code, out, err = run(capsys, command, db, "--pseudonyms", key, "--format", form)
    assert code == 0, err
    assert "ip-" in out
    assert left(out, ours(db)) == []


@pytest.mark.parametrize("kind", ["--alerts", "--flows"])
@pytest.mark.parametrize("form", ["ndjson", "csv"])
def test_no_export_shows_a_device(tmp_path, capsys, key, kind, form):
    """Nor does an export; a format whose fields must hold addresses is refused."""
    db = city_db(tmp_path)
    code, out, err = run(capsys, "export", db, kind, "--pseudonyms", key, "--format", form)
    assert code == 0, err
    assert "ip-" in out
    assert left(out, ours(db)) == []
    assert not re.search(r"\b1:[A-Za-z0-9+/]{27}=", out)  # the community id, from which addresses can be tried
    assert run(capsys, "export", db, kind, "--pseudonyms", key, "--format", "ecs")[0] == 2


def test_no_report_shows_a_device(tmp_path, capsys, key):
    """Neither the tables nor the alerts of a replay's report."""
    db = tmp_path / "a.db"
    code, out, err = run(capsys, "replay", CITY, "--db", db, "--pseudonyms", key)
    assert code == 0, err
    assert "ip-" in out
    assert left(out, ours(db)) == []


def test_all_leaves_no_name_heard(tmp_path, capsys, key):
    """With --cover all neither a remote's address nor its name goes out."""
    db = city_db(tmp_path)
    flows = rows(capsys, "flows", db)
    heard = {row["name"] for row in flows if row["name"]} | {row["remote_ip"] for row in flows}
    for command in ("flows", "alerts"):
        code, out, _ = run(capsys, command, db, "--pseudonyms", key, "--cover", "all", "--format", "ndjson")
        assert code == 0
        assert left(out, heard) == []


def test_lists_of_one_key_fit_together(tmp_path, capsys, key):
    """A device has one pseudonym in flows, alerts and devices, and filters go by what is real."""
    db = city_db(tmp_path)
    told = ("--pseudonyms", key, "--device", "10.20.110.11")
    words = {row["device_ip"] for row in rows(capsys, "flows", db, *told)}
    assert len(words) == 1
    assert {row["device_ip"] for row in rows(capsys, "alerts", db, *told)} == words
    assert {one for row in rows(capsys, "devices", db, *told) for one in row["addresses"]} == words


@pytest.mark.usefixtures("key")
def test_the_settings_may_name_the_key(tmp_path, capsys):
    """Once a key is in the settings nothing goes out uncovered."""
    settings = tmp_path / "s.toml"
    settings.write_text('[privacy]\nkey_file = "key"\ncover = "all"\n', encoding="utf-8")
    found = rows(capsys, "flows", city_db(tmp_path), "--config", settings, "--limit", "1")
    assert found[0]["device_ip"].startswith("ip-")
    assert found[0]["remote_ip"].startswith("ip-")


@pytest.mark.parametrize(
    ("content", "mode", "said"),
    [
        (b"short", 0o600, "a key has 16 to 4096 bytes"),
        (KEY, 0o644, "others can read this key"),
        (None, 0, "No such file"),
    ],
)
def test_a_key_that_is_none_is_refused(tmp_path, capsys, content, mode, said):
    """Too short, readable by others, or not there: exit code 2 with a remedy."""
    path = tmp_path / "key"
    if content is not None:
        path.write_bytes(content)
        path.chmod(mode)
    code, out, err = run(capsys, "flows", city_db(tmp_path), "--pseudonyms", path)
    assert (code, out) == (2, "")
    assert said in err
    assert "try:" in err


def test_mistakes_of_usage_are_told(tmp_path, capsys, key):
    """--cover without a key, --why with one, and a setting that covers nothing."""
    db = city_db(tmp_path)
    assert run(capsys, "alerts", db, "--cover", "all")[0] == 2
    assert run(capsys, "flows", db, "--why", "--pseudonyms", key)[0] == 2
    settings = tmp_path / "s.toml"
    settings.write_text('[privacy]\ncover = "none"\n', encoding="utf-8")
    assert "privacy.cover" in run(capsys, "alerts", db, "--config", settings)[2]


def test_the_privacy_document_names_every_column_that_points_to_a_person():
    """Each column that pseudonyms cover stands in docs/privacy.md."""
    missing = [column for column in (*OURS, *THEIRS) if f"`{column}`" not in PRIVACY]
    assert missing == []
