"""Every address, prefix and MAC as a record with its zone, its owner and its endpoint class.

In: a checked `Policy`. Out: `Endpoints`: records for the image and the classes that the conduits' sides consist of.
An endpoint class is a set of memberships; class 0 is "no conduit names it". Called by `lower`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from fastpath.abi import UNKNOWN_ZONE
from rules.addresses import Block, address_block, prefix_block
from rules.membership import Membership, Memberships, MembershipTable
from rules.records import EndpointRecord, MacRecord

if TYPE_CHECKING:
    from rules.model import Asset, Policy
    from rules.population import Population


@dataclass(slots=True)
class Endpoints:
    """Records and classes; `ip_sides` and `mac_sides` map (conduit, side) to its (class, membership) pairs."""

    addresses: list[EndpointRecord] = field(default_factory=list)
    macs: list[MacRecord] = field(default_factory=list)
    classes: dict[Memberships, int] = field(default_factory=lambda: {frozenset(): 0})
    ip_classes: set[int] = field(default_factory=set)
    mac_classes: set[int] = field(default_factory=set)

    def klass(self, memberships: Memberships, used: set[int]) -> int:
        """Return the class of a set of memberships, a new one when it is new."""
        number = self.classes.setdefault(memberships, len(self.classes))
        used.add(number)
        return number

    def sides(self, used: set[int]) -> dict[tuple[int, int], list[tuple[int, Membership]]]:
        """Return, for each (conduit, side), the classes in `used` that belong to it."""
        found: dict[tuple[int, int], list[tuple[int, Membership]]] = {}
        for memberships, number in self.classes.items():
            if number in used:
                for membership in memberships:
                    found.setdefault((membership.conduit, membership.side), []).append((number, membership))
        return found


def lower_endpoints(policy: Policy, population: Population) -> Endpoints:
    """Return every endpoint and MAC record, in the order of the policy text."""
    lowering = _Lowering(policy, population, MembershipTable(policy, population.zoning), Endpoints())
    lowering.assets()
    lowering.groups()
    lowering.unlisted()
    return lowering.found


@dataclass(slots=True)
class _Lowering:
    policy: Policy
    population: Population
    table: MembershipTable
    found: Endpoints
    groups_taken: set[tuple[int, Block]] = field(default_factory=set)

    def assets(self) -> None:
        """Assets of one kind that no selector tells apart are in one class, which is looked up once for all of them."""
        found, table, assets = self.found, self.table, self.policy.assets
        hosts = self.population.hosts(table.blocks, table.prefix_zones.keys())
        numbers = self.population.numbers
        named = sorted((numbers[name], name) for name in table.named)
        apart = {name: number for number, name in named}

        def of_address(name: str | None, asset: Asset, around: tuple[Block, ...]) -> int:
            return found.klass(table.of_asset(name, asset, around), found.ip_classes)

        def of_mac(name: str | None, asset: Asset, _: tuple[Block, ...]) -> int:
            return found.klass(table.of_mac(name, asset), found.mac_classes)

        # Cells first: what conduits say of single assets, which changes most, then renumbers few classes.
        by_address, by_mac = hosts.addresses.shared(apart, of_address), hosts.macs.shared(apart, of_mac)
        found.addresses += hosts.addresses.classified(by_address, apart, assets, of_address)
        found.macs += hosts.macs.classified(by_mac, apart, assets, of_mac)

    def groups(self) -> None:
        """A group lives behind every port: it is looked up in the egress zone's space, hence a record in each."""
        found = self.found
        for group, memberships in self.table.groups():
            if isinstance(group, bytes):
                klass = found.klass(memberships, found.mac_classes)
                found.macs += [
                    MacRecord(group, space, UNKNOWN_ZONE, None, klass, anywhere=True)
                    for space in self.population.spaces.values()
                ]
                continue
            block = address_block(group)
            klass = found.klass(memberships, found.ip_classes)
            taken = self.population.taken
            free = [space for space in self.population.spaces.values() if (space, block) not in taken]
            self.groups_taken.update((space, block) for space in free)
            found.addresses += [
                EndpointRecord(block.packed(), 128, space, UNKNOWN_ZONE, None, None, klass, anywhere=True)
                for space in free
            ]

    def unlisted(self) -> None:
        """Every prefix that a zone or a conduit names stands for the addresses in it that are no asset's."""
        blocks: dict[tuple[str, Block], str] = {}
        for name, zone in self.policy.zones.items():
            for prefix in zone.prefixes:
                blocks.setdefault((zone.address_space, prefix_block(prefix)), name)
        for place, name in self.table.prefix_zones.items():
            blocks.setdefault(place, name)
        for (space_name, block), name in blocks.items():
            space = self.population.spaces[space_name]
            if (space, block) in self.population.taken or (space, block) in self.groups_taken:
                continue  # one address long, and listed: the asset's record decides
            klass = self.found.klass(self.table.of_address(name, block), self.found.ip_classes)
            self.found.addresses.append(
                EndpointRecord(
                    block.packed(), block.length, space, self.population.zone_numbers[name], None, None, klass
                )
            )
