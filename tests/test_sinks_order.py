"""Order within a device: no receiver first sees a later record before an earlier one, whatever fails and when."""

from __future__ import annotations

import contextlib
import json
import random
import time
from collections.abc import Sequence
from threading import Thread

import pytest
import receiving_web as web
from hypothesis import given
from hypothesis import strategies as st
from mocking_kafka import mock_kafka
from receiving import RECEIVERS, eventually, message, relp_session
from receiving_brokers import asked, consumed, nats_server, stored, stream
from receiving_web import Bulk, running
from test_sinks_bad_days import server, settings

from egress_watch.config import SinkSettings
from egress_watch.exports.format import json_line
from egress_watch.sinks.kinds import SINKS, kind, opened
from egress_watch.sinks.sink import WRITTEN, Message, Receipt, SinkDown
from egress_watch.sinks.waves import Waves, waves

MOST_S = 120


def batch(size: int, devices: int, chance: random.Random, padding: int = 0) -> list[Message]:
    """Return messages of some devices, the first of them the busiest, as large as by chance up to a padding."""
    made = []
    for number in range(size):
        device = chance.choice([0, 0, chance.randrange(devices)])
        body = json_line({"n": number, "of": device, "x": "x" * chance.randrange(padding + 1)}).encode()
        made.append(message(number, body)._replace(device=f"192.0.2.{device}"))
    return made


def place(body: bytes) -> tuple[int, int]:
    """Return device and number of a record that came."""
    told = json.loads(body)
    return told["of"], told["n"]


def overtaken(came: Sequence[tuple[int, int]]) -> list[tuple[int, int]]:
    """Return what came first after a later one of its device; doubles are no matter."""
    newest: dict[int, int] = {}
    late = []
    for device, number in dict.fromkeys(came):
        if number < newest.get(device, -1):
            late.append((device, number))
        newest[device] = max(number, newest.get(device, -1))
    return late


def send(
    told: SinkSettings, messages: list[Message], chance: random.Random, *, dies: float = 0.0, least: int = 1
) -> int:
    """Deliver as the outbox does, and die now and then before it is noted; return how many were set aside."""
    sink, aside, end = opened(told), 0, time.monotonic() + MOST_S
    while messages:
        assert time.monotonic() < end, "no progress"
        try:
            receipt = sink.deliver(messages[: chance.randrange(least, 60)])
        except SinkDown as down:
            receipt = down.receipt
            time.sleep(0.02)
        if chance.random() < dies:
            sink.close()
            sink = opened(told)
            continue
        aside += len(receipt.refused)
        messages = messages[receipt.done :]
    sink.close()
    return aside


@given(st.lists(st.integers(0, 3), max_size=20))
def test_a_wave_holds_one_record_of_each_device(devices):
    """Every record is in one wave, behind the ones before it, and there are no more waves than there must be."""
    messages = [message(n, b"")._replace(device=str(device)) for n, device in enumerate(devices)]
    cut = waves(messages)
    assert sorted(place for wave in cut for place in wave) == list(range(len(messages)))
    assert len(cut) == max(map(devices.count, devices), default=0)
    for device in set(devices):
        mine = [[place for place in wave if devices[place] == device] for wave in cut]
        assert [len(some) for some in mine if some] == [1] * devices.count(device)
        assert mine == sorted(mine, key=lambda some: some or [len(devices)])


class Worst:
    """A receiver that takes any part of what it gets, in any order, now or later, and tells of any part of that."""

    def __init__(self, data: st.DataObject) -> None:
        self._data, self.came, self._later = data, list[Message](), list[Message]()

    def deliver(self, messages: Sequence[Message]) -> Receipt:
        """Take a part."""
        draw = self._data.draw
        self.came += [one for one in self._later if draw(st.booleans())]
        fates = [draw(st.sampled_from(["taken", "taken", "later", "lost", "refused"])) for _ in messages]
        self._later += [one for one, fate in zip(messages, fates, strict=True) if fate == "later"]
        taken = [one for one, fate in zip(messages, fates, strict=True) if fate == "taken"]
        self.came += draw(st.permutations(taken))
        told = next((n for n, fate in enumerate(fates) if fate in {"later", "lost"}), len(fates))
        done = draw(st.integers(0, told))
        receipt = Receipt(done, {n: "no" for n in range(done) if fates[n] == "refused"})
        if done == len(messages) or (done and draw(st.booleans())):
            return receipt
        raise SinkDown("fails", receipt=receipt)

    def close(self) -> None:
        """Nothing is open."""


@given(st.lists(st.integers(0, 2), min_size=2, max_size=8), st.data())
def test_no_receiver_however_bad_sees_a_later_record_first(devices, data):
    """It holds also where the exporter dies before it noted what was done, and where a refusal is taken back."""
    messages = [message(n, b"")._replace(device=str(device)) for n, device in enumerate(devices)]
    worst, at, aside = Worst(data), 0, set()
    for _ in range(12):
        try:
            receipt = Waves(worst).deliver(messages[at:])
        except SinkDown as down:
            receipt = down.receipt
        if at == len(messages) or data.draw(st.booleans()):
            aside |= {messages[at + number].id for number in receipt.refused}
            at += receipt.done
    came = [(int(one.device), int(one.id[-12:], 16)) for one in worst.came if one.id not in aside]
    assert overtaken(came) == []
    assert {one.id for one in messages[:at]} <= aside | {one.id for one in worst.came}


class Moody(Bulk):
    """A cluster whose items fail by chance: each of them alone, some although they were stored."""

    def __init__(self, chance: random.Random) -> None:
        super().__init__()
        self._chance = chance

    def _indexed(self, meta: dict, source: bytes) -> tuple[int, dict]:
        status = self._chance.choice([0, 0, 0, 429, 503])
        if status and self._chance.random() < 0.5:
            super()._indexed(meta, source)
        return (status, {"type": "es_rejected_execution_exception"}) if status else super()._indexed(meta, source)


@pytest.mark.parametrize("seed", range(3))
def test_elastic_items_that_fail_let_none_of_their_device_pass(seed):
    """Items of a bulk that are rejected one by one, requests that end without an answer, or are done twice."""
    chance = random.Random(seed)
    bulk = Moody(chance)
    with running(bulk) as receiver:
        receiver.web.faults += [
            chance.choice([_answered, web.resets, web.takes_then_resets, web.answers(429)]) for _ in range(40)
        ]
        send(SinkSettings("es", f"elastic:http://127.0.0.1:{receiver.port}/egress"), batch(60, 5, chance), chance)
    assert len(bulk.held) == 60
    assert overtaken([place(body) for body in bulk.held.values()]) == []


def _answered(page):
    with page.server.lock:
        said = page.server.answer(page)
    page.say(*said)


@pytest.mark.parametrize("scheme", ["webhook", "splunk-unacknowledged"])
@pytest.mark.parametrize("devices", [1, 5])
def test_a_receiver_is_tried_with_nothing_that_would_pass_another(tmp_path, scheme, devices):
    """A batch that holds one bad record goes in halves; whether it takes any is tried with a record that may go."""
    chance = random.Random(devices)
    messages, came = batch(40, devices, chance), []

    def picky(page):
        found = [found for found in page.body.split(b'{"n":')[1:] if found]
        numbers = [int(one.partition(b",")[0]) for one in found]
        if 17 in numbers:
            return 400, {"text": "no"}
        came.extend(numbers)
        return 200, {}

    with running(picky) as receiver:
        told = SinkSettings("out", f"{scheme}:http://127.0.0.1:{receiver.port}",
                            secret_file=web.secret(tmp_path, web.TOKEN))  # fmt: skip
        assert send(told, messages, chance, least=40) == 1
    of = [place(one.body)[0] for one in messages]
    assert set(came) == set(range(40)) - {17}
    assert overtaken([(of[number], number) for number in came]) == []


@pytest.mark.parametrize("seed", range(2))
def test_a_relp_answer_of_500_lets_none_of_its_device_pass(seed):
    """A receiver that refuses any message at any time, now and then for good, and ends sessions in their middle."""
    chance, came = random.Random(seed), []

    def takes(head):
        mood = chance.random()
        came.extend([head.partition(b" - - ")[2] or head] * (mood > 0.2))
        return None if mood < 0.02 else mood > 0.2

    messages = batch(60, 5, chance)
    with server(lambda connection: relp_session(connection, takes)) as port:
        aside = send(settings("relp", port, timeout_s=5.0), messages, chance, dies=0.1)
    numbers = [place(b'{"n":' + head.rpartition(b'{"n":')[2]) for head in came]
    assert len(set(numbers)) + aside >= 60
    assert overtaken(numbers) == []


def test_a_nats_stream_that_is_full_for_large_records_takes_no_small_one_before(tmp_path):
    """What does not fit is refused while a smaller one would fit: of one device that waits for the larger."""
    chance, came = random.Random(5), []
    messages = batch(60, 5, chance, padding=3000)
    with nats_server(tmp_path) as broker:
        stream(broker.port, max_bytes=9_000, discard="new")
        sink = opened(SinkSettings("nats", f"nats://127.0.0.1:{broker.port}/egress.alerts", timeout_s=5))
        while messages:
            try:
                messages = messages[sink.deliver(messages).done :]
            except SinkDown as down:
                messages = messages[down.receipt.done :]
                came += stored(broker.port)
                asked(broker.port, lambda js: js.purge_stream("EGRESS"))
        came += stored(broker.port)
        sink.close()
    assert len({place(body) for body in came}) > 50  # at its very limit this server drops one that it acknowledged
    assert overtaken([place(body) for body in came]) == []


AUTHORISATION, REPLICAS, LEADER, TIMED_OUT, RECORD, SIZE = 29, 19, 6, 7, 87, 10
"""Errors of Kafka's protocol: TOPIC_AUTHORIZATION_FAILED, NOT_ENOUGH_REPLICAS, NOT_LEADER_OR_FOLLOWER and so on."""


def test_kafka_errors_and_new_leaders_let_no_record_pass():
    """Requests that fail, for now or as if for good, while the partitions' leaders change."""
    messages = [message(n, json_line({"n": n, "of": 0}).encode().ljust(110_000)) for n in range(24)]  # three requests
    with mock_kafka() as brokers:
        told = SinkSettings("kafka", f"kafka://{brokers.brokers}/egress", timeout_s=1)
        brokers.fail([0, AUTHORISATION, 0, REPLICAS, RECORD, 0, LEADER, AUTHORISATION, 0, TIMED_OUT])
        mover = Thread(target=_lead, args=(brokers, random.Random(5)))
        mover.start()
        send(told, messages, random.Random(5), least=24)
        mover.join()
        held = consumed(int(brokers.brokers.partition(",")[0].rpartition(":")[2]))
    came = [place(value) for _, _, value, _ in held]
    assert len(set(came)) == 24
    assert overtaken(came) == []


def _lead(brokers, chance):
    for _ in range(10):
        brokers.lead(chance.randrange(2), 1 + chance.randrange(3))
        time.sleep(0.2)


def test_kafka_sets_no_record_aside_because_another_is_too_large():
    """A broker says of a whole request that it is too large: what is in it is sent again in smaller ones."""
    messages = [message(number, b"{}")._replace(device=str(number)) for number in range(8)]
    with mock_kafka() as brokers:
        brokers.fail([SIZE, SIZE])
        told = SinkSettings("kafka", f"kafka://{brokers.brokers}/egress", timeout_s=5)
        assert send(told, messages, random.Random(1)) == 0
        held = consumed(int(brokers.brokers.partition(",")[0].rpartition(":")[2]))
    assert {headers["event_id"].decode() for *_, headers in held} == {one.id for one in messages}


# Where the peer resets a connection before its handshake, Python's ssl leaves the socket to be collected.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("scheme", [known.scheme for known in SINKS])
def test_kills_in_the_middle_change_no_order(scheme, tmp_path):
    """Receiver and exporter end while records come: each device's first arrivals are in their order."""
    chance = random.Random(7)
    messages = batch(150, 6, chance)
    with RECEIVERS[scheme](tmp_path) as receiver:
        killer = Thread(target=_killed, args=(receiver, chance)) if receiver.stop else None
        if killer:
            killer.start()
        send(receiver.settings, messages, random.Random(8), dies=0.1)
        if killer:
            killer.join()
        if kind(receiver.settings).promise.word in {WRITTEN.word, "receiver-acknowledged"}:
            assert eventually(
                lambda: {place(body) for body in receiver.bodies()} == {place(one.body) for one in messages}
            )
        assert overtaken([place(body) for body in receiver.bodies()]) == []


def _killed(receiver, chance):
    for _ in range(3):
        time.sleep(chance.random() / 10)
        with contextlib.suppress(ProcessLookupError):
            receiver.stop()
        time.sleep(chance.random() / 10)
        receiver.start()
