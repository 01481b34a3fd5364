"""Ports, TCP flags and where the payload lies.

In: a walk whose rows stand behind their IP headers. Out: port and flag columns, payload spans. Never: an exception.

A packet whose transport header was not captured keeps ports 0: its bytes still count.
"""

from __future__ import annotations

import numpy as np

from egress_watch.decode.columns import Rows, Walk
from egress_watch.decode.network import LATER
from egress_watch.model import Ints

PORTS = np.dtype([("src", ">u2"), ("dst", ">u2")])
TCP = np.dtype([("ports", "V4"), ("seq", ">u4"), ("ack", ">u4"), ("offset", "u1"), ("flags", "u1")])  # RFC 9293, 3.1

HEADER_BYTES = np.zeros(256, np.int64)
HEADER_BYTES[[1, 6, 17, 33, 58, 132, 136]] = (8, 20, 8, 12, 8, 12, 8)
"""Fixed transport header by protocol: ICMP, TCP, UDP, DCCP, ICMPv6, SCTP, UDP-Lite."""
PORTED = np.zeros(256, np.bool_)
PORTED[[6, 17, 33, 132, 136]] = True
TCP_NUMBER = 6


def transport(walk: Walk, rows: Rows) -> None:
    """Read the transport headers of all packets in ``rows``."""
    headed = rows[(walk.fragment[rows] != LATER) & (HEADER_BYTES[walk.protocol[rows]] > 0)]
    _ports(walk, headed[PORTED[walk.protocol[headed]]])
    length = HEADER_BYTES[walk.protocol[headed]]
    tcp = walk.protocol[headed] == TCP_NUMBER
    length[tcp] = _tcp(walk, headed[tcp])
    walk.at[headed] = np.minimum(walk.at[headed] + length, walk.end[headed])
    walk.payload_bytes[rows] = walk.end[rows] - walk.at[rows]


def _ports(walk: Walk, rows: Rows) -> None:
    rows = rows[walk.at[rows] + PORTS.itemsize <= walk.end[rows]]
    header = walk.read(rows, PORTS)
    walk.src_port[rows] = header["src"]
    walk.dst_port[rows] = header["dst"]


def _tcp(walk: Walk, rows: Rows) -> Ints:
    """Set the flags and return each TCP header's length in bytes."""
    header = walk.read(rows, TCP)
    there = walk.at[rows] + TCP.itemsize <= walk.end[rows]
    walk.tcp_flags[rows] = np.where(there, header["flags"], 0)
    length: Ints = np.maximum(20, (header["offset"] >> 4).astype(np.int64) * 4)
    return length
