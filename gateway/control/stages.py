"""Stage objects: what they are called, what stage they have, and which overrides outlive a policy change.

In: a lowered policy, the state segment, the operators' overrides. Out: stores into the segment and the stages as shown
to people. An override is forgotten when its object is gone or when the policy's own stage of that object changed:
the newer word of an engineer wins. Must never touch disk or kernel; called by the enforcement core.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Protocol

from fastpath.abi import UNKNOWN_ZONE, Stage
from gateway.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from gateway.control.state_dir import StageName, StageOverride
    from rules.records import ConduitRecord, LoweredPolicy

UNKNOWN_ZONE_NAME: Final = "(unknown)"  # of zone 0; no zone can be called that
UNKNOWN_ZONE_ALIAS: Final = "unknown"  # what people may type, as long as no zone is called that
STAGE_NAMES: Final[dict[Stage, StageName]] = {Stage.MONITOR: "monitor", Stage.ALERT: "alert", Stage.ENFORCE: "enforce"}
STAGES: Final[dict[str, Stage]] = {name: stage for stage, name in STAGE_NAMES.items()}


class StageStore(Protocol):
    """Where stages are kept: the state segment."""

    ceiling: Stage

    def pair(self, source: int, destination: int) -> Stage:
        """Return the stage of an ordered pair of zone numbers."""

    def set_pair(self, source: int, destination: int, stage: Stage) -> None:
        """Set it."""

    def conduit(self, slot: int) -> Stage:
        """Return a conduit's own stage."""

    def set_conduit(self, slot: int, stage: Stage) -> None:
        """Set it."""


@dataclass(frozen=True, slots=True)
class StageObject:
    """The ceiling (neither field), a conduit, or an ordered pair of zones."""

    conduit: str | None = None
    pair: tuple[str, str] | None = None

    @property
    def key(self) -> str:
        """Return the name under which overrides are kept."""
        if self.conduit is not None:
            return f"conduit:{self.conduit}"
        return f"pair:{self.pair[0]}:{self.pair[1]}" if self.pair else "ceiling"

    @classmethod
    def of_key(cls, key: str) -> StageObject:
        """Return the object of a key."""
        kind, _, rest = key.partition(":")
        if kind == "conduit":
            return cls(conduit=rest)
        if kind == "pair":
            source, _, destination = rest.partition(":")
            return cls(pair=(source, destination))
        return cls()


def zone_numbers(lowered: LoweredPolicy) -> dict[str, int]:
    """Return zone numbers by name, zone 0 included."""
    return {UNKNOWN_ZONE_NAME: UNKNOWN_ZONE} | {zone.name: zone.number for zone in lowered.zones}


class StageTable:
    """The stage objects of one policy over one store."""

    def __init__(self, lowered: LoweredPolicy, store: StageStore) -> None:
        self._lowered = lowered
        self._store = store
        self._zones = zone_numbers(lowered)
        self._alias = {} if UNKNOWN_ZONE_ALIAS in self._zones else {UNKNOWN_ZONE_ALIAS: UNKNOWN_ZONE_NAME}
        self._conduits = {conduit.name: conduit for conduit in lowered.conduits}

    def canonical(self, target: StageObject) -> StageObject:
        """Return the object with zone 0 under its one name."""
        if target.pair is None:
            return target
        source, destination = (self._alias.get(name, name) for name in target.pair)
        return StageObject(pair=(source, destination))

    def knows(self, target: StageObject) -> bool:
        """Return whether this policy has the object."""
        if target.conduit is not None:
            return target.conduit in self._conduits
        return target.pair is None or all(name in self._zones for name in target.pair)

    def own(self, target: StageObject) -> Stage:
        """Return the stage that the policy text gives the object. Raises ConfigError when there is no such object."""
        if target.conduit is not None:
            return self._conduit(target.conduit).stage
        return self._lowered.pair_stages[self._numbers(target.pair)] if target.pair else self._lowered.ceiling

    def current(self, target: StageObject) -> Stage:
        """Return the object's stage in force, before the ceiling."""
        if target.conduit is not None:
            return self._store.conduit(self._conduit(target.conduit).slot)
        return self._store.pair(*self._numbers(target.pair)) if target.pair else self._store.ceiling

    def effective(self, target: StageObject) -> Stage:
        """Return the lower of the object's stage and the ceiling."""
        return min(self.current(target), self._store.ceiling)

    def put(self, target: StageObject, stage: Stage) -> None:
        """Store a stage; effective with the engine's next frame."""
        if target.conduit is not None:
            self._store.set_conduit(self._conduit(target.conduit).slot, stage)
        elif target.pair:
            self._store.set_pair(*self._numbers(target.pair), stage)
        else:
            self._store.ceiling = stage

    def objects(self) -> Iterator[StageObject]:
        """Return every stage object: ceiling, conduits by slot, ordered pairs of different zones."""
        yield StageObject()
        yield from self.conduits()
        for source in self._zones:
            for destination in self._zones:
                if source != destination:
                    yield StageObject(pair=(source, destination))

    def conduits(self) -> list[StageObject]:
        """Return the conduits by slot."""
        return [StageObject(conduit=conduit.name) for conduit in self._lowered.conduits]

    def _conduit(self, name: str) -> ConduitRecord:
        if name not in self._conduits:
            raise ConfigError("conduit_unknown", f"no conduit is called {name!r}", "`conduitctl conduits` lists them")
        return self._conduits[name]

    def _numbers(self, pair: tuple[str, str]) -> tuple[int, int]:
        for name in pair:
            if name not in self._zones:
                raise ConfigError("zone_unknown", f"no zone is called {name!r}", "`conduitctl zones` lists them")
        return self._zones[pair[0]], self._zones[pair[1]]


def surviving(overrides: Mapping[str, StageOverride], table: StageTable) -> dict[str, StageOverride]:
    """Return the overrides that still stand under a new policy."""
    kept = {}
    for key, override in overrides.items():
        target = StageObject.of_key(key)
        if table.knows(target) and STAGE_NAMES[table.own(target)] == override.own:
            kept[key] = override
    return kept


def carried_over(
    overrides: Mapping[str, StageOverride], later: Mapping[str, StageOverride | None], table: StageTable
) -> dict[str, StageOverride]:
    """Return overrides under a policy, but for what operators set later (None: reset): that stands."""
    found = {key: override for key, override in overrides.items() if key not in later}
    for key, override in later.items():
        target = StageObject.of_key(key)
        if override is not None and table.knows(target):
            found[key] = override.model_copy(update={"own": STAGE_NAMES[table.own(target)]})
    return found


def put_all(overrides: Mapping[str, StageOverride], table: StageTable) -> None:
    """Store every override."""
    for key, override in overrides.items():
        table.put(StageObject.of_key(key), STAGES[override.stage])
