"""What a correlation rule found, as an alert a person can read out.

In: a rule that counts, and a group that reached its limit. Out: an `Alert`. Never: a sum made here; the store counts.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from egress_watch.model import Alert, Count, Crossing

if TYPE_CHECKING:
    from egress_watch.rules.links import Rule

WORDS = {
    "value_sum": "{amount:,} in {field}",
    "value_count": "{amount:,}{more} different values of {field}",
    "event_count": "{amount:,} flows",
}
SPANS = ((86_400, "d"), (3_600, "h"), (60, "min"))


def crossed(rule: Rule, count: Count, found: Crossing) -> Alert:
    """Return the episode of one group: its owner and country are told where the rule groups by them."""
    newest, by = found.newest, dict(zip(count.group_by, found.group, strict=True))
    beside = {name: value for name, value in by.items() if name not in ("device_ip", "device_mac", "owner", "country")}
    network = ", ".join(f"{name} {value}" for name, value in beside.items() if value is not None)
    return Alert(
        rule.id, rule.title, rule.level, newest["device"], newest["device_ip"], newest["remote_ip"],
        str(by.get("owner") or ""), str(by.get("country") or ""), newest["verdict"] or "", found.first_ns,
        found.last_ns, found.hits, found.bytes_out, found.bytes_in, found.first_flow, found.last_flow,
        _why(count, found, by), network,
    )  # fmt: skip


def _why(count: Count, found: Crossing, by: dict[str, str | int | None]) -> str:
    """Return the sentence: who, how much, in what time, over which limit."""
    amount = WORDS[count.kind].format(amount=found.amount, field=count.field, more=" or more" * found.more)
    group = ", ".join(f"{name} {value}" for name, value in by.items() if name != "device_ip" and value is not None)
    newest, device = found.newest["name"] or found.newest["remote_ip"], found.newest["device_ip"]
    within = f"{amount} within {span(count.timespan_s)}, the limit is {count.least:,}; newest to {newest}"
    return f"{device}{f' ({group})' if group else ''}: {within}"


def counted(count: Count) -> str:
    """Return in words what a correlation counts and from where on it speaks."""
    what = count.kind if count.kind == "event_count" else f"{count.kind} of {count.field}"
    return f"{what} by {', '.join(count.group_by)} within {span(count.timespan_s)}, from {count.least:,} on"


def span(seconds: int) -> str:
    """Return a time in words, in the largest unit that it is a whole number of."""
    return next((f"{seconds // unit} {word}" for unit, word in SPANS if seconds % unit == 0), f"{seconds} s")
