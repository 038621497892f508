"""Cases of docs/reference/semantics.md as data: a sentence, frames in order, what the last one gets.

In: tests/vectors/plant.py. Out: `CASES`. The unit test of engine and twin walks this table; whoever changes a line of
the page adds its case here first.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Final, NamedTuple

from fastpath.abi import Reason
from tests.support import wire
from tests.support.plain import Address, Frame, address
from tests.vectors.plant import (
    ACK,
    ANSWER,
    ASK,
    GROUP4,
    GROUP_MAC,
    LAPTOP,
    OFFICE4,
    OFFICE6,
    OPENING,
    PLC,
    PLC4,
    PLC6,
    ROGUE,
    ROUTED4,
    ROUTER,
    SEGMENT,
    SILENT4,
    SOLICIT,
    SYN,
    SYN_ACK,
    UNLISTED4,
    advertise,
    changed_ipv4,
    error,
    mapped,
    ping,
    tcp,
    to_office,
    to_plant,
    udp,
)


class Case(NamedTuple):
    """A sentence of the page, the frames that lead there, and what the last frame gets."""

    sentence: str
    frames: tuple[Frame, ...]
    reason: Reason
    conduit: str | None = None


R = Reason
CASES: Final[tuple[Case, ...]] = (
    Case("1 an ingress port of no zone", (replace(OPENING, in_port="stray0"),), R.IDENTITY_PORT_UNKNOWN),
    Case("1 an egress port of no zone", (replace(OPENING, out_port="stray0"),), R.IDENTITY_PORT_UNKNOWN),
    Case("1 a VLAN of no zone", (replace(OPENING, vlan=7),), R.IDENTITY_PORT_UNKNOWN),
    Case("1 VLAN 4095 is no zone's", (replace(OPENING, vlan=4095),), R.IDENTITY_PORT_UNKNOWN),
    Case(
        "1 a priority tag counts as untagged",
        (replace(OPENING, priority_tagged=True),),
        R.POLICY_CONDUIT,
        "laptop-modbus",
    ),
    Case("2 two ports of one zone", (replace(OPENING, in_port="pl1"),), R.ZONE_INTERNAL),
    Case("2 even garbage passes within a zone", (replace(OPENING, in_port="pl1", payload=b"\x00"),), R.ZONE_INTERNAL),
    Case("2 the same VLAN zone on two ports", (replace(OPENING, vlan=100),), R.ZONE_INTERNAL),
    Case(
        "3 a second tag",
        (replace(OPENING, priority_tagged=True, ethertype=0x8100, payload=b"\x00\x07\x08\x00" + OPENING.payload),),
        R.FRAME_VLAN_STACKED,
    ),
    Case(
        "3 one tag left in the payload is no second tag",
        (replace(OPENING, ethertype=0x8100, payload=b"\x00\x00\x08\x00" + OPENING.payload),),
        R.POLICY_CONDUIT,
        "laptop-modbus",
    ),
    Case("3 a length instead of an EtherType", (replace(OPENING, ethertype=1535),), R.FRAME_LLC),
    Case("3 1536 is an EtherType", (replace(OPENING, ethertype=1536),), R.POLICY_NO_CONDUIT),
    Case("3 IPv4 under 20 bytes", (to_plant(OPENING.payload[:19]),), R.FRAME_TRUNCATED),
    Case("3 nothing at all", (to_plant(b""),), R.FRAME_TRUNCATED),
    Case("3 IPv4 of version 5", (changed_ipv4(version=5),), R.FRAME_MALFORMED),
    Case("3 IHL under 5", (changed_ipv4(header_words=4),), R.FRAME_MALFORMED),
    Case("3 IHL beyond the frame", (to_plant(b"\x4f" + OPENING.payload[1:40]),), R.FRAME_TRUNCATED),
    Case("3 total length below the header", (changed_ipv4(total_bytes=19),), R.FRAME_MALFORMED),
    Case("3 total length beyond the frame", (changed_ipv4(total_bytes=41),), R.FRAME_TRUNCATED),
    Case("3 options are skipped", (changed_ipv4(options=b"\x01" * 8),), R.POLICY_CONDUIT, "laptop-modbus"),
    Case("3 padding is not looked at", (to_plant(OPENING.payload + b"\xff" * 6),), R.POLICY_CONDUIT, "laptop-modbus"),
    Case("3 a first fragment", (changed_ipv4(fragment=0x2000),), R.FRAME_FRAGMENT),
    Case("3 a later fragment", (changed_ipv4(fragment=0x0001),), R.FRAME_FRAGMENT),
    Case("3 the reserved flag is no fragment", (changed_ipv4(fragment=0x8000),), R.POLICY_CONDUIT, "laptop-modbus"),
    Case(
        "3 a fragment before its broken transport",
        (to_plant(wire.ipv4(OFFICE4, PLC4, 6, b"\x01", fragment=0x2000)),),
        R.FRAME_FRAGMENT,
    ),
    Case("3 an IPv6 fragment", (to_plant(wire.ipv6(OFFICE6, PLC6, 44, bytes(8)), wire.IPV6),), R.FRAME_FRAGMENT),
    *(
        Case(
            f"3 IPv6 extension header {kind}",
            (to_plant(wire.ipv6(OFFICE6, PLC6, kind, bytes(8)), wire.IPV6),),
            R.FRAME_EXTENSION,
        )
        for kind in (0, 43, 60, 135, 139, 140)
    ),
    Case("3 IPv6 under 40 bytes", (to_plant(bytes([0x60]) + bytes(38), wire.IPV6),), R.FRAME_TRUNCATED),
    Case(
        "3 IPv6 of version 4",
        (to_plant(wire.ipv6(OFFICE6, PLC6, 6, SEGMENT, version=4), wire.IPV6),),
        R.FRAME_MALFORMED,
    ),
    Case(
        "3 IPv6 longer than the frame",
        (to_plant(wire.ipv6(OFFICE6, PLC6, 6, SEGMENT, payload_bytes=21), wire.IPV6),),
        R.FRAME_TRUNCATED,
    ),
    Case("3 TCP under 20 bytes", (to_plant(wire.ipv4(OFFICE4, PLC4, 6, SEGMENT[:19])),), R.FRAME_TRUNCATED),
    Case(
        "3 TCP data offset under 5",
        (to_plant(tcp(OFFICE4, PLC4, (4000, 502), SYN, offset_words=4)),),
        R.FRAME_MALFORMED,
    ),
    Case(
        "3 TCP data offset beyond the segment",
        (to_plant(tcp(OFFICE4, PLC4, (4000, 502), SYN, offset_words=6)),),
        R.FRAME_MALFORMED,
    ),
    *(
        Case(f"3 TCP flags {flags:#04x}", (to_plant(tcp(OFFICE4, PLC4, (4000, 502), flags)),), R.FRAME_TCP_FLAGS)
        for flags in (0, wire.PSH, wire.URG, SYN | wire.FIN, SYN | wire.RST, SYN | ACK | wire.FIN, 0xC0)
    ),
    Case("3 UDP under 8 bytes", (to_plant(wire.ipv4(OFFICE4, PLC4, 17, bytes(7))),), R.FRAME_TRUNCATED),
    Case("3 UDP length under 8", (to_plant(udp(OFFICE4, PLC4, (4000, 47808), 7)),), R.FRAME_MALFORMED),
    Case("3 UDP length beyond", (to_plant(udp(OFFICE4, PLC4, (4000, 47808), 13)),), R.FRAME_MALFORMED),
    Case("3 ICMP under 8 bytes", (to_plant(wire.ipv4(OFFICE4, PLC4, 1, bytes(7))),), R.FRAME_TRUNCATED),
    Case("3 ARP under 28 bytes", (replace(ASK, payload=ASK.payload[:27]),), R.FRAME_TRUNCATED),
    Case(
        "4a ARP for another hardware",
        (to_plant(wire.arp(LAPTOP, OFFICE4, PLC4, kinds=b"\x00\x06\x08\x00\x06\x04"), wire.ARP),),
        R.FRAME_MALFORMED,
    ),
    Case(
        "4a a solicitation without target",
        (to_plant(wire.ipv6(OFFICE6, PLC6, 58, wire.icmp(OFFICE6, PLC6, 135, 0, bytes(4))), wire.IPV6),),
        R.FRAME_MALFORMED,
    ),
    Case("4b an ARP probe", (to_plant(wire.arp(LAPTOP, Address(4, 0), PLC4), wire.ARP),), R.NEIGHBOUR_NO_CONDUIT),
    Case(
        "4c ARP sender is not the frame's source",
        (replace(ASK, payload=wire.arp(ROGUE, OFFICE4, PLC4)),),
        R.IDENTITY_NEIGHBOUR,
    ),
    Case(
        "4c ARP with a stolen IP", (to_plant(wire.arp(ROGUE, OFFICE4, PLC4), wire.ARP, ROGUE),), R.IDENTITY_SOURCE_MAC
    ),
    Case(
        "4c an advertisement for somebody else",
        (advertise(PLC6, address("fd00:2::6"), OFFICE6),),
        R.IDENTITY_NEIGHBOUR,
    ),
    Case(
        "4d gratuitous ARP of an asset with MACs",
        (to_plant(wire.arp(LAPTOP, OFFICE4, OFFICE4), wire.ARP),),
        R.NEIGHBOUR_RESOLUTION,
    ),
    Case(
        "4d gratuitous ARP of an asset without MACs",
        (to_office(wire.arp(ROGUE, SILENT4, SILENT4), wire.ARP, ROGUE),),
        R.NEIGHBOUR_NO_CONDUIT,
    ),
    Case("4d an advertisement to all nodes", (advertise(PLC6, PLC6, address("ff02::1")),), R.NEIGHBOUR_RESOLUTION),
    Case(
        "4e ARP for a target elsewhere",
        (to_plant(wire.arp(LAPTOP, OFFICE4, UNLISTED4), wire.ARP),),
        R.IDENTITY_DESTINATION_ZONE,
    ),
    Case("4f ARP along a conduit", (ASK,), R.NEIGHBOUR_RESOLUTION),
    Case(
        "4f ARP against a conduit's direction",
        (to_office(wire.arp(PLC, PLC4, OFFICE4), wire.ARP),),
        R.NEIGHBOUR_RESOLUTION,
    ),
    Case(
        "4f ARP where no conduit is",
        (to_plant(wire.arp(ROGUE, UNLISTED4, SILENT4), wire.ARP, ROGUE),),
        R.NEIGHBOUR_NO_CONDUIT,
    ),
    Case("4f a solicitation along a conduit", (SOLICIT,), R.NEIGHBOUR_RESOLUTION),
    Case(
        "5 a source that is nobody's",
        (to_plant(tcp(address("192.0.2.1"), PLC4, (1, 502), SYN)),),
        R.IDENTITY_SOURCE_UNKNOWN,
    ),
    Case("5 a group as source", (to_plant(tcp(GROUP4, PLC4, (1, 502), SYN)),), R.IDENTITY_SOURCE_UNKNOWN),
    Case("5 a source of another zone", (to_plant(tcp(SILENT4, PLC4, (1, 502), SYN)),), R.IDENTITY_SOURCE_ZONE),
    Case("5 an asset's IP with a foreign MAC", (replace(OPENING, source_mac=ROGUE),), R.IDENTITY_SOURCE_MAC),
    Case(
        "5 a routed asset carries its router's MAC",
        (to_office(tcp(ROUTED4, OFFICE4, (502, 4000), SYN_ACK), source_mac=ROUTER),),
        R.FLOW_PICKUP,
        "office-modbus",
    ),
    Case(
        "5 a routed asset with another MAC",
        (to_office(tcp(ROUTED4, OFFICE4, (502, 4000), SYN_ACK), source_mac=PLC),),
        R.IDENTITY_SOURCE_MAC,
    ),
    Case(
        "5 an unlisted address has no MAC to check",
        (to_plant(tcp(UNLISTED4, PLC4, (1, 502), SYN), source_mac=ROGUE),),
        R.POLICY_CONDUIT,
        "office-modbus",
    ),
    Case(
        "5 IPv4 in IPv6 clothes is nobody",
        (to_plant(tcp(mapped(OFFICE4), PLC6, (1, 502), SYN), wire.IPV6),),
        R.IDENTITY_SOURCE_UNKNOWN,
    ),
    Case(
        "5 a frame without IP from an unknown MAC",
        (to_plant(bytes(46), 0x88B8, ROGUE, GROUP_MAC),),
        R.IDENTITY_SOURCE_UNKNOWN,
    ),
    Case(
        "6 a destination that is nobody's",
        (to_plant(tcp(OFFICE4, address("192.0.2.1"), (1, 502), SYN)),),
        R.IDENTITY_DESTINATION_UNKNOWN,
    ),
    Case("6 a destination elsewhere", (to_plant(tcp(OFFICE4, UNLISTED4, (1, 502), SYN)),), R.IDENTITY_DESTINATION_ZONE),
    Case(
        "6 IPv4 in IPv6 clothes is nowhere",
        (to_plant(tcp(OFFICE6, mapped(PLC4), (1, 502), SYN), wire.IPV6),),
        R.IDENTITY_DESTINATION_UNKNOWN,
    ),
    Case(
        "6 a destination MAC that cannot be seen",
        (replace(to_plant(bytes(46), 0x88B8), destination_mac=None),),
        R.IDENTITY_DESTINATION_UNKNOWN,
    ),
    Case("7 the answer of a known flow", (OPENING, ANSWER), R.FLOW_ESTABLISHED, "laptop-modbus"),
    Case("7 the opener goes on", (OPENING, ANSWER, OPENING), R.FLOW_ESTABLISHED, "laptop-modbus"),
    Case(
        "7 the responder opens nothing", (OPENING, to_office(tcp(PLC4, OFFICE4, (502, 4000), SYN))), R.POLICY_NO_CONDUIT
    ),
    Case(
        "7 a UDP answer",
        (to_plant(udp(OFFICE4, SILENT4, (5000, 47808))), to_office(udp(SILENT4, OFFICE4, (47808, 5000)))),
        R.FLOW_ESTABLISHED,
        "bacnet",
    ),
    Case(
        "7 a UDP answer to another port",
        (to_plant(udp(OFFICE4, SILENT4, (5000, 47808))), to_office(udp(SILENT4, OFFICE4, (47808, 5001)))),
        R.POLICY_NO_CONDUIT,
    ),
    Case(
        "7 an echo reply",
        (to_plant(ping(OFFICE4, PLC4, 7)), to_office(ping(PLC4, OFFICE4, 7, reply=True))),
        R.FLOW_ESTABLISHED,
        "office-modbus",
    ),
    Case(
        "7 an echo reply of another identifier",
        (to_plant(ping(OFFICE4, PLC4, 7)), to_office(ping(PLC4, OFFICE4, 8, reply=True))),
        R.POLICY_NO_CONDUIT,
    ),
    Case(
        "7 no echo request from the responder",
        (to_plant(ping(OFFICE4, PLC4, 7)), to_office(ping(PLC4, OFFICE4, 7))),
        R.POLICY_NO_CONDUIT,
    ),
    Case("8 most specific first: by asset before by role", (OPENING,), R.POLICY_CONDUIT, "laptop-modbus"),
    Case(
        "8 IPv6 is not distinguished",
        (to_plant(tcp(OFFICE6, PLC6, (4000, 502), SYN), wire.IPV6),),
        R.POLICY_CONDUIT,
        "laptop-modbus",
    ),
    Case(
        "8 mid-stream TCP from the opener",
        (to_plant(tcp(OFFICE4, PLC4, (4000, 502), ACK)),),
        R.FLOW_PICKUP,
        "laptop-modbus",
    ),
    Case("8 another IP protocol", (to_plant(wire.ip(OFFICE4, PLC4, 47, bytes(8))),), R.POLICY_CONDUIT, "office-modbus"),
    Case("8 a group destination", (to_plant(udp(OFFICE4, GROUP4, (5000, 47808))),), R.POLICY_CONDUIT, "who-is"),
    Case("8 GOOSE to its group", (to_plant(bytes(46), 0x88B8, to=GROUP_MAC),), R.POLICY_CONDUIT, "who-is"),
    Case(
        "8 ICMP over IPv6 is no service",
        (to_plant(wire.ipv6(OFFICE6, PLC6, 1, bytes(8)), wire.IPV6),),
        R.POLICY_NO_CONDUIT,
    ),
    Case("9 mid-stream TCP from the responder", (ANSWER,), R.FLOW_PICKUP, "laptop-modbus"),
    Case("9 the flow's opener is the destination", (ANSWER, OPENING), R.FLOW_ESTABLISHED, "laptop-modbus"),
    Case("9 it never lets anyone open", (to_office(tcp(PLC4, OFFICE4, (502, 4000), SYN)),), R.POLICY_NO_CONDUIT),
    Case(
        "10 an error about a known flow",
        (OPENING, to_office(error(PLC4, OFFICE4, OPENING.payload))),
        R.FLOW_RELATED,
        "laptop-modbus",
    ),
    Case("10 an error about nothing", (to_office(error(PLC4, OFFICE4, OPENING.payload)),), R.POLICY_NO_CONDUIT),
    Case(
        "10 an error about what the other sent",
        (OPENING, to_office(error(PLC4, OFFICE4, ANSWER.payload))),
        R.POLICY_NO_CONDUIT,
    ),
    Case(
        "10 a redirect is no error", (OPENING, to_office(error(PLC4, OFFICE4, OPENING.payload, 5))), R.POLICY_NO_CONDUIT
    ),
    Case(
        "11 all conduits closed",
        (to_plant(tcp(OFFICE4, PLC4, (4000, 102), SYN)),),
        R.POLICY_CONDUIT_CLOSED,
        "closed-s7",
    ),
    Case(
        "11 closed only against the direction", (to_office(tcp(PLC4, OFFICE4, (102, 4000), ACK)),), R.POLICY_NO_CONDUIT
    ),
    Case("12 a port beside the service", (to_plant(tcp(OFFICE4, PLC4, (4000, 503), SYN)),), R.POLICY_NO_CONDUIT),
    Case("12 UDP on the service's TCP port", (to_plant(udp(OFFICE4, PLC4, (4000, 502))),), R.POLICY_NO_CONDUIT),
    Case("12 nobody may go back", (to_office(tcp(PLC4, OFFICE4, (4000, 502), SYN)),), R.POLICY_NO_CONDUIT),
)
