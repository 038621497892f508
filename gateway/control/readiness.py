"""The proof behind a promotion: everything on the tape judged by a policy, and what was recorded when.

In: the tape, a compiled policy (in force or to come). Out: verdicts on stage objects (`rules.readiness`). The compiled
engine judges what was seen, so that what an earlier policy said of it doesn't matter: a conduit added since has
answered its would-drops, and what a text has forbidden since is a would-drop though it was accepted then. Reads only;
replaying takes seconds of one thread: run it in one.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Final

from fastpath.abi import SERVICE_NEIGHBOUR
from gateway.control.stages import UNKNOWN_ZONE_NAME, StageObject
from gateway.tape.coverage import ways_of
from gateway.tape.replay import TapeReplay
from gateway.tape.sight import ACCEPT, DROP, of_inspection
from gateway.tape.summary import service_text
from rules.readiness import Group, Verdict, WouldDrop, joined, progress, verdict, was_used

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from gateway.tape.coverage import Stretch, Way
    from gateway.tape.replay import Replayed
    from gateway.tape.sight import Sight
    from gateway.tape.store import Tape
    from rules.compile import Compiled
    from rules.readiness import Acknowledgement, Interval

    Pair = tuple[str, str]

OF_CONDUITS: Final = frozenset({"POLICY_CONDUIT_CLOSED", "LIMIT_SOURCE", "LIMIT_FLOWS", "LIMIT_PACKETS"})
_EPOCH: Final = datetime.fromtimestamp(0, UTC)


@dataclass(slots=True)
class Proof:
    """What the tape says under one policy."""

    compiled: Compiled
    stretches: list[Stretch]
    would_drops: dict[str, dict[Group, WouldDrop]] = field(default_factory=dict)  # by key of the stage object
    used: dict[str, set[int]] = field(default_factory=dict)  # conduit → quarters of an hour, ns
    _pairs_of: dict[str, frozenset[Pair]] = field(default_factory=dict)
    _recorded: dict[frozenset[Pair] | None, list[Interval]] = field(default_factory=dict)
    _owners: dict[tuple[str, int], str] = field(init=False)  # zones of now by port and VLAN
    _ports: frozenset[str] = field(init=False)

    def __post_init__(self) -> None:
        ways = ways_of(self.compiled.lowered)
        self._owners = {(way.port, way.vlan): way.zone for way in ways}
        self._ports = frozenset(way.port for way in ways)

    def zone(self, port: str, vlan: int, then: str) -> str:
        """Return the zone of now of a port and VLAN; where that port is not known, the one of the time."""
        return self._owners.get((port, vlan), UNKNOWN_ZONE_NAME) if port in self._ports else then

    def verdict(self, target: StageObject, acknowledged: Mapping[Group, Acknowledgement]) -> Verdict:
        """Return the verdict on one object; the ceiling's is of the cycles alone."""
        policy = self.compiled.policy
        own = policy.conduits[target.conduit].cycles if target.conduit is not None else ()
        names = own or tuple(policy.cycles)
        cycles = progress(policy, names, self.recorded(target))
        used = None
        if target.conduit is not None:
            used = was_used(cycles, (moment(slot) for slot in self.used.get(target.conduit, ())))
        found = self.would_drops.get(target.key, {}).values()
        ordered = sorted(found, key=lambda one: (-one.frames, one.group))
        return verdict(target.key, cycles, ordered, acknowledged, used=used)

    def recorded(self, target: StageObject) -> list[Interval]:
        """Return when everything that this object decides about was recorded.

        That is: its zones' ports were in the bridge, and no two of them that it tells apart were one zone then.
        """
        pairs = self._pairs(target)
        if pairs not in self._recorded:
            ways = ways_of(self.compiled.lowered)
            counts = {one: tells_apart(one, ways, pairs) for one in {stretch.ways for stretch in self.stretches}}
            counting = (one for one in self.stretches if counts[one.ways])
            self._recorded[pairs] = joined((moment(one.from_ns), moment(one.to_ns)) for one in counting)
        return self._recorded[pairs]

    def _pairs(self, target: StageObject) -> frozenset[Pair] | None:
        """Return which zones an object tells apart; None: every two."""
        if target.conduit is None:
            return frozenset({target.pair}) if target.pair else None
        if not self._pairs_of:
            self._pairs_of = conduit_pairs(self.compiled)
        return self._pairs_of[target.conduit]


def tells_apart(then: Collection[Way], now: Collection[Way], pairs: Collection[Pair] | None) -> bool:
    """Return whether what crosses between these zones of now was seen by the zones of then; None: any two of them."""
    in_bridge = {way.port for way in then}
    zone_then = {(way.port, way.vlan): way.zone for way in then}
    were: dict[str, set[str]] = {}
    wanted = None if pairs is None else {zone for pair in pairs for zone in pair}
    for way in now:
        if wanted is None or way.zone in wanted:
            if way.port not in in_bridge:
                return False
            place = zone_then.get((way.port, way.vlan))
            were.setdefault(way.zone, set()).update(() if place is None else (place,))
    if pairs is not None:
        return all(not (were.get(source, set()) & were.get(destination, set())) for source, destination in pairs)
    return sum(len(places) for places in were.values()) == len(set().union(*were.values()))


def moment(time_ns: int) -> datetime:
    """Return nanoseconds since the epoch as a moment."""
    return _EPOCH + timedelta(microseconds=time_ns // 1000)


def prove(tape: Tape, compiled: Compiled, since_ns: int = 0) -> Proof:
    """Judge everything on the tape, or what was seen since an instant. Raises sqlite3.Error."""
    stretches = [one._replace(from_ns=max(one.from_ns, since_ns)) for one in tape.recorded() if one.to_ns > since_ns]
    proof = Proof(compiled, stretches)
    rows = list(TapeReplay(unlimited(compiled)).run(tape.observations(since_ns=since_ns)))
    permitted = {_ends(row.sight) for row in rows if row.said is not None and row.said.policy_verdict == ACCEPT}
    limited = {name for name, conduit in compiled.policy.conduits.items() if conduit.limit is not None}
    for row in rows:
        _take(proof, row, permitted, limited)
    return proof


def unlimited(compiled: Compiled) -> Compiled:
    """Return the policy without its limits: asking about months within a moment would exceed any of them."""
    conduits = tuple(replace(one, limit=None) for one in compiled.lowered.conduits)
    return replace(compiled, lowered=replace(compiled.lowered, conduits=conduits))


def _ends(sight: Sight) -> tuple[str, str, int, int]:
    return sight.source, sight.destination, sight.protocol, sight.number


def _take(
    proof: Proof, row: Replayed, permitted: Collection[tuple[str, str, int, int]], limited: Collection[str]
) -> None:
    sight, said = row.sight, row.said
    if said is None:
        _take_as_it_was(proof, row, permitted)
        return
    source, destination = said.source_zone or "", said.destination_zone or ""
    conduit, reason = said.conduit or "", said.reason or ""
    if said.policy_verdict == ACCEPT:
        if conduit:
            proof.used.setdefault(conduit, set()).update(row.slots)
        if not (sight.reason.startswith("LIMIT_") and conduit in limited):
            return
        reason = sight.reason  # a limit is about how much: only what happened can tell
    own = reason in OF_CONDUITS or of_inspection(reason)
    target = StageObject(conduit=conduit) if own else StageObject(pair=(source, destination))
    _count(proof, target, row, reason, said.source_asset, said.destination_asset)


def _take_as_it_was(proof: Proof, row: Replayed, permitted: Collection[tuple[str, str, int, int]]) -> None:
    """Take what can't be asked again: a reply goes with what it answers, broken frames are broken under any policy."""
    sight = row.sight
    asked = (sight.destination, sight.source, sight.protocol, sight.number)
    if of_inspection(sight.reason):
        conduit = proof.compiled.policy.conduits.get(sight.conduit)
        if conduit is not None and conduit.inspected and asked in permitted:
            target = StageObject(conduit=sight.conduit)
            _count(proof, target, row, sight.reason, sight.source_asset, sight.destination_asset)
        return
    if sight.policy_verdict != DROP or (sight.reply and asked in permitted):
        return
    source = proof.zone(sight.in_port, sight.vlan, sight.source_zone)
    destination = proof.zone(sight.out_port, sight.vlan, sight.destination_zone)
    if source == destination != UNKNOWN_ZONE_NAME:
        return  # one zone by now
    target = StageObject(pair=(source, destination))
    if sight.reason in OF_CONDUITS:
        target = StageObject(conduit=sight.conduit)
    _count(proof, target, row, sight.reason, sight.source_asset, sight.destination_asset)


def _count(
    proof: Proof, target: StageObject, row: Replayed, reason: str, source_asset: str | None, other_asset: str | None
) -> None:
    sight, total = row.sight, row.sum
    service = service_text(sight.ethertype, sight.protocol, sight.number) + (" reply" if sight.reply else "")
    source, destination = source_asset or sight.source, other_asset or sight.destination
    group = Group(target.key, source, destination, service, reason)
    known = proof.would_drops.setdefault(target.key, {}).setdefault(
        group, WouldDrop(group, total.first_ns, total.last_ns)
    )
    known.first_ns, known.last_ns = min(known.first_ns, total.first_ns), max(known.last_ns, total.last_ns)
    known.flows += total.flows
    known.frames += total.frames


def conduit_pairs(compiled: Compiled) -> dict[str, frozenset[Pair]]:
    """Return between which zones each conduit permits something; a group is in every zone and makes no pair."""
    lowered = compiled.lowered
    names = {zone.number: zone.name for zone in lowered.zones}
    zones: dict[int, set[str]] = {}
    places = [(record.klass, record.zone) for record in lowered.endpoints]
    places += [(record.klass, record.zone) for record in lowered.macs]
    for klass, zone in places:
        if klass and zone in names:
            zones.setdefault(klass, set()).add(names[zone])
    conduits = {conduit.slot: conduit.name for conduit in lowered.conduits}
    found: dict[str, set[Pair]] = {name: set() for name in conduits.values()}
    for rule in lowered.rules:
        if rule.service_class == SERVICE_NEIGHBOUR:
            continue
        sources = zones.get(rule.source_class, set())
        pairs = {(one, other) for one in sources for other in zones.get(rule.destination_class, set()) if one != other}
        for slot in rule.conduits:
            found[conduits[slot]] |= pairs
    return {name: frozenset(pairs) for name, pairs in found.items()}
