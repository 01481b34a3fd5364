"""Standard output as a sink: for a pipe to another program, or a container whose output is collected.

In: messages. Out: one line each. Never: a claim that anybody read it.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

from egress_watch.config import SinkSettings
from egress_watch.sinks.sink import BEST_EFFORT, Kind, Message, Receipt, SinkDown


class Stdout:
    """Writes lines and flushes after each batch."""

    def __init__(self, _: SinkSettings) -> None:
        pass

    def deliver(self, messages: Sequence[Message]) -> Receipt:
        """Write a batch; a closed or full output is down."""
        if sys.stdout is None:  # what Python makes of a descriptor that the caller closed
            raise SinkDown("standard output is closed")
        try:
            sys.stdout.flush()
            sys.stdout.buffer.write(b"".join(message.body + b"\n" for message in messages))
            sys.stdout.buffer.flush()
        except (OSError, ValueError) as error:
            raise SinkDown(f"standard output: {getattr(error, 'strerror', None) or error}") from error
        return Receipt(len(messages), said="written")

    def close(self) -> None:
        """Leave it open: it is not ours."""


STDOUT = Kind("stdout", "stdout:", "standard output, a line a record", BEST_EFFORT, Stdout)
