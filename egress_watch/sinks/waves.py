"""Order within a device, at a receiver that may take a record and not the one before it.

In: a sink. Out: a sink that sends no record of a device before all earlier ones of it are settled: acknowledged, or
noted as refused for good. Never: two records of a device under way.

So whatever fails, and when, and however late something comes that nobody waits for any more: what comes first of a
device is its oldest. A batch goes in as many waves as the busiest device has records in it; a wave holds one of each
device. What goes as one ordered stream, or as one request that is taken or not, keeps its order by itself, since each
begins with the oldest record that is not settled.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from egress_watch.sinks.sink import Message, Receipt, Sink, SinkDown


class Waves:
    """A sink that delivers a batch to another, wave after wave."""

    def __init__(self, sink: Sink) -> None:
        self._sink = sink

    def deliver(self, messages: Sequence[Message]) -> Receipt:
        """Send waves until one is not taken whole; done is what stands before the first record that is not settled.

        A refusal ends it too: it is to be noted before anything later of that device goes.
        """
        settled, refused, said = set[int](), dict[int, str](), ""
        for wave in waves(messages):
            receipt, down = self._sent([messages[place] for place in wave])
            settled |= set(wave[: receipt.done])
            refused |= {wave[number]: why for number, why in receipt.refused.items()}
            said = receipt.said
            if down is not None:
                raise SinkDown(down.what, receipt=_front(settled, refused), retry_s=down.retry_s) from down
            if refused or receipt.done < len(wave):
                break
        return _front(settled, refused)._replace(said=said)

    def close(self) -> None:
        """Close the other."""
        self._sink.close()

    def _sent(self, wave: Sequence[Message]) -> tuple[Receipt, SinkDown | None]:
        try:
            return self._sink.deliver(wave), None
        except SinkDown as down:
            return down.receipt, down


def waves(messages: Sequence[Message]) -> list[list[int]]:
    """Return the places of a batch in waves: the first record of each device, then the second of each, and so on."""
    found, had = list[list[int]](), Counter[str]()
    for place, message in enumerate(messages):
        if had[message.device] == len(found):
            found.append([])
        found[had[message.device]].append(place)
        had[message.device] += 1
    return found


def _front(settled: set[int], refused: dict[int, str]) -> Receipt:
    done = next(place for place in range(len(settled) + 1) if place not in settled)
    return Receipt(done, {place: why for place, why in refused.items() if place < done})
