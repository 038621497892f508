"""Which disguise goes with which operation: the list of cases, all of them or a seeded share.

In: a seed and how many variants of each transform to take. Out: `Case` values with a number (a cell of the device) and
a port of their own. The same arguments give the same list. Must never send anything.
"""

from __future__ import annotations

import random
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from tests.evasion.operations import DECOYS, OPERATIONS, Operation
from tests.evasion.script import Event, Script
from tests.evasion.transforms import TRANSFORMS, Transform

if TYPE_CHECKING:
    from collections.abc import Sequence

NO_SESSION: Final = bytes(24)
FIRST_PORT: Final = 10_000


@dataclass(frozen=True, slots=True)
class Case:
    """One operation in one disguise."""

    transform: Transform
    variant: int
    operation: Operation
    number: int
    port: int

    @property
    def name(self) -> str:
        """Return what a report calls it."""
        return f"{self.operation.name} / {self.transform.name} {self.variant}"

    def script(self, session: bytes = NO_SESSION) -> Script:
        """Return what to send, once the conversation has been opened."""
        return scripts(self.transform, self.operation, self.number, session)[self.variant]

    def event(self) -> str | None:
        """Return the outside event that it waits for, if any."""
        return next((step.name for step in self.script().steps if isinstance(step, Event)), None)


def scripts(transform: Transform, operation: Operation, number: int, session: bytes = NO_SESSION) -> list[Script]:
    """Return every script of a transform for one message."""
    real = operation.message(number, session)
    other = DECOYS[operation.protocol].message(number, session)
    decoy = (other * (len(real) // len(other) + 1))[: len(real)]
    return list(transform.make(real, decoy, other))


def cases(seed: int, *, variants: int | None = None, ring: str = "netns") -> list[Case]:
    """Return the cases of a ring; with `variants`, at most so many of each transform and operation, by chance."""
    chance = random.Random(seed)
    numbers: Counter[str] = Counter()
    found: list[Case] = []
    for operation in OPERATIONS:
        for transform in TRANSFORMS:
            if transform.ring != ring or operation.protocol not in transform.protocols:
                continue
            for variant in _chosen(len(scripts(transform, operation, 1)), variants, chance):
                numbers[operation.protocol] += 1
                if operation.forbidden and numbers[operation.protocol] >= operation.cells:
                    raise ValueError(f"{operation.name}: more cases than the device has cells")
                found.append(Case(transform, variant, operation, numbers[operation.protocol], FIRST_PORT + len(found)))
    return found


def _chosen(count: int, variants: int | None, chance: random.Random) -> Sequence[int]:
    return range(count) if variants is None or variants >= count else sorted(chance.sample(range(count), variants))
