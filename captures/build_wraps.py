"""Build one small capture for each encapsulation, and beside it what must come of it.

In: the table of `wraps_table`. Out: `wraps/NAME.pcapng` and `wraps/NAME.toml`, the same bytes in each run. Never: an
answer from the program under test: sizes are counted from the packets before they are wrapped.

    python captures/build_wraps.py

Every capture holds the same talk: a camera opens a TCP connection over IPv4 and asks something over IPv6 (where the
encapsulation carries IPv6), and where it carries whole frames, an ARP request. It needs the extra `captures` (scapy).
"""

from __future__ import annotations

import json
import struct
import sys
from pathlib import Path as File

sys.path.insert(0, str(File(__file__).parent))

from build_wire import SECOND_NS, SNAPLEN, Count, _block, _options, _record
from wraps import ALWAYS, BEFORE, COLLECTED, REFUSED, Seen, Wrap
from wraps_table import WRAPS

BEGIN_NS = 1_793_606_400 * SECOND_NS
STEP_NS = 10_000_000
Talk = tuple[str, str, int, str]
"""Device, remote, the remote's port, protocol."""


def build(wrap: Wrap, begin_ns: int) -> tuple[bytes, str]:
    """Return a capture and its TOML."""
    seen = wrap.seen()
    head = _block(0x0A0D0D0A, struct.pack("<IHHq", 0x1A2B3C4D, 1, 0, -1) + _options({4: b"egress-watch wraps"}))
    face = _block(1, struct.pack("<HHI", wrap.link, 0, SNAPLEN) + _options({9: b"\x09"}))
    times = range(begin_ns, begin_ns + len(seen) * STEP_NS, STEP_NS)
    records = (_record(at_ns, one.frame, len(one.frame)) for at_ns, one in zip(times, seen, strict=True))
    return head + face + b"".join(records), document(wrap, seen)


def document(wrap: Wrap, seen: list[Seen]) -> str:
    """Return what must come of the capture under each choice of `unwrap`, the default at the top."""
    parts = [
        "# Written by build_wraps.py; change wraps_table.py and build again.",
        f"title = {json.dumps(wrap.title)}\nstory = {json.dumps(wrap.story)}",
        '[config]\nzone = "EEA"\nnetworks = []',
        *_view(wrap, seen, "mirrors", ""),
    ]
    for unwrap in ("all", "none"):
        parts += [f'[{unwrap}.config.decode]\nunwrap = "{unwrap}"', *_view(wrap, seen, unwrap, f"{unwrap}.")]
    return "\n\n".join(parts) + "\n"


def _view(wrap: Wrap, seen: list[Seen], unwrap: str, prefix: str) -> list[str]:
    talks: dict[Talk, Count] = {}
    skipped: dict[str, int] = {}
    unwrapped = 0
    for one in seen:
        inside = _inside(wrap, one, unwrap)
        unwrapped += inside and wrap.kind not in (BEFORE, REFUSED)
        if inside and one.talk is None:
            skipped[one.reason] = skipped.get(one.reason, 0) + 1
            continue
        talk, size, out = (one.talk, one.size, one.out) if inside else (one.outer_talk, one.outer_size, one.outer_out)
        talks.setdefault(talk, Count()).add(size, out=out)
    total = {"frames": len(seen), "packets": sum(count.packets_out + count.packets_in for count in talks.values())}
    total |= {name: sum(getattr(count, name) for count in talks.values()) for name in ("bytes_out", "bytes_in")}
    parts = [_table(f"[{prefix}expect]", total), _table(f"[{prefix}expect.skipped]", skipped)]
    opened = {name: unwrapped * wrap.carriers.count(name) for name in wrap.carriers} if unwrapped else {}
    parts.append(_table(f"[{prefix}expect.unwrapped]", opened))
    names = ("device", "remote", "remote_port", "protocol")
    parts += [
        _table(f"[[{prefix}talk]]", dict(zip(names, talk, strict=True)) | vars(count))
        for talk, count in sorted(talks.items())
    ]
    return parts


def _inside(wrap: Wrap, one: Seen, unwrap: str) -> bool:
    """Return whether what is inside counts: a tunnel that holds no IP stays closed, a mirror does not."""
    if wrap.kind in (BEFORE, REFUSED):
        return True
    if unwrap == "none":
        return False
    mirror = wrap.kind == ALWAYS or (wrap.kind == COLLECTED and unwrap == "mirrors")
    return mirror or (unwrap == "all" and one.talk is not None)


def _table(head: str, row: dict[str, object]) -> str:
    return "\n".join([head, *(f"{json.dumps(k) if ' ' in k else k} = {json.dumps(v)}" for k, v in row.items())])


def main() -> None:
    """Write every capture."""
    target = File(__file__).parent / "wraps"
    target.mkdir(exist_ok=True)
    for number, wrap in enumerate(WRAPS):  # at times of their own: the same packet at the same time would be a copy
        capture, words = build(wrap, BEGIN_NS + number * 60 * SECOND_NS)
        (target / f"{wrap.name}.pcapng").write_bytes(capture)
        (target / f"{wrap.name}.toml").write_text(words, encoding="utf-8")


if __name__ == "__main__":
    main()
