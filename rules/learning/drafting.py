"""Traffic → drafts of conduits: ends grouped, windows found, services of equal ends together, confidence weighed.

In: traffic by pair and number. Out: `Draft`s, without names and not yet asked about with the checks. Ends with several
numbers become one draft where windows and confidence are the same: what is doubtful must not hide behind what is sure.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING

from rules.learning.confidence import Confidence, confidence
from rules.learning.evidence import together
from rules.learning.grouping import Block, group

if TYPE_CHECKING:
    from collections.abc import Mapping
    from collections.abc import Set as AbstractSet

    from rules.learning.evidence import Number, Pair, Seen
    from rules.learning.grouping import Roles
    from rules.learning.occasions import Occasions
    from rules.learning.sifting import Key, Traffic
    from rules.learning.thresholds import Thresholds


@dataclass(frozen=True, slots=True)
class Draft:
    """A path that would permit `seen`. `traffic` is what was seen of it, by pair and number."""

    block: Block
    numbers: tuple[Number, ...]
    window: str | None
    confidence: Confidence
    traffic: Mapping[Key, Traffic]

    @property
    def by_role(self) -> bool:
        """Tell whether a role stands for the ends of a side."""
        return bool(self.block.source.role or self.block.destination.role)

    @property
    def seen(self) -> Seen:
        """When and how often."""
        return together(part for one in self.traffic.values() for part in one.parts)


def drafts(
    traffic: Mapping[Key, Traffic],
    one_by_one: AbstractSet[Key],
    roles: Roles,
    occasions: Occasions,
    thresholds: Thresholds,
) -> list[Draft]:
    """Return drafts that together permit all traffic; no role stands for ends of what is in `one_by_one`."""
    asked: dict[tuple[str, str, Number, bool], dict[Pair, Traffic]] = defaultdict(dict)
    for (pair, number), seen in traffic.items():
        asked[pair.source.zone, pair.destination.zone, number, (pair, number) in one_by_one][pair] = seen
    return _merged(
        [
            _draft(block, number, pairs, occasions)
            for (_, _, number, listed), pairs in asked.items()
            for block in group(pairs.keys(), roles, thresholds, by_role=not listed)
        ]
    )


def _draft(block: Block, number: Number, pairs: Mapping[Pair, Traffic], occasions: Occasions) -> Draft:
    permitted = block.pairs()
    seen = {pair: pairs[pair] for pair in sorted(permitted & pairs.keys())}
    slots = frozenset[int]().union(*(part.slots for one in seen.values() for part in one.parts))
    sure = confidence(list(seen.values()), len(permitted))
    return Draft(block, (number,), occasions.window(slots), sure, {(pair, number): one for pair, one in seen.items()})


def _merged(single: list[Draft]) -> list[Draft]:
    alike: dict[tuple[Block, str, int], list[Draft]] = defaultdict(list)
    for draft in single:
        alike[draft.block, draft.window or "", draft.confidence.level].append(draft)
    found = []
    for _, parts in sorted(alike.items(), key=lambda item: item[0]):
        parts.sort(key=lambda draft: draft.numbers)
        numbers = tuple(number for draft in parts for number in draft.numbers)
        traffic = {key: one for draft in parts for key, one in draft.traffic.items()}
        found.append(Draft(parts[0].block, numbers, parts[0].window, _reasons(parts), traffic))
    return found


def _reasons(parts: list[Draft]) -> Confidence:
    """Return the confidence that all share, with each service's own reasons where there are several."""
    if len(parts) == 1:
        return parts[0].confidence
    texts = tuple(f"{draft.numbers[0]}: {', '.join(draft.confidence.reasons)}" for draft in parts)
    return Confidence(parts[0].confidence.level, texts)
