"""Which conduits permit what between which classes, most specific first: the only place where precedence is decided.

In: the classes that each conduit's sides consist of, and those of services. Out: for each combination its conduits.
Keys and ranks are single numbers, since there are millions of them: a key has 16 bits each for source, destination and
service class (as RULE.key); a rank has, from the top, what is compared first. Called by `lower`.
The meaning is docs/reference/semantics.md, "Precedence among conduits"; this module only executes it.
"""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, Final

from fastpath.abi import MAX_CLASSES, SERVICE_NEIGHBOUR
from rules.membership import DESTINATION, SOURCE, Membership
from rules.problems import PolicyError, Problem
from rules.records import RuleRecord

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from rules.endpoints import Endpoints
    from rules.model import Policy
    from rules.service_classes import ServiceClasses

# (classes, service, conduit) combinations: 2 million make 80 MB of image.
MAX_RULES: Final = 2_000_000
ORDER_BITS: Final = 17  # MAX_CONDUITS
SIZE_BITS: Final = 20  # numbers in a service: at most those of all number spaces
END_BITS: Final = 10  # of one end: named_by (2) and breadth (8: 0 to 128)
ORDER_MASK: Final = (1 << ORDER_BITS) - 1
CLASS_BITS: Final = 16
CLASS_MASK: Final = (1 << CLASS_BITS) - 1

Sides = dict[tuple[int, int], list[tuple[int, Membership]]]  # (conduit, side) → classes
Ends = list[tuple[int, int]]  # (class, how narrowly it was named) of one side


class Ranking:
    """The rules of one policy."""

    def __init__(self, policy: Policy, endpoints: Endpoints, services: ServiceClasses) -> None:
        """Rank every combination; raises PolicyError when there are more than the image has room for."""
        self._names = list(policy.conduits)
        self._ranks: dict[int, int | list[int]] = {}  # key → its one rank, or all of them
        if len(endpoints.classes) > MAX_CLASSES:
            raise PolicyError([too_big(policy, f"{len(endpoints.classes)} kinds of endpoints", MAX_CLASSES)])
        room = MAX_RULES
        ip_sides = endpoints.sides(endpoints.ip_classes)
        mac_sides = endpoints.sides(endpoints.mac_classes)
        for order, conduit in enumerate(policy.conduits.values()):
            ip_services = _narrowest(conduit.services, services.of_ip, services.sizes)
            frame_services = _narrowest(conduit.services, services.of_ethertype, services.sizes)
            over_ip, over_frames = _ends(ip_sides, order), _ends(mac_sides, order)
            room -= len(over_ip[0]) * len(over_ip[1]) * (len(ip_services) + 2)
            room -= len(over_frames[0]) * len(over_frames[1]) * len(frame_services)
            if room < 0:
                raise PolicyError([too_big(policy, "more combinations of endpoints and services", MAX_RULES)])
            if ip_services:
                self._join(order, *over_ip, ip_services)
                self._join_neighbours(order, *over_ip)
            if frame_services:
                self._join(order, *over_frames, frame_services)
        for found in self._ranks.values():
            if isinstance(found, list):
                found.sort()

    def records(self, slots: Sequence[int]) -> Iterator[RuleRecord]:
        """Yield the rules; `slots` by the conduits' order."""
        alone = [(slot,) for slot in slots]
        for key, found in self._ranks.items():
            conduits = (
                tuple([slots[rank & ORDER_MASK] for rank in found])
                if isinstance(found, list)
                else alone[found & ORDER_MASK]
            )
            yield RuleRecord(key >> 2 * CLASS_BITS, key >> CLASS_BITS & CLASS_MASK, key & CLASS_MASK, conduits)

    def ties(self) -> set[tuple[str, str]]:
        """Return the pairs of conduits between which only the order in the text decides."""
        tied = {
            (first & ORDER_MASK, second & ORDER_MASK)
            for found in self._ranks.values()
            if isinstance(found, list)
            for first, second in pairwise(found)
            if first >> ORDER_BITS == second >> ORDER_BITS
        }
        return {(self._names[first], self._names[second]) for first, second in tied}

    def _join(self, order: int, sources: Ends, targets: Ends, services: dict[int, int]) -> None:
        carried = [(service, size << ORDER_BITS | order) for service, size in services.items()]
        ranks = self._ranks
        for source, here in sources:
            for target, there in targets:
                pair = (source << CLASS_BITS | target) << CLASS_BITS
                ends = (here << END_BITS | there) << SIZE_BITS + ORDER_BITS
                for service, rest in carried:
                    key, rank = pair | service, ends | rest
                    found = ranks.setdefault(key, rank)
                    if found is not rank:
                        ranks[key] = _with(found, rank)

    def _join_neighbours(self, order: int, sources: Ends, targets: Ends) -> None:
        """Whoever may talk may resolve the other's address, both ways; ranks are those of the conduit's direction."""
        ranks = self._ranks
        for source, here in sources:
            for target, there in targets:
                rank = (here << END_BITS | there) << SIZE_BITS + ORDER_BITS | order
                for pair in ((source, target), (target, source)):
                    key = (pair[0] << CLASS_BITS | pair[1]) << CLASS_BITS | SERVICE_NEIGHBOUR
                    found = ranks.setdefault(key, rank)
                    newest = found[-1] if isinstance(found, list) else found
                    if newest & ORDER_MASK != order:
                        ranks[key] = _with(found, rank)


def _with(found: int | list[int], rank: int) -> list[int]:
    if isinstance(found, list):
        found.append(rank)
        return found
    return [found, rank]


def _ends(sides: Sides, order: int) -> tuple[Ends, Ends]:
    """Return the classes of a conduit's source and of its destination."""
    here, there = (
        [(number, named.named_by << 8 | named.breadth) for number, named in sides.get((order, side), ())]
        for side in (SOURCE, DESTINATION)
    )
    return here, there


def _narrowest(names: tuple[str, ...], classes: dict[str, set[int]], sizes: dict[str, int]) -> dict[int, int]:
    """Return, per service class, the size of the narrowest of a conduit's services that contains it."""
    found: dict[int, int] = {}
    for name in names:
        for klass in classes.get(name, ()):
            found[klass] = min(sizes[name], found.get(klass, sizes[name]))
    return found


def too_big(policy: Policy, what: str, limit: int) -> Problem:
    """Return the problem of a policy that needs more than there is room for."""
    hint = "name zones and roles rather than single assets"
    return Problem(*policy.place("conduits"), f"{what} than the gateway's limit of {limit}", hint, "POL113")
