"""Which canonical IPv6 texts lie in a network, as SQL over the text.

In: a column and a network. Out: an SQL expression that is exact. Never: a guess where "::" may stand.

pySigma turns networks into LIKE patterns. For IPv4 they are exact; for IPv6, 1.5 forgets that leading zeros are not
written, and 2.0 that "::" can reach over the network's end. This one follows RFC 5952, section 4: lower case, no
leading zeros, and "::" for the longest run of two or more zero groups, nowhere else.
"""

from __future__ import annotations

from itertools import product
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from ipaddress import IPv6Network

HEX = "0123456789abcdef"
GROUPS = 8


def within(column: str, network: IPv6Network) -> str:
    """Return the SQL that holds for the canonical texts of the network's addresses, in parentheses."""
    tests = []
    for least, most in _texts(_groups(network)):
        beyond = f" AND {column} NOT GLOB '{most}'" if most else ""
        tests.append(f"({column} GLOB '{least}'{beyond})")
    return f"({' OR '.join(tests)})"


def _groups(network: IPv6Network) -> list[tuple[str, ...]]:
    """Return, for each group the prefix reaches into, the digits allowed in its four places."""
    low, high = (network[end].exploded.replace(":", "") for end in (0, -1))
    digits = [HEX[HEX.index(least) : HEX.index(most) + 1] for least, most in zip(low, high, strict=True)]
    named = -(-network.prefixlen // 16)
    return [tuple(digits[4 * group : 4 * group + 4]) for group in range(named)]


def _texts(groups: Sequence[tuple[str, ...]]) -> Iterator[tuple[str, str]]:
    """Yield pairs of GLOB patterns, by where "::" stands: what a text matches, and what it must not ("": no more)."""
    if not groups:
        yield "*:*", ""
        return
    free = GROUPS - len(groups)
    for text in _spelled(groups):
        yield (f"{text}:*" if free else text), ""
    for start in range(len(groups)):
        for left in _spelled(groups[:start]):
            yield from _over_the_end(f"{left}::", groups[start:], min(free, GROUPS - 2 - start))
            for end in range(start + 2, len(groups)):
                if _may_be_zero(groups[start:end]):
                    yield from _inside(f"{left}::", groups[end:], free)


def _over_the_end(head: str, covered: Sequence[tuple[str, ...]], most: int) -> Iterator[tuple[str, str]]:
    """Yield the texts whose "::" covers all the rest of the prefix: at most so many groups may follow."""
    if _may_be_zero(covered):
        yield (f"{head}*", f"{head}*" + ":*" * most) if most else (head, "")


def _inside(head: str, rest: Sequence[tuple[str, ...]], free: int) -> Iterator[tuple[str, str]]:
    """Yield the texts whose "::" ends inside the prefix: the rest of it, then exactly so many groups."""
    for text in _spelled(rest):
        # A group of zeros beside "::" would be part of it.
        if not text.startswith("0"):
            yield head + text + ":*" * free, head + text + ":*" * (free + 1)


def _spelled(groups: Sequence[tuple[str, ...]]) -> list[str]:
    """Return the ways to write some groups one after the other; only the last of a prefix has more than one."""
    return [":".join(words) for words in product(*(_spellings(group) for group in groups))]


def _spellings(group: tuple[str, ...]) -> Iterator[str]:
    """Yield the ways to write one group: one to four digits, since leading zeros are left out."""
    for skipped in range(4):
        if _may_be_zero([group[:skipped]]):
            first, *rest = group[skipped:]
            first = first if skipped == 3 else first.lstrip("0")
            if first:
                yield "".join(digits if len(digits) == 1 else f"[{digits}]" for digits in (first, *rest))


def _may_be_zero(groups: Sequence[tuple[str, ...]]) -> bool:
    """Tell whether all these groups can be zero."""
    return all("0" in digits for group in groups for digits in group)
