"""Open-addressing hash tables as bytes, in the form that the engine's look-ups walk.

In: packed entries with their hashes. Out: the table's bytes and its capacity, a power of two, at least twice the
entries.
Every key sits within MAX_PROBE slots of its home and every slot between is in use, so a look-up ends early on a miss.
Must never depend on the order in which entries come. Called by `image`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from fastpath.abi import MAX_PROBE

if TYPE_CHECKING:
    from collections.abc import Sequence

MIN_CAPACITY = 8
MAX_DOUBLINGS = 6  # at 128 times the entries something is wrong with the hash, not with luck


def build_table(entries: Sequence[tuple[int, bytes]], entry_bytes: int) -> tuple[bytearray, int]:
    """Return the table of (hash, packed entry) pairs and its capacity."""
    capacity = MIN_CAPACITY
    while capacity < 2 * len(entries):
        capacity *= 2
    for _ in range(MAX_DOUBLINGS):
        slots = _place([entry[0] for entry in entries], capacity)
        if slots is not None:
            table = bytearray(capacity * entry_bytes)
            for slot, (_, packed) in zip(slots, entries, strict=True):
                table[slot * entry_bytes : slot * entry_bytes + entry_bytes] = packed
            return table, capacity
        capacity *= 2
    raise ValueError(f"{len(entries)} entries do not fit within {MAX_PROBE} probes: hash collisions")


def _place(hashes: list[int], capacity: int) -> list[int] | None:
    """Return each entry's slot, or None when one would be too far from home.

    Placed in the order of their homes, entries share the displacement evenly, which keeps the longest one short.
    """
    mask = capacity - 1
    used = bytearray(capacity)
    slots = [0] * len(hashes)
    for index in sorted(range(len(hashes)), key=lambda i: (hashes[i] & mask, hashes[i])):
        home = hashes[index] & mask
        for distance in range(MAX_PROBE):
            slot = (home + distance) & mask
            if not used[slot]:
                used[slot] = 1
                slots[index] = slot
                break
        else:
            return None
    return slots
