"""Pseudonyms: stable, keyed, marked, and nothing of a device left in what goes out."""

from __future__ import annotations

import re
import sqlite3
from ipaddress import ip_address, ip_network
from pathlib import Path
from uuid import UUID

import pyarrow.parquet as parquet_reader
import pytest
from hypothesis import given
from hypothesis import strategies as st
from running import CITY, ROOT, city_db, rows, run

from egress_watch.exports.formats import FORMATS
from egress_watch.exports.pseudonyms import OURS, THEIRS, Pseudonyms
from egress_watch.exports.record import EXPORTED

BINARY = ("ipfix",)
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


def of_parquet(path: Path) -> str:
    """Return the words and lists of words that a Parquet file holds."""
    table = parquet_reader.read_table(path)
    words = [field.name for field in table.schema if not str(field.type).startswith(("timestamp", "int", "uint"))]
    return str(table.select(words).to_pylist())


@pytest.mark.parametrize(
    ("form", "kind"), [(form.name, kind) for form in FORMATS for kind in form.kinds if kind in EXPORTED]
)
def test_no_export_shows_a_device(tmp_path, capsys, key, form, kind):
    """Nor does an export in any format: MACs neither in upper case nor with hyphens, and no id to try addresses on."""
    db, sent = city_db(tmp_path), tmp_path / "sent"
    code, _, err = run(capsys, "export", db, f"--{kind}s", "--pseudonyms", key, "--format", form, "-o", sent)
    assert code == 0, err
    written, hidden = sent.read_bytes(), ours(db)
    text = of_parquet(sent) if form == "parquet" else written.decode("utf-8", "backslashreplace")
    assert len(text) > 10_000
    upper = {word.upper() for word in hidden}
    assert left(text, hidden | upper | {word.replace(":", "-") for word in upper}) == []
    addresses = [ip_address(ip) for ip in hidden if "." in ip and form in BINARY and ip != "0.0.0.0"]
    assert not [one for one in addresses if one.packed in written]
    assert not re.search(r"\b1:[A-Za-z0-9+/]{27}=", text)  # the community id, from which addresses can be tried


@given(address=st.ip_addresses(v=4) | st.ip_addresses(v=6))
def test_an_address_keeps_its_family_and_is_nobody_s(address):
    """Where a field must hold an address, the pseudonym is one that is never given out, with the digits of the word."""
    covers = Pseudonyms(KEY)
    word, shaped = covers.word("ip", str(address)), ip_address(covers.shaped().word("ip", str(address)))
    assert shaped.version == address.version
    assert shaped in (ip_network("240.0.0.0/4") if shaped.version == 4 else ip_network("2001:db8::/32"))
    assert shaped.packed.hex().endswith(word[-7:])


def test_a_mac_becomes_one_that_nobody_made():
    """The pseudonym of a MAC is a locally administered one."""
    assert re.fullmatch("02(:[0-9a-f]{2}){5}", Pseudonyms(KEY).shaped().word("mac", "44:19:b6:0b:6e:11"))


def test_ids_are_keyed(tmp_path, capsys, key):
    """An event id is a plain hash of addresses: with a key it is another, the same each time, and of the same time."""
    db = city_db(tmp_path)
    plain = rows(capsys, "export", db, "--limit", "3")
    once, again = (rows(capsys, "export", db, "--limit", "3", "--pseudonyms", key) for _ in range(2))
    for name in ("event_id", "episode_id"):
        assert not {row[name] for row in plain} & {row[name] for row in once}
        assert [row[name] for row in once] == [row[name] for row in again]
        assert [UUID(row[name]).int >> 80 for row in once] == [UUID(row[name]).int >> 80 for row in plain]
    assert len({row["event_id"] for row in once}) == 3


def test_what_a_device_says_of_its_software_names_nobody():
    """Greetings and headers tell hosts and addresses: those are covered, versions stay."""
    said = ["johns-nas ESMTP mail.example.org 8.13.8/8.9.3", "FTP Server [192.0.2.1]", "UPnP/1.0 44:19:B6:0B:6E:11"]
    row = {
        "model": ["udhcp 1.19.4"], "vendor_class": [], "name": "Johns-NAS.local", "software": said,
        "facts": [{"kind": "software", "value": value, "ip": ""} for value in said], "seen": [],
    }  # fmt: skip
    covers = Pseudonyms(KEY)
    shown = covers.device(row)
    name, host = covers.word("name", "johns-nas"), covers.word("name", "mail.example.org")
    assert shown["software"][0] == f"{name} ESMTP {host} 8.13.8/8.9.3"
    assert shown["software"][1] == f"FTP Server [{covers.word('ip', '192.0.2.1')}]"
    assert shown["software"][2] == f"UPnP/1.0 {covers.word('mac', '44:19:b6:0b:6e:11')}"
    assert [fact["value"] for fact in shown["facts"]] == shown["software"]
    assert shown["model"] == ["udhcp 1.19.4"]


@pytest.mark.parametrize(
    "words",
    [
        ("rejudge", "--zone", "ch", "--all", "--limit", "0"),
        ("rejudge", "--zone", "ch", "--all", "--json"),
        ("rules", "backtest"),
        ("rules", "backtest", "--json"),
        ("flows", "--why", "--limit", "25"),
        ("alert", "mutes"),
        ("alert", "history"),
    ],
)
def test_no_other_report_shows_a_device(tmp_path, capsys, key, words):
    """Nor does what changed, what a rule would say, why a flow is judged so, a mute, or what people did."""
    db = city_db(tmp_path)
    assert run(capsys, "alert", "mute", db, "1", "--reason", "10.20.110.11 is in repair")[0] == 0
    at = 2 if words[0] in {"rules", "alert"} else 1
    alert = ("1",) if words[-1] == "history" else ()
    code, out, err = run(capsys, *words[:at], db, *alert, *words[at:], "--pseudonyms", key)
    assert code == 0, err
    assert out
    assert left(out, ours(db)) == []


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
    """--cover without a key, --why where remotes are covered, and a setting that covers nothing."""
    db = city_db(tmp_path)
    assert run(capsys, "alerts", db, "--cover", "all")[0] == 2
    assert run(capsys, "flows", db, "--why", "--pseudonyms", key, "--cover", "all")[0] == 2
    settings = tmp_path / "s.toml"
    settings.write_text('[privacy]\ncover = "none"\n', encoding="utf-8")
    assert "privacy.cover" in run(capsys, "alerts", db, "--config", settings)[2]


def test_the_privacy_document_names_every_column_that_points_to_a_person():
    """Each column that pseudonyms cover stands in docs/privacy.md."""
    missing = [column for column in (*OURS, *THEIRS) if f"`{column}`" not in PRIVACY]
    assert missing == []
