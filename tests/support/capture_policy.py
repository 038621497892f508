"""A policy made from a capture's own addresses, in the plain form that the twin judges by.

In: Ethernet frames and a seeded random.Random. Out: a PlainPolicy of two zones: every conversation crosses from one to
the other where the MACs allow it, every second service is permitted, stages are drawn. Called by the tests of simulate.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from fastpath.abi import Stage

from .plain import Address, Asset, Conduit, Frame, PlainPolicy, Selector, Service, Zone
from .twin_frame import Arp, Packet, UnreadableError, read, untag

if TYPE_CHECKING:
    import random
    from collections.abc import Iterable

LEFT, RIGHT = "left", "right"
MOST_HOSTS: Final = 60  # the twin scans them all for each frame
MOST_SERVICES: Final = 40
STAGES: Final = (Stage.ENFORCE, Stage.ENFORCE, Stage.ALERT, Stage.MONITOR)


@dataclass
class Census:
    """Who was seen speaking to whom."""

    peers: list[tuple[bytes, bytes]] = field(default_factory=list)
    ips: dict[Address, set[bytes]] = field(default_factory=lambda: defaultdict(set))
    services: dict[tuple[str, int], None] = field(default_factory=dict)
    vlans: set[int] = field(default_factory=set)


def ethernet_frame(data: bytes) -> Frame | None:
    """Return a captured Ethernet frame without a place; None where not even its header is there."""
    if len(data) < 14:
        return None
    return Frame("", "", 0, data[6:12], data[:6], int.from_bytes(data[12:14], "big"), data[14:])


def is_group(mac: bytes) -> bool:
    """Tell whether a MAC is multicast or broadcast."""
    return bool(mac[0] & 1)


def is_device(mac: bytes) -> bool:
    """Tell whether a MAC is one device's."""
    return any(mac) and not is_group(mac)


def _is_host(address: Address) -> bool:
    """Tell whether an asset can have the address."""
    mapped = address.version == 6 and address.value >> 32 == 0xFFFF
    return not (address.is_multicast or mapped or address.value in (0, 0xFFFFFFFF) or address.value >> 24 == 127)


def census(frames: Iterable[Frame]) -> Census:
    """Look at every frame."""
    seen = Census()
    for raw in frames:
        frame = untag(raw)
        seen.vlans.add(frame.vlan)
        if frame.destination_mac and is_device(frame.source_mac) and is_device(frame.destination_mac):
            seen.peers.append((frame.source_mac, frame.destination_mac))
        try:
            content = read(frame)
        except UnreadableError:
            continue
        if content is None:
            seen.services.setdefault(("ethertype", frame.ethertype))
        elif isinstance(content, Arp):
            _note(seen, content.sender, content.sender_mac)
        else:
            _note(seen, content.source, frame.source_mac)
            if not any(frame.source_mac) and _is_host(content.source) and _is_host(content.destination):
                seen.peers.append((content.source.packed, content.destination.packed))
            _note_service(seen, content)
    return seen


def _note(seen: Census, address: Address, mac: bytes) -> None:
    """Remember where an address was seen; on a link without MACs it stands for itself."""
    if _is_host(address) and not is_group(mac):
        seen.ips[address].add(mac if any(mac) else address.packed)


def _note_service(seen: Census, packet: Packet) -> None:
    transport = packet.transport
    ports = [port for port in (transport.source_port, transport.destination_port) if port]
    if transport.protocol in (6, 17) and ports:
        seen.services.setdefault(("tcp" if transport.protocol == 6 else "udp", min(ports)))
    elif packet.icmp_type is not None and not packet.is_neighbour_discovery:
        seen.services.setdefault(("icmp4" if packet.version == 4 else "icmp6", packet.icmp_type))


def sides(seen: Census) -> dict[bytes, str]:
    """Return the zone of each MAC: those who speak with each other stand on different sides, first come first."""
    side: dict[bytes, str] = {}
    other = {LEFT: RIGHT, RIGHT: LEFT}
    for source, destination in seen.peers:
        if source not in side:
            side[source] = other[side[destination]] if destination in side else LEFT
        side.setdefault(destination, other[side[source]])
    return side


def policy_of(frames: list[Frame], rng: random.Random, ports: tuple[str, str] = ("pl", "pr")) -> PlainPolicy:
    """Return the policy of a capture. An address that several MACs carry is an asset without any."""
    seen = census(frames)
    side = sides(seen)
    of_mac: dict[bytes, list[Address]] = defaultdict(list)
    shared: list[tuple[Address, bytes]] = []
    for address, macs in list(seen.ips.items())[:MOST_HOSTS]:
        known = [mac for mac in macs if mac in side]
        if len(macs) == 1 and known:
            of_mac[known[0]].append(address)
        elif known:
            shared.append((address, known[0]))
    for mac in list(side)[:MOST_HOSTS]:
        of_mac.setdefault(mac, [])
    assets = [
        Asset(f"h{number}", side[mac], (mac,) if len(mac) == 6 else (), tuple(ips), ("host",))
        for number, (mac, ips) in enumerate(of_mac.items())
    ]
    assets += [Asset(f"s{number}", side[mac], (), (ip,), ("host",)) for number, (ip, mac) in enumerate(shared)]
    named = sorted(seen.services)[:MOST_SERVICES]
    services = [Service(f"v{number}", ((kind, at, at),)) for number, (kind, at) in enumerate(named)]
    vlans = tuple(sorted(seen.vlans - {0}))
    return PlainPolicy(
        zones=(Zone(LEFT, (ports[0],), vlans), Zone(RIGHT, (ports[1],), vlans)),
        assets=tuple(assets),
        conduits=tuple(_conduits(services, rng)),
        default_stage=rng.choice(STAGES),
        pair_stages={(LEFT, RIGHT): rng.choice(STAGES), (RIGHT, LEFT): rng.choice(STAGES)},
    )


def _conduits(services: list[Service], rng: random.Random) -> Iterable[Conduit]:
    """Permit every second service from left to right, and one in four the other way."""
    for number, service in enumerate(services):
        if number % 2 == 0:
            yield Conduit(
                f"c{number}", Selector(zones=(LEFT,)), Selector(roles=("host",)), (service,), rng.choice(STAGES)
            )
        if number % 4 == 1:
            yield Conduit(
                f"d{number}", Selector(zones=(RIGHT,)), Selector(zones=(LEFT,)), (service,), rng.choice(STAGES)
            )
