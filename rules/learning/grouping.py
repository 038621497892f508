"""Pairs of one service between two zones → as few pairs of sides as the evidence carries.

In: the pairs seen, the roles of the two zones, thresholds. Out: `Block`s: each permits everything between its sides.
Every pair seen is in a block. A side is a role only where enough of its members were seen and enough of the pairs that
the block would permit; other blocks permit exactly what was seen. Never depends on the order of the pairs.
"""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING, NamedTuple

from rules.learning.evidence import ASSET, End, Pair

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator

    from rules.learning.thresholds import Thresholds
    from rules.zoning import Zoning


class Side(NamedTuple):
    """Ends that a selector names: a role's members in a zone, or a list. `role` is "" for a list."""

    role: str
    ends: tuple[End, ...]

    @property
    def zone(self) -> str:
        """The zone that all of them are in."""
        return self.ends[0].zone


class Block(NamedTuple):
    """Everything between two sides."""

    source: Side
    destination: Side

    def pairs(self) -> set[Pair]:
        """Return what it permits."""
        return {Pair(source, destination) for source in self.source.ends for destination in self.destination.ends}


class Roles:
    """The members of each role in each zone, and back."""

    def __init__(self, zoning: Zoning) -> None:
        self._zoning = zoning
        self._sides: dict[tuple[str, str], Side] = {}

    def of(self, end: End) -> tuple[str, ...]:
        """Return an end's roles."""
        return tuple(sorted(set(self._zoning.policy.assets[end.name].roles))) if end.kind == ASSET else ()

    def side(self, zone: str, role: str) -> Side:
        """Return everybody with a role in a zone."""
        found = self._sides.get((zone, role))
        if found is None:
            names = sorted(set(self._zoning.inhabitants([zone], [role])))
            found = self._sides[zone, role] = Side(role, tuple(End(zone, ASSET, name) for name in names))
        return found


def group(pairs: Collection[Pair], roles: Roles, thresholds: Thresholds, *, by_role: bool = True) -> list[Block]:
    """Return the blocks of pairs that all lead from one zone to one other (or to groups)."""
    apart: dict[tuple[str, str], set[Pair]] = defaultdict(set)
    for pair in pairs:
        apart[pair.source.kind, pair.destination.kind].add(pair)
    found: list[Block] = []
    for _, some in sorted(apart.items()):
        left = set(some)
        if by_role:
            for candidates in (_roles_to_roles(some, roles, thresholds), _roles_to_lists(some, roles, thresholds)):
                found += _taken(list(candidates), some, left)
        found += _exactly(left)
    return sorted(found)


def _taken(candidates: list[Block], seen: set[Pair], left: set[Pair]) -> Iterator[Block]:
    """Yield the candidates that cover most of what is left, one after the other, and remove it.

    One that covers a single pair says no more than a list does, and is left to it.
    """
    covers = {block: block.pairs() & seen for block in candidates}
    while covers:
        best = min(covers, key=lambda block: (-len(covers[block] & left), _size(block), block))
        gained = covers.pop(best) & left
        if len(gained) < 2:
            return
        chosen = _without_idle_ends(best, gained)
        yield chosen
        left -= chosen.pairs()


def _without_idle_ends(block: Block, gained: set[Pair]) -> Block:
    """Leave out of a list whom other blocks serve already. Each end of a list is carried by itself, so this is safe."""
    wanted = ({pair.source for pair in gained}, {pair.destination for pair in gained})
    sides = [
        side if side.role else Side("", tuple(end for end in side.ends if end in ends))
        for side, ends in zip(block, wanted, strict=True)
    ]
    return Block(*sides)


def _size(block: Block) -> int:
    return len(block.source.ends) * len(block.destination.ends)


def _roles_to_roles(pairs: set[Pair], roles: Roles, thresholds: Thresholds) -> Iterator[Block]:
    """Yield role to role wherever both were seen widely enough."""
    seen: dict[tuple[str, str, str, str], set[Pair]] = defaultdict(set)
    for pair in pairs:
        for mine in roles.of(pair.source):
            for theirs in roles.of(pair.destination):
                seen[pair.source.zone, mine, pair.destination.zone, theirs].add(pair)
    for (here, mine, there, theirs), some in seen.items():
        block = Block(roles.side(here, mine), roles.side(there, theirs))
        enough = thresholds.enough_members(len({pair.source for pair in some}), len(block.source.ends))
        enough &= thresholds.enough_members(len({pair.destination for pair in some}), len(block.destination.ends))
        if enough and thresholds.enough_pairs(len(some), _size(block)):
            yield block


def _roles_to_lists(pairs: set[Pair], roles: Roles, thresholds: Thresholds) -> Iterator[Block]:
    """Yield role to list and list to role: each end of the list was seen with enough of the role by itself."""
    for forth in (True, False):
        members: dict[tuple[str, str, End], set[End]] = defaultdict(set)
        for pair in pairs:
            end, other = (pair.source, pair.destination) if forth else (pair.destination, pair.source)
            for role in roles.of(end):
                members[end.zone, role, other].add(end)
        lists: dict[tuple[str, str], list[End]] = defaultdict(list)
        for (zone, role, other), ends in members.items():
            whole = len(roles.side(zone, role).ends)
            if thresholds.enough_members(len(ends), whole) and thresholds.enough_pairs(len(ends), whole):
                lists[zone, role].append(other)
        for (zone, role), others in lists.items():
            side, one_by_one = roles.side(zone, role), Side("", tuple(sorted(others)))
            yield Block(side, one_by_one) if forth else Block(one_by_one, side)


def _exactly(pairs: Iterable[Pair]) -> Iterator[Block]:
    """Yield blocks that permit these pairs and no other: ends with the same partners stand together."""
    forth: dict[End, set[End]] = defaultdict(set)
    back: dict[End, set[End]] = defaultdict(set)
    for source, destination in pairs:
        forth[source].add(destination)
        back[destination].add(source)
    by_source, by_destination = _alike(forth), _alike(back)
    if len(by_source) <= len(by_destination):
        for partners, ends in by_source.items():
            yield Block(Side("", ends), Side("", partners))
    else:
        for partners, ends in by_destination.items():
            yield Block(Side("", partners), Side("", ends))


def _alike(partners: dict[End, set[End]]) -> dict[tuple[End, ...], tuple[End, ...]]:
    """Return the ends by their partners."""
    found: dict[tuple[End, ...], list[End]] = defaultdict(list)
    for end in sorted(partners):
        found[tuple(sorted(partners[end]))].append(end)
    return {others: tuple(ends) for others, ends in found.items()}
