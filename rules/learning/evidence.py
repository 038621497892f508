"""What was seen: who asked whom for what, how it is judged by the policy at hand, when and how often.

In: made by whoever reads a tape or a capture. Out: `Evidence` for `sifting`. Values only; all of them have an order, so
that nothing that is learned depends on the order in which it was seen.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable

    from fastpath.abi import Reason

SLOT_S: Final = 900  # a quarter of an hour: nothing finer is kept of when something was seen
DAY_S: Final = 86_400
ASSET: Final = "asset"
ADDRESS: Final = "address"  # of a zone's prefix, and no asset's
GROUP: Final = "group"  # multicast, broadcast, or a group MAC: behind every port, in no zone
STRANGER: Final = "stranger"  # an address that the policy does not know


class End(NamedTuple):
    """One end of a path. `name` is an asset's, else the address as text; `zone` is "" where none is known."""

    zone: str
    kind: str
    name: str

    def __str__(self) -> str:
        return f"{self.name} ({self.zone})" if self.zone else self.name


class Number(NamedTuple):
    """What was asked for: a protocol as a policy's services write it, or "ethertype", and the number there."""

    protocol: str
    number: int

    def __str__(self) -> str:
        return (
            f"{self.protocol}/{self.number:#06x}" if self.protocol == "ethertype" else f"{self.protocol}/{self.number}"
        )


class Pair(NamedTuple):
    """Who asked, and who was asked."""

    source: End
    destination: End

    def __str__(self) -> str:
        return f"{self.source} → {self.destination}"


@dataclass(frozen=True, slots=True)
class Seen:
    """When and how often. Times in nanoseconds since the epoch; `slots` are beginnings of quarters of an hour in s."""

    first_ns: int
    last_ns: int
    frames: int
    flows: int
    slots: frozenset[int]

    @property
    def days(self) -> int:
        """How many days (UTC) it was seen on."""
        return len({slot // DAY_S for slot in self.slots})


def together(parts: Iterable[Seen]) -> Seen:
    """Return what several things seen add up to; there must be one."""
    seen = list(parts)
    return Seen(
        min(part.first_ns for part in seen),
        max(part.last_ns for part in seen),
        sum(part.frames for part in seen),
        sum(part.flows for part in seen),
        frozenset().union(*(part.slots for part in seen)),
    )


@dataclass(frozen=True, slots=True)
class Evidence:
    """One thing seen, and what the policy at hand says of it."""

    pair: Pair  # of a reply: turned round, so that it is the pair of what it answers
    number: Number
    reason: Reason
    seen: Seen
    reply: bool = False
    passed: bool = True  # it went on to its destination, whatever the policy said
    conduit: str | None = None
    source_mac: str = ""
