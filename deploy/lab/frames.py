"""Frames built byte by byte for the lab's senders: true checksums, any source that one cares to claim.

In: addresses, ports, payload. Out: Ethernet frames as bytes, and the numbered probe payload that a witness counts.
Layouts: RFC 791, RFC 9293, RFC 768; Modbus ADU: MODBUS Messaging on TCP/IP Implementation Guide V1.0b, 3.1.3.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Final

ETHERTYPE_IP: Final = 0x0800
PROTOCOL_TCP: Final = 6
PROTOCOL_UDP: Final = 17
TTL: Final = 64
WINDOW: Final = 64240
SYN: Final = 0x02
ACK: Final = 0x10
PSH_ACK: Final = 0x18
PROBE_MAGIC: Final = b"CGWPROBE"
PROBE: Final = struct.Struct("!8s8sQ")  # magic, run, sequence
READ_HOLDING_REGISTERS: Final = 3
WRITE_SINGLE_REGISTER: Final = 6


@dataclass(frozen=True, slots=True)
class Addresses:
    """Who a frame claims to come from and where it goes."""

    source_mac: bytes
    destination_mac: bytes
    source: bytes
    destination: bytes
    source_port: int
    destination_port: int


def checksum(data: bytes) -> int:
    """Return the Internet checksum (RFC 1071) of some bytes."""
    padded = data + b"\0" * (len(data) % 2)
    total: int = sum(struct.unpack(f"!{len(padded) // 2}H", padded))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def _ethernet_ip(to: Addresses, protocol: int, segment: bytes) -> bytes:
    length = 20 + len(segment)
    header = struct.pack("!BBHHHBBH4s4s", 0x45, 0, length, 0, 0x4000, TTL, protocol, 0, to.source, to.destination)
    header = header[:10] + struct.pack("!H", checksum(header)) + header[12:]
    return to.destination_mac + to.source_mac + struct.pack("!H", ETHERTYPE_IP) + header + segment


def _pseudo(to: Addresses, protocol: int, length: int) -> bytes:
    return to.source + to.destination + struct.pack("!BBH", 0, protocol, length)


def tcp(to: Addresses, flags: int, sequence: int, acknowledged: int, payload: bytes = b"") -> bytes:
    """Return a TCP segment in an Ethernet frame."""
    ports = struct.pack("!HH", to.source_port, to.destination_port)
    head = ports + struct.pack("!IIBBHHH", sequence, acknowledged, 0x50, flags, WINDOW, 0, 0)
    total = checksum(_pseudo(to, PROTOCOL_TCP, len(head) + len(payload)) + head + payload)
    return _ethernet_ip(to, PROTOCOL_TCP, head[:16] + struct.pack("!HH", total, 0) + payload)


def udp(to: Addresses, payload: bytes) -> bytes:
    """Return a UDP datagram in an Ethernet frame."""
    head = struct.pack("!HHHH", to.source_port, to.destination_port, 8 + len(payload), 0)
    total = checksum(_pseudo(to, PROTOCOL_UDP, 8 + len(payload)) + head + payload) or 0xFFFF
    return _ethernet_ip(to, PROTOCOL_UDP, head[:6] + struct.pack("!H", total) + payload)


def probe(run: bytes, sequence: int) -> bytes:
    """Return a numbered payload; `run` is eight bytes that tell one experiment from another."""
    return PROBE.pack(PROBE_MAGIC, run, sequence)


def probe_sequence(frame: bytes, run: bytes) -> int | None:
    """Return the number in a probe frame of this run, wherever its payload begins; None for anything else."""
    at = frame.find(PROBE_MAGIC + run)
    if at < 0 or len(frame) < at + PROBE.size:
        return None
    return int(PROBE.unpack_from(frame, at)[2])


def modbus_write(register: int, value: int, transaction: int = 1) -> bytes:
    """Return the Modbus/TCP ADU that writes one holding register."""
    return struct.pack("!HHHBBHH", transaction, 0, 6, 1, WRITE_SINGLE_REGISTER, register, value)


def modbus_read(register: int, count: int, transaction: int = 1) -> bytes:
    """Return the Modbus/TCP ADU that reads some holding registers."""
    return struct.pack("!HHHBBHH", transaction, 0, 6, 1, READ_HOLDING_REGISTERS, register, count)


def modbus_values(values: list[int], transaction: int = 1) -> bytes:
    """Return the Modbus/TCP ADU that answers such a reading."""
    body = struct.pack(f"!BBB{len(values)}H", 1, READ_HOLDING_REGISTERS, 2 * len(values), *values)
    return struct.pack("!HHH", transaction, 0, len(body)) + body
