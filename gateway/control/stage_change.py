"""An operator changes a stage: one store that the engine's next frame sees, then the same in the kernel's `static`.

In: a stage object and a stage (None: back to the policy's own). Out: previous and new stage, own and effective.
The store also ends every flow's stay in the fast lane (`lane`).
ORDER: the store comes first, so that calming the plant never waits for a disk or for nft; when the kernel refuses, the
store is taken back, because engine and `static` must not differ. Both are done before anybody is answered; only while
the kernel is being loaded with a new policy, the stage comes into `static` with it (`static_rules`).
"""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import structlog

from gateway.control.apply import OUTRIGHT, pending_detail
from gateway.control.boot_ruleset import save_boot_ruleset
from gateway.control.raised import raised_by_stage
from gateway.control.stages import STAGE_NAMES, STAGES, StageObject
from gateway.control.state_dir import OverridesRecord, StageOverride
from gateway.errors import GatewayError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from contextlib import AbstractAsyncContextManager

    from fastpath.abi import Stage
    from gateway.control.core import Core
    from gateway.control.in_force import PolicyInForce
    from gateway.control.journal import Actor
    from gateway.control.pending import Terms
    from gateway.control.promotion import Leave
    from gateway.control.state_dir import PendingRecord

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class StageChange:
    """What a change did. `persisted` is False when the state directory could not keep it."""

    target: StageObject
    previous: Stage
    previous_effective: Stage
    stage: Stage
    effective: Stage
    own: Stage
    persisted: bool


async def change_stage(
    core: Core,
    target: StageObject,
    stage: Stage | None,
    actor: Actor,
    reason: str,
    terms: Terms = OUTRIGHT,
    *,
    leave: Leave,
) -> StageChange:
    """Set or reset a stage, on terms if it is to go back by itself.

    leave: what may be raised to enforce (`promotion`). Raises ControlError when it would be more, ConfigError for an
    unknown object, KernelError when `static` did not follow.
    """
    async with _alone(core, terms), core.lock:
        policy = core.policy()
        table = policy.stages
        target = table.canonical(target)
        own = table.own(target)
        wanted = own if stage is None else stage
        leave.covers(raised_by_stage(table, target, wanted), policy.record.generation)
        previous, previous_effective = table.current(target), table.effective(target)
        pending = await _begun(core, target, actor, reason, terms)
        try:
            await _put(core, policy, {target: wanted})
        except (GatewayError, OSError):
            if pending is not None:
                await core.pending.save_again()
            raise
        _override(core, target, None if stage is None else wanted, own, actor, reason)
        persisted = await persist_overrides(core)
        if pending is not None:
            core.pending.begin(pending)
        else:
            await core.pending.note(target.key, core.overrides.get(target.key))
        await save_boot_ruleset(core)
        effective = table.effective(target)
        change = StageChange(target, previous, previous_effective, wanted, effective, own, persisted)
        forced = {"forced": True} if leave.forced is not None else {}
        await core.record(actor, "stage.set" if stage is not None else "stage.reset", _detail(change, reason) | forced)
        if pending is not None:
            await core.record(actor, "stage.pending", pending_detail(pending))
        return change


def _alone(core: Core, terms: Terms) -> AbstractAsyncContextManager[None]:
    """A change that is to go back by itself waits until the last change of a policy is through; calming does not."""
    return contextlib.nullcontext() if terms.confirm_within_s is None else core.changing


async def restore_stages(core: Core, overrides: dict[str, StageOverride]) -> None:
    """Make these the overrides in force, all in one step; the caller holds the lock. Raises GatewayError."""
    policy = core.policy()
    keys = [key for key in {**core.overrides, **overrides} if core.overrides.get(key) != overrides.get(key)]
    targets = {key: StageObject.of_key(key) for key in keys}
    wanted = {
        target: STAGES[overrides[key].stage] if key in overrides else policy.stages.own(target)
        for key, target in targets.items()
        if policy.stages.knows(target)
    }
    await _put(core, policy, wanted)
    core.overrides = overrides
    await persist_overrides(core)
    await save_boot_ruleset(core)


async def _begun(core: Core, target: StageObject, actor: Actor, reason: str, terms: Terms) -> PendingRecord | None:
    """Make durable what a change on terms goes back to. Without terms the disk is not waited for."""
    if terms.confirm_within_s is None:
        return None
    core.pending.allow(terms)
    pending = core.pending.of_stage(target.key, str(actor), terms, reason)
    await core.pending.save(pending)
    return pending


async def _put(core: Core, policy: PolicyInForce, wanted: Mapping[StageObject, Stage]) -> None:
    table = policy.stages
    previous = {target: table.current(target) for target in wanted}
    try:
        for target, stage in wanted.items():
            table.put(target, stage)
        await core.static.follow(policy)
        core.trouble.pop("static", None)
    except (GatewayError, OSError) as error:
        for target, stage in previous.items():
            with contextlib.suppress(GatewayError, OSError):  # the store can't fail, the fast lane behind it can
                table.put(target, stage)
        _log.error("stage_static_refused", targets=[target.key for target in wanted], error=str(error))
        raise


def _override(core: Core, target: StageObject, stage: Stage | None, own: Stage, actor: Actor, reason: str) -> None:
    if stage is None:
        core.overrides.pop(target.key, None)
        return
    core.overrides[target.key] = StageOverride(
        stage=STAGE_NAMES[stage], own=STAGE_NAMES[own], who=str(actor), since=datetime.now(UTC), reason=reason
    )


async def persist_overrides(core: Core) -> bool:
    """Keep the overrides in force, also in the history; return False, and say so, when the disk refused."""
    now = OverridesRecord(overrides=dict(core.overrides), generation=core.policy().record.generation)
    # While a policy is being loaded a power cut leaves the one before in force: it has what is set meanwhile, too.
    older = core.leaving.kept(now.overrides) if core.leaving is not None else None
    await core.remember_stages()
    try:
        for record in (now,) if older is None else (older, now):
            await asyncio.to_thread(core.state_dir.save_overrides, record)
    except OSError as error:
        core.trouble["state_dir"] = f"stage overrides are not saved: {error.strerror}"
        _log.error("overrides_unsaved", error=str(error))
        return False
    core.trouble.pop("state_dir", None)
    return True


def _detail(change: StageChange, reason: str) -> dict[str, Any]:
    detail = {
        "object": change.target.key,
        "previous": STAGE_NAMES[change.previous],
        "stage": STAGE_NAMES[change.stage],
        "previous_effective": STAGE_NAMES[change.previous_effective],
        "effective": STAGE_NAMES[change.effective],
    }
    return detail | ({"reason": reason} if reason else {})


def recovered_overrides(core: Core, policy: PolicyInForce) -> dict[str, StageOverride]:
    """Return the overrides that explain the state segment, which is the truth after control was killed."""
    found: dict[str, StageOverride] = {}
    for target in policy.stages.objects():
        current, own = policy.stages.current(target), policy.stages.own(target)
        known = core.overrides.get(target.key)
        if known is not None and known.stage == STAGE_NAMES[current]:
            found[target.key] = known
        elif current != own:
            found[target.key] = StageOverride(
                stage=STAGE_NAMES[current], own=STAGE_NAMES[own], who="unrecorded", since=datetime.now(UTC)
            )
    return found
