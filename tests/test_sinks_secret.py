"""Secrets come from a file or the environment, and stand nowhere else."""

from __future__ import annotations

from dataclasses import replace

import pytest

from egress_watch.config import Config, SinkSettings, render
from egress_watch.errors import ConfigError
from egress_watch.sinks.secret import MOST_BYTES, secret

PLAIN = SinkSettings("siem", "relp://siem.example")


def test_it_is_read_where_the_settings_say(tmp_path, monkeypatch):
    """From a file without the line break behind it, from the environment, or there is none."""
    path = tmp_path / "token"
    path.write_text("hunter2 é\n", encoding="utf-8")
    monkeypatch.setenv("TOKEN", "hunter3")
    assert secret(replace(PLAIN, secret_file=str(path))) == "hunter2 é"
    assert secret(replace(PLAIN, secret_env="TOKEN")) == "hunter3"
    assert secret(PLAIN) == ""


@pytest.mark.parametrize("content", [b"", b"\n", b"hunter2\nhunter3", b"hunter2\x00", b"hunter2\xff", b"hunter2\x1b[m"])
def test_what_is_no_secret_stops_the_start_and_is_not_shown(tmp_path, monkeypatch, content):
    """Empty, more than a line, no text: told with the sink and a remedy, and without the secret."""
    path = tmp_path / "token"
    path.write_bytes(content)
    with pytest.raises(ConfigError) as caught:
        secret(replace(PLAIN, secret_file=str(path)))
    assert "hunter" not in str(caught.value)
    assert caught.value.remedy
    assert caught.value.where == "sink siem"
    monkeypatch.delenv("TOKEN", raising=False)
    for more in ({"secret_env": "TOKEN"}, {"secret_env": "A", "secret_file": "b"}, {"secret_file": "/nowhere/x"}):
        with pytest.raises(ConfigError):
            secret(replace(PLAIN, **more))


def test_a_long_file_is_not_read_whole(tmp_path):
    """A mistake such as a disk image costs no memory."""
    path = tmp_path / "token"
    path.write_bytes(b"x" * (MOST_BYTES + 5))
    assert len(secret(replace(PLAIN, secret_file=str(path)))) == MOST_BYTES


def test_the_settings_show_where_it_is_and_not_what(monkeypatch):
    """What `config` prints names the file or the variable."""
    monkeypatch.setenv("TOKEN", "hunter3")
    shown = render(Config(sink=(replace(PLAIN, secret_env="TOKEN"),)))
    assert 'secret_env = "TOKEN"' in shown
    assert "hunter3" not in shown
