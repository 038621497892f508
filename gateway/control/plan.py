"""`plan` and `diff`: what a policy would change, before it does.

In: two compiled policies, the stages and live conversations of now. Out: answer models for people and scripts: objects
with their fields, paths gained and lost, stages, conversations that would be cut. Looks only; nothing in force, no
file and no counter is touched. CPU-bound: run it in a thread.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

from fastpath.abi import Stage
from gateway.control.api.change_models import (
    Differences,
    FieldDifference,
    FlowsDifference,
    ObjectDifference,
    PathDifference,
    StageDifference,
)
from gateway.control.candidate import candidate, in_force
from gateway.control.live_flows import live_flows
from gateway.control.stages import STAGE_NAMES, StageObject, zone_numbers
from rules.compare import compare_texts
from rules.paths import compare_paths
from rules.state import pair_stages

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from gateway.control.candidate import Candidate
    from gateway.control.in_force import PolicyInForce
    from gateway.control.state_dir import StageOverride
    from rules.compile import Compiled

MEMBERS_SHOWN: Final = 100  # of each side of a path; the counts are of all


def differences(old: Compiled | None, new: Compiled, stages: tuple[Candidate, Candidate] | None = None) -> Differences:
    """Compare two policies; `stages` as they are and would be, by default as the texts say."""
    before = old.lowered if old is not None else None
    if stages is None and old is not None:
        moment = datetime.now(UTC)
        stages = (candidate(old, {}, moment), candidate(new, {}, moment))
    paths = compare_paths(before, new.lowered, openable(old) if old is not None else None, openable(new))
    return Differences(
        same=before is not None and before.digest == new.lowered.digest,
        old_digest=before.digest.hex() if before is not None else None,
        new_digest=new.lowered.digest.hex(),
        objects=[
            ObjectDifference(
                section=found.section,
                name=found.name,
                how=found.how,
                fields=[FieldDifference(field=one.field, old=one.old, new=one.new) for one in found.fields],
            )
            for found in compare_texts(old.policy if old is not None else None, new.policy)
        ],
        gained=sum(path.pairs for path in paths if path.how == "gained"),
        lost=sum(path.pairs for path in paths if path.how == "lost"),
        paths=[
            PathDifference(
                how=path.how,
                source_zone=path.source_zone,
                destination_zone=path.destination_zone,
                sources=list(path.sources[:MEMBERS_SHOWN]),
                source_count=len(path.sources),
                destinations=list(path.destinations[:MEMBERS_SHOWN]),
                destination_count=len(path.destinations),
                services=list(path.services),
                conduits=list(path.conduits),
            )
            for path in sorted(
                paths, key=lambda path: (path.source_zone, path.destination_zone, path.how, path.sources)
            )
        ],
        stages=list(_stages(*stages)) if stages is not None else [],
    )


def openable(compiled: Compiled) -> set[int]:
    """Return the slots of the conduits that permit something, if not always: a window counts as open, a demand that
    nobody can meet yet does not."""
    conduits = compiled.policy.conduits
    return {
        record.slot
        for record in compiled.lowered.conduits
        if conduits[record.name].enabled and not conduits[record.name].requires
    }


def plan(
    current: PolicyInForce | None,
    new: Compiled,
    overrides: Mapping[str, StageOverride],
    flows: Iterable[Mapping[str, Any]],
    moment: datetime,
) -> tuple[Differences, FlowsDifference | None, tuple[str, ...]]:
    """Return what would change, what live conversations would notice, and which stage overrides would give way."""
    then = candidate(new, overrides, moment)
    if current is None:
        return differences(None, new), None, then.overrides_dropped
    now = in_force(current)
    found = differences(current.compiled, new, (now, then))
    return found, live_flows(flows, current.names, now, then), then.overrides_dropped


def _stages(old: Candidate, new: Candidate) -> Iterator[StageDifference]:
    """Yield the stage objects of both policies whose own stage differs."""
    for target in [StageObject(), *(StageObject(conduit=conduit.name) for conduit in new.lowered.conduits)]:
        if old.stages.knows(target) and old.stages.current(target) is not new.stages.current(target):
            yield _stage(target, old.stages.current(target), new.stages.current(target))
    before, after = pair_stages(old.state).cells, pair_stages(new.state).cells  # a thousand zones: a million pairs
    numbers, zones = zone_numbers(old.lowered), zone_numbers(new.lowered)
    for source, row in zones.items():
        for destination, column in zones.items():
            if source == destination or source not in numbers or destination not in numbers:
                continue
            was = before[numbers[source] * len(numbers) + numbers[destination]]
            now = after[row * len(zones) + column]
            if was != now:
                yield _stage(StageObject(pair=(source, destination)), Stage(was), Stage(now))


def _stage(target: StageObject, old: Stage, new: Stage) -> StageDifference:
    return StageDifference(object=target.key, old=STAGE_NAMES[old], new=STAGE_NAMES[new])
