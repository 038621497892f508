"""An operator changes a stage: one store that the engine's next frame sees, then the same in the kernel's `static`.

In: a stage object and a stage (None: back to the policy's own). Out: previous and new stage, own and effective.
The store also ends every flow's stay in the fast lane (`lane`).
ORDER: the store comes first, so that calming the plant never waits for a disk or for nft; when the kernel refuses, the
store is taken back, because engine and `static` must not differ. Both are done before anybody is answered.
"""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import structlog

from gateway.control.boot_ruleset import save_boot_ruleset
from gateway.control.stages import STAGE_NAMES, StageObject
from gateway.control.state_dir import OverridesRecord, StageOverride
from gateway.errors import GatewayError

if TYPE_CHECKING:
    from fastpath.abi import Stage
    from gateway.control.core import Core
    from gateway.control.in_force import PolicyInForce
    from gateway.control.journal import Actor

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


async def change_stage(core: Core, target: StageObject, stage: Stage | None, actor: Actor, reason: str) -> StageChange:
    """Set or reset a stage. Raises ConfigError for an unknown object, KernelError when `static` did not follow."""
    async with core.lock:
        policy = core.policy()
        table = policy.stages
        target = table.canonical(target)
        own = table.own(target)
        wanted = own if stage is None else stage
        previous, previous_effective = table.current(target), table.effective(target)
        await _put(core, policy, target, wanted, previous)
        _override(core, target, None if stage is None else wanted, own, actor, reason)
        persisted = await _persist(core)
        await save_boot_ruleset(core)
        effective = table.effective(target)
        change = StageChange(target, previous, previous_effective, wanted, effective, own, persisted)
        await core.record(actor, "stage.set" if stage is not None else "stage.reset", _detail(change, reason))
        return change


async def _put(core: Core, policy: PolicyInForce, target: StageObject, wanted: Stage, previous: Stage) -> None:
    try:
        policy.stages.put(target, wanted)
        await asyncio.to_thread(core.kernel.update_static, policy.lowered, policy.stages_in_force())
        core.trouble.pop("static", None)
    except (GatewayError, OSError) as error:
        with contextlib.suppress(GatewayError, OSError):  # the store itself cannot fail, the fast lane behind it can
            policy.stages.put(target, previous)
        _log.error("stage_static_refused", target=target.key, error=str(error))
        raise


def _override(core: Core, target: StageObject, stage: Stage | None, own: Stage, actor: Actor, reason: str) -> None:
    if stage is None:
        core.overrides.pop(target.key, None)
        return
    core.overrides[target.key] = StageOverride(
        stage=STAGE_NAMES[stage], own=STAGE_NAMES[own], who=str(actor), since=datetime.now(UTC), reason=reason
    )


async def _persist(core: Core) -> bool:
    try:
        await asyncio.to_thread(core.state_dir.save_overrides, OverridesRecord(overrides=dict(core.overrides)))
    except OSError as error:
        core.trouble["state_dir"] = f"stage overrides are not saved: {error.strerror}"
        _log.error("overrides_unsaved", error=str(error))
        return False
    core.trouble.pop("state_dir", None)
    return True


def _detail(change: StageChange, reason: str) -> dict[str, str]:
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
