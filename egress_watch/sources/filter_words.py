"""Find the words of a filter that could only be understood by asking the network.

In: an expression in the language of pcap-filter(7). Out: the first such word. Never: a name looked up.

libpcap's compiler asks the resolver (DNS, NIS) for every word that stands where an address may stand. This program
connects to nothing, so such a word is refused before the compiler sees it. Names of ports and protocols come from
files (/etc/services, /etc/protocols) and may stand. In doubt a word is refused.
"""

from __future__ import annotations

import re
from ipaddress import ip_address

JOINING = frozenset(("and", "or", "not"))
"""They pass the qualifiers of the part before on."""
FROM_FILES = frozenset(("port", "portrange", "proto", "protochain", "type", "subtype", "dir", "on", "ifname"))
"""Words of which the next name is one of a file, of libpcap's own list, or of an interface."""
_OWN_WORDS = """
    dst src host net mask gateway less greater byte broadcast multicast inbound outbound len length link
    ether ppp slip fddi tr wlan arp rarp ip ip6 tcp udp sctp icmp icmp6 igmp igrp pim vrrp carp ah esp radio
    atalk aarp decnet lat sca moprc mopdl iso esis es-is isis is-is l1 l2 iih lsp snp csnp psnp clnp stp ipx netbeui
    vlan mpls pppoed pppoes geneve lane llc metac bcc sc ilmic oam oamf4 oamf4ec oamf4sc connectmsg metaconnect
    vpi vci fisu lsu lssu msu hfisu hlssu hmsu sio opc dpc sls hsio hopc hdpc hsls
    addr1 addr2 addr3 addr4 address1 address2 address3 address4 ra ta reason action rnr rulenum rset ruleset
    srnr subrulenum tcpflags icmptype icmpcode icmp6type icmp6code
    tcp-fin tcp-syn tcp-rst tcp-push tcp-ack tcp-urg tcp-ece tcp-cwr
    icmp-echoreply icmp-unreach icmp-sourcequench icmp-redirect icmp-echo icmp-routeradvert icmp-routersolicit
    icmp-timxceed icmp-paramprob icmp-tstamp icmp-tstampreply icmp-ireq icmp-ireqreply icmp-maskreq icmp-maskreply
    icmp6-destinationunreach icmp6-packettoobig icmp6-timeexceeded icmp6-parameterproblem icmp6-echo icmp6-echoreply
    icmp6-multicastlistenerquery icmp6-multicastlistenerreportv1 icmp6-multicastlistenerdone icmp6-routersolicit
    icmp6-routeradvert icmp6-neighborsolicit icmp6-neighboradvert icmp6-redirect icmp6-routerrenum
    icmp6-nodeinformationquery icmp6-nodeinformationresponse icmp6-ineighbordiscoverysolicit
    icmp6-ineighbordiscoveryadvert icmp6-multicastlistenerreportv2 icmp6-homeagentdiscoveryrequest
    icmp6-homeagentdiscoveryreply icmp6-mobileprefixsolicit icmp6-mobileprefixadvert icmp6-certpathsolicit
    icmp6-certpathadvert icmp6-multicastrouteradvert icmp6-multicastroutersolicit icmp6-multicastrouterterm
"""
KEYWORDS = JOINING | FROM_FILES | frozenset(_OWN_WORDS.split())
"""Words that mean themselves. libpcap tells small from capital letters, and so do we."""

_SPLIT = re.compile(r"[\s()!<>=+*/&|^%\[\],]+")
_PLAIN = (
    re.compile(r"-?((0[xX][0-9A-Fa-f]+|[0-9]+)(-(0[xX][0-9A-Fa-f]+|[0-9]+))*)?-?"),  # 80, 0x2a, 6000-6010, -1
    re.compile(r"[0-9]{0,10}:[0-9]{0,10}"),  # tcp[0:2]
    re.compile(r"[0-9]{1,3}(\.[0-9]{1,3}){1,3}"),  # 10.0.0 is a network
    re.compile(r"[0-9A-Fa-f]{1,2}([:.-][0-9A-Fa-f]{1,2}){5}|[0-9A-Fa-f]{4}(\.[0-9A-Fa-f]{4}){2}|[0-9A-Fa-f]{12}"),
)


def looked_up(expression: str) -> str:
    """Return the first word that libpcap could look up in the network, "" where there is none."""
    qualifier = ""
    words: list[str] = _SPLIT.split(expression)
    for word in filter(None, words):
        if word in KEYWORDS:
            qualifier = qualifier if word in JOINING else word
        elif qualifier not in FROM_FILES and not _plain(word):
            return word
    return ""


def _plain(word: str) -> bool:
    """Return whether a word is a number, an address or a constant."""
    if any(form.fullmatch(word) for form in _PLAIN):
        return True
    try:
        return bool(ip_address(word))
    except ValueError:
        return False
