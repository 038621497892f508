"""What follows from zones and assets alone: numbers, blocks, carriers of MACs, their digest.

In: a `Policy`. Out: `Population`, computed piece by piece when first asked for. Conduits change far more often than the
population does, and most of the work of compiling a large site is about its assets: `Workshop` keeps one from a policy
to the next as long as it fits. Must never depend on anything but `zones` and `assets`. Called by `lower` and `digest`.
"""

from __future__ import annotations

import hashlib
from functools import cached_property
from typing import TYPE_CHECKING, NamedTuple

from rules.addresses import Block, address_block
from rules.hosts import Hosts, hosts
from rules.records import AssetRecord
from rules.zoning import Zoning

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from collections.abc import Set as AbstractSet
    from typing import Any

    from rules.addresses import PrefixIndex
    from rules.model import Policy


Blocks = tuple[Block, ...]


class Place(NamedTuple):
    """An asset as the engine knows it."""

    number: int
    space: int
    zone: int
    mac_asset: int | None  # whose MACs its frames carry; None: not checked
    blocks: tuple[Block, ...]  # of its addresses
    packed: tuple[bytes, ...]


class Population:
    """Zones and assets of one policy, and of every later one that has the same."""

    def __init__(self, policy: Policy) -> None:
        self._policy = policy
        self.clean: set[str] = set()  # codes of the checks of zones and assets that found nothing
        self._hosts: tuple[AbstractSet[tuple[str, Block]], Hosts] | None = None  # the last answer

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
        numbers = self.numbers
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
    def numbers(self) -> dict[str, int]:
        """Asset numbers by name, from 0."""
        return {name: number for number, name in enumerate(self._policy.assets)}

    @cached_property
    def kinds(self) -> list[tuple[str, tuple[str, ...]]]:
        """Each asset's zone and roles: what selectors tell assets apart by, but for names and addresses."""
        known: dict[tuple[str, tuple[str, ...]], tuple[str, tuple[str, ...]]] = {}
        pairs = ((asset.zone, asset.roles) for asset in self._policy.assets.values())
        return [known.setdefault(pair, pair) for pair in pairs]

    @cached_property
    def taken(self) -> frozenset[tuple[int, Block]]:
        """The addresses that assets have, with their spaces."""
        return frozenset((at.space, block) for at in self.places for block in at.blocks)

    def hosts(self, indexes: Mapping[str, PrefixIndex[None]], prefixes: AbstractSet[tuple[str, Block]]) -> Hosts:
        """Return the assets' addresses and MACs, told apart by some prefixes; `indexes` holds those by space."""
        if self._hosts is None or self._hosts[0] != prefixes:
            self._hosts = frozenset(prefixes), hosts(self._policy, self, self._near(indexes))
        return self._hosts[1]

    def _near(self, indexes: Mapping[str, PrefixIndex[None]]) -> dict[int, list[Blocks]]:
        """Return, for assets with an address in one of some prefixes, the prefixes around each address."""
        by_number = {self.spaces[name]: index for name, index in indexes.items()}
        found: dict[int, list[Blocks]] = {}
        once: dict[Blocks, Blocks] = {(): ()}
        for at in self.places:
            index = by_number.get(at.space)
            if index is not None and any(index.covers(block) for block in at.blocks):
                around = (tuple([within for within, _ in index.around(block)]) for block in at.blocks)
                found[at.number] = [once.setdefault(blocks, blocks) for blocks in around]
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
        """SHA-256 of what frames can notice of the assets, in hexadecimal: a line each, in the order of their names."""
        lines = []
        for (name, asset), at in zip(self._policy.assets.items(), self.places, strict=True):
            macs, ips = sorted({mac.hex() for mac in asset.macs}), sorted({packed.hex() for packed in at.packed})
            roles = sorted(set(asset.roles))
            fields = (name, asset.zone, ",".join(macs), ",".join(ips), ",".join(roles), asset.behind or "")
            lines.append("|".join(fields))
        return hashlib.sha256("\n".join(sorted(lines)).encode()).hexdigest()

    @cached_property
    def seed(self) -> int:
        """The seed of the image's tables: entries of assets keep their places as long as the population is the same."""
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
