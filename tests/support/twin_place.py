"""The slow twin of docs/how-to/simulate.md, "Where frames are placed": a captured frame in, a frame with ports out.

Written only from that page, over the plain policy. Ports are names; "" is no port, which belongs to no zone.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from fastpath.abi import Reason

from .plain import Address
from .twin_frame import ETHERTYPE_IPV4, ETHERTYPE_IPV6, SOLICITATION, Arp, Packet, UnreadableError, read, untag

if TYPE_CHECKING:
    from .plain import Frame, PlainPolicy, Zone
    from .twin_identity import Endpoint, Identity

NOWHERE = ("0.0.0.0", "::")
NO_MAC = bytes(6)


class Placing:
    """Places frames by one policy."""

    def __init__(self, policy: PlainPolicy, identity: Identity) -> None:
        self.policy = policy
        self.identity = identity
        self.spaces = list(dict.fromkeys(zone.space for zone in policy.zones))

    def place(self, raw: Frame) -> Frame:
        """Return the frame with its ports, its VLAN and, where its link had none, a MAC that it must carry."""
        frame = untag(raw)
        sender, target, announces = _addresses(frame)
        by_sender = self._of_ip(sender, frame.vlan)
        source = self._zone(frame.source_mac, frame.vlan, by_sender)
        destination, everywhere = self._destination(frame, target, announces=announces)
        vlan = frame.vlan if frame.tagged else self._lost_tag(source, destination)
        out_port = self._beyond(source, vlan) if everywhere else self._port(destination, vlan)
        mac = frame.source_mac
        if not any(mac) and by_sender is not None and self.identity.macs_to_check(by_sender):
            mac = min(self.identity.macs_to_check(by_sender))
        return replace(frame, in_port=self._port(source, vlan), out_port=out_port, vlan=vlan, source_mac=mac)

    def _destination(self, frame: Frame, target: Address | None, *, announces: bool) -> tuple[str | None, bool]:
        mac = frame.destination_mac
        group = mac is not None and bool(mac[0] & 1)
        by_target = self._of_ip(target, frame.vlan)
        zone = self._zone(NO_MAC if mac is None or group else mac, frame.vlan, by_target)
        if zone is not None and not (group and announces):
            return zone, False
        is_group_ip = target is not None and (target.is_multicast or str(target) == "255.255.255.255")
        listed_group = by_target is not None and by_target.is_group
        everywhere = group or listed_group or (mac is None and is_group_ip)
        return None, everywhere

    def _zone(self, mac: bytes, vlan: int, by_ip: Endpoint | None) -> str | None:
        """Rule 1."""
        found = by_ip if by_ip is not None and not by_ip.is_group else None
        if found and mac in self.identity.macs_to_check(found):
            return found.zone
        by_mac = self._of_mac(mac, vlan)
        if by_mac is not None:
            return by_mac.zone
        return found.zone if found else None

    def _of_mac(self, mac: bytes, vlan: int) -> Endpoint | None:
        if not any(mac):
            return None
        found = [
            one for space in self.spaces if (one := self.identity.endpoint_of_mac(mac, space)) and not one.is_group
        ]
        return next((one for one in found if self._port(one.zone, vlan)), found[0] if found else None)

    def _of_ip(self, address: Address | None, vlan: int) -> Endpoint | None:
        if address is None or str(address) in NOWHERE or (address.version == 6 and address.value >> 32 == 0xFFFF):
            return None
        found = [one for space in self.spaces if (one := self.identity.endpoint_of_ip(address, space))]
        # Rule 3; the sort keeps the order of the spaces.
        found.sort(key=lambda one: (not (one.is_group or self._port(one.zone, vlan)), -self._length(one)))
        return found[0] if found else None

    def _length(self, endpoint: Endpoint) -> int:
        """Return how long the prefix is that names an address: 128 for the address itself."""
        if endpoint.asset is not None or endpoint.is_group or endpoint.ip is None:
            return 128
        around = [
            prefix.length
            for prefix, zone in self.identity.prefixes_with_owner()
            if prefix.holds(endpoint.ip) and self.identity.zones[zone].space == endpoint.space
        ]
        return max(around) + (96 if endpoint.ip.version == 4 else 0)

    def _ways(self, zone: str | None) -> list[tuple[int, str]]:
        if zone is None:
            return []
        owner: Zone = self.identity.zones[zone]
        # The policy's ports in the order of their first mention.
        order = list(dict.fromkeys(port for one in self.policy.zones for port in one.ports))
        return sorted(
            ((vlan, port) for vlan in owner.vlans or (0,) for port in owner.ports),
            key=lambda way: (way[0], order.index(way[1])),
        )

    def _port(self, zone: str | None, vlan: int) -> str:
        return next((port for owned, port in self._ways(zone) if owned == vlan), "")

    def _lost_tag(self, source: str | None, destination: str | None) -> int:
        """Rule 4."""
        zone = source or destination
        if zone is None or self._port(zone, 0):
            return 0
        vlans = [vlan for vlan, _ in self._ways(zone)]
        return next((vlan for vlan in vlans if destination is None or self._port(destination, vlan)), vlans[0])

    def _beyond(self, source: str | None, vlan: int) -> str:
        """Rule 2: the first port of another zone."""
        for port in dict.fromkeys(port for zone in self.policy.zones for port in zone.ports):
            zone = self.identity.zone_of_port(port, vlan)
            if zone is not None and zone.name != source:
                return port
        return ""


def _addresses(frame: Frame) -> tuple[Address | None, Address | None, bool]:
    """Return sender, target and whether it is an ARP announcement, as far as the headers reach."""
    try:
        content = read(frame)
    except UnreadableError as error:
        if error.reason is Reason.FRAME_VLAN_STACKED:
            return None, None, False
        return *_of_header(frame), False
    if isinstance(content, Arp):
        return content.sender, content.target, content.sender == content.target
    if not isinstance(content, Packet):
        return None, None, False
    if content.is_neighbour_discovery and content.icmp_type == SOLICITATION:
        return content.source, Address(6, int.from_bytes(content.transport.body[:16], "big")), False
    return content.source, content.destination, False


def _of_header(frame: Frame) -> tuple[Address | None, Address | None]:
    """Return the addresses of an IP header behind which something is wrong."""
    version, first, size = (4, 12, 4) if frame.ethertype == ETHERTYPE_IPV4 else (6, 8, 16)
    if frame.ethertype not in (ETHERTYPE_IPV4, ETHERTYPE_IPV6) or len(frame.payload) < first + 2 * size:
        return None, None
    found = [frame.payload[at : at + size] for at in (first, first + size)]
    source, destination = (Address(version, int.from_bytes(part, "big")) for part in found)
    return source, destination
