"""Whether anybody keeps this machine's clock right.

In: the kernel's word. Out: yes, no, or not known. Never: a clock set.
"""

from __future__ import annotations

import ctypes
import sys

STA_UNSYNC = 0x40
"""Flag of struct timex.status (adjtimex(2), linux/timex.h)."""
_STATUS_AT = 40
"""Offset of ``status`` in struct timex where long has eight bytes; before it: modes and four longs."""
_TIMEX_BYTES = 208


def synchronised() -> bool | None:
    """Return what the kernel says of its clock, None where it cannot be asked."""
    if not sys.platform.startswith("linux") or ctypes.sizeof(ctypes.c_long) != 8:
        return None
    asked = ctypes.create_string_buffer(_TIMEX_BYTES)  # modes 0: only asks
    try:
        if ctypes.CDLL(None, use_errno=True).adjtimex(asked) < 0:
            return None
    except (OSError, AttributeError):
        return None
    return not int.from_bytes(asked.raw[_STATUS_AT : _STATUS_AT + 4], sys.byteorder) & STA_UNSYNC
