"""Which side of which conduit an endpoint is on, and how narrowly it was named.

In: a checked `Policy` and its `Zoning`. Out: a frozenset of `Membership` per endpoint; equal sets make one class.
Conduits are indexed by their narrowest key: an endpoint is compared only with conduits that could name it.
Must read exactly as "Selectors" in docs/reference/semantics.md. Called by `endpoints`.
"""

from __future__ import annotations

from itertools import product
from typing import TYPE_CHECKING, NamedTuple, TypeVar

from rules.addresses import Block, PrefixIndex, prefix_block

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from collections.abc import Set as AbstractSet

    from rules.conduit_model import Selector
    from rules.model import Asset, Policy
    from rules.values import IPAddress
    from rules.zoning import Zoning

K = TypeVar("K")
E = TypeVar("E")
SOURCE, DESTINATION = 0, 1
BY_ASSET, BY_ROLE, BY_PREFIX, BY_ZONE = range(4)
# A role is in many zones and most conduits mean one of them; a selector of more zones is looked at for every one.
FEW_ZONES = 16


class Membership(NamedTuple):
    """A conduit's side and the narrowness of the match; smaller is more specific."""

    conduit: int  # order in the policy text
    side: int
    named_by: int  # BY_ASSET .. BY_ZONE
    breadth: int  # 128 - length of the longest matching prefix when named_by is BY_PREFIX, else 0


class Side(NamedTuple):
    """One selector of one conduit, prefixes resolved to (space, block)."""

    conduit: int
    side: int
    selector: Selector
    prefixes: tuple[tuple[str, Block], ...]


Memberships = frozenset[Membership]


class MembershipTable:
    """Answers memberships of one policy's endpoints; equal questions are answered once."""

    def __init__(self, policy: Policy, zoning: Zoning) -> None:
        self._by_asset: dict[str, list[Side]] = {}
        # Sides without a prefix whose zone, and role where they have one, is the whole question.
        self._surely: dict[tuple[str, str | None], list[Membership]] = {}
        self._by_role: dict[str, list[Side]] = {}
        self._by_zone_and_role: dict[tuple[str, str], list[Side]] = {}
        self._by_prefix: dict[tuple[str, Block], list[Side]] = {}
        self._by_group: dict[IPAddress | bytes, set[Membership]] = {}
        self.blocks: dict[str, PrefixIndex[None]] = {}  # selector prefixes by space
        self._known: dict[tuple[object, ...], Memberships] = {}
        self.prefix_zones: dict[tuple[str, Block], str] = {}  # selector prefixes: (space, block) → zone
        self._spaces = zoning.spaces
        for order, conduit in enumerate(policy.conduits.values()):
            self._add(order, SOURCE, conduit.opener(), zoning)
            self._add(order, DESTINATION, conduit.destination, zoning)

    def _add(self, order: int, side: int, selector: Selector, zoning: Zoning) -> None:
        for group in selector.group:
            self._by_group.setdefault(group, set()).add(Membership(order, side, BY_ASSET, 0))
        prefixes = []
        for prefix in selector.prefix:
            block = prefix_block(prefix)
            zone = zoning.prefix_zone(block, selector.zone)
            if zone is None:
                continue  # `check` refuses it
            place = (zoning.spaces[zone], block)
            prefixes.append(place)
            if place not in self.prefix_zones:
                self.prefix_zones[place] = zone
                self.blocks.setdefault(place[0], PrefixIndex()).add(block, None)
        entry = Side(order, side, selector, tuple(prefixes))
        if selector.asset:
            _file(self._by_asset, selector.asset, entry)
        elif selector.role and not selector.prefix and 0 < len(selector.zone) <= FEW_ZONES:
            _file(self._surely, product(selector.zone, selector.role), Membership(order, side, BY_ROLE, 0))
        elif selector.role and 0 < len(selector.zone) <= FEW_ZONES:
            _file(self._by_zone_and_role, product(selector.zone, selector.role), entry)
        elif selector.role:
            _file(self._by_role, selector.role, entry)
        elif selector.prefix:
            _file(self._by_prefix, prefixes, entry)
        else:
            _file(self._surely, [(zone, None) for zone in selector.zone], Membership(order, side, BY_ZONE, 0))

    def groups(self) -> Iterator[tuple[IPAddress | bytes, Memberships]]:
        """Yield every group address that a conduit names."""
        for group, memberships in self._by_group.items():
            yield group, frozenset(memberships)

    @property
    def named(self) -> AbstractSet[str]:
        """The assets that conduits name themselves."""
        return self._by_asset.keys()

    def of_asset(self, name: str | None, asset: Asset, around: tuple[Block, ...]) -> Memberships:
        """Return the memberships of an asset's address in these of the selectors' prefixes, longest first.

        Without a name: those of any like it that no conduit names.
        """
        return self._answer(asset.zone, name, asset, around, is_mac=False)

    def of_address(self, zone: str, block: Block, name: str | None = None, asset: Asset | None = None) -> Memberships:
        """Return the memberships of an asset's address, or of a block of unlisted addresses."""
        index = self.blocks.get(self._spaces[zone])
        around = tuple([found for found, _ in index.around(block)]) if index is not None else ()
        return self._answer(zone, name, asset, around, is_mac=False)

    def of_mac(self, name: str | None, asset: Asset) -> Memberships:
        """Return the memberships of an asset's MACs; a selector with `prefix` never names them."""
        return self._answer(asset.zone, name, asset, (), is_mac=True)

    def _answer(
        self, zone: str, name: str | None, asset: Asset | None, around: tuple[Block, ...], *, is_mac: bool
    ) -> Memberships:
        listed = asset.roles if asset is not None else ()
        question = (zone, listed, around, is_mac)
        nameless = self._known.get(question)
        if nameless is None:
            roles = frozenset(listed)
            sure = [membership for key in (*roles, None) for membership in self._surely.get((zone, key), ())]
            others = self._matching(self._candidates(zone, roles, around), zone, roles, around, is_mac=is_mac)
            nameless = self._known[question] = others.union(sure)
        named = self._by_asset.get(name) if name is not None else None
        if not named:
            return nameless
        return nameless | self._matching(named, zone, frozenset(listed), around, is_mac=is_mac)

    def _matching(
        self, sides: Iterable[Side], zone: str, roles: frozenset[str], around: tuple[Block, ...], *, is_mac: bool
    ) -> Memberships:
        places = {(self._spaces[zone], block) for block in around}
        found = (_match(side, zone, roles, places) for side in sides if not (is_mac and side.selector.prefix))
        return frozenset(membership for membership in found if membership is not None)

    def _candidates(self, zone: str, roles: frozenset[str], around: tuple[Block, ...]) -> Iterator[Side]:
        for role in roles:
            yield from self._by_role.get(role, ())
            yield from self._by_zone_and_role.get((zone, role), ())
        for block in around:
            yield from self._by_prefix.get((self._spaces[zone], block), ())


def _file(index: dict[K, list[E]], keys: Iterable[K], entry: E) -> None:
    for key in keys:
        index.setdefault(key, []).append(entry)


def _match(entry: Side, zone: str, roles: frozenset[str], around: set[tuple[str, Block]]) -> Membership | None:
    """Apply every key but `asset`, which the index by names has applied already."""
    selector = entry.selector
    lengths = [block.length for space, block in entry.prefixes if (space, block) in around]
    misses = (
        selector.zone and zone not in selector.zone,
        selector.role and roles.isdisjoint(selector.role),
        selector.prefix and not lengths,
    )
    if any(misses):
        return None
    if selector.asset or selector.role:
        return Membership(entry.conduit, entry.side, BY_ASSET if selector.asset else BY_ROLE, 0)
    return Membership(entry.conduit, entry.side, BY_PREFIX, 128 - max(lengths))
