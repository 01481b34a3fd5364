"""What the C side of the accelerator takes: its structures, field by field.

In: nothing. Out: ctypes structures. Never: a field that the C file beside it does not have in the same place.
"""

from __future__ import annotations

from ctypes import Structure, addressof, c_char, c_int64, c_uint64, c_void_p
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

Place = tuple[str, type[Any]]


def _numbers(*names: str) -> list[Place]:
    return [(name, c_int64) for name in names]


def _columns(*names: str) -> list[Place]:
    return [(name, c_void_p) for name in names]


class PcapWalk(Structure):
    """``struct pcap`` in walk.c."""

    _fields_ = (
        _columns("data") + _numbers("at", "size", "header", "most", "tick_ns", "big", "swap")
        + _columns("start", "caught", "wire", "time_ns") + _numbers("room", "length")
    )  # fmt: skip


class BlockWalk(Structure):
    """``struct blocks`` in walk.c."""

    _fields_ = _columns("data") + _numbers("at", "size", "big") + _columns("offset") + _numbers("room", "length")


class RingWalk(Structure):
    """``struct ring`` in ring.c."""

    _fields_ = (
        _columns("ring") + _numbers("slots", "stride", "at") + _columns("data") + _numbers("used", "size", "tagged")
        + _columns("start", "caught", "wire", "time_ns") + _numbers("room", "status")
    )  # fmt: skip


class FrameBatch(Structure):
    """``struct batch`` in packets.c."""

    _fields_ = (
        _columns("data") + _numbers("size", "frames")
        + _columns("start", "caught", "frame_time_ns", "link", "kinds", "ports", "port_marks", "first_marks")
        + _columns("time_ns", "src_mac", "dst_mac", "vlan", "version", "src", "dst", "src_port", "dst_port", "protocol",
                   "tcp_flags", "packet_bytes", "fragment", "fragment_id", "payload", "payload_bytes", "print", "mark")
        + _columns("left", "place", "reason") + _numbers("left_count", "reason_count")
    )  # fmt: skip


class PcapPiece(Structure):
    """``struct piece`` in walk.c."""

    _fields_ = (
        ("walk", PcapWalk), *_columns("batch"), *_numbers("descriptor"), *_columns("data"), *_numbers("most", "rows"),
    )  # fmt: skip


class FlowPiece(Structure):
    """``struct piece`` in flows.c."""

    _fields_ = (
        _columns("rows", "due", "index") + _numbers("index_size") + _columns("free") + _numbers("free_count", "used")
        + [("seed", c_uint64)] + _numbers("active_ns", "linger_ns", "taken") + _columns("idle_ns")
        + _columns("private") + _numbers("private_count") + _columns("own") + _numbers("own_count")
        + _columns("group") + _numbers("group_count") + _numbers("packets")
        + _columns("time_ns", "clock", "src_mac", "dst_mac", "vlan", "version", "src", "dst", "src_port", "dst_port",
                   "protocol", "tcp_flags", "size", "cut")
        + _numbers("cut_count")
    )  # fmt: skip


class FlowEnds(Structure):
    """``struct ends`` in flows.c."""

    _fields_ = (
        _columns("piece") + _numbers("clock", "now", "otherwise", "fate") + _columns("slot", "serial")
        + _numbers("count", "forgotten")
        + _columns("first_ns", "last_ns", "device", "remote", "device_port", "remote_port", "protocol", "device_mac",
                   "vlan", "packets_out", "bytes_out", "packets_in", "bytes_in", "flags_out", "flags_in", "end_reason")
    )  # fmt: skip


class Copies(Structure):
    """``struct copies`` in copies.c."""

    _fields_ = (
        _columns("seen") + _numbers("packets") + _columns("print", "time_ns")
        + [("window_ns", c_uint64), ("moment_ns", c_uint64)] + _columns("row")
    )  # fmt: skip


class Alike(Structure):
    """``struct alike`` in distinct.c."""

    _fields_ = (
        _columns("words") + _numbers("width", "rows") + _columns("index") + _numbers("index_size")
        + _columns("first", "which")
    )  # fmt: skip


class RecordColumns(Structure):
    """``struct records`` in records.c."""

    _fields_ = (
        _columns("number", "column", "bytes", "nothing", "nullable") + _numbers("rows", "width", "most")
        + _columns("cells", "page", "end")
    )  # fmt: skip


class KnownRows(Structure):
    """``struct known`` in known.c."""

    _fields_ = (
        _columns("words", "number", "index") + _numbers("index_size", "width", "used") + [("seed", c_uint64)]
    )  # fmt: skip


class DeviceSift(Structure):
    """``struct sift`` in devices.c."""

    _fields_ = (
        _columns("ports", "first", "starts") + _numbers("start_count", "room", "text_room", "most_bytes")
        + _columns("kind", "time_ns", "mac", "src", "vlan", "end", "text") + _numbers("count", "text_bytes")
        + _columns("data") + _numbers("size", "packets") + _columns("mark")
        + _columns("src_mac", "src_word", "packet_vlan", "src_port", "dst_port", "protocol", "fragment", "payload",
                   "payload_bytes", "packet_ns")
    )  # fmt: skip


class NameSift(Structure):
    """``struct sift`` in names.c."""

    _fields_ = (
        _columns("first", "beginning", "ports", "protocols") + _numbers("tls", "http", "dns")
        + _numbers("quic") + _columns("initials") + _numbers("initial_count", "initial_bytes") + [("seed", c_uint64)]
        + _numbers("room", "most_texts", "text_room", "address_room") + _columns("texts", "index", "bytes")
        + _columns("left", "wanting", "row", "time_ns", "reader", "connection", "text", "addresses", "address", "ttl_s")
        + _numbers("left_count", "count", "text_count", "text_bytes", "address_count", "first_row")
        + _columns("data") + _numbers("size", "packets") + _columns("mark")
        + _columns("src", "dst", "src_port", "dst_port", "protocol", "payload", "payload_bytes", "packet_ns")
    )  # fmt: skip


class BookRows(Structure):
    """``struct book`` in books.c."""

    _fields_ = (
        _columns("lines", "runs", "index") + _numbers("index_size", "key_bytes", "limit") + [("seed", c_uint64)]
        + _numbers("lines_used", "free_line", "runs_used", "free_run", "kept", "forgotten")
    )  # fmt: skip


class BookNotes(Structure):
    """``struct notes`` in books.c."""

    _fields_ = _columns("keys") + _numbers("stride", "count") + _columns("start", "until", "name", "rank")


class BookNaming(Structure):
    """``struct naming`` in books.c."""

    _fields_ = (
        _columns("connections", "asked", "known", "local") + _numbers("count")
        + _columns("order", "device", "remote", "device_port", "remote_port", "protocol", "continued", "first_ns",
                   "last_ns", "since_ns", "name", "rank", "heard_ns", "others")
    )  # fmt: skip


def place_of(column: NDArray[np.generic]) -> int:
    """Return where the column lies in memory; ValueError where its rows do not lie side by side."""
    try:
        return addressof(c_char.from_buffer(cast("Any", column)))  # a quarter of what the ways below cost
    except (TypeError, ValueError):
        if not column.flags.c_contiguous:
            raise ValueError("a column with gaps") from None
        return column.ctypes.data  # empty, or not to be written to
