"""Which zone a prefix belongs to, and which zones a selector reaches.

In: a `Policy`. Out: `Zoning`, the one place that settles "lies in a prefix of exactly one zone, or stands beside zone".
Tolerates names that nothing declares (a salvaged policy is searched too). Called by `check`, `membership` and `lower`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from rules.addresses import Block, PrefixIndex, address_block, prefix_block

if TYPE_CHECKING:
    from collections.abc import Iterable

    from rules.conduit_model import Selector
    from rules.model import Asset, Policy


class Zoning:
    """Indexes of one policy's zones, prefixes and roles."""

    def __init__(self, policy: Policy) -> None:
        self.policy = policy
        self.spaces = {name: zone.address_space for name, zone in policy.zones.items()}
        self.prefixes: PrefixIndex[str] = PrefixIndex()
        for name, zone in policy.zones.items():
            for prefix in zone.prefixes:
                self.prefixes.add(prefix_block(prefix), name)
        self.role_assets: dict[str, list[str]] = {}
        self.zone_roles: set[tuple[str, str]] = set()
        self.inhabited: set[str] = {name for name, zone in policy.zones.items() if zone.prefixes}
        for name, asset in policy.assets.items():
            self.inhabited.add(asset.zone)
            for role in asset.roles:
                self.role_assets.setdefault(role, []).append(name)
                self.zone_roles.add((asset.zone, role))

    def prefix_zone(self, block: Block, zones: Iterable[str]) -> str | None:
        """Return the zone that a selector's prefix belongs to, or None when that is not exactly one."""
        named = set(zones)
        if len(named) == 1:
            return named.pop()
        around = {name for _, name in self.prefixes.around(block)}
        return around.pop() if len(around) == 1 and (not named or around <= named) else None

    def selects(self, selector: Selector, asset: Asset) -> bool:
        """Tell whether an asset, which the selector's `asset` key allows, has an endpoint that the other keys allow."""
        if selector.zone and asset.zone not in selector.zone:
            return False
        if selector.role and not set(selector.role) & set(asset.roles):
            return False
        blocks = [prefix_block(prefix) for prefix in selector.prefix]
        return not blocks or any(block.contains(address_block(ip)) for block in blocks for ip in asset.ips)

    def matches_something(self, selector: Selector) -> bool:
        """Tell whether any endpoint at all is selected."""
        assets = self.policy.assets
        if selector.group:
            return True
        if selector.asset:
            names = [name for name in selector.asset if name in assets]
            return any(self.selects(selector, assets[name]) for name in names)
        if selector.role and selector.prefix:
            names = [name for role in selector.role for name in self.role_assets.get(role, ())]
            return any(self.selects(selector, assets[name]) for name in names)
        if selector.role:
            zones = selector.zone or tuple(self.policy.zones)
            return any((zone, role) in self.zone_roles for zone in zones for role in selector.role)
        return bool(selector.prefix) or any(zone in self.inhabited for zone in selector.zone)

    def reached_zones(self, selector: Selector) -> set[str]:
        """Return the zones that a selector's endpoints are in; groups are in none."""
        reached = set(selector.zone) if selector.zone else set(self.policy.zones)
        if selector.group:
            return set()
        if selector.asset:
            reached &= {self.policy.assets[name].zone for name in selector.asset if name in self.policy.assets}
        if selector.role:
            reached &= {zone for zone, role in self.zone_roles if role in selector.role}
        if selector.prefix:
            reached &= {self.prefix_zone(prefix_block(prefix), selector.zone) or "" for prefix in selector.prefix}
        return reached
