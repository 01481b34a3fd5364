"""How grave an alert is, on the scale of every receiver.

In: a Sigma level. Out: its row. Never: a level that turns graver or milder on the way.
"""

from __future__ import annotations

from typing import NamedTuple


class Severity(NamedTuple):
    """One level on all scales."""

    number: int
    """CEF header, 0 to 10, and LEEF ``sev``, 1 to 10."""
    ocsf: int
    """OCSF ``severity_id``: 1 Informational to 5 Critical."""
    ocsf_risk: int
    """OCSF ``risk_level_id``: 0 Info to 4 Critical."""
    ecs: int
    """ECS ``event.severity`` and ``event.risk_score``: the steps of Elastic's own rules, 0 for informational."""
    eve: int
    """Suricata's priority: 1 is the gravest."""
    syslog: int
    """RFC 5424, table 2: 2 Critical to 6 Informational."""


SEVERITIES: dict[str, Severity] = {
    "informational": Severity(1, 1, 0, 0, 4, 6),
    "low": Severity(3, 2, 1, 21, 3, 5),
    "medium": Severity(5, 3, 2, 47, 2, 4),
    "high": Severity(8, 4, 3, 73, 1, 3),
    "critical": Severity(10, 5, 4, 99, 1, 2),
}
"""By the level of the Sigma rule. A flow by itself is informational."""


def severity(level: str) -> Severity:
    """Return the row of a level; what is no level of Sigma counts as informational."""
    return SEVERITIES.get(level, SEVERITIES["informational"])
