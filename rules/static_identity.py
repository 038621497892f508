"""Who may be where: turns the endpoint and MAC records into the elements of the kernel's identity maps.

In: the endpoint, MAC and zone records of a lowered policy. Out: disjoint elements, keyed by zone and address.
Host addresses become exact (hashed) elements and prefixes become disjoint ranges that carry the longest match, so
that the kernel never has to rank two matches. A host that must not be found through the prefix around it, because
its MAC has to be checked or because it lives in another zone, is in the exact map with the class BLOCKED.
Must never touch the kernel or know nft syntax. Called by `static` only.
"""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from fastpath.abi import HOST_PREFIX_LENGTH

if TYPE_CHECKING:
    from collections.abc import Iterable

    from rules.records import EndpointRecord, LoweredPolicy

# A class number that no endpoint has (classes are 16 bits wide) and that therefore joins no relation.
BLOCKED: Final = 0xFFFFFFFE
MAPPED_FIRST: Final = 0xFFFF << 32  # ::ffff:0.0.0.0
MAPPED_LAST: Final = MAPPED_FIRST + 0xFFFFFFFF
ADDRESS_LAST: Final = (1 << 128) - 1


@dataclass(frozen=True, slots=True)
class Span:
    """Addresses first..last (as 128-bit numbers) whose longest matching prefix is one endpoint record."""

    first: int
    last: int
    endpoint: EndpointRecord


@dataclass(slots=True)
class Identity:
    """Identity elements of one IP family; addresses are 32-bit or 128-bit numbers."""

    source_macs: dict[tuple[int, bytes, int], int] = field(default_factory=dict)  # zone, MAC, address → class
    source_hosts: dict[tuple[int, int], int] = field(default_factory=dict)  # zone, address → class
    source_spans: list[tuple[int, int, int, int]] = field(default_factory=list)  # zone, first, last, class
    destination_hosts: dict[tuple[int, int], int] = field(default_factory=dict)
    destination_spans: list[tuple[int, int, int, int]] = field(default_factory=list)

    def checked_addresses(self) -> list[int]:
        """Return the addresses that have MACs to check, each once."""
        return sorted({address for _, _, address in self.source_macs})


def _spans(endpoints: Iterable[EndpointRecord]) -> list[Span]:
    """Resolve nested prefixes of one address space into disjoint spans, longest match first."""
    prefixes = sorted(
        (
            (int.from_bytes(e.address, "big"), e.prefix_length, e)
            for e in endpoints
            if e.prefix_length < HOST_PREFIX_LENGTH
        ),
        key=lambda item: item[:2],
    )
    spans: list[Span] = []
    enclosing: list[tuple[int, EndpointRecord]] = []  # last address and record of each prefix we are inside of
    position = 0

    def emit(until: int) -> None:
        nonlocal position
        if enclosing and until >= position:
            spans.append(Span(position, until, enclosing[-1][1]))
        position = until + 1

    for first, length, endpoint in prefixes:
        while enclosing and enclosing[-1][0] < first:
            emit(enclosing[-1][0])
            enclosing.pop()
        if enclosing:
            emit(first - 1)
        position = first
        enclosing.append((first + (1 << (HOST_PREFIX_LENGTH - length)) - 1, endpoint))
    while enclosing:
        emit(enclosing[-1][0])
        enclosing.pop()
    return spans


def _clip(span: Span, *, ipv4: bool) -> list[tuple[int, int]]:
    """Return the parts of a span that belong to one family, as numbers of that family's width."""
    if ipv4:
        first, last = max(span.first, MAPPED_FIRST), min(span.last, MAPPED_LAST)
        return [(first - MAPPED_FIRST, last - MAPPED_FIRST)] if first <= last else []
    # IPv4-mapped addresses never name anybody on the wire of IPv6.
    parts = [(span.first, min(span.last, MAPPED_FIRST - 1)), (max(span.first, MAPPED_LAST + 1), span.last)]
    return [(first, last) for first, last in parts if first <= last]


class _Builder:
    """Collects the elements of one family from every address space."""

    def __init__(self, policy: LoweredPolicy, *, ipv4: bool) -> None:
        self.identity = Identity()
        self._ipv4 = ipv4
        self._zones: dict[int, list[int]] = {}
        for zone in policy.zones:
            self._zones.setdefault(zone.space, []).append(zone.number)
        self._asset_macs: dict[int, list[bytes]] = {}
        for mac in policy.macs:
            if mac.asset is not None:
                self._asset_macs.setdefault(mac.asset, []).append(mac.mac)

    def add_space(self, space: int, endpoints: list[EndpointRecord]) -> None:
        spans = _spans(endpoints)
        for span in spans:
            self._add_span(space, span)
        starts = [span.first for span in spans]
        for endpoint in endpoints:
            address = int.from_bytes(endpoint.address, "big")
            mapped = MAPPED_FIRST <= address <= MAPPED_LAST
            if endpoint.prefix_length != HOST_PREFIX_LENGTH or mapped != self._ipv4:
                continue
            at = bisect_right(starts, address) - 1
            around = spans[at].endpoint if at >= 0 and address <= spans[at].last else None
            self._add_host(space, endpoint, address - MAPPED_FIRST if mapped else address, around)

    def _add_span(self, space: int, span: Span) -> None:
        endpoint = span.endpoint
        for first, last in _clip(span, ipv4=self._ipv4):
            if endpoint.anywhere:
                for zone in self._zones.get(space, []):
                    self.identity.destination_spans.append((zone, first, last, endpoint.klass))
            else:
                element = (endpoint.zone, first, last, endpoint.klass)
                self.identity.source_spans.append(element)
                self.identity.destination_spans.append(element)

    def _add_host(self, space: int, endpoint: EndpointRecord, address: int, around: EndpointRecord | None) -> None:
        identity = self.identity
        if around is not None:
            # The prefix around it must not speak for a host that lives elsewhere.
            shadowed = self._zones.get(space, []) if around.anywhere else [around.zone]
            for zone in shadowed:
                identity.source_hosts.setdefault((zone, address), BLOCKED)
                identity.destination_hosts.setdefault((zone, address), BLOCKED)
        if endpoint.anywhere:
            for zone in self._zones.get(space, []):
                identity.destination_hosts[zone, address] = endpoint.klass
            return
        macs = [] if endpoint.mac_asset is None else self._asset_macs.get(endpoint.mac_asset, [])
        for mac in macs:
            identity.source_macs[endpoint.zone, mac, address] = endpoint.klass
        identity.source_hosts[endpoint.zone, address] = BLOCKED if macs else endpoint.klass
        identity.destination_hosts[endpoint.zone, address] = endpoint.klass


def ip_identity(policy: LoweredPolicy, *, ipv4: bool) -> Identity:
    """Return the identity elements of one IP family."""
    builder = _Builder(policy, ipv4=ipv4)
    spaces: dict[int, list[EndpointRecord]] = {}
    for endpoint in policy.endpoints:
        spaces.setdefault(endpoint.space, []).append(endpoint)
    for space, endpoints in sorted(spaces.items()):
        builder.add_space(space, endpoints)
    return builder.identity


def mac_identity(policy: LoweredPolicy) -> tuple[dict[tuple[int, bytes], int], dict[tuple[int, bytes], int]]:
    """Return (zone, MAC) → class for the sources and for the destinations of frames without IP."""
    sources: dict[tuple[int, bytes], int] = {}
    destinations: dict[tuple[int, bytes], int] = {}
    for record in policy.macs:
        if record.anywhere:
            for zone in policy.zones:
                if zone.space == record.space:
                    destinations[zone.number, record.mac] = record.klass
        else:
            sources[record.zone, record.mac] = record.klass
            destinations[record.zone, record.mac] = record.klass
    return sources, destinations
