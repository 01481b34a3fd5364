"""Splunk's HTTP Event Collector, with and without indexer acknowledgement.

In: messages. Out: the same as events, each in an envelope with time, host and source type. Never: a record counted as
done, where acknowledgement is asked for, before an indexer said that it has it.

Source: Splunk, HTTP Event Collector REST API and "About HTTP Event Collector Indexer Acknowledgment". A status of 200
alone says that the event looks valid. A channel numbers its acknowledgements; it lives as long as the sink.
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from typing import Any
from uuid import uuid4

from egress_watch.config import SinkSettings
from egress_watch.errors import ConfigError
from egress_watch.sinks.http import JSON_FORMATS, SETTINGS, Answer, Http, authorised, narrowed, plain, spoken, taken
from egress_watch.sinks.sink import CONNECTION_ACKNOWLEDGED, RECEIVER_ACKNOWLEDGED, Kind, Message, Receipt, SinkDown

EVENT, ACK = "/services/collector/event", "/services/collector/ack"
OURS = {7: "knows no such index", 10: "wants a channel", 11: "refuses the channel", 14: "has acknowledgement off"}
"""Codes of a refusal (status 400) that the settings are to blame for, not a record."""
FIRST_POLL_S, LONGEST_POLL_S = 0.05, 5.0


class Splunk:
    """Sends events, and waits for the indexers where it is to."""

    def __init__(self, settings: SinkSettings, *, acknowledged: bool = True) -> None:
        found = authorised(settings)
        if not found:
            remedy = "name secret_file or secret_env"
            raise ConfigError("has no token", where=f"sink {settings.name}", remedy=remedy)
        self._settings, self._acknowledged = settings, acknowledged
        channel = {"X-Splunk-Request-Channel": str(uuid4())}
        self._http = Http(settings, {"Authorization": f"Splunk {found}", **channel, "Content-Type": "application/json"})
        self._base = self._http.address.path.rstrip("/")
        self._sure = not acknowledged

    def deliver(self, messages: Sequence[Message]) -> Receipt:
        """Send one batch of events; before the first, ask whether it acknowledges: else each try doubles."""
        if not self._sure:
            self._acked(0)
            self._sure = True
        answer = self._http.post(self._base + EVENT, b"".join(map(self._event, messages)), {})
        said = spoken(answer)
        if not taken(answer):
            return self._refused(messages, answer, said)
        self._http.proved = True
        if not self._acknowledged:
            return Receipt(len(messages), said="taken, not acknowledged")
        waited_s = self._wait(said.get("ackId"))
        return Receipt(len(messages), said=f"acknowledged by an indexer after {waited_s:.1f} s")

    def close(self) -> None:
        """Let go of the connection."""
        self._http.close()

    def _event(self, message: Message) -> bytes:
        """Return a record in its envelope; a record that is no JSON is a string there."""
        form = self._settings.format
        envelope = {"host": message.sensor, "source": "egress-watch", "sourcetype": f"egress_watch:{form}"}
        seconds, rest_ns = divmod(max(message.time_ns, 0), 10**9)
        event = message.body if form in JSON_FORMATS else json.dumps(message.body.decode("utf-8", "replace")).encode()
        head = json.dumps(envelope, separators=(",", ":")).encode()[:-1]
        return b'%b,"time":%d.%06d,"event":%b}' % (head, seconds, rest_ns // 1000, event)

    def _refused(self, messages: Sequence[Message], answer: Answer, said: Mapping[str, Any]) -> Receipt:
        """Go on after a status of 400: with what stands before the record that is named, or with a half."""
        code = said.get("code")
        if code in OURS:
            raise SinkDown(f"answers {answer.status}: it {OURS[code]}")
        why, place = f"{answer.status} {plain(said.get('text', ''))}".strip(), said.get("invalid-event-number")
        if type(place) is int and 0 < place < len(messages):
            return self.deliver(messages[:place])  # they may have been indexed, but nobody acknowledged them
        if place == 0:
            return Receipt(1, {0: why})
        return narrowed(self._http, self.deliver, messages, why)

    def _wait(self, number: object) -> float:
        """Ask until the indexers have it; return the seconds, raises SinkDown where they do not say so in time."""
        if type(number) is not int:
            raise SinkDown("took the events but numbers no acknowledgement")
        begun_s, pause_s = time.monotonic(), FIRST_POLL_S
        while not self._acked(number):
            if time.monotonic() - begun_s > self._settings.acknowledge_s:
                raise SinkDown(f"no indexer acknowledged within {self._settings.acknowledge_s:g} s")
            time.sleep(pause_s)
            pause_s = min(2 * pause_s, LONGEST_POLL_S)
        return time.monotonic() - begun_s

    def _acked(self, number: int) -> bool:
        answer = self._http.post(self._base + ACK, json.dumps({"acks": [number]}).encode(), {})
        said = spoken(answer)
        acks = said.get("acks")
        if not taken(answer) or not isinstance(acks, dict):
            why = OURS.get(said.get("code", 0), "does not answer a question for acknowledgements")
            raise SinkDown(f"answers {answer.status}: it {why}")
        return acks.get(str(number)) is True


def _unacknowledged(settings: SinkSettings) -> Splunk:
    return Splunk(settings, acknowledged=False)


SPLUNK = Kind(
    "splunk", "splunk:https://splunk.example:8088",
    "Splunk's HTTP Event Collector, with a token that has indexer acknowledgement",
    RECEIVER_ACKNOWLEDGED, Splunk, (*SETTINGS, "acknowledge_s"),
)  # fmt: skip
SPLUNK_UNACKNOWLEDGED = Kind(
    "splunk-unacknowledged", "splunk-unacknowledged:https://http-inputs.example.splunkcloud.com",
    "the same for a token without it, as in Splunk Cloud",
    CONNECTION_ACKNOWLEDGED, _unacknowledged, SETTINGS,
)  # fmt: skip
