"""How far each source of names is to be trusted, and for how long what it says holds.

In: sources, and the times that packets give. Out: ranks and ends. Never: state.
"""

from __future__ import annotations

from egress_watch.names import dns, dtls, http, llmnr, mdns, quic, tls

SECOND_NS = 1_000_000_000
LEAST_TTL_S = 300
"""Programs keep an address for longer than a short TTL says."""
MOST_TTL_S = 86_400

OUTER = "ech"
TRUST = (OUTER, tls.SOURCE, quic.SOURCE, dtls.SOURCE, http.SOURCE, dns.SOURCE, mdns.SOURCE, llmnr.SOURCE)
"""The sources, the surest first. The outer name goes before the plain one of the same hello: it says more."""
SOURCES = (*TRUST, "")
"""By rank; the last is that of no name."""
RANK = {source: rank for rank, source in enumerate(TRUST)}
UNKNOWN = len(TRUST)
LOCAL_RANKS = (RANK[mdns.SOURCE], RANK[llmnr.SOURCE])


def until_ns(start_ns: int, ttl_s: int) -> int:
    """Return how long an answer of this moment holds."""
    return start_ns + min(max(ttl_s, LEAST_TTL_S), MOST_TTL_S) * SECOND_NS
