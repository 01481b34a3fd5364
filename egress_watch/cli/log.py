"""What a program that runs for months says, a line each: words for people, or JSON for machines.

In: words, a level, and what a machine may count by. Out: lines on standard error, whoever still reads there. Never: a
control character, a second line for one message in JSON, or an exception.
"""

from __future__ import annotations

import json
import sys
import time
from contextlib import suppress
from typing import Any

from egress_watch.exports.plain import printable

INFO, WARNING, ERROR = "info", "warning", "error"
JSON = "json"
TOLD_WITH = "egress-watch: "


class Log:
    """Where ``part`` of the program says what becomes of it."""

    def __init__(self, part: str, form: str) -> None:
        self._part, self._as_json = part, form == JSON

    def say(self, message: str, level: str = INFO, **more: Any) -> None:
        """Say one thing; ``more`` is in JSON only."""
        if sys.stderr is not None:
            with suppress(OSError):
                print(self.line(message, level, **more), file=sys.stderr, flush=True)

    def line(self, message: str, level: str = INFO, **more: Any) -> str:
        """Return what `say` writes."""
        if not self._as_json:
            return "\n".join(map(printable, f"{TOLD_WITH}{message}".split("\n")))
        now_s = time.time()
        moment = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(now_s)) + f".{int(now_s % 1 * 1000):03}Z"
        return json.dumps({"time": moment, "level": level, "part": self._part, "message": message, **more})
