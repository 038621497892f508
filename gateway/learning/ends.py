"""What a policy says of something seen → evidence: names of ends, numbers of services.

In: `Said`, addresses as text, numbers as frames carry them. Out: ends and numbers as `rules.learning` wants them.
"""

from __future__ import annotations

import ipaddress
from typing import TYPE_CHECKING, Final

from fastpath.abi import Reason
from gateway.control.stages import UNKNOWN_ZONE_NAME
from rules.learning.evidence import ADDRESS, ASSET, GROUP, STRANGER, End, Number, Pair

if TYPE_CHECKING:
    from gateway.simulate.words import Said

NEIGHBOUR_DISCOVERY: Final = range(133, 138)  # ICMPv6 types: RFC 4861
ECHO_REPLY: Final = {Number("icmp", 0): Number("icmp", 8), Number("icmpv6", 129): Number("icmpv6", 128)}
_PROTOCOLS: Final = {1: "icmp", 6: "tcp", 17: "udp", 58: "icmpv6"}
_ALL_ONES: Final = "255.255.255.255"


def number_of(ethertype: int, protocol: int, number: int) -> Number:
    """Return what was asked for. `protocol` is IP's, 0 for frames without IP."""
    if not protocol:
        return Number("ethertype", ethertype)
    word = _PROTOCOLS.get(protocol)
    return Number("ip", protocol) if word is None else Number(word, number)


def pair_of(said: Said, source: str, destination: str) -> Pair:
    """Return both ends of a frame, by the names of the policy that said it."""
    source_unknown = said.reason in (Reason.IDENTITY_SOURCE_UNKNOWN.name, Reason.IDENTITY_PORT_UNKNOWN.name)
    destination_unknown = said.reason in (Reason.IDENTITY_DESTINATION_UNKNOWN.name, Reason.IDENTITY_PORT_UNKNOWN.name)
    return Pair(
        _end(said.source_zone, said.source_asset, source, unknown=source_unknown),
        _end(said.destination_zone, said.destination_asset, destination, unknown=destination_unknown),
    )


def _end(zone: str | None, asset: str | None, address: str, *, unknown: bool) -> End:
    place = "" if zone in (None, UNKNOWN_ZONE_NAME) else str(zone)
    if asset:
        return End(place, ASSET, asset)
    if is_group(address):
        return End("", GROUP, address)
    return End(place, STRANGER if unknown else ADDRESS, address)


def is_group(address: str) -> bool:
    """Tell whether an address is nobody's in particular."""
    if address.count(":") == 5 and len(address) == 17:
        return bool(int(address[:2], 16) & 1)
    try:
        return address == _ALL_ONES or ipaddress.ip_address(address).is_multicast
    except ValueError:
        return False
