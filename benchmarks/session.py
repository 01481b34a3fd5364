"""A session of the terminal UI in a real terminal: keys are typed under tmux, and what stands there is kept.

In: a database. Out: docs/tui-session.txt to read, docs/tui-session.cast to play (asciicast v2). Never: a screen that
was not drawn by the program: each is captured from the terminal.

    egress-watch replay captures/city.pcapng --db city.db
    python benchmarks/session.py city.db
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

DOCS = Path(__file__).parent.parent / "docs"
COLUMNS, ROWS = 110, 32
SOCKET = f"egress-watch-{os.getpid()}"
LOOK_S, SAME = 0.5, 3
"""A screen is kept when so many looks at it, so far apart, were the same."""
STEPS = (
    ((), "It opens on the answer: bytes by verdict, now and over time, where on the map, and who."),
    (("Tab", "Tab"), "tab goes from list to list: now on the owners."),
    (("j", "Enter"), "Enter on an owner leads to its destinations. The line at the foot says how we came here."),
    (("w",), "w: why? Where, whose hands, how sure, each source with its date, and what would change it."),
    (("Escape", "Enter"), "Back, and Enter on the destination shows its flows."),
    (("b", "b"), "b goes the same way back."),
    (("6", "/"), "On the flows, / opens the filter."),
    (tuple("cuntry:SG"), "What is wrong with it is said while it is typed."),
    (("C-u", *tuple("country:")), "What can follow stands above."),
    (("Tab", "Tab"), "tab puts it in."),
    (("Enter",), "Enter applies the filter."),
    (("x", "2", "Enter"), "x clears it; alerts are the second screen, Enter opens one with its evidence."),
    (("a",), "a says that somebody has seen it; the act is written down with name and time."),
    (("p",), "p hides addresses before a screen is shown to others."),
    (("p", "r"), "p shows them again; r asks for the time."),
    (("2",), "The last hour, back from the newest packet."),
    (("?",), "? tells the keys that work here."),
)


def tmux(*words: str) -> str:
    """Run a command of tmux, on a server of its own, and return what it says."""
    return subprocess.run(["tmux", "-L", SOCKET, *words], check=True, capture_output=True, text=True).stdout


def still(wanted: str = "") -> None:
    """Wait until the terminal stands still, with some words on it."""
    seen, same = "", 0
    while same < SAME or wanted not in seen:
        time.sleep(LOOK_S)
        now = tmux("capture-pane", "-p")
        same, seen = (same + 1 if now == seen else 0), now


def main(db: str) -> None:
    """Play the session and keep it."""
    screen = f"{sys.executable} -m egress_watch tui {db}"
    size = ("-x", str(COLUMNS), "-y", str(ROWS))
    tmux("-f", "/dev/null", "new-session", "-d", *size, "-e", "COLORTERM=truecolor", screen)
    begun, told = time.monotonic(), []
    cast = [json.dumps({"version": 2, "width": COLUMNS, "height": ROWS, "title": "egress-watch tui"})]
    try:
        still("recording")
        for keys, words in STEPS:
            for key in keys:
                tmux("send-keys", key)
                time.sleep(0.15)
            still()
            told.append(f"{words}\n\n{_indented(tmux('capture-pane', '-p'))}")
            frame = tmux("capture-pane", "-p", "-e").rstrip("\n").replace("\n", "\r\n")
            cast.append(json.dumps([round(time.monotonic() - begun, 2), "o", f"\x1b[2J\x1b[H{frame}"]))
        tmux("send-keys", "Escape")
        tmux("send-keys", "q")
    finally:
        subprocess.run(["tmux", "-L", SOCKET, "kill-server"], check=False, capture_output=True)
    (DOCS / "tui-session.txt").write_text("\n\n".join(told), encoding="utf-8")
    (DOCS / "tui-session.cast").write_text("\n".join(cast) + "\n", encoding="utf-8")


def _indented(screen: str) -> str:
    return "\n".join(f"    {line}".rstrip() for line in screen.split("\n")) + "\n"


if __name__ == "__main__":
    main(sys.argv[1])
