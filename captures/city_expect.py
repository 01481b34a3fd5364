"""Write down what must come of the demo capture, as TOML.

In: the wire's own counts and the scenario's table. Out: text. Never: an answer from the program under test.

Each `[[talk]]` sums all flows of one device, remote, remote port and protocol. Its `scope` is `remote` (judged),
`local` (both ends are the town's; the device is the one that asked) or `group` (multicast and broadcast).
"""

from __future__ import annotations

import json
from collections import Counter
from ipaddress import ip_address, ip_network

from build_talks import BEGIN_S, HOUR_S
from build_wire import Count, Key, Wire
from city_scenario import DEVICES, IN, NETWORKS, OUT, OWN, REMOTES, STORY, TALKS, TITLE, UNKNOWN, Remote

PROTOCOLS = {1: "icmp", 2: "igmp", 6: "tcp", 17: "udp", 58: "ipv6-icmp"}
CLEARTEXT_PORTS, SERVICE_PORTS = (21, 23, 80, 1883), (53, 123, 853)
TIED = ("KPN",)
"""Owners of the story that sit in the zone and have a published link to a group elsewhere (egress_watch/data)."""
BY_IP = {row.ip: row for row in REMOTES.values()}
WHO = {row.ip: name for name, row in DEVICES.items()}
Row = dict[str, object]


def document(wire: Wire) -> str:
    """Return the whole TOML document."""
    talks = [_talk(key, count) for key, count in sorted(wire.counts.items(), key=_order)]
    parts = [
        "# Written by build_city.py; change city_scenario.py and build again.",
        f'title = {_value(TITLE)}\nstory = """\n{STORY}\n"""',
        _table("config", {"zone": "EEA", "networks": [*NETWORKS]}),
        _table("expect", _totals(wire)),
        _table("expect.skipped", dict(sorted(wire.skipped.items()))),
        _table("expect.remote", _remote_totals(talks)),
        _table(
            "expect.verdicts", dict(sorted(Counter(str(row["verdict"]) for row in talks if "verdict" in row).items()))
        ),
        *(_table("device", row, many=True) for row in _devices()),
        *(_table("talk", row, many=True) for row in talks),
        *(_table("alert", row, many=True) for row in _alerts(wire.counts)),
    ]
    return "\n\n".join(parts) + "\n"


def _totals(wire: Wire) -> Row:
    counts = wire.counts.values()
    return {
        "frames": len(wire.frames),
        "packets": sum(count.packets_out + count.packets_in for count in counts),
        "bytes_out": sum(count.bytes_out for count in counts),
        "bytes_in": sum(count.bytes_in for count in counts),
        "first_s": BEGIN_S,
        "last_s": BEGIN_S + HOUR_S,
    }


def _remote_totals(talks: list[Row]) -> Row:
    rows = [row for row in talks if row["scope"] == "remote"]
    return {name: sum(int(str(row[name])) for row in rows) for name in Count.__annotations__}


def _devices() -> list[Row]:
    return [{"ip": row.ip, "mac": row.mac, "vlan": row.vlan, "what": row.what} for row in DEVICES.values()]


def _talk(key: Key, count: Count) -> Row:
    device, remote, port, protocol = key
    head: Row = {
        "device": device,
        "remote": remote,
        "remote_port": port,
        "protocol": PROTOCOLS[protocol],
        "scope": _scope(remote),
    }
    row = BY_IP.get(remote)
    if row is None:
        return {**head, **vars(count)}
    name, source = _name(row, WHO[device], port)
    judged = {
        "verdict": row.verdict,
        "country": row.country,
        "provider": row.provider,
        "owner": row.owner,
        "seat": row.seat,
    }
    return {**head, "name": name, "name_source": source, **vars(count), **judged, "why": row.why}


def _name(remote: Remote, device: str, port: int) -> tuple[str, str]:
    """Return the best name the capture gives for a remote, and where it is heard."""
    if not remote.name:
        return "", ""
    styles = {(row.device, REMOTES[row.remote].ip, row.port): row.style for row in TALKS}
    style = styles.get((device, remote.ip, port), "")
    return remote.name, style if style in ("tls", "http") else "dns"


def _scope(remote: str) -> str:
    address = ip_address(remote)
    if address.is_multicast or remote == "255.255.255.255":
        return "group"
    own = any(address in ip_network(net) for net in NETWORKS if ip_network(net).version == address.version)
    return "local" if own or address.is_link_local else "remote"


def _alerts(counts: dict[Key, Count]) -> list[Row]:
    """Return one row for each device, rule, owner and country that a rule's plain meaning reaches.

    The scenario's traffic is well above or well below the bytes at which a rule in `rules/` begins to speak.
    """
    found = {
        (device, rule, BY_IP[remote].owner, BY_IP[remote].country)
        for device, remote, port, _ in counts
        if remote in BY_IP
        for rule in _rules(BY_IP[remote], port)
    }
    return [dict(zip(("device", "rule", "owner", "country"), row, strict=True)) for row in sorted(found)]


def _rules(remote: Remote, port: int) -> list[str]:
    held = {
        "data-leaves-the-zone": remote.verdict == OUT and port not in SERVICE_PORTS,
        "eu-hosted-under-foreign-law": remote.verdict == OWN and port not in SERVICE_PORTS,
        "cleartext-leaves-the-zone": remote.verdict in (OUT, UNKNOWN) and port in CLEARTEXT_PORTS,
        "chinese-owned-destination": remote.seat == "CN",
        "dns-outside-the-zone": remote.verdict != IN and port in (53, 853),
        "ntp-outside-the-zone": remote.verdict in (OUT, UNKNOWN) and port == 123,
        "owner-tied-to-another-seat": remote.verdict == IN and remote.owner in TIED and port not in SERVICE_PORTS,
    }
    return [rule for rule, holds in held.items() if holds]


def _order(item: tuple[Key, Count]) -> tuple[int, int, bool, str, int, int]:
    device, remote, port, protocol = item[0]
    address = ip_address(device)
    return address.version, int(address), remote not in BY_IP, remote, port, protocol


def _table(name: str, row: Row, *, many: bool = False) -> str:
    head = f"[[{name}]]" if many else f"[{name}]"
    return "\n".join([head, *(f"{key} = {_value(value)}" for key, value in row.items())])


def _value(value: object) -> str:
    """Return a TOML value; its strings, integers and lists of them are written as JSON writes them."""
    return json.dumps(value, ensure_ascii=False)
