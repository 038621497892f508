"""Which zone a prefix belongs to, and which zones a selector reaches.

In: a `Policy`. Out: `Zoning`, the one place that settles "lies in a prefix of exactly one zone, or stands beside zone".
Tolerates names that nothing declares (a salvaged policy is searched too). Called by `check`, `membership` and `lower`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from rules.addresses import Block, PrefixIndex, address_block, prefix_block

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from rules.conduit_model import Selector
    from rules.model import Asset, Policy

MANY_QUESTIONS = 100_000  # three times the selectors of the largest policy


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
        self.role_zones: dict[str, set[str]] = {}
        self._in_zone: dict[str, list[str]] = {}  # assets
        self._in_zone_with_role: dict[tuple[str, str], list[str]] = {}
        self._reached: dict[tuple[object, ...], frozenset[str]] = {}
        self._prefix_blocks: dict[tuple[object, ...], list[Block]] = {}
        self.inhabited: set[str] = {name for name, zone in policy.zones.items() if zone.prefixes}
        for name, asset in policy.assets.items():
            self.inhabited.add(asset.zone)
            self._in_zone.setdefault(asset.zone, []).append(name)
            for role in asset.roles:
                self.role_assets.setdefault(role, []).append(name)
                self.role_zones.setdefault(role, set()).add(asset.zone)
                self._in_zone_with_role.setdefault((asset.zone, role), []).append(name)

    def inhabitants(self, zones: Iterable[str], roles: Sequence[str] = ()) -> Iterator[str]:
        """Yield the assets in these zones, those with one of the roles only if any is given."""
        for zone in zones:
            if not roles:
                yield from self._in_zone.get(zone, ())
            for role in roles:
                yield from self._in_zone_with_role.get((zone, role), ())

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
        blocks = self._prefix_blocks.get(selector.prefix)
        if blocks is None:
            blocks = self._prefix_blocks[selector.prefix] = [prefix_block(prefix) for prefix in selector.prefix]
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
            return bool(self.reached_zones(selector))
        return bool(selector.prefix) or any(zone in self.inhabited for zone in selector.zone)

    def reached_zones(self, selector: Selector) -> frozenset[str]:
        """Return the zones that a selector's endpoints are in; groups are in none."""
        question = (selector.zone, selector.role, selector.asset, selector.prefix, selector.group)
        known = self._reached.get(question)
        if known is None:
            if len(self._reached) > MANY_QUESTIONS:  # of policies long gone
                self._reached.clear()
                self._prefix_blocks.clear()
            known = self._reached[question] = self._reach(selector)
        return known

    def _reach(self, selector: Selector) -> frozenset[str]:
        kinds = []
        if selector.asset:
            kinds.append({self.policy.assets[name].zone for name in selector.asset if name in self.policy.assets})
        if selector.role:
            kinds.append(set().union(*(self.role_zones.get(role, ()) for role in selector.role)))
        if selector.prefix:
            kinds.append({self.prefix_zone(prefix_block(prefix), selector.zone) or "" for prefix in selector.prefix})
        if selector.zone:
            kinds.append(set(selector.zone))
        return frozenset(set.intersection(*kinds) & self.policy.zones.keys()) if kinds else frozenset()
