"""Who can be told apart under two policies at once: addresses in zones, and what class each policy gives them.

In: two lowered policies (or one). Out: `Party` groups: members that both policies treat alike, by name. A block of a
prefix stands for its addresses that are nobody else's, so that every member is a real one. Exact, and not quadratic:
one sweep over the sorted blocks of each address space. Pure. Called by `rules.paths`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

from rules.addresses import Block, block_text
from rules.records import EndpointRecord, LoweredPolicy, MacRecord
from rules.values import mac_text

if TYPE_CHECKING:
    from collections.abc import Iterator

ANYWHERE = "*"  # the zone of group addresses
ADDRESS_BITS = 128


class Key(NamedTuple):
    """What makes two members one party: `klass` 0 where a policy knows nothing of them."""

    zone: str  # ANYWHERE for groups
    by_mac: bool  # of frames without IP
    old_class: int
    new_class: int


@dataclass(slots=True)
class Party:
    """Members that neither policy tells apart: assets by name, other addresses as text."""

    key: Key
    members: dict[str, None] = field(default_factory=dict)


@dataclass(slots=True)
class _Place:
    """A block in the sweep, the records that decide in it, and how many of its addresses inner blocks take."""

    block: Block
    old: EndpointRecord | None
    new: EndpointRecord | None
    taken: int = 0

    @property
    def size(self) -> int:
        return 1 << (ADDRESS_BITS - self.block.length)


class Side:
    """One policy, with its names beside its numbers."""

    def __init__(self, lowered: LoweredPolicy | None) -> None:
        self.zones = {zone.number: zone.name for zone in lowered.zones} if lowered else {}
        self.spaces = {zone.name: zone.space for zone in lowered.zones} if lowered else {}
        self.assets = {asset.number: asset.name for asset in lowered.assets} if lowered else {}
        self.addresses: dict[int, dict[Block, EndpointRecord]] = {}
        self.macs: dict[int, dict[bytes, MacRecord]] = {}
        for record in lowered.endpoints if lowered else ():
            block = Block(int.from_bytes(record.address, "big"), record.prefix_length)
            self.addresses.setdefault(record.space, {})[block] = record
        for mac in lowered.macs if lowered else ():
            self.macs.setdefault(mac.space, {})[mac.mac] = mac

    def zone_of(self, record: EndpointRecord | MacRecord | None) -> str | None:
        """Return the name of a record's zone; None without a record."""
        if record is None:
            return None
        return ANYWHERE if record.anywhere else self.zones[record.zone]

    def name_of(self, record: EndpointRecord | MacRecord | None) -> str | None:
        """Return the asset a record belongs to."""
        return None if record is None or record.asset is None else self.assets[record.asset]


def parties(old: LoweredPolicy | None, new: LoweredPolicy) -> list[Party]:
    """Return every party of two policies that at least one of them names in a conduit."""
    before, after = Side(old), Side(new)
    found: dict[Key, Party] = {}
    for spaces, zones in _spaces(before, after).items():
        for key, member in _members(before, after, spaces, zones):
            if key.old_class or key.new_class:
                found.setdefault(key, Party(key)).members[member] = None
    return list(found.values())


def _spaces(old: Side, new: Side) -> dict[tuple[int | None, int | None], set[str]]:
    """Return which zones to look for in which pair of address spaces.

    A zone of only one policy goes wherever its space is looked at anyway: the other has no record of it.
    """
    found: dict[tuple[int | None, int | None], set[str]] = {}
    for zone in old.spaces.keys() & new.spaces.keys():
        found.setdefault((old.spaces[zone], new.spaces[zone]), {ANYWHERE}).add(zone)
    for side, own in ((0, old), (1, new)):
        for zone, space in own.spaces.items():
            if zone in old.spaces and zone in new.spaces:
                continue
            pair = next((known for known in found if known[side] == space), None)
            found.setdefault(pair or ((space, None) if side == 0 else (None, space)), {ANYWHERE}).add(zone)
    return found


def _members(old: Side, new: Side, spaces: tuple[int | None, int | None], zones: set[str]) -> Iterator[tuple[Key, str]]:
    before = old.addresses.get(spaces[0], {}) if spaces[0] is not None else {}
    after = new.addresses.get(spaces[1], {}) if spaces[1] is not None else {}
    for here in _inhabited(before, after):
        yield from _keys(old, new, here.old, here.new, zones, block_text(here.block))
    macs_before = old.macs.get(spaces[0], {}) if spaces[0] is not None else {}
    macs_after = new.macs.get(spaces[1], {}) if spaces[1] is not None else {}
    for mac in macs_before.keys() | macs_after.keys():
        yield from _keys(old, new, macs_before.get(mac), macs_after.get(mac), zones, mac_text(mac))


def _keys(
    old: Side,
    new: Side,
    before: EndpointRecord | MacRecord | None,
    after: EndpointRecord | MacRecord | None,
    zones: set[str],
    text: str,
) -> Iterator[tuple[Key, str]]:
    """Yield one key per zone that either policy sees the address in: elsewhere it would be a spoof."""
    old_zone, new_zone = old.zone_of(before), new.zone_of(after)
    by_mac = isinstance(before or after, MacRecord)
    for zone in zones.intersection({old_zone, new_zone}):
        here, there = (before if zone == old_zone else None), (after if zone == new_zone else None)
        name = new.name_of(there) or old.name_of(here) or text
        yield Key(zone, by_mac, here.klass if here else 0, there.klass if there else 0), name


def _inhabited(before: dict[Block, EndpointRecord], after: dict[Block, EndpointRecord]) -> Iterator[_Place]:
    """Yield every block with the records that decide there; not those that inner blocks take completely."""
    around: list[_Place] = []  # outermost first
    for block in sorted(before.keys() | after.keys()):
        while around and not around[-1].block.contains(block):
            yield from _left(around.pop())
        outer = around[-1] if around else None
        old = before.get(block) or (outer.old if outer else None)
        new = after.get(block) or (outer.new if outer else None)
        place = _Place(block, old, new)
        if outer is not None:
            outer.taken += place.size
        around.append(place)
    while around:
        yield from _left(around.pop())


def _left(place: _Place) -> Iterator[_Place]:
    if place.taken < place.size:
        yield place
