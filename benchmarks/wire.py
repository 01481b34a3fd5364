"""Lay headers over a buffer: from rows of packets to the bytes of a pcap file.

In: columns of flows and packets. Out: records with Ethernet, 802.1Q, IP, TCP, UDP and ICMP. Never: a loop per packet,
but for the few that carry a text.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from payloads import Payloads

Columns = NDArray[Any]

RECORD = np.dtype([("seconds", "<u4"), ("micros", "<u4"), ("caught", "<u4"), ("wire", "<u4")])
ETHERNET = np.dtype([("dst_high", ">u2"), ("dst_low", ">u4"), ("src_high", ">u2"), ("src_low", ">u4"), ("type", ">u2")])
TAG = np.dtype([("tci", ">u2"), ("type", ">u2")])
IPV4 = np.dtype([("version_ihl", ">u2"), ("length", ">u2"), ("id", ">u2"), ("fragment", ">u2"), ("ttl", "u1"),
                 ("protocol", "u1"), ("checksum", ">u2"), ("src", ">u4"), ("dst", ">u4")])  # fmt: skip
IPV6 = np.dtype([("version_flow", ">u4"), ("length", ">u2"), ("protocol", "u1"), ("hops", "u1"), ("src_high", ">u8"),
                 ("src_low", ">u8"), ("dst_high", ">u8"), ("dst_low", ">u8")])  # fmt: skip
TCP = np.dtype([("src", ">u2"), ("dst", ">u2"), ("seq", ">u4"), ("ack", ">u4"), ("offset", "u1"), ("flags", "u1"),
                ("window", ">u2"), ("checksum", ">u2"), ("urgent", ">u2")])  # fmt: skip
UDP = np.dtype([("src", ">u2"), ("dst", ">u2"), ("length", ">u2"), ("checksum", ">u2")])
ICMP = np.dtype([("kind", "u1"), ("code", "u1"), ("checksum", ">u2"), ("rest", ">u4")])
LAYOUT = {6: TCP, 17: UDP, 1: ICMP}

ARP, PROFINET = 0x0806, 0x8892
EPOCH_S = 1_780_000_000
ROUTER, DEVICES = 0x0200_0000_0001, 0x0200_0001_0000
DEVICES_V4, DEVICES_V6 = (0, 0xFFFF << 32 | 10 << 24 | 20 << 16), (0xFD00_0000_0000_0014, 0)


class Ends(NamedTuple):
    """Who speaks with whom, of each packet."""

    src: Columns
    """(n, 2) words."""
    dst: Columns
    src_port: Columns
    dst_port: Columns


def packed(rows: Columns, flows: Columns, protocols: Columns, ports: Columns, payloads: Payloads,
           filler: Columns) -> tuple[bytes, int]:  # fmt: skip
    """Return the records of these packets, and the IP bytes in them; ``protocols`` and ``ports`` are by kind."""
    ip = rows["flow"] >= 0
    flow = flows[rows["flow"]]  # of an alien frame it is some flow: only the MAC of its device is used
    protocol = np.where(ip, protocols[flow["kind"]], 0)
    head = np.array([LAYOUT[number].itemsize if number in LAYOUT else 0 for number in range(18)])[protocol]
    network = np.where(ip, np.where(flow["ipv6"], IPV6.itemsize, IPV4.itemsize), 0)
    tag = np.where(ip & (flow["vlan"] > 0), TAG.itemsize, 0)
    size = ETHERNET.itemsize + tag + network + head + rows["payload"]
    end = np.cumsum(RECORD.itemsize + size)
    at = end - size
    data = np.resize(filler, int(end[-1]))
    _record(data, at - RECORD.itemsize, rows, size)
    _link(data, at, rows, flow, ip)
    at += ETHERNET.itemsize + tag
    ends = _ends(rows, flow, ports[flow["kind"]], payloads)
    _network(data, at, ip, flow, protocol, head + rows["payload"], ends, rows["time_us"].astype(np.int64))
    at += network
    _transport(data, at, rows, protocol, ends)
    _texts(data, at + head, rows, flow, payloads)
    return data.tobytes(), int((network + head + rows["payload"])[ip].sum())


def _lay(data: Columns, at: Columns, layout: np.dtype[Any], **columns: Any) -> None:
    """Write one header at each offset; fields that are not named are 0."""
    header = np.zeros(len(at), layout)
    for name, column in columns.items():
        header[name] = column
    places = np.ndarray((len(data) - layout.itemsize + 1,), f"V{layout.itemsize}", data.data, strides=(1,))
    places[at] = header.view(f"V{layout.itemsize}")


def _record(data: Columns, at: Columns, rows: Columns, size: Columns) -> None:
    seconds, micros = np.divmod(rows["time_us"], 1_000_000)
    _lay(data, at, RECORD, seconds=EPOCH_S + seconds, micros=micros, caught=size, wire=size)


def _link(data: Columns, at: Columns, rows: Columns, flow: Columns, ip: Columns) -> None:
    kind = np.where(ip, np.where(flow["ipv6"], 0x86DD, 0x0800), np.where(rows["time_us"] % 8, ARP, PROFINET))
    tagged = ip & (flow["vlan"] > 0)
    device = DEVICES + flow["device"].astype(np.int64)
    src, dst = np.where(rows["back"], ROUTER, device), np.where(rows["back"], device, ROUTER)
    _lay(data, at, ETHERNET, type=np.where(tagged, 0x8100, kind), src_high=src >> 32, src_low=src & 0xFFFFFFFF,
         dst_high=dst >> 32, dst_low=dst & 0xFFFFFFFF)  # fmt: skip
    _lay(data, at[tagged] + ETHERNET.itemsize, TAG, tci=flow["vlan"][tagged], type=kind[tagged])


def _ends(rows: Columns, flow: Columns, port: Columns, payloads: Payloads) -> Ends:
    base = np.array([DEVICES_V4, DEVICES_V6], np.uint64)[flow["ipv6"].astype(np.intp)]
    base[:, 1] += 1 + flow["device"].astype(np.uint64)
    remote = payloads.address[flow["remote"], flow["ipv6"].astype(np.intp)]
    back, pair = rows["back"], rows["back"][:, None]
    return Ends(
        np.where(pair, remote, base), np.where(pair, base, remote),
        np.where(back, port, flow["device_port"]), np.where(back, flow["device_port"], port),
    )  # fmt: skip


def _network(
    data: Columns, at: Columns, ip: Columns, flow: Columns, protocol: Columns, length: Columns, ends: Ends,
    time_us: Columns,
) -> None:  # fmt: skip
    v4, v6 = np.flatnonzero(ip & ~flow["ipv6"]), np.flatnonzero(ip & flow["ipv6"])
    src, dst = ends.src[v4, 1] & np.uint64(0xFFFFFFFF), ends.dst[v4, 1] & np.uint64(0xFFFFFFFF)
    size = length[v4] + IPV4.itemsize
    ident = time_us[v4] & 0xFFFF
    words = (0x4500, size, ident, 0x4000, protocol[v4] | 64 << 8, src >> 16, src & 0xFFFF, dst >> 16, dst & 0xFFFF)
    total = np.sum([np.broadcast_to(np.asarray(word, np.int64), len(v4)) for word in words], axis=0)
    total = (total & 0xFFFF) + (total >> 16)  # RFC 1071, twice because the first fold may carry
    _lay(data, at[v4], IPV4, version_ihl=0x4500, length=size, id=ident, fragment=0x4000, ttl=64, protocol=protocol[v4],
         src=src, dst=dst, checksum=~((total & 0xFFFF) + (total >> 16)) & 0xFFFF)  # fmt: skip
    protocol = np.where(protocol == 1, 58, protocol)[v6]  # ICMP has a number of its own in IPv6
    _lay(data, at[v6], IPV6, version_flow=6 << 28, length=length[v6], protocol=protocol, hops=64,
         src_high=ends.src[v6, 0], src_low=ends.src[v6, 1],
         dst_high=ends.dst[v6, 0], dst_low=ends.dst[v6, 1])  # fmt: skip


def _transport(data: Columns, at: Columns, rows: Columns, protocol: Columns, ends: Ends) -> None:
    """Lay TCP, UDP and ICMP echo headers; their checksums stay 0, as network cards leave them."""
    tcp, udp, icmp = (np.flatnonzero(protocol == number) for number in (6, 17, 1))
    _lay(data, at[tcp], TCP, src=ends.src_port[tcp], dst=ends.dst_port[tcp], offset=5 << 4, flags=rows["flags"][tcp],
         window=502, seq=rows["time_us"][tcp].astype(np.int64) & 0xFFFFFFFF)  # fmt: skip
    _lay(data, at[udp], UDP, src=ends.src_port[udp], dst=ends.dst_port[udp], length=rows["payload"][udp] + UDP.itemsize)
    _lay(data, at[icmp], ICMP, kind=np.where(rows["back"][icmp], 0, 8))


def _texts(data: Columns, at: Columns, rows: Columns, flow: Columns, payloads: Payloads) -> None:
    here = np.flatnonzero(rows["text"])
    columns = (at[here], rows["text"][here], flow["remote"][here], flow["ipv6"][here])
    for start, which, remote, ipv6 in zip(*(column.tolist() for column in columns), strict=True):
        text = payloads.text(which, remote, ipv6=ipv6)
        data[start : start + len(text)] = np.frombuffer(text, np.uint8)
