"""What follows from zones and assets alone: numbers, blocks, carriers of MACs, their digest.

In: a `Policy`. Out: `Inventory`, computed piece by piece when first asked for. Conduits change far more often than the
inventory does, and most of the work of compiling a large site is about its assets: `Workshop` keeps one from a policy to
the next as long as it fits. Must never depend on anything but `zones` and `assets`. Called by `lower` and `digest`.
"""

from __future__ import annotations

import hashlib
import json
from functools import cached_property
from typing import TYPE_CHECKING, NamedTuple

from rules.addresses import Block, address_block
from rules.records import AssetRecord
from rules.values import mac_text
from rules.zoning import Zoning

if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any

    from rules.model import Policy


class Place(NamedTuple):
    """An asset as the engine knows it."""

    number: int
    space: int
    zone: int
    mac_asset: int | None  # whose MACs its frames carry; None: not checked
    blocks: tuple[Block, ...]  # of its addresses
    packed: tuple[bytes, ...]


class Inventory:
    """Zones and assets of one policy, and of every later one that has the same."""

    def __init__(self, policy: Policy) -> None:
        self._policy = policy

    def fits(self, policy: Policy) -> bool:
        """Tell whether another policy has the same zones and assets, in the same order."""
        mine = self._policy
        same = mine.zones == policy.zones and mine.assets == policy.assets
        return same and list(mine.zones) == list(policy.zones) and list(mine.assets) == list(policy.assets)

    @cached_property
    def zone_numbers(self) -> dict[str, int]:
        """Zone numbers by name, from 1."""
        return {name: number for number, name in enumerate(self._policy.zones, start=1)}

    @cached_property
    def spaces(self) -> dict[str, int]:
        """Numbers of the address spaces by name."""
        spaces = {"default": 0}
        for zone in self._policy.zones.values():
            spaces.setdefault(zone.address_space, len(spaces))
        return spaces

    @cached_property
    def zoning(self) -> Zoning:
        """The zones' prefixes and the assets' roles."""
        return Zoning(self._policy)

    @cached_property
    def places(self) -> list[Place]:
        """Every asset in order. The policy must have no router circle."""
        assets, spaces = self._policy.assets, self.spaces
        space_of = {name: spaces[zone.address_space] for name, zone in self._policy.zones.items()}
        numbers = {name: number for number, name in enumerate(assets)}
        carriers = mac_carriers(self._policy)
        found = []
        for number, (name, asset) in enumerate(assets.items()):
            blocks = tuple([address_block(ip) for ip in asset.ips])
            carrier = carriers[name]
            mac_asset = numbers[carrier] if carrier is not None else None
            packed = tuple([block.packed() for block in blocks])
            found.append(Place(number, space_of[asset.zone], self.zone_numbers[asset.zone], mac_asset, blocks, packed))
        return found

    @cached_property
    def records(self) -> tuple[AssetRecord, ...]:
        """The assets' records."""
        return tuple(
            AssetRecord(place.number, name, place.zone)
            for name, place in zip(self._policy.assets, self.places, strict=True)
        )

    @cached_property
    def digest(self) -> str:
        """SHA-256 of what frames can notice of the assets, in hexadecimal."""
        entries = {
            name: [
                asset.zone,
                sorted({mac_text(mac) for mac in asset.macs}),
                texts(asset.ips),
                sorted(set(asset.roles)),
                asset.behind,
            ]
            for name, asset in self._policy.assets.items()
        }
        return hashlib.sha256(json.dumps(entries, sort_keys=True, separators=(",", ":")).encode()).hexdigest()

    @cached_property
    def seed(self) -> int:
        """The seed of the image's tables: entries of assets keep their places as long as the inventory is the same."""
        return int(self.digest[:16], 16)


def texts(values: Iterable[Any]) -> list[str]:
    """Return values as sorted texts, each once."""
    return sorted({str(value) for value in values})


def mac_carriers(policy: Policy) -> dict[str, str | None]:
    """Return for each asset whose MACs its frames carry: its own, its outermost router's, or None for unchecked."""
    carriers: dict[str, str | None] = {}
    for name in policy.assets:
        if name in carriers:
            continue
        chain = [name]
        while (router := policy.assets[chain[-1]].behind) is not None and router not in carriers:
            chain.append(router)
        outermost = chain[-1]
        carrier = carriers[router] if router is not None else outermost if policy.assets[outermost].macs else None
        carriers.update(dict.fromkeys(chain, carrier))
    return carriers
