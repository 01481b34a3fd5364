"""Syslog messages and their frames: whatever a record holds, a receiver sees one message, and the right one."""

from __future__ import annotations

import re
from datetime import UTC, datetime

from hypothesis import given
from hypothesis import strategies as st
from receiving import message

from egress_watch.exports.severity import SEVERITIES
from egress_watch.sinks.frames import counted, syslog, timestamp

HEAD = re.compile(
    rb"<(\d{1,3})>1 (-|\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z) "
    rb"([\x21-\x7e]{1,255}) egress-watch - ([\x21-\x7e]{1,32}) - "
)
"""RFC 5424, section 6, as strict as its ABNF."""


@given(st.binary(), st.text(), st.integers(0, 23), st.sampled_from([*SEVERITIES.values()]))
def test_any_record_is_one_message(body, sensor, facility, severity):
    """Header and body part cleanly, no control character is in either, and the priority is facility and severity."""
    made = syslog(message(1, body)._replace(sensor=sensor, severity=severity.syslog), facility)
    head = HEAD.match(made)
    assert head
    assert int(head[1]) == facility * 8 + severity.syslog
    assert not re.search(rb"[\x00-\x1f\x7f]", made)
    assert len(made[head.end() :]) == len(body)
    if not re.search(rb"[\x00-\x1f\x7f]", body):
        assert made[head.end() :] == body


@given(st.lists(st.binary()))
def test_frames_are_taken_apart_again(bodies):
    """A reader that goes by the lengths gets each message, though it holds digits, spaces and line breaks."""
    stream, found = b"".join(map(counted, bodies)), []
    while stream:
        length, _, rest = stream.partition(b" ")
        found.append(rest[: int(length)])
        stream = rest[int(length) :]
    assert found == bodies


@given(st.integers(-(2**63), 2**63 - 1))
def test_a_time_is_what_was_meant_or_nil(time_ns):
    """Microseconds are cut, not rounded; a time that RFC 3339 cannot write is nil."""
    text = timestamp(time_ns)
    if text == "-":
        assert time_ns < 0
        return
    moment = datetime.fromisoformat(text)
    assert moment.tzinfo == UTC
    whole = int(moment.replace(microsecond=0).timestamp()) * 1_000_000 + moment.microsecond
    assert whole == time_ns // 1000
