"""How far each source of names is to be trusted, and for how long what it says holds.

In: sources, and the times that packets give. Out: ranks and ends. Never: state.
"""

from __future__ import annotations

from egress_watch.names.dns import SOURCE as DNS
from egress_watch.names.dtls import SOURCE as DTLS
from egress_watch.names.http import SOURCE as HTTP
from egress_watch.names.llmnr import SOURCE as LLMNR
from egress_watch.names.mdns import SOURCE as MDNS
from egress_watch.names.quic import SOURCE as QUIC
from egress_watch.names.tls import SOURCE as TLS

SECOND_NS = 1_000_000_000
LEAST_TTL_S = 300
"""Programs keep an address for longer than a short TTL says."""
MOST_TTL_S = 86_400

OUTER = "ech"
TRUST = (OUTER, TLS, QUIC, DTLS, HTTP, DNS, MDNS, LLMNR)
"""The sources, the surest first. The outer name goes before the plain one of the same hello: it says more."""
SOURCES = (*TRUST, "")
"""By rank; the last is that of no name."""
RANK = {source: rank for rank, source in enumerate(TRUST)}
UNKNOWN = len(TRUST)
LOCAL_RANKS = (RANK[MDNS], RANK[LLMNR])


def until_ns(start_ns: int, ttl_s: int) -> int:
    """Return how long an answer of this moment holds."""
    return start_ns + min(max(ttl_s, LEAST_TTL_S), MOST_TTL_S) * SECOND_NS
