"""Frames packed by hand: field values in, bytes from the network header out.

Every function takes the fields by name and lets a test break any of them: lengths, versions and offsets default to
the right value and may be overridden with a wrong one. IPv4 and transport checksums are right unless fields lie.
Called by the stream generator, the vectors and the fuzzer. Must never import scapy: millions of frames go through here.
"""

from __future__ import annotations

import struct
from typing import Final

from .plain import Address

FIN, SYN, RST, PSH, ACK, URG = 0x01, 0x02, 0x04, 0x08, 0x10, 0x20
TCP, UDP, ICMP4, ICMP6 = 6, 17, 1, 58
IPV4, ARP, IPV6 = 0x0800, 0x0806, 0x86DD
MORE_FRAGMENTS: Final = 0x2000
DONT_FRAGMENT: Final = 0x4000


def checksum(data: bytes) -> int:
    """Return the Internet checksum (RFC 1071)."""
    if len(data) % 2:
        data += b"\x00"
    total: int = sum(struct.unpack(f"!{len(data) // 2}H", data))
    total = (total & 0xFFFF) + (total >> 16)
    return ~(total + (total >> 16)) & 0xFFFF


def ip(source: Address, destination: Address, protocol: int, body: bytes, *, identification: int = 1) -> bytes:
    """Return an IPv4 or IPv6 packet, by the version of the source."""
    if source.version == 4:
        return ipv4(source, destination, protocol, body, identification=identification)
    return ipv6(source, destination, protocol, body)


def ipv4(
    source: Address,
    destination: Address,
    protocol: int,
    body: bytes,
    *,
    identification: int = 1,
    fragment: int = DONT_FRAGMENT,
    options: bytes = b"",
    version: int = 4,
    header_words: int | None = None,
    total_bytes: int | None = None,
) -> bytes:
    """Return an IPv4 packet; `fragment` is the whole 16-bit field of flags and offset."""
    words = 5 + len(options) // 4 if header_words is None else header_words
    total = 20 + len(options) + len(body) if total_bytes is None else total_bytes
    first = (version << 4 | words) & 0xFF
    head = struct.pack("!BBHHHBB", first, 0, total & 0xFFFF, identification, fragment, 64, protocol)
    tail = source.packed[-4:] + destination.packed[-4:] + options
    return head + struct.pack("!H", checksum(head + b"\x00\x00" + tail)) + tail + body


def ipv6(
    source: Address,
    destination: Address,
    next_header: int,
    body: bytes,
    *,
    version: int = 6,
    payload_bytes: int | None = None,
    hop_limit: int = 255,
) -> bytes:
    """Return an IPv6 packet; 255 hops, as neighbour discovery demands."""
    size = len(body) if payload_bytes is None else payload_bytes
    head = struct.pack("!BBHHBB", version << 4, 0, 0, size & 0xFFFF, next_header, hop_limit)
    return head + source.packed + destination.packed + body


def pseudo_header(source: Address, destination: Address, protocol: int, length: int) -> bytes:
    """Return what transport checksums cover of the IP header."""
    if source.version == 4:
        return source.packed + destination.packed + struct.pack("!BBH", 0, protocol, length)
    return source.packed + destination.packed + struct.pack("!IHBB", length, 0, 0, protocol)


def _summed(source: Address, destination: Address, protocol: int, body: bytes, at: int) -> bytes:
    if source.version != destination.version:
        return body
    total = checksum(pseudo_header(source, destination, protocol, len(body)) + body)
    return body[:at] + struct.pack("!H", total) + body[at + 2 :]


def tcp(
    source: Address,
    destination: Address,
    ports: tuple[int, int],
    flags: int,
    data: bytes = b"",
    *,
    offset_words: int = 5,
) -> bytes:
    """Return a TCP segment."""
    head = struct.pack("!HHIIBBHHH", *ports, 1, 1 if flags & ACK else 0, offset_words << 4 & 0xFF, flags, 8192, 0, 0)
    return _summed(source, destination, TCP, head + data, 16)


def udp(
    source: Address, destination: Address, ports: tuple[int, int], data: bytes = b"", *, length: int | None = None
) -> bytes:
    """Return a UDP datagram."""
    size = 8 + len(data) if length is None else length
    return _summed(source, destination, UDP, struct.pack("!HHHH", *ports, size & 0xFFFF, 0) + data, 6)


def icmp(source: Address, destination: Address, kind: int, code: int, rest: bytes) -> bytes:
    """Return an ICMP or ICMPv6 message; `rest` starts at its fifth byte."""
    body = struct.pack("!BBH", kind, code, 0) + rest
    if source.version == 6:
        return _summed(source, destination, ICMP6, body, 2)
    return body[:2] + struct.pack("!H", checksum(body)) + body[4:]


def echo(source: Address, destination: Address, identifier: int, *, reply: bool = False, data: bytes = b"") -> bytes:
    """Return an echo request or reply of the source's IP version."""
    kind = (0 if reply else 8) if source.version == 4 else (129 if reply else 128)
    return icmp(source, destination, kind, 0, struct.pack("!HH", identifier, 1) + data)


def arp(
    sender_mac: bytes,
    sender: Address,
    target: Address,
    *,
    operation: int = 1,
    target_mac: bytes = bytes(6),
    kinds: bytes = b"\x00\x01\x08\x00\x06\x04",
) -> bytes:
    """Return an ARP packet; `kinds` are hardware type, protocol type and their lengths."""
    head = kinds + struct.pack("!H", operation)
    return head + sender_mac + sender.packed[-4:] + target_mac + target.packed[-4:]


def solicitation(source: Address, destination: Address, target: Address, mac: bytes) -> bytes:
    """Return a neighbour solicitation with the source's link-layer address."""
    return icmp(source, destination, 135, 0, bytes(4) + target.packed + b"\x01\x01" + mac)


def advertisement(source: Address, destination: Address, target: Address, mac: bytes) -> bytes:
    """Return a neighbour advertisement with the target's link-layer address."""
    return icmp(source, destination, 136, 0, b"\x60\x00\x00\x00" + target.packed + b"\x02\x01" + mac)


def solicited_node(target: Address) -> Address:
    """Return the group a solicitation for the target goes to (RFC 4291 clause 2.7.1)."""
    return Address(6, 0xFF0200000000000000000001FF000000 | target.value & 0xFFFFFF)


def ethernet(destination_mac: bytes, source_mac: bytes, vlan: int, ethertype: int, payload: bytes) -> bytes:
    """Return the whole frame, with one C-tag when `vlan` is not 0, padded to 60 bytes."""
    tag = struct.pack("!HH", 0x8100, vlan) if vlan else b""
    frame = destination_mac + source_mac + tag + struct.pack("!H", ethertype) + payload
    return frame.ljust(60, b"\x00")
