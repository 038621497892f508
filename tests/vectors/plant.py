"""The small plant of the decision cases, and how to build frames in it.

In: nothing. Out: `POLICY` (in plain form), addresses by name, and builders of frames between its office and its plant.
Called by tests/vectors/decision.py and by tests that walk its table.
"""

from __future__ import annotations

from typing import Final

from fastpath.abi import Stage
from tests.support import wire
from tests.support.plain import (
    Address,
    Asset,
    Conduit,
    Frame,
    PlainPolicy,
    Selector,
    Service,
    Zone,
    address,
    mac,
    prefix,
)

LAPTOP, PLC, ROUTER, ROGUE = (mac(f"02:00:00:00:00:{number:02x}") for number in (1, 2, 3, 9))
OFFICE4, OFFICE6, UNLISTED4, UNLISTED6 = map(address, ("10.1.0.5", "fd00:1::5", "10.1.0.77", "fd00:1::77"))
PLC4, PLC6, ROUTED4, SILENT4 = map(address, ("10.2.0.5", "fd00:2::5", "10.2.9.9", "10.2.0.8"))
GROUP4, GROUP_MAC = address("239.1.1.1"), mac("01:0c:cd:01:00:01")
SYN, ACK, SYN_ACK = wire.SYN, wire.ACK, wire.SYN | wire.ACK

MODBUS = Service("modbus", (("tcp", 502, 502),))
S7 = Service("s7", (("tcp", 102, 102),))
BACNET = Service("bacnet", (("udp", 47808, 47808),))
PING = Service("ping", (("icmp4", 8, 8), ("icmp6", 128, 128)))
GRE = Service("gre", (("ip", 47, 47),))
GOOSE = Service("goose", (("ethertype", 0x88B8, 0x88B8),))

POLICY: Final = PlainPolicy(
    zones=(
        Zone("office", ("of0",), (), (prefix("10.1.0.0/16"), prefix("fd00:1::/32"))),
        Zone("plant", ("pl0", "pl1"), (), (prefix("10.2.0.0/16"), prefix("fd00:2::/32"))),
        Zone("tagged", ("of0", "pl0"), (100,), (prefix("10.3.0.0/16"),)),
    ),
    assets=(
        Asset("laptop", "office", (LAPTOP,), (OFFICE4, OFFICE6), ("engineer",)),
        Asset("router", "plant", (ROUTER,), (address("10.2.0.1"),)),
        Asset("plc", "plant", (PLC,), (PLC4, PLC6), ("plc",)),
        Asset("routed-plc", "plant", (), (ROUTED4,), ("plc",), "router"),
        Asset("silent", "plant", (), (SILENT4,)),
    ),
    conduits=(
        Conduit("office-modbus", Selector(zones=("office",)), Selector(roles=("plc",)), (MODBUS, PING, GRE)),
        Conduit("laptop-modbus", Selector(assets=("laptop",)), Selector(assets=("plc",)), (MODBUS,), Stage.MONITOR),
        Conduit(
            "closed-s7", Selector(assets=("laptop",)), Selector(assets=("plc",)), (S7,), Stage.ALERT, enabled=False
        ),
        Conduit("bacnet", Selector(assets=("laptop",)), Selector(zones=("plant",)), (BACNET,)),
        Conduit(
            "who-is",
            Selector(assets=("laptop",)),
            Selector(group_ips=(GROUP4,), group_macs=(GROUP_MAC,)),
            (BACNET, GOOSE),
        ),
    ),
)


def to_plant(payload: bytes, ethertype: int = wire.IPV4, source_mac: bytes = LAPTOP, to: bytes = PLC) -> Frame:
    """Return a frame from the office's port to the plant's."""
    return Frame("of0", "pl0", 0, source_mac, to, ethertype, payload)


def to_office(payload: bytes, ethertype: int = wire.IPV4, source_mac: bytes = PLC, to: bytes = LAPTOP) -> Frame:
    """Return a frame from the plant's port to the office's."""
    return Frame("pl0", "of0", 0, source_mac, to, ethertype, payload)


def tcp(source: Address, destination: Address, ports: tuple[int, int], flags: int, offset_words: int = 5) -> bytes:
    """Return an IP packet with a TCP segment."""
    segment = wire.tcp(source, destination, ports, flags, offset_words=offset_words)
    return wire.ip(source, destination, wire.TCP, segment)


def udp(source: Address, destination: Address, ports: tuple[int, int], length: int | None = None) -> bytes:
    """Return an IP packet with a UDP datagram."""
    return wire.ip(source, destination, wire.UDP, wire.udp(source, destination, ports, b"data", length=length))


def ping(source: Address, destination: Address, identifier: int, *, reply: bool = False) -> bytes:
    """Return an IP packet with an echo request or reply."""
    protocol = wire.ICMP4 if source.version == 4 else wire.ICMP6
    return wire.ip(source, destination, protocol, wire.echo(source, destination, identifier, reply=reply))


def error(source: Address, destination: Address, quoted: bytes, kind: int = 3) -> bytes:
    """Return an ICMP error about a packet."""
    return wire.ip(source, destination, wire.ICMP4, wire.icmp(source, destination, kind, 1, bytes(4) + quoted))


OPENING = to_plant(tcp(OFFICE4, PLC4, (4000, 502), SYN))
ANSWER = to_office(tcp(PLC4, OFFICE4, (502, 4000), SYN_ACK))
SEGMENT = wire.tcp(OFFICE4, PLC4, (4000, 502), SYN)
ASK = to_plant(wire.arp(LAPTOP, OFFICE4, PLC4), wire.ARP, to=b"\xff" * 6)
SOLICIT = to_plant(
    wire.ipv6(
        OFFICE6, wire.solicited_node(PLC6), 58, wire.solicitation(OFFICE6, wire.solicited_node(PLC6), PLC6, LAPTOP)
    ),
    wire.IPV6,
)


def changed_ipv4(**fields: int | bytes) -> Frame:
    """Return the opening segment in an IPv4 packet with some fields changed."""
    return to_plant(wire.ipv4(OFFICE4, PLC4, wire.TCP, SEGMENT, **fields))  # type: ignore[arg-type]


def advertise(source: Address, shown: Address, destination: Address) -> Frame:
    """Return a neighbour advertisement from the plant."""
    body = wire.advertisement(source, destination, shown, PLC)
    return to_office(wire.ipv6(source, destination, 58, body), wire.IPV6)


def mapped(ip: Address) -> Address:
    """Return an IPv4 address in IPv6 clothes."""
    return Address(6, 0xFFFF << 32 | ip.value)
