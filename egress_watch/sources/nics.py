"""The network interfaces of this machine, and what is wrong with each as the end of a mirrored port.

In: /sys/class/net, /proc and two questions to the driver. Out: `Nic` rows. Never: a setting changed, or a frame sent.

Files of /sys/class/net are described in the kernel's Documentation/ABI/testing/sysfs-class-net; the questions are
those of ethtool(8) (linux/ethtool.h) and netdevice(7).
"""

from __future__ import annotations

import ctypes
import fcntl
import os
import socket
import struct
from contextlib import suppress
from ipaddress import IPv6Address
from pathlib import Path
from typing import NamedTuple

NET = Path("/sys/class/net")
IPV6 = Path("/proc/sys/net/ipv6/conf")
SIOCETHTOOL, SIOCGIFFLAGS, SIOCGIFADDR, SIOCGIFMTU, SIOCGIFHWADDR = 0x8946, 0x8913, 0x8915, 0x8921, 0x8927
GET_GRO, GET_FLAGS, FLAG_LRO = 0x2B, 0x25, 1 << 15
UP, RUNNING, NO_ARP = 1, 0x40, 0x80
LINKS = {1: 1, 772: 1, 512: 101, 519: 101, 768: 101, 769: 101, 776: 101, 778: 101, 823: 101, 65534: 101, 801: 105,
         803: 127}  # fmt: skip
"""LINKTYPE_ of what a packet socket hands over, by ARPHRD_ (linux/if_arp.h): Ethernet, bare IP, 802.11, radiotap."""
LINK_WORDS = {1: "Ethernet", 101: "IP", 105: "802.11", 127: "802.11 radiotap"}
COUNTERS = {
    "overruns": ("rx_missed_errors", "rx_fifo_errors", "rx_over_errors"), "dropped": ("rx_dropped",),
    "errors": ("rx_errors",),
}  # fmt: skip
LEAST_SLOT, MOST_SLOT, AROUND_BYTES = 2048, 4096, 128
"""Of a larger frame (jumbo, or glued together by an offload) the start is kept: it has all headers, and nearly always
the name. It counts with its full length."""


class Nic(NamedTuple):
    """A network interface as it is now."""

    name: str
    state: str
    """up, down, no carrier, as the kernel says it, or gone."""
    speed_mbit: int
    """0 where it is not known."""
    link: int
    """LINKTYPE_ of its frames, -1 where we cannot read them."""
    mtu: int
    addresses: tuple[str, ...]
    offloads: tuple[str, ...]
    """What is on and glues frames together: gro, lro."""
    findings: tuple[str, ...]
    """What is wrong with it for a mirrored port, each with a remedy."""


def nics() -> list[Nic]:
    """Return all interfaces, in order of name."""
    return [nic(name) for name in sorted(name for _, name in socket.if_nameindex())]


def nic(name: str) -> Nic:
    """Return one interface; its state is ``gone`` where there is none of that name."""
    link = LINKS.get(_asked(name, SIOCGIFHWADDR, "=H"), -1)
    told = Nic(
        name, state(name), max(_number(name, "speed"), 0), link, max(_asked(name, SIOCGIFMTU, "=i"), 0),
        (*_ipv4(name), *_ipv6(name)), _offloads(name), (),
    )  # fmt: skip
    return told._replace(findings=tuple(_findings(told)))


def state(name: str) -> str:
    """Return the state of an interface: up, down, no carrier, or gone."""
    flags = _asked(name, SIOCGIFFLAGS, "=H")
    if flags < 0:
        return "gone"
    if not flags & UP:
        return "down"
    return "up" if flags & RUNNING else "no carrier"


def slot_bytes(mtu: int) -> int:
    """Return the size of a ring's slot that holds a whole frame of this MTU, within bounds."""
    wanted = mtu + AROUND_BYTES
    return min(max(LEAST_SLOT, 1 << (wanted - 1).bit_length()), MOST_SLOT)


def counters(name: str) -> dict[str, int]:
    """Return the running totals of what an interface could not take: overruns, dropped, errors."""
    return {
        kind: sum(_number(name, f"statistics/{file}") for file in files) for kind, files in COUNTERS.items()
    }  # fmt: skip


def _findings(nic: Nic) -> list[str]:
    """Return what would make it send, lose or glue frames."""
    name, found = nic.name, []
    if nic.state != "up":
        remedy = f"ip link set {name} up" if nic.state == "down" else "look at the cable"
        found.append(f"{nic.state}: {remedy}")
    if nic.link < 0:
        found.append("its frames cannot be read")
    if name == "lo":
        return found
    if nic.addresses:
        found.append(f"has an address, so this machine answers on it: ip addr flush dev {name}")
    if nic.link == 1 and not _asked(name, SIOCGIFFLAGS, "=H") & NO_ARP:
        found.append(f"answers ARP: ip link set {name} arp off")
    if _ipv6_speaks(name):
        found.append(f"IPv6 is on, so it asks for routers: sysctl -w net.ipv6.conf.{name}.disable_ipv6=1")
    if nic.offloads:
        off = " ".join(f"{kind} off" for kind in nic.offloads)
        found.append(f"glues frames together, so sizes are not those of the wire: ethtool -K {name} {off}")
    return found


def _ipv6_speaks(name: str) -> bool:
    """Return whether the kernel would speak IPv6 here by itself.

    That it makes no link-local address (addrgenmode none) is not enough: it takes one from a router's advertisement
    that the mirror shows.
    """
    with suppress(OSError):
        return (IPV6 / name / "disable_ipv6").read_text(encoding="ascii").strip() != "1"
    return False


def _text(name: str, file: str) -> str:
    with suppress(OSError):  # a link that is down has no speed or carrier to read
        return (NET / name / file).read_text(encoding="ascii", errors="replace").strip()
    return ""


def _number(name: str, file: str) -> int:
    try:
        return int(_text(name, file))
    except ValueError:
        return 0


def _asked(name: str, question: int, answer: str) -> int:
    """Return a number that the kernel knows of an interface (struct ifreq), -1 where there is no such interface."""
    with suppress(OSError), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asking:
        told = fcntl.ioctl(asking, question, struct.pack("16s24x", os.fsencode(name)[:15]))
        return int(struct.unpack_from(answer, told, 16)[0])
    return -1


def _ipv4(name: str) -> tuple[str, ...]:
    with suppress(OSError), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asking:
        answer = fcntl.ioctl(asking, SIOCGIFADDR, struct.pack("16s24x", os.fsencode(name)[:15]))
        return (socket.inet_ntoa(answer[20:24]),)
    return ()


def _ipv6(name: str) -> tuple[str, ...]:
    with suppress(OSError):
        rows = (line.split() for line in Path("/proc/net/if_inet6").read_text(encoding="ascii").splitlines())
        return tuple(str(IPv6Address(bytes.fromhex(row[0]))) for row in rows if row[5] == name)
    return ()


def _offloads(name: str) -> tuple[str, ...]:
    asked = {"gro": (GET_GRO, 1), "lro": (GET_FLAGS, FLAG_LRO)}
    return tuple(kind for kind, (question, bit) in asked.items() if _ethtool(name, question) & bit)


def _ethtool(name: str, question: int) -> int:
    """Return what the driver answers, 0 where it knows no answer."""
    value = ctypes.create_string_buffer(struct.pack("II", question, 0), 8)
    with suppress(OSError), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asking:
        fcntl.ioctl(asking, SIOCETHTOOL, struct.pack("16sP16x", os.fsencode(name)[:15], ctypes.addressof(value)))
        return int(struct.unpack("II", value.raw)[1])
    return 0
