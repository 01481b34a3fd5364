"""The terminal UI beside a recorder: the same command records in a process of its own, the screen reads what it wrote.

In: the command line without --tui, a database. Out: the screen, then what the recorder printed. Never: a recorder that
is left behind: when the screen is left it is asked to stop, and waited for.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections.abc import Sequence

from egress_watch.cli.tui import on_a_terminal

STOP_S = 30.0


def beside(db: str, command: Sequence[str], *, wait: bool) -> int:
    """Run a command of egress-watch and the screen over ``db`` together; return the command's exit code.

    With ``wait`` the command is let finish when the screen is left (a replay); else it is asked to stop (watching).
    What it prints comes after the screen. Raises UsageError where there is no terminal.
    """
    on_a_terminal(db)
    from egress_watch_tui.app import EgressWatch

    with tempfile.TemporaryFile() as said:
        whole = [sys.executable, "-m", "egress_watch", *command]
        recorder = subprocess.Popen(whole, stdin=subprocess.DEVNULL, stdout=said, stderr=said, start_new_session=True)  # noqa: S603 - ourselves
        try:
            EgressWatch(db).run()
        finally:
            code = _ended(recorder, wait=wait)
        said.seek(0)
        sys.stdout.write(said.read().decode(errors="backslashreplace"))
    return code


def _ended(recorder: subprocess.Popen[bytes], *, wait: bool) -> int:
    """Return the exit code of the recorder, when it has ended."""
    if not wait:
        recorder.terminate()
    elif recorder.poll() is None:
        print("recording goes on to its end; Ctrl-C stops it", file=sys.stderr, flush=True)
    try:
        return recorder.wait(None if wait else STOP_S)
    except KeyboardInterrupt:
        recorder.terminate()
        return recorder.wait(STOP_S)
    except subprocess.TimeoutExpired:
        recorder.kill()
        return recorder.wait()
