"""Open-addressing hash tables: where each entry goes, in the form that the engine's look-ups walk.

In: the hashes of the keys. Out: each entry's slot and the table's capacity, a power of two, at least twice the entries.
Every key sits within MAX_PROBE slots of its home and every slot between is in use, so a look-up ends early on a miss.
Must never depend on the order in which entries come. Called by `image`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Generic, NamedTuple, TypeVar

from fastpath.abi import MAX_PROBE

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

K = TypeVar("K")
MIN_CAPACITY = 8
MAX_DOUBLINGS = 6  # at 128 times the entries something is wrong with the hash, not with luck


class Placement(NamedTuple):
    """Where entries go: a slot for each, in the order of the hashes."""

    slots: list[int]
    capacity: int


class PlacementMemory(Generic[K]):
    """Remembers where the entries of a table went: the same keys under the same seed go there again."""

    def __init__(self) -> None:
        self._seed: int | None = None
        self._keys: Sequence[K] = ()
        self._placement = Placement([], MIN_CAPACITY)

    def place(self, seed: int, keys: Sequence[K], hashed: Callable[[int, Sequence[K]], list[int]]) -> Placement:
        """Return the placement of the keys, whose hashes `hashed` computes when they are other ones than last time."""
        if seed != self._seed or keys != self._keys:
            self._placement = place(hashed(seed, keys))
            self._seed, self._keys = seed, keys
        return self._placement


def place(hashes: Sequence[int]) -> Placement:
    """Return the placement of entries with these hashes, in the smallest table in which none is too far from home."""
    capacity = MIN_CAPACITY
    while capacity < 2 * len(hashes):
        capacity *= 2
    for _ in range(MAX_DOUBLINGS):
        slots = _slots(hashes, capacity)
        if slots is not None:
            return Placement(slots, capacity)
        capacity *= 2
    raise ValueError(f"{len(hashes)} entries do not fit within {MAX_PROBE} probes: hash collisions")


def _slots(hashes: Sequence[int], capacity: int) -> list[int] | None:
    """Return each entry's slot, or None when one would be too far from home.

    Placed in the order of their homes, entries share the displacement evenly, which keeps the longest one short. In
    that order the next free slot is behind the last one taken; what runs over the end goes on at the beginning.
    """
    mask = capacity - 1
    slots = [0] * len(hashes)
    ranks = [(value & mask) << 64 | value for value in hashes]
    over: list[int] = []
    last = -1
    for index in sorted(range(len(hashes)), key=ranks.__getitem__):
        home = hashes[index] & mask
        last = home if home > last else last + 1
        if last - home >= MAX_PROBE:
            return None
        slots[index] = last
        if last > mask:
            over.append(index)
    taken = {slot for slot in slots if slot < 2 * MAX_PROBE} if over else set()
    for index in over:
        home = hashes[index] & mask
        free = (slot for slot in range(capacity - home, MAX_PROBE) if slot + home - capacity not in taken)
        distance = next(free, None)
        if distance is None:
            return None
        slots[index] = distance + home - capacity
        taken.add(slots[index])
    return slots
