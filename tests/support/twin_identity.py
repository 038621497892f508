"""The twin's idea of who is who: zones of ports, endpoints of addresses, and which conduits join two endpoints.

Written from docs/reference/semantics.md ("Words", "Selectors", "Precedence") by linear scans over the plain policy.
In: a PlainPolicy. Out: `Endpoint` values and ordered conduits. Must never use rules/ or fastpath beyond abi's names.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from .plain import Address, Asset, Conduit, PlainPolicy, Prefix, Selector, Service, Zone

IP_KINDS = ("tcp", "udp", "ip", "icmp4", "icmp6")
BY_ASSET, BY_ROLE, BY_PREFIX, BY_ZONE = range(4)  # most specific first
MAX_PREFIX_BITS = 128


class Endpoint(NamedTuple):
    """An asset's IP or MAC, an unlisted address, or a group address (zone and asset None)."""

    zone: str | None
    asset: str | None
    ip: Address | None
    mac: bytes | None
    space: str
    copy_to: str | None = None  # groups: the zone that this copy goes to; each has a flow of its own

    @property
    def is_group(self) -> bool:
        """A group lives behind every port."""
        return self.zone is None


class Identity:
    """Who is who under one policy."""

    def __init__(self, policy: PlainPolicy) -> None:
        self.policy = policy
        self.zones = {zone.name: zone for zone in policy.zones}
        self.assets = {asset.name: asset for asset in policy.assets}
        self.group_ips = {ip for conduit in policy.conduits for ip in conduit.destination.group_ips}
        self.group_macs = {mac for conduit in policy.conduits for mac in conduit.destination.group_macs}

    def zone_of_port(self, port: str, vlan: int) -> Zone | None:
        """Return the zone that owns the port with the VLAN."""
        for zone in self.policy.zones:
            if port in zone.ports and vlan in (zone.vlans or (0,)):
                return zone
        return None

    def endpoint_of_ip(self, ip: Address, space: str) -> Endpoint | None:
        """Look an IP up in an address space: the exact address first, then prefixes, longest first."""
        for asset in self.policy.assets:
            if ip in asset.ips and self.zones[asset.zone].space == space:
                return Endpoint(asset.zone, asset.name, ip, None, space)
        if ip in self.group_ips:
            return Endpoint(None, None, ip, None, space)
        owner = self._owner_of_unlisted(ip, space)
        return None if owner is None else Endpoint(owner, None, ip, None, space)

    def _owner_of_unlisted(self, ip: Address, space: str) -> str | None:
        best: tuple[int, str] | None = None
        for found, zone in self.prefixes_with_owner():
            if self.zones[zone].space == space and found.holds(ip) and (best is None or found.length > best[0]):
                best = (found.length, zone)
        return None if best is None else best[1]

    def prefixes_with_owner(self) -> list[tuple[Prefix, str]]:
        """Zones' prefixes, and prefixes that stand beside a zone in a selector."""
        owned = [(prefix, zone.name) for zone in self.policy.zones for prefix in zone.prefixes]
        for conduit in self.policy.conduits:
            for selector in (conduit.opener, conduit.destination):
                if len(selector.zones) == 1:
                    owned += [(prefix, selector.zones[0]) for prefix in selector.prefixes]
        return owned

    def _space_of_prefix(self, selector: Selector, wanted: Prefix) -> str | None:
        """Return the address space that a selector's prefix speaks of: that of its one zone."""
        if len(selector.zones) == 1:
            return self.zones[selector.zones[0]].space
        around = [
            zone
            for zone in self.policy.zones
            if any(prefix.covers(wanted) for prefix in zone.prefixes)
            and (not selector.zones or zone.name in selector.zones)
        ]
        return around[0].space if around else None

    def endpoint_of_mac(self, mac: bytes, space: str) -> Endpoint | None:
        """Look a MAC up in an address space."""
        for asset in self.policy.assets:
            if mac in asset.macs and self.zones[asset.zone].space == space:
                return Endpoint(asset.zone, asset.name, None, mac, space)
        if mac in self.group_macs:
            return Endpoint(None, None, None, mac, space)
        return None

    def macs_to_check(self, endpoint: Endpoint) -> tuple[bytes, ...]:
        """Return the MACs that frames of an endpoint must carry; empty: unchecked."""
        if endpoint.asset is None:
            return ()
        asset = self.assets[endpoint.asset]
        while asset.behind is not None:
            asset = self.assets[asset.behind]
        return asset.macs

    def conduits_joining(
        self, source: Endpoint, destination: Endpoint, service: tuple[str, int] | None
    ) -> list[Conduit]:
        """Return the conduits that permit the service, open or not, most specific first."""
        ranked: list[tuple[tuple[int, ...], Conduit]] = []
        for order, conduit in enumerate(self.policy.conduits):
            from_rank = self.match(conduit.opener, source)
            to_rank = self.match(conduit.destination, destination)
            width = _service_width(conduit.services, service)
            if from_rank is not None and to_rank is not None and width is not None:
                ranked.append(((*from_rank, *to_rank, width, order), conduit))
        return [conduit for _, conduit in sorted(ranked, key=lambda item: item[0])]

    def joined_over_ip(self, one: Endpoint, other: Endpoint) -> bool:
        """Tell whether any conduit, open or closed, joins two endpoints in this direction for some IP service."""
        return any(
            any(kind in IP_KINDS for service in conduit.services for kind, _, _ in service.ranges)
            and self.match(conduit.opener, one) is not None
            and self.match(conduit.destination, other) is not None
            for conduit in self.policy.conduits
        )

    def match(self, selector: Selector, endpoint: Endpoint) -> tuple[int, int] | None:
        """Return (how specific, negated prefix length) if the selector means the endpoint."""
        if selector.group_ips or selector.group_macs:
            named = endpoint.ip in selector.group_ips or endpoint.mac in selector.group_macs
            return (BY_ASSET, 0) if endpoint.is_group and named else None
        if endpoint.is_group:
            return None
        asset: Asset | None = None if endpoint.asset is None else self.assets[endpoint.asset]
        ip = endpoint.ip
        lengths = [
            found.length
            for found in selector.prefixes
            if ip is not None and found.holds(ip) and self._space_of_prefix(selector, found) == endpoint.space
        ]
        if (
            (selector.assets and (asset is None or asset.name not in selector.assets))
            or (selector.roles and (asset is None or not set(asset.roles) & set(selector.roles)))
            or (selector.zones and endpoint.zone not in selector.zones)
            or (selector.prefixes and not lengths)
        ):
            return None
        if selector.assets or selector.roles:
            return (BY_ASSET if selector.assets else BY_ROLE, 0)
        return (BY_PREFIX, -max(lengths)) if lengths else (BY_ZONE, 0)


def _service_width(services: tuple[Service, ...], wanted: tuple[str, int] | None) -> int | None:
    """Return how many numbers the narrowest service that holds the wanted one names."""
    widths = [
        sum(last - first + 1 for _, first, last in service.ranges)
        for service in services
        if wanted is not None
        and any(kind == wanted[0] and first <= wanted[1] <= last for kind, first, last in service.ranges)
    ]
    return min(widths, default=None)
