"""The routes of readiness: what is missing until something may enforce, and who took what on.

In: a stage object, or none for all of them. Out: what was observed of its cycles, what enforcement would drop, and the
acknowledgements. Pairs of zones between which nothing would be dropped are counted, not listed.
"""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

from gateway.control.api.proof_models import (
    AcknowledgedAnswer,
    AcknowledgeRequest,
    CycleRow,
    ReadinessAnswer,
    ReadinessQuery,
    ReadinessRow,
    Taken,
    WouldDropRow,
)
from gateway.control.event_text import timestamp
from gateway.control.promotion import label, missing
from gateway.control.raised import CEILING, raised_by_stage
from gateway.control.stages import STAGE_NAMES, STAGES, StageObject
from gateway.errors import ConfigError
from rules.readiness import UNUSED, Acknowledgement, Group

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gateway.control.in_force import PolicyInForce
    from gateway.control.plane import ControlPlane
    from gateway.control.readiness import Proof
    from gateway.control.roles import Operator
    from rules.readiness import Verdict

EVERY: Final = "*"
GROUPS_MAX: Final = 10_000  # in one object of an answer, and in one acknowledgement
Params = dict[str, str]


async def readiness(
    plane: ControlPlane, _operator: Operator, _body: None, query: ReadinessQuery, _path: Params
) -> ReadinessAnswer:
    """Return the verdicts."""
    policy = plane.core.policy()
    asked = _asked(policy, query)
    since_ns = 0 if query.since is None else int(query.since.timestamp()) * 1_000_000_000
    proof = await plane.promotions.proof(policy.compiled, since_ns, only_look=True)
    taken = await asyncio.to_thread(plane.acknowledgements.all)
    acknowledged = await plane.promotions.acknowledged()

    def answer() -> ReadinessAnswer:
        targets = [asked] if asked is not None else list(_listed(policy, proof))
        pairs = sum(target.pair is not None for target in targets)
        zones = len(policy.lowered.zones) + 1
        recorded = proof.recorded(CEILING if asked is None else asked)
        return ReadinessAnswer(
            recorded_since=timestamp(proof.stretches[0].from_ns) if proof.stretches else None,
            hours_recorded=round(sum((end - begin).total_seconds() for begin, end in recorded) / 3600, 2),
            objects=[_row(policy, proof, target, acknowledged) for target in targets],
            quiet_pairs=zones * (zones - 1) - pairs if asked is None else 0,
            acknowledgements=[_taken(one) for one in taken],
        )

    return await asyncio.to_thread(answer)


def _asked(policy: PolicyInForce, query: ReadinessQuery) -> StageObject | None:
    if query.conduit is None and query.pair is None:
        return None
    if query.conduit is not None and query.pair is not None:
        raise ConfigError("readiness_query", "name a conduit or a pair, not both")
    source, _, destination = (query.pair or "").partition(":")
    target = StageObject(conduit=query.conduit, pair=(source, destination) if query.pair else None)
    target = policy.stages.canonical(target)
    policy.stages.own(target)  # raises when there is no such object
    return target


def _listed(policy: PolicyInForce, proof: Proof) -> Iterator[StageObject]:
    yield CEILING
    yield from policy.stages.conduits()
    pairs = (StageObject.of_key(key) for key in sorted(proof.would_drops))
    yield from (pair for pair in pairs if pair.pair is not None and policy.stages.knows(pair))


def _row(
    policy: PolicyInForce, proof: Proof, target: StageObject, acknowledged: dict[Group, Acknowledgement]
) -> ReadinessRow:
    verdict = proof.verdict(target, acknowledged)
    lacking = list(verdict.missing)
    if target == CEILING:
        raised = raised_by_stage(policy.stages, target, STAGES["enforce"])
        lacking = missing(proof, raised, acknowledged) if raised.objects else lacking
    return ReadinessRow(
        object=target.key,
        name=label(target),
        stage=STAGE_NAMES[policy.stages.current(target)],
        effective=STAGE_NAMES[policy.stages.effective(target)],
        ready=not lacking,
        missing=lacking,
        used=verdict.used,
        cycles=list(_cycles(verdict)),
        would_drops=list(_would_drops(verdict)),
        more=max(0, len(verdict.would_drops) - GROUPS_MAX),
    )


def _cycles(verdict: Verdict) -> Iterator[CycleRow]:
    for one in verdict.cycles:
        hours = round(sum((end - begin).total_seconds() for begin, end in one.whole) / 3600, 2)
        yield CycleRow(
            name=one.name,
            observed=len(one.whole) if one.name else 0,
            minimum=one.minimum,
            hours=hours,
            done=one.is_done,
        )


def _would_drops(verdict: Verdict) -> Iterator[WouldDropRow]:
    for one, taken in verdict.would_drops[:GROUPS_MAX]:
        yield WouldDropRow(
            source=one.group.source,
            destination=one.group.destination,
            service=one.group.service,
            code=one.group.reason,
            flows=one.flows,
            frames=one.frames,
            first_seen=timestamp(one.first_ns),
            last_seen=timestamp(one.last_ns),
            acknowledged=taken.number if taken is not None else None,
        )


def _taken(one: Acknowledgement) -> Taken:
    group = one.group
    return Taken(
        number=one.number,
        object=group.object,
        source=group.source,
        destination=group.destination,
        service=group.service,
        code=group.reason,
        who=one.who,
        since=one.since,
        reason=one.reason,
        until=one.until,
        holds=one.holds(datetime.now(UTC)),
    )


async def acknowledge(
    plane: ControlPlane, operator: Operator, body: AcknowledgeRequest, _query: Any, _path: Params
) -> AcknowledgedAnswer:
    """Acknowledge what was seen and is not acknowledged yet."""
    now = datetime.now(UTC)
    if body.until is not None and body.until <= now:
        raise ConfigError("acknowledgement_over", f"{body.until.isoformat()} is over", "name a time to come")
    policy = plane.core.policy()
    target = None
    if body.conduit is not None or body.pair is not None:
        target = policy.stages.canonical(StageObject(conduit=body.conduit, pair=body.pair))
        policy.stages.own(target)  # raises when there is no such object
    proof = await plane.promotions.proof(policy.compiled)
    acknowledged = await plane.promotions.acknowledged()
    if body.source is None and target is not None:
        groups = _unused(proof, target)
    else:
        groups = [group for group in _seen(proof, target) if _matches(body, group)]
    groups = [group for group in groups if group not in acknowledged]
    if not groups:
        hint = "`conduitctl readiness` shows what would be dropped; names are as they stand there"
        raise ConfigError("nothing_to_acknowledge", "nothing was seen that this names and nobody acknowledged", hint)
    if len(groups) > GROUPS_MAX:
        raise ConfigError("too_many", f"{len(groups)} groups match, more than {GROUPS_MAX}", "name them more closely")
    who = str(operator.actor)
    added = await asyncio.to_thread(plane.acknowledgements.add, groups, who, now, body.reason, body.until)
    detail = {
        "numbers": [one.number for one in added],
        "groups": [{"object": one.group.object, "what": one.group.text()} for one in added[:100]],
        "reason": body.reason,
        "until": body.until.isoformat() if body.until else None,
    }
    await plane.core.record(operator.actor, "readiness.acknowledge", detail)
    return AcknowledgedAnswer(acknowledgements=[_taken(one) for one in added])


def _unused(proof: Proof, target: StageObject) -> list[Group]:
    return [] if proof.verdict(target, {}).used is not False else [Group(target.key, "", "", "", UNUSED)]


def _seen(proof: Proof, target: StageObject | None) -> Iterator[Group]:
    for key, found in proof.would_drops.items():
        if target is None or target.key == key:
            yield from found


def _matches(body: AcknowledgeRequest, group: Group) -> bool:
    wanted = ((body.source, group.source), (body.destination, group.destination), (body.service, group.service))
    return all(one in (EVERY, other) for one, other in wanted) and body.code in (None, group.reason)


async def withdraw(
    plane: ControlPlane, operator: Operator, _body: None, _query: Any, path: Params
) -> AcknowledgedAnswer:
    """Take an acknowledgement back."""
    text = path["number"]
    if not text.isascii() or not text.isdigit() or len(text) > 18:
        raise ConfigError("acknowledgement_unknown", f"{text!r} is no number", "`conduitctl readiness` shows them")
    gone = await asyncio.to_thread(plane.acknowledgements.withdraw, int(text))
    group = gone.group
    detail = {"number": gone.number, "object": group.object, "what": group.text(), "acknowledged_by": gone.who}
    await plane.core.record(operator.actor, "readiness.withdraw", detail)
    return AcknowledgedAnswer(acknowledgements=[_taken(gone)])
