"""How long a sink that is down is left alone: twice as long each time, and never two sensors at the same moment.

In: failures in a row and the bounds. Out: seconds. Never: no pause at all.
"""

from __future__ import annotations

import random

MOST_DOUBLED = 60
"""Beyond so many failures the pause is at any sensible bound anyway, and 2.0 ** n stays a number."""


def pause_s(failures: int, first_s: float, most_s: float, asked_s: float = 0.0) -> float:
    """Return a pause: ``first_s``, doubled for each further failure up to ``most_s``, the upper half of it by chance.

    What the receiver asks for (Retry-After) is kept, up to a day.
    """
    whole_s = min(most_s, first_s * 2.0 ** min(failures - 1, MOST_DOUBLED))
    return max(whole_s * (0.5 + random.random() / 2), min(asked_s, 86_400.0))  # noqa: S311 - no secret
