"""One message that comes in pieces, in any order, some of them twice.

In: offsets and bytes. Out: the bytes from the start up to the first gap. Never: more than the bounds, whatever comes.

Where two pieces overlap, the bytes that came first stay: TCP (RFC 9293, section 3.10.7.4), QUIC (RFC 9000, section 2.2)
and DTLS (RFC 9147, section 5.5) all want a repeated byte to be the same one.
"""

from __future__ import annotations

from egress_watch.names.reader import Refusal

MOST_BYTES = 1 << 16
MOST_PIECES = 64
"""Pieces that may wait behind a gap."""


class Pieces:
    """A message in the making."""

    def __init__(self) -> None:
        self.start = b""
        """All bytes up to the first gap."""
        self._later: dict[int, bytes] = {}

    def add(self, offset: int, piece: bytes) -> bool:
        """Take in a piece and return whether ``start`` has grown; raises Refusal beyond the bounds."""
        if offset + len(piece) > MOST_BYTES:
            raise Refusal("message too long")
        if offset > len(self.start):
            self._keep(offset, piece)
            return False
        before = len(self.start)
        self.start += piece[before - offset :]
        while self._later and (first := min(self._later)) <= len(self.start):
            self.start += self._later.pop(first)[len(self.start) - first :]
        return len(self.start) > before

    def drop(self, count: int) -> None:
        """Forget this many bytes of ``start``, which are done with."""
        self.start = self.start[count:]
        self._later = {offset - count: piece for offset, piece in self._later.items()}

    def _keep(self, offset: int, piece: bytes) -> None:
        if len(piece) > len(self._later.get(offset, b"")):
            self._later[offset] = piece
        if len(self._later) > MOST_PIECES or sum(map(len, self._later.values())) > MOST_BYTES:
            raise Refusal("too many pieces")
