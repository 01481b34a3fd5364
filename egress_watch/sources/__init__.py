"""Capture files, wherever they come from, as batches of frames.

In: paths. Out: `Frames`. Never: trust in a file's name; what it is, its first bytes say.

To add a format: a module with ``knows(head)`` and ``frames(stream, origin)``, and one line in FORMATS.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from egress_watch.sources import pcap, pcapng
from egress_watch.sources.inputs import Inputs

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import BinaryIO

    from egress_watch.sources.opened import Format

FORMATS: list[Format] = [pcap, pcapng]


def open_inputs(paths: Sequence[str], stdin: BinaryIO | None = None) -> Inputs:
    """Look at the paths and return what there is to read; nothing is read but the start of each file.

    ``stdin`` stands in for standard input where a path is ``-``; file descriptor 0 if None. UsageError where a path is
    missing; CaptureError where a folder holds no capture or cannot be listed.
    """
    return Inputs(paths, FORMATS, stdin)


__all__ = ["FORMATS", "Inputs", "open_inputs"]
