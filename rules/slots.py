"""Which slot a conduit has: the place of its record, counters and limit clocks in the engine, across policies.

In: the conduits of a policy by name, and the slots known so far. Out: a slot for each, and the slots to know from then
on. A removed conduit's slot stays its own, so that nobody inherits what was counted there, and it finds all of it when
it comes back. Only when every slot is known are those given away, the longest removed first. A policy that is refused
before the engine has seen it leaves no trace: nothing was counted. One that is put back after that counts as removed
(`gateway.control.put_back`). Pure.
"""

from __future__ import annotations

from itertools import chain
from typing import TYPE_CHECKING

from fastpath.abi import MAX_CONDUITS

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping


def assign_slots(names: Collection[str], known: Mapping[str, int], capacity: int = MAX_CONDUITS) -> dict[str, int]:
    """Return a slot below `capacity` for each of at most that many names.

    A known name keeps its slot. Others get those above all known ones, then gaps, then those of the names in `known`
    that are not among `names`, in its order.
    """
    held = set(known.values())
    above = max(held, default=-1) + 1
    unheld = (slot for slot in chain(range(above, capacity), range(above)) if slot not in held)
    removed = (slot for name, slot in known.items() if name not in names)
    free = chain(unheld, removed)
    return {name: known[name] if name in known else next(free) for name in names}


def remember_slots(known: Mapping[str, int], given: Mapping[str, int]) -> dict[str, int]:
    """Return the slots to know once `given` are in force: one name a slot, the longest removed first."""
    taken = set(given.values())
    removed = {name: slot for name, slot in known.items() if name not in given and slot not in taken}
    return removed | dict(given)
