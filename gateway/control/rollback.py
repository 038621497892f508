"""Going back: to what was confirmed last when nobody confirmed in time, or because somebody says so.

In: the pending change. Out: the policy and stages before it in force again through the ordinary path of a change, with
journal, history and an event. A rollback that fails is loud and tried again until it succeeds: it is never given up.
`Rollback.run` is the task that watches the deadline; `settle_pending` begins its work at a start of control.
"""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any, Final

import structlog

from gateway.control.apply import pending_detail
from gateway.control.compiling import compile_record
from gateway.control.journal import DAEMON
from gateway.control.pending import TROUBLE, describe
from gateway.control.stage_change import restore_stages
from gateway.control.stages import STAGE_NAMES, STAGES, StageObject, carried_over, surviving
from gateway.control.swap import swap
from gateway.errors import ConfigError, GatewayError
from rules.problems import PolicyError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from gateway.control.core import Core
    from gateway.control.journal import Actor
    from gateway.control.plane import ControlPlane
    from gateway.control.stages import StageTable
    from gateway.control.state_dir import PendingRecord, StageOverride

LOOK_S: Final = 1.0  # the clocks are read at least this often: sleep doesn't count the time a machine was suspended
RETRY_S: Final = 1.0
RECORD_EVERY_S: Final = 60.0  # failures in between are in the log and in `trouble`
FAILURES: Final = (PolicyError, GatewayError, OSError)
_log = structlog.get_logger(__name__)


def overrides_before(pending: PendingRecord, table: StageTable) -> dict[str, StageOverride]:
    """Return the overrides as they were before a change, but for what operators set since: that stands."""
    return carried_over(surviving(pending.overrides, table), pending.later, table)


def overrides_then(
    then: Mapping[str, StageOverride], now: Mapping[str, StageOverride], table: StageTable
) -> dict[str, StageOverride]:
    """Return the overrides with which an older policy comes back: as they stood at its end.

    An operator's word of now stands above them where it holds a stage lower: going back never ends a calm.
    """
    found = surviving(then, table)
    for key, override in now.items():
        target = StageObject.of_key(key)
        if table.knows(target):
            stood = STAGES[found[key].stage] if key in found else table.own(target)
            if STAGES[override.stage] < stood:
                found[key] = override.model_copy(update={"own": STAGE_NAMES[table.own(target)]})
    return found


async def roll_back(core: Core, actor: Actor, reason: str) -> None:
    """Go back to what was before the pending change; the caller holds `changing` and the lock.

    Raises ConfigError when nothing is pending; PolicyError, GatewayError or OSError when it failed: then the change is
    in force and pending as before.
    """
    pending = core.pending.record
    if pending is None:
        raise ConfigError("nothing_pending", "no change waits to be confirmed", "`conduitctl policy history`")
    detail = pending_detail(pending) | {"why": reason}
    if pending.before is None:
        await restore_stages(core, overrides_before(pending, core.policy().stages))
        await core.pending.end("rolled back")
        await core.record(actor, "stage.rolled_back", detail)
        return
    before = pending.before.model_copy(update={"generation": core.generation + 1})
    compiled = core.pending.compiled_before() or await compile_record(core, before)
    applied = await swap(
        core, compiled, before, stand=lambda table: overrides_before(pending, table), ending="rolled back"
    )
    number = await core.remember(reason, "rollback")
    record = applied.policy.record
    detail |= {"in_force": {"generation": record.generation, "digest": record.digest}, "number": number}
    await core.record(actor, "policy.rolled_back", detail)


async def restore_quarantine(plane: ControlPlane) -> None:
    """Block the addresses that quarantined assets have in the policy in force; the caller holds the lock."""
    try:
        await plane.quarantine.restore()
    except (GatewayError, OSError) as error:
        plane.core.trouble["quarantine"] = f"could not be restored: {error}"
        _log.error("quarantine_unrestored", error=str(error))


async def confirm(core: Core, actor: Actor, digest: str, reason: str) -> PendingRecord:
    """Make the pending change stay. digest: the beginning of the digest that is meant, "" for any."""
    async with core.changing, core.lock:
        pending = core.pending.record
        if pending is None:
            hint = f"the last one was {core.pending.ended}; see `conduitctl policy history`"
            raise ConfigError("nothing_pending", "no change waits to be confirmed", hint)
        if not pending.digest.startswith(digest):
            detail = f"{describe(pending)} is pending, not {digest}"
            raise ConfigError("digest_differs", detail, "look at it with `conduitctl policy show`, then confirm it")
        if why := core.pending.due():
            raise ConfigError("too_late", f"{describe(pending)}: {why}; it is going back", "apply it again")
        await core.pending.end("confirmed")
        await core.settle()
        await core.record(actor, f"{pending.what}.confirmed", pending_detail(pending) | {"why": reason})
        return pending


class Rollback:
    """The task that takes back what nobody confirms."""

    def __init__(self, plane: ControlPlane) -> None:
        self._plane = plane
        self._core = plane.core
        self._recorded = float("-inf")
        self._unusable = 0  # generation of a predecessor that does not compile; it is tried again at the deadline

    async def run(self) -> None:
        """Watch until cancelled."""
        pending = self._core.pending
        while True:
            pending.changed.clear()
            await self._prepare()
            if pending.due():
                failed = not await self.turn()
                await asyncio.sleep(RETRY_S if failed else 0)
                continue
            wait_s = pending.wait_s()
            try:
                await asyncio.wait_for(pending.changed.wait(), None if wait_s is None else min(wait_s, LOOK_S))
            except TimeoutError:
                continue

    async def turn(self) -> bool:
        """Go back if it is time; return False when it failed."""
        core = self._core
        async with core.changing, core.lock:
            why = core.pending.due()  # it may have been confirmed while we waited
            if not why or core.pending.record is None:
                return True
            try:
                await roll_back(core, DAEMON, why)
            except FAILURES as error:
                await self._failed(core.pending.record, why, error)
                return False
            await restore_quarantine(self._plane)
        self._recorded = float("-inf")
        return True

    async def _prepare(self) -> None:
        """Compile beforehand what it would go back to, so that a deadline doesn't wait for a compiler."""
        pending = self._core.pending
        before = pending.record.before if pending.record is not None else None
        if before is None or pending.compiled_before() is not None or pending.due():
            return
        if before.generation == self._unusable:
            return
        try:
            pending.ready = (before.generation, await compile_record(self._core, before))
        except (PolicyError, GatewayError) as error:
            self._unusable = before.generation
            text = f"the policy that it goes back to is refused by this version: {error}"
            self._core.trouble[TROUBLE] = text[:2000]
            _log.error("predecessor_refused", error=str(error)[:500])

    async def _failed(self, pending: PendingRecord | None, why: str, error: Exception) -> None:
        core = self._core
        what = describe(pending) if pending is not None else "the change"
        core.trouble[TROUBLE] = f"{what} should have gone back ({why}) and could not, trying again: {error}"[:2000]
        _log.error("rollback_failed", what=what, why=why, error=str(error)[:500])
        if pending is not None and time.monotonic() - self._recorded >= RECORD_EVERY_S:
            self._recorded = time.monotonic()
            detail: dict[str, Any] = pending_detail(pending) | {"why": why, "error": str(error)[:2000]}
            await core.record(DAEMON, f"{pending.what}.rolled_back", detail, "refused")
