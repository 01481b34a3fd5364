"""A deep look at the packets of one flow, with Wireshark's dissectors through pyshark.

In: a capture file, and what tells the flow's packets from the others. Out: lines, a summary or a dissection for
each packet. Never: a name looked up by tshark, or a string from the wire that is not made harmless.

pyshark is loaded only here, and tshark does the work: neither is needed by anything else.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from importlib import import_module
from itertools import islice
from typing import Any

from egress_watch.errors import CaptureError, UsageError
from egress_watch.model import PROTOCOLS

GET_TSHARK = "install Wireshark's command-line tool: apt-get install tshark, or dnf install wireshark-cli"
GET_PYSHARK = "pip install 'egress-watch[inspect]'"
WITH_PORTS = ("tcp", "udp", "udplite", "sctp", "dccp")
SECOND_NS = 1_000_000_000
_NUMBERS = {name: number for number, name in PROTOCOLS.items()}
MOST_TOLD = 6
_BITS = re.compile(r"^[01. ]+ = ")
_UNTOLD = (": Set", ": Not set", "(resolved)")
_TELLING = ("Handshake Type", "Server Name: ", "Header Flags", "Topic: ", "Client ID: ", "Function Code", "Host: ")
"""How fields begin that say most of a packet: TLS, MQTT, Modbus, HTTP."""
_FILTER_NAMES = {"udplite": "udp"}
"""Wireshark shows the ports of UDP-Lite as those of UDP."""


def flow_filter(flow: Mapping[str, Any]) -> str:
    """Return the display filter (wireshark-filter(4)) of a row of the view ``flows``: both ways, within its times."""
    layer = "ipv6" if ":" in flow["device_ip"] else "ip"
    ends = (flow["device_ip"], flow["device_port"]), (flow["remote_ip"], flow["remote_port"])
    ways = " || ".join(_way(layer, flow["protocol"], *pair) for pair in (ends, ends[::-1]))
    since, until = (_seconds(flow[column]) for column in ("first_ns", "last_ns"))
    return f"frame.time_epoch >= {since} && frame.time_epoch <= {until} && ({ways})"


def _way(layer: str, protocol: str, source: tuple[str, int], target: tuple[str, int]) -> str:
    parts = [f"{layer}.src == {source[0]}", f"{layer}.dst == {target[0]}"]
    if protocol in WITH_PORTS:
        name = _FILTER_NAMES.get(protocol, protocol)
        parts += [f"{name}.srcport == {source[1]}", f"{name}.dstport == {target[1]}"]
    elif layer == "ip":  # an extension header may stand in between in IPv6
        parts.append(f"ip.proto == {_NUMBERS.get(protocol, protocol)}")
    return f"({' && '.join(parts)})"


def _seconds(time_ns: int) -> str:
    return f"{time_ns // SECOND_NS}.{time_ns % SECOND_NS:09d}"


def summaries(path: str, wanted: str, limit: int) -> Iterator[str]:
    """Yield a line for each of up to ``limit`` packets: number, time, ends, protocol, length, and what it says.

    Raises UsageError where pyshark or tshark is missing, CaptureError for what tshark cannot read.
    """
    for packet in _packets(path, wanted, limit):
        said = "; ".join(islice(_telling(packet.layers[-1]), MOST_TOLD))
        ends = f"{_end_of(packet, 'src')} > {_end_of(packet, 'dst')}"
        yield f"{packet.number:>6}  {packet.sniff_timestamp}  {ends}  {packet.highest_layer}  {packet.length}  {said}"


def _end_of(packet: Any, side: str) -> str:
    """Return address and port of one end, of the innermost IP layer."""
    layers = {layer.layer_name: layer for layer in packet.layers}
    network = layers.get("ip") or layers.get("ipv6")
    transport = layers.get(packet.transport_layer.lower()) if packet.transport_layer else None
    address = getattr(network, side, "")
    return f"{address} {getattr(transport, f'{side}port')}" if transport else str(address)


def _telling(layer: Any) -> Iterator[str]:
    """Yield the fields of a layer that a person would read out, the telling ones first: no flags, nothing twice."""
    if layer.layer_name == "tcp":
        return iter([layer.get_field("flags").showname, f"{layer.len} bytes of payload"])
    words = dict.fromkeys(_BITS.sub("", text) for text in _fields(layer))
    kept = [text for text in words if text and not text.endswith(_UNTOLD)]
    return iter(sorted(kept, key=lambda text: not text.startswith(_TELLING)))


def dissections(path: str, wanted: str, limit: int) -> Iterator[list[str]]:
    """Yield the lines of each dissection of up to ``limit`` packets; a field lies two blanks deep in its layer."""
    for packet in _packets(path, wanted, limit):
        lines = [f"packet {packet.number}, {packet.sniff_timestamp}, {packet.length} bytes"]
        for layer in packet.layers:
            lines.append(f"  {layer.layer_name}")
            lines += [f"    {text}" for text in dict.fromkeys(_fields(layer)) if text]
        yield lines


def _fields(layer: Any) -> Iterator[str]:
    for name in layer.field_names:
        for field in getattr(layer.get_field(name), "all_fields", []):
            yield str(field.showname or field.show or "")


def _packets(path: str, wanted: str, limit: int) -> Iterator[Any]:
    """Yield what pyshark gives; names stay unresolved (tshark -n), whatever the user's preferences say."""
    with _pyshark() as pyshark, _loop() as loop:
        capture = pyshark.FileCapture(
            path, display_filter=wanted, keep_packets=False, eventloop=loop, custom_parameters=["-n"],
        )  # fmt: skip
        try:
            found = iter(islice(capture, limit))
            if first := next(found, None):
                yield first
                yield from found
            else:
                _look_for_trouble(capture, loop, path)
        except pyshark.tshark.tshark.TSharkNotFoundException as error:
            raise UsageError("tshark is not here", remedy=GET_TSHARK) from error
        except pyshark.capture.capture.TSharkCrashException as error:
            raise _gave_up(str(error), path) from error
        finally:
            _stop(capture, loop)


def _look_for_trouble(capture: Any, loop: asyncio.AbstractEventLoop, path: str) -> None:
    """Raise CaptureError where tshark ended in trouble and gave nothing."""
    for child in list(capture._running_processes):  # noqa: SLF001 - pyshark does not tell it otherwise
        if loop.run_until_complete(child.wait()):
            raise _gave_up(str(capture._last_error_line or ""), path)  # noqa: SLF001 - see above


def _gave_up(said: str, path: str) -> CaptureError:
    what = re.sub(r"\s+", " ", said)[:400]
    remedy = "unpack it first where it is packed with xz; see what `tshark -r` says"
    return CaptureError(f"tshark cannot read it: {what}".rstrip(": "), where=path, remedy=remedy)


def _stop(capture: Any, loop: asyncio.AbstractEventLoop) -> None:
    """End tshark, which may still be reading; pyshark would take that for a crash, and end it once more later."""
    for child in list(capture._running_processes):  # noqa: SLF001 - see above
        with suppress(ProcessLookupError):
            child.kill()
        loop.run_until_complete(child.stdout.read())  # a full pipe would keep it from being seen to end
        loop.run_until_complete(child.wait())
        child._transport.close()  # noqa: SLF001 - nothing else closes its pipes
    capture._running_processes.clear()  # noqa: SLF001 - see above
    loop.run_until_complete(asyncio.sleep(0))
    for task in asyncio.all_tasks(loop):
        with suppress(Exception):
            loop.run_until_complete(task)


@contextmanager
def _pyshark() -> Iterator[Any]:
    try:
        pyshark = import_module("pyshark")
        for module in ("pyshark.capture.capture", "pyshark.tshark.tshark"):
            import_module(module)
    except ImportError as error:
        raise UsageError("pyshark is not here", remedy=GET_PYSHARK) from error
    yield pyshark


@contextmanager
def _loop() -> Iterator[asyncio.AbstractEventLoop]:
    loop = asyncio.new_event_loop()
    try:
        yield loop
    finally:
        loop.run_until_complete(loop.shutdown_asyncgens())
        loop.close()
