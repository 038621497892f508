"""Back from a policy that could not be put in force: engine, kernel and state directory are the old one's again.

In: what was before, and the new policy as far as it got. Out: the old one in force, with the stages that operators set
meanwhile. Whatever no longer listens is said in `trouble`. Called by `swap` only, under the core's locks.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, NamedTuple

import structlog

from gateway.control.stages import STAGES, StageObject, carried_over
from gateway.control.state_dir import OverridesRecord
from gateway.errors import GatewayError
from rules.slots import remember_slots

if TYPE_CHECKING:
    from collections.abc import Mapping

    from gateway.control.core import Core
    from gateway.control.in_force import PolicyInForce
    from gateway.control.pending import Standing
    from gateway.control.state_dir import StageOverride

_log = structlog.get_logger(__name__)


class Before(NamedTuple):
    """What was in force."""

    policy: PolicyInForce | None
    overrides: dict[str, StageOverride]
    pending: Standing
    stood: Mapping[str, StageOverride]  # the overrides that the new policy begins with

    def since(self, now: Mapping[str, StageOverride]) -> dict[str, StageOverride | None]:
        """Return what operators set under the new policy, by what stands there now; None: reset."""
        then = self.stood
        return {key: now.get(key) for key in {**then, **now} if now.get(key) != then.get(key)}

    def kept(self, now: Mapping[str, StageOverride]) -> OverridesRecord | None:
        """Return with which overrides the old policy would come back now, if there is one."""
        if self.policy is None:
            return None
        overrides = carried_over(self.overrides, self.since(now), self.policy.stages)
        return OverridesRecord(overrides=overrides, generation=self.policy.record.generation)


async def put_back(core: Core, before: Before, new: PolicyInForce) -> None:
    """Put everything back, as far as it still listens."""
    later = before.since(core.overrides) if core.current is new else {}
    core.current, core.overrides = before.policy, before.overrides
    core.pending.stand_again(before.pending)
    try:
        await _restore(core, before.policy, later, new.slots)
    finally:
        if core.pending.record is not None:
            for key, override in later.items():
                await core.pending.note(key, override)
        await core.pending.save_again()
        core.windows.came_into_force()
        new.close()


async def _restore(
    core: Core, old: PolicyInForce | None, later: Mapping[str, StageOverride | None], tried: Mapping[str, int]
) -> None:
    try:
        await asyncio.to_thread(core.state_dir.drop_candidate)
    except OSError as error:
        _log.error("put_back_state_dir", error=str(error))
    if old is None:
        core.trouble["policy"] = "no policy: the first one could not be put in force; the boundary is closed"
        return
    await _remember(core, old, tried)
    await _carry(core, old, later)
    try:
        await asyncio.to_thread(core.kernel.apply_static, old.lowered, old.stages_in_force())
    except (GatewayError, OSError) as error:
        core.trouble["static"] = f"could not be set back to generation {old.record.generation}: {error}"
        _log.error("put_back_static", error=str(error))
    try:
        await core.keeper.install(old.record.generation, old.image_fd, old.state_fd)
        core.lane.govern(old.state)
    except (GatewayError, OSError) as error:
        core.trouble["engine"] = f"could not be set back to generation {old.record.generation}: {error}"
        _log.error("put_back_engine", error=str(error))


async def _remember(core: Core, old: PolicyInForce, tried: Mapping[str, int]) -> None:
    """Keep the slots that the policy put back had given: the engine may have counted in them."""
    slots = remember_slots(remember_slots(old.record.slots, tried), old.slots)
    old.record = old.record.model_copy(update={"slots": slots})
    try:
        await asyncio.to_thread(core.state_dir.save_in_force, old.record)
    except OSError as error:  # harmless until a restart, and the next policy writes them down
        _log.error("put_back_slots", error=str(error))


async def _carry(core: Core, old: PolicyInForce, later: Mapping[str, StageOverride | None]) -> None:
    """Give the old policy the stages that operators set while the new one was being loaded."""
    core.overrides = carried_over(core.overrides, later, old.stages)
    try:
        for key in later:
            target = StageObject.of_key(key)
            if old.stages.knows(target):
                override = core.overrides.get(key)
                stage = STAGES[override.stage] if override is not None else old.stages.own(target)
                old.stages.put(target, stage)
        kept = OverridesRecord(overrides=core.overrides, generation=old.record.generation)
        await asyncio.to_thread(core.state_dir.save_overrides, kept)
    except (GatewayError, OSError) as error:
        core.trouble["state_dir"] = f"stage overrides are not saved: {error}"
        _log.error("put_back_overrides", error=str(error))
    if later:
        await core.remember_stages()
