"""What holds per ordered pair of zones, as one byte each: a thousand zones make a million pairs.

In: zone numbers from 0 (unknown) to the number of zones. Out: `PairStages`, a mapping (source, destination) → stage,
and `PairSet`, a set of such pairs. Both read like the dict and the set they stand for, in 1 MB instead of 150.
Cells are in the order of the state segment: source * zone count + destination. Called wherever pairs are counted.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from collections.abc import Set as AbstractSet
from itertools import product
from math import isqrt

from fastpath.abi import PAIR_REFUSE, PAIR_STAGE_MASK, Stage

Pair = tuple[int, int]
ONLY_STAGES = bytes(cell & PAIR_STAGE_MASK for cell in range(256))


class PairStages(Mapping[Pair, Stage]):
    """The stage of every ordered pair of zone numbers."""

    __slots__ = ("cells", "zone_count")

    def __init__(self, zone_count: int, cells: bytes) -> None:
        if len(cells) != zone_count * zone_count:
            raise ValueError(f"{len(cells)} pairs of {zone_count} zones")
        self.zone_count = zone_count
        self.cells = cells

    @classmethod
    def of(cls, pairs: Mapping[Pair, Stage]) -> PairStages:
        """Return any mapping of every pair in this form."""
        if isinstance(pairs, cls):
            return pairs
        return cls(isqrt(len(pairs)), bytes(pairs[pair] for pair in sorted(pairs)))

    def under(self, ceiling: Stage) -> PairStages:
        """Return the effective stages: none above the ceiling."""
        return PairStages(self.zone_count, self.cells.translate(bytes(min(cell, ceiling) for cell in range(256))))

    def count(self, stage: Stage) -> int:
        """Return how many pairs have a stage."""
        return self.cells.count(stage)

    def enforced(self, *, is_it: bool) -> Iterator[Pair]:
        """Yield the pairs that enforce, or those that don't, in order."""
        found = self.cells.translate(bytes((cell == Stage.ENFORCE) is is_it for cell in range(256)))
        at = found.find(1)
        while at >= 0:
            yield divmod(at, self.zone_count)
            at = found.find(1, at + 1)

    def __getitem__(self, pair: Pair) -> Stage:
        source, target = pair
        if not (0 <= source < self.zone_count and 0 <= target < self.zone_count):
            raise KeyError(pair)
        return Stage(self.cells[source * self.zone_count + target])

    def __iter__(self) -> Iterator[Pair]:
        return product(range(self.zone_count), range(self.zone_count))

    def __len__(self) -> int:
        return len(self.cells)

    def __eq__(self, other: object) -> bool:
        return self.cells == other.cells if isinstance(other, PairStages) else super().__eq__(other)

    __hash__ = None  # type: ignore[assignment]  # as of any mapping


class PairSet(AbstractSet[Pair]):
    """Some ordered pairs of zone numbers; a cell is PAIR_REFUSE where the pair is in."""

    __slots__ = ("cells", "zone_count")

    def __init__(self, zone_count: int, cells: bytes) -> None:
        self.zone_count = zone_count
        self.cells = cells

    @classmethod
    def of(cls, pairs: Iterable[Pair], zone_count: int) -> PairSet:
        """Return the set of these pairs."""
        if isinstance(pairs, cls):
            return pairs
        cells = bytearray(zone_count * zone_count)
        for source, target in pairs:
            cells[source * zone_count + target] = PAIR_REFUSE
        return cls(zone_count, bytes(cells))

    @classmethod
    def _from_iterable(cls, it: Iterable[Pair]) -> frozenset[Pair]:  # type: ignore[override]
        return frozenset(it)  # what `&`, `|` and `-` make

    def __contains__(self, pair: object) -> bool:
        match pair:
            case (int(source), int(target)):
                inside = 0 <= source < self.zone_count and 0 <= target < self.zone_count
                return inside and bool(self.cells[source * self.zone_count + target])
            case _:
                return False

    def __iter__(self) -> Iterator[Pair]:
        at = self.cells.find(PAIR_REFUSE)
        while at >= 0:
            yield divmod(at, self.zone_count)
            at = self.cells.find(PAIR_REFUSE, at + 1)

    def __len__(self) -> int:
        return self.cells.count(PAIR_REFUSE)


def joined(stages: PairStages, refusals: PairSet) -> bytes:
    """Return both as the state segment holds them: Stage | PAIR_REFUSE by pair."""
    if not any(refusals.cells):
        return stages.cells
    both = int.from_bytes(stages.cells, "little") | int.from_bytes(refusals.cells, "little")
    return both.to_bytes(len(stages.cells), "little")
