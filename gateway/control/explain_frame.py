"""Made-up opening frames for `explain`: the first frame that a client of this service would send.

In: endpoints as addresses, a service as (number space, number). Out: the bytes from the network header on, as the
queue would deliver them, and the EtherType. Checksums are left zero: the engine never looks at one. Pure.
"""

from __future__ import annotations

import ipaddress
import re
import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from gateway.errors import ConfigError
from rules.records import ServiceKind
from rules.services import known_services, service_ranges

if TYPE_CHECKING:
    from rules.model import Policy
    from rules.numbers import NumberRange

CLIENT_PORT: Final = 49152  # the first ephemeral port (RFC 6335)
TTL: Final = 64
SYN: Final = 0x02
ETHERTYPE_IP4: Final = 0x0800
ETHERTYPE_IP6: Final = 0x86DD
ETHERTYPE_ARP: Final = 0x0806
MIN_PAYLOAD: Final = 46  # of an Ethernet frame: IEEE 802.3 clause 3.2.7
_WORDS: Final = {
    "tcp": ServiceKind.TCP,
    "udp": ServiceKind.UDP,
    "icmp": ServiceKind.ICMP4,
    "icmpv6": ServiceKind.ICMP6,
    "ip": ServiceKind.IP,
    "ethertype": ServiceKind.ETHERTYPE,
}
_NUMBERED: Final = re.compile(r"([a-z0-9]+)/(0x[0-9a-f]{1,4}|[0-9]{1,5})", re.IGNORECASE)
_PROTOCOL: Final = {ServiceKind.TCP: 6, ServiceKind.UDP: 17, ServiceKind.ICMP4: 1, ServiceKind.ICMP6: 58}

IPAddress = ipaddress.IPv4Address | ipaddress.IPv6Address


@dataclass(frozen=True, slots=True)
class ServiceNumber:
    """One number of a service."""

    kind: ServiceKind
    number: int

    def __str__(self) -> str:
        word = next(word for word, kind in _WORDS.items() if kind is self.kind)
        return f"{word}/{self.number:#06x}" if self.kind is ServiceKind.ETHERTYPE else f"{word}/{self.number}"


def service_numbers(policy: Policy, text: str) -> list[ServiceNumber]:
    """Return what a service name or `proto/number` stands for: first and last of each range, at most 64."""
    if text.lower() == "arp":
        return [ServiceNumber(ServiceKind.ETHERTYPE, ETHERTYPE_ARP)]
    match = _NUMBERED.fullmatch(text)
    if match:
        return [_numbered(text, match[1].lower(), int(match[2], 0))]
    service = known_services(policy).get(text)
    if service is None:
        raise ConfigError(
            "service_unknown", f"no service is called {text!r}", "a service's name, or like tcp/502, udp/47808, icmp/8"
        )
    found = [
        ServiceNumber(kind, number) for kind, ranges in service_ranges(service).items() for number in _ends(ranges)
    ]
    return found[:64]


def _ends(ranges: list[NumberRange]) -> list[int]:
    return [number for span in ranges for number in dict.fromkeys((span.first, span.last))]


def _numbered(text: str, word: str, number: int) -> ServiceNumber:
    if word not in _WORDS:
        raise ConfigError("service_unknown", f"{text!r}: no protocol {word!r}", "known: " + ", ".join(_WORDS))
    kind = _WORDS[word]
    most = 65535 if kind in (ServiceKind.TCP, ServiceKind.UDP, ServiceKind.ETHERTYPE) else 255
    least = 0x0600 if kind is ServiceKind.ETHERTYPE else 0
    if not least <= number <= most:
        raise ConfigError("service_number", f"{text!r}: the number must be {least} to {most}", "like tcp/502")
    by_own_word = {ETHERTYPE_IP4, ETHERTYPE_IP6} if kind is ServiceKind.ETHERTYPE else {1, 6, 17, 58}
    if kind in (ServiceKind.IP, ServiceKind.ETHERTYPE) and number in by_own_word:
        raise ConfigError("service_number", f"{text!r} has a word of its own", "tcp/…, udp/…, icmp/…, icmpv6/…")
    return ServiceNumber(kind, number)


def ip_frame(source: IPAddress, destination: IPAddress, service: ServiceNumber) -> tuple[int, bytes]:
    """Return (EtherType, payload) of the opening frame of an IP service. Raises ConfigError when they do not fit."""
    return ip_packet(source, destination, _PROTOCOL.get(service.kind, service.number), _transport(service))


def ip_packet(source: IPAddress, destination: IPAddress, protocol: int, body: bytes) -> tuple[int, bytes]:
    """Return (EtherType, payload) of an IP packet. Raises ConfigError when the addresses do not fit."""
    if source.version != destination.version:
        raise ConfigError(
            "address_family", f"{source} and {destination} are of different IP versions", "name both addresses"
        )
    if source.version == 4:
        head = struct.pack(">BBHHHBBH", 0x45, 0, 20 + len(body), 0, 0x4000, TTL, protocol, 0)
        return ETHERTYPE_IP4, (head + source.packed + destination.packed + body).ljust(MIN_PAYLOAD, b"\0")
    head = struct.pack(">IHBB", 6 << 28, len(body), protocol, TTL)
    return ETHERTYPE_IP6, head + source.packed + destination.packed + body


def _transport(service: ServiceNumber) -> bytes:
    match service.kind:
        case ServiceKind.TCP:
            return struct.pack(">HHIIBBHHH", CLIENT_PORT, service.number, 1, 0, 5 << 4, SYN, 64240, 0, 0)
        case ServiceKind.UDP:
            return struct.pack(">HHHH", CLIENT_PORT, service.number, 8, 0)
        case ServiceKind.ICMP4 | ServiceKind.ICMP6:
            return struct.pack(">BBHHH", service.number, 0, 0, 1, 1) + bytes(24)
        case ServiceKind.IP | ServiceKind.ETHERTYPE:
            return bytes(8)


def arp_frame(source_mac: bytes, source: IPAddress, destination: IPAddress) -> tuple[int, bytes]:
    """Return (EtherType, payload) of an ARP request."""
    if source.version != 4 or destination.version != 4:
        raise ConfigError("address_family", "ARP asks for IPv4 addresses", "name IPv4 addresses")
    head = struct.pack(">HHBBH", 1, ETHERTYPE_IP4, 6, 4, 1)
    body = head + source_mac + source.packed + bytes(6) + destination.packed
    return ETHERTYPE_ARP, body.ljust(MIN_PAYLOAD, b"\0")


def other_frame(service: ServiceNumber) -> tuple[int, bytes]:
    """Return (EtherType, payload) of a frame without IP."""
    return service.number, bytes(MIN_PAYLOAD)
