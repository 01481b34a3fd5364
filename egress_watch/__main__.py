"""``python -m egress_watch`` is ``egress-watch``.

In: the command line. Out: an exit code. Never: anything else.
"""

from __future__ import annotations

from egress_watch.cli import program

if __name__ == "__main__":
    program()
