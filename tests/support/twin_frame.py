"""The twin's own reading of frames: EtherType and bytes in, plain fields or the reason why not out.

Written from docs/reference/semantics.md line 3 and the RFCs, never from fastpath. One pass, slices and ints, no
cleverness: slow is fine, wrong is not. Raises `UnreadableError` with the reason of the first header that is at fault.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from fastpath.abi import Reason

from .plain import Address, Frame

ETHERTYPE_IPV4 = 0x0800
ETHERTYPE_ARP = 0x0806
ETHERTYPE_IPV6 = 0x86DD
C_TAG = 0x8100
TAG_ETHERTYPES = (C_TAG, 0x88A8, 0x9100)  # IEEE 802.1Q: C-tag, S-tag; and the S-tag's number before the standard
FIRST_ETHERTYPE = 1536  # IEEE 802.3 clause 3.2.6: smaller values are lengths
ICMP4, TCP, UDP, ICMP6 = 1, 6, 17, 58
IPV6_FRAGMENT = 44
IPV6_EXTENSIONS = (0, 43, 60, 135, 139, 140)
FIN, SYN, RST, ACK = 0x01, 0x02, 0x04, 0x10
ECHO_REQUEST = {4: 8, 6: 128}
ECHO_REPLY = {4: 0, 6: 129}
ERROR_TYPES = {4: (3, 11, 12), 6: (1, 2, 3, 4)}
SOLICITATION, ADVERTISEMENT = 135, 136


class UnreadableError(Exception):
    """The frame cannot be parsed; `reason` is the drop reason of line 3 (or 4a)."""

    def __init__(self, reason: Reason) -> None:
        super().__init__(reason.name)
        self.reason = reason


@dataclass
class Transport:
    """What an IP packet carries. Ports: TCP and UDP only; `echo_id`: ICMP echo only."""

    protocol: int
    source_port: int = 0
    destination_port: int = 0
    flags: int = 0
    icmp_type: int | None = None
    echo_id: int | None = None
    body: bytes = b""  # ICMP: what follows its eight bytes

    @property
    def is_tcp_opening(self) -> bool:
        """SYN without ACK."""
        return self.protocol == TCP and self.flags & (SYN | ACK) == SYN


@dataclass
class Packet:
    """A readable IP packet."""

    source: Address
    destination: Address
    transport: Transport

    @property
    def version(self) -> int:
        """4 or 6."""
        return self.source.version

    @property
    def icmp_type(self) -> int | None:
        """The type, if it is the ICMP of its own IP version."""
        own = ICMP4 if self.version == 4 else ICMP6
        return self.transport.icmp_type if self.transport.protocol == own else None

    @property
    def is_neighbour_discovery(self) -> bool:
        """A solicitation or an advertisement."""
        return self.version == 6 and self.icmp_type in (SOLICITATION, ADVERTISEMENT)


@dataclass
class Arp:
    """A readable ARP packet for Ethernet and IPv4."""

    sender_mac: bytes
    sender: Address
    target: Address


def untag(frame: Frame) -> Frame:
    """Return the frame with its single C-tag taken off, if the kernel left it in the payload."""
    if frame.ethertype != C_TAG or frame.tagged or len(frame.payload) < 4:
        return frame
    vlan = _number(frame.payload, 0) & 0x0FFF
    inner = _number(frame.payload, 2)
    return replace(frame, vlan=vlan, ethertype=inner, payload=frame.payload[4:], priority_tagged=True)


def read(frame: Frame) -> Packet | Arp | None:
    """Return what an untagged frame carries; None for an EtherType without IP. Raises UnreadableError."""
    ethertype, payload = frame.ethertype, frame.payload
    if ethertype == C_TAG and not frame.tagged:
        raise UnreadableError(Reason.FRAME_TRUNCATED)
    if ethertype in TAG_ETHERTYPES:
        raise UnreadableError(Reason.FRAME_VLAN_STACKED)
    if ethertype < FIRST_ETHERTYPE:
        raise UnreadableError(Reason.FRAME_LLC)
    if ethertype == ETHERTYPE_IPV4:
        return _read_ipv4(payload)
    if ethertype == ETHERTYPE_IPV6:
        return _read_ipv6(payload)
    if ethertype == ETHERTYPE_ARP:
        return _read_arp(payload)
    return None


def _number(data: bytes, at: int, count: int = 2) -> int:
    return int.from_bytes(data[at : at + count], "big")


def _read_arp(payload: bytes) -> Arp:
    if len(payload) < 28:
        raise UnreadableError(Reason.FRAME_TRUNCATED)
    if payload[:6] != b"\x00\x01\x08\x00\x06\x04":
        raise UnreadableError(Reason.FRAME_MALFORMED)
    return Arp(payload[8:14], Address(4, _number(payload, 14, 4)), Address(4, _number(payload, 24, 4)))


def _read_ipv4(payload: bytes) -> Packet:
    if len(payload) < 20:
        raise UnreadableError(Reason.FRAME_TRUNCATED)
    header_bytes = (payload[0] & 0x0F) * 4
    total_bytes = _number(payload, 2)
    if payload[0] >> 4 != 4 or header_bytes < 20:
        raise UnreadableError(Reason.FRAME_MALFORMED)
    if header_bytes > len(payload):
        raise UnreadableError(Reason.FRAME_TRUNCATED)
    if total_bytes < header_bytes:
        raise UnreadableError(Reason.FRAME_MALFORMED)
    if total_bytes > len(payload):
        raise UnreadableError(Reason.FRAME_TRUNCATED)
    if _number(payload, 6) & 0x3FFF:  # more fragments, or an offset
        raise UnreadableError(Reason.FRAME_FRAGMENT)
    source, destination = Address(4, _number(payload, 12, 4)), Address(4, _number(payload, 16, 4))
    return Packet(source, destination, _read_transport(4, payload[9], payload[header_bytes:total_bytes]))


def _read_ipv6(payload: bytes) -> Packet:
    if len(payload) < 40:
        raise UnreadableError(Reason.FRAME_TRUNCATED)
    if payload[0] >> 4 != 6:
        raise UnreadableError(Reason.FRAME_MALFORMED)
    if 40 + _number(payload, 4) > len(payload):
        raise UnreadableError(Reason.FRAME_TRUNCATED)
    next_header = payload[6]
    if next_header == IPV6_FRAGMENT:
        raise UnreadableError(Reason.FRAME_FRAGMENT)
    if next_header in IPV6_EXTENSIONS:
        raise UnreadableError(Reason.FRAME_EXTENSION)
    source, destination = Address(6, _number(payload, 8, 16)), Address(6, _number(payload, 24, 16))
    return Packet(source, destination, _read_transport(6, next_header, payload[40 : 40 + _number(payload, 4)]))


def _read_transport(version: int, protocol: int, data: bytes) -> Transport:
    if protocol == TCP:
        return _read_tcp(data)
    if protocol == UDP:
        return _read_udp(data)
    if protocol == (ICMP4 if version == 4 else ICMP6):
        return _read_icmp(version, protocol, data)
    return Transport(protocol)


def _read_tcp(data: bytes) -> Transport:
    if len(data) < 20:
        raise UnreadableError(Reason.FRAME_TRUNCATED)
    header_bytes = (data[12] >> 4) * 4
    if header_bytes < 20 or header_bytes > len(data):
        raise UnreadableError(Reason.FRAME_MALFORMED)
    flags = data[13]
    if not flags & (SYN | ACK | FIN | RST) or (flags & SYN and flags & (FIN | RST)):
        raise UnreadableError(Reason.FRAME_TCP_FLAGS)
    return Transport(TCP, _number(data, 0), _number(data, 2), flags)


def _read_udp(data: bytes) -> Transport:
    if len(data) < 8:
        raise UnreadableError(Reason.FRAME_TRUNCATED)
    if not 8 <= _number(data, 4) <= len(data):
        raise UnreadableError(Reason.FRAME_MALFORMED)
    return Transport(UDP, _number(data, 0), _number(data, 2))


def _read_icmp(version: int, protocol: int, data: bytes) -> Transport:
    if len(data) < 8:
        raise UnreadableError(Reason.FRAME_TRUNCATED)
    kind = data[0]
    if version == 6 and kind in (SOLICITATION, ADVERTISEMENT) and len(data) < 24:
        raise UnreadableError(Reason.FRAME_MALFORMED)
    is_echo = kind in (ECHO_REQUEST[version], ECHO_REPLY[version])
    return Transport(protocol, icmp_type=kind, echo_id=_number(data, 4) if is_echo else None, body=data[8:])


def read_quoted(version: int, quoted: bytes) -> Packet | None:
    """Return the packet that an ICMP error quotes, as far as a flow's key goes; None when that is not there."""
    if version == 4:
        if len(quoted) < 20 or quoted[0] >> 4 != 4 or quoted[0] & 0x0F < 5 or _number(quoted, 6) & 0x1FFF:
            return None
        protocol, data = quoted[9], quoted[(quoted[0] & 0x0F) * 4 :]
        source, destination = Address(4, _number(quoted, 12, 4)), Address(4, _number(quoted, 16, 4))
    else:
        if len(quoted) < 40 or quoted[0] >> 4 != 6:
            return None
        protocol, data = quoted[6], quoted[40:]
        source, destination = Address(6, _number(quoted, 8, 16)), Address(6, _number(quoted, 24, 16))
    if len(data) < 8:
        return None
    if protocol in (TCP, UDP):
        return Packet(source, destination, Transport(protocol, _number(data, 0), _number(data, 2)))
    if protocol == (ICMP4 if version == 4 else ICMP6) and data[0] in (ECHO_REQUEST[version], ECHO_REPLY[version]):
        return Packet(source, destination, Transport(protocol, icmp_type=data[0], echo_id=_number(data, 4)))
    return None
