"""Which paths a new policy opens and which it closes: (party, party, service) that gain or lose a permission.

In: two lowered policies, which conduits are open in each. Out: `PathChange` records, one per two parties, computed from
the same records that engine and kernel get. A path is what an opening frame needs: a conduit that is open, between two
zones; inside a zone everything passes anyway. Its cost grows with the rules, not with the pairs of assets. Pure.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, NamedTuple

from fastpath.abi import SERVICE_NEIGHBOUR
from rules.parties import ANYWHERE, Key, Party, parties
from rules.records import ServiceKind

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from collections.abc import Set as AbstractSet

    from rules.records import LoweredPolicy, ServiceRange

How = Literal["gained", "lost"]
Path = tuple[Key, Key, "Carried"]
Permits = dict[Path, tuple[int, ...]]  # the slots that permit it, most specific first
KIND_WORDS = {ServiceKind.ICMP4: "icmp", ServiceKind.ICMP6: "icmpv6"}


class Carried(NamedTuple):
    """Service numbers that neither policy tells apart; class 0 where a policy has no service for them."""

    by_mac: bool
    old_class: int
    new_class: int


@dataclass(frozen=True, slots=True)
class PathChange:
    """What opens or closes from each of some sources to each of some destinations."""

    how: How
    source_zone: str
    destination_zone: str  # `rules.parties.ANYWHERE` for groups
    sources: tuple[str, ...]  # assets by name, others by address
    destinations: tuple[str, ...]
    services: tuple[str, ...]  # like `tcp/502 (modbus)`
    conduits: tuple[str, ...]  # of the policy that permits it

    @property
    def pairs(self) -> int:
        """How many ordered pairs of members this is about."""
        return len(self.sources) * len(self.destinations)


def compare_paths(
    old: LoweredPolicy | None,
    new: LoweredPolicy,
    old_open: AbstractSet[int] | None = None,
    new_open: AbstractSet[int] | None = None,
) -> tuple[PathChange, ...]:
    """Return what is gained and lost; the open slots default to those that the policies themselves open."""
    here = {party.key: party for party in parties(old, new)}
    carried = _services(old, new)
    before = _permitted(old, old_open, here, carried, old_side=True) if old is not None else {}
    after = _permitted(new, new_open, here, carried, old_side=False)
    names = {slot.slot: slot.name for slot in new.conduits}
    names_before = {slot.slot: slot.name for slot in old.conduits} if old is not None else {}
    gained = {path: slots for path, slots in after.items() if path not in before}
    lost = {path: slots for path, slots in before.items() if path not in after}
    return (*_changes("gained", gained, here, carried, names), *_changes("lost", lost, here, carried, names_before))


def _permitted(
    policy: LoweredPolicy,
    given: AbstractSet[int] | None,
    here: dict[Key, Party],
    carried: dict[Carried, list[str]],
    *,
    old_side: bool,
) -> Permits:
    """Return every path that open conduits of a policy permit."""
    opened = {conduit.slot for conduit in policy.conduits if conduit.open} if given is None else given
    by_class: dict[tuple[bool, int], list[Key]] = defaultdict(list)
    for key in here:
        by_class[key.by_mac, key.old_class if old_side else key.new_class].append(key)
    by_service: dict[int, list[Carried]] = defaultdict(list)
    for service in carried:
        by_service[service.old_class if old_side else service.new_class].append(service)
    found: Permits = {}
    for rule in policy.rules:
        slots = tuple(slot for slot in rule.conduits if slot in opened)
        if not slots or rule.service_class == SERVICE_NEIGHBOUR:
            continue
        for service in by_service[rule.service_class]:
            for source in by_class[service.by_mac, rule.source_class]:
                for destination in by_class[service.by_mac, rule.destination_class]:
                    if source.zone not in (destination.zone, ANYWHERE):
                        found[source, destination, service] = slots
    return found


def _changes(
    how: How, paths: Permits, here: dict[Key, Party], carried: dict[Carried, list[str]], names: dict[int, str]
) -> Iterator[PathChange]:
    """Yield paths put together by their two parties and what permits them."""
    together: dict[tuple[Key, Key, tuple[int, ...]], list[Carried]] = defaultdict(list)
    for (source, destination, service), slots in paths.items():
        together[source, destination, slots].append(service)
    for (source, destination, slots), services in together.items():
        yield PathChange(
            how=how,
            source_zone=source.zone,
            destination_zone=destination.zone,
            sources=tuple(here[source].members),
            destinations=tuple(here[destination].members),
            services=tuple(text for service in services for text in carried[service]),
            conduits=tuple(names[slot] for slot in slots),
        )


def _services(old: LoweredPolicy | None, new: LoweredPolicy) -> dict[Carried, list[str]]:
    """Return the services that can be told apart, with the numbers of each as people write them."""
    found: dict[Carried, list[str]] = {}
    names, names_before = new.service_names, old.service_names if old is not None else {}
    for kind in ServiceKind:
        before = [span for span in old.services if span.kind is kind] if old is not None else []
        after = [span for span in new.services if span.kind is kind]
        for first, last, old_class, new_class in _cut(before, after):
            key = Carried(kind is ServiceKind.ETHERTYPE, old_class, new_class)
            name = names.get(new_class) or names_before.get(old_class)
            text = f"{_numbers(kind, first, last)} ({name})" if name else _numbers(kind, first, last)
            found.setdefault(key, []).append(text)
    return found


def _cut(before: Iterable[ServiceRange], after: Iterable[ServiceRange]) -> Iterator[tuple[int, int, int, int]]:
    """Yield (first, last, old class, new class) of the longest runs in which neither class changes."""
    turns: dict[int, dict[bool, int]] = defaultdict(dict)  # where a class begins, or 0: where it ends
    for is_new, spans in ((False, before), (True, after)):
        for span in spans:
            turns[span.last + 1].setdefault(is_new, 0)
        for span in spans:
            turns[span.first][is_new] = span.klass
    now, start = {False: 0, True: 0}, 0
    for at in sorted(turns):
        if now[False] or now[True]:
            yield start, at - 1, now[False], now[True]
        now |= turns[at]
        start = at


def _numbers(kind: ServiceKind, first: int, last: int) -> str:
    word = KIND_WORDS.get(kind, kind.value)
    ends = [f"{number:#06x}" if kind is ServiceKind.ETHERTYPE else str(number) for number in (first, last)]
    return f"{word}/{ends[0]}" if first == last else f"{word}/{ends[0]}-{ends[1]}"
