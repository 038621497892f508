"""What a start of control does with a change that waited to be confirmed when the last control ended.

In: `pending.json`, and which policy the start found. Out: the change waits on, goes back at once, or is forgotten
because it never came into force (or came out of it). Called by `start`, before anybody can ask anything.
"""

from __future__ import annotations

import asyncio
import sqlite3
from typing import TYPE_CHECKING, Any

import structlog

from gateway.control.apply import pending_detail
from gateway.control.journal import DAEMON
from gateway.control.rollback import Rollback

if TYPE_CHECKING:
    from gateway.control.core import Core
    from gateway.control.plane import ControlPlane
    from gateway.control.state_dir import InForceRecord

_log = structlog.get_logger(__name__)


def adopt_pending(core: Core, record: InForceRecord) -> None:
    """Take up what is pending if it is about this very policy; a record of any other never came into force."""
    found = core.state_dir.pending(record.generation)
    if found is not None:
        core.pending.begin(found)


async def renumber_pending(core: Core) -> None:
    """The policy that waits gets another generation: what is pending is about that one."""
    pending = core.pending.record
    if pending is None:
        return
    renumbered = pending.model_copy(update={"generation": core.generation})
    try:
        await core.pending.save(renumbered)
    except OSError as error:
        _log.error("pending_unsaved", error=str(error))
    core.pending.begin(renumbered)


async def settle_pending(plane: ControlPlane) -> None:
    """Bring pending change, history and journal into line with the policy that is in force now."""
    core = plane.core
    record = core.policy().record
    pending = core.pending.record
    if pending is None:
        adopt_pending(core, record)
    if pending is not None and pending.generation != record.generation:
        await _went_back(core)
    if core.pending.record is None:
        await _forget(core)
    await _write_history(core, record)
    if core.pending.due():
        await Rollback(plane).turn()


async def _went_back(core: Core) -> None:
    """Note that the start put in force what the pending change goes back to."""
    pending, why = core.pending.record, core.pending.due() or "this version cannot use it any more"
    if pending is None:
        return
    await core.pending.end("rolled back")
    number = await core.remember(why, "rollback")
    record = core.policy().record
    detail: dict[str, Any] = pending_detail(pending) | {"why": why, "number": number}
    detail |= {"in_force": {"generation": record.generation, "digest": record.digest}}
    await core.record(DAEMON, "policy.rolled_back", detail)


async def _write_history(core: Core, record: InForceRecord) -> None:
    try:
        known = await asyncio.to_thread(core.history.knows, record)
    except (sqlite3.Error, OSError) as error:
        core.trouble["history"] = f"cannot be read: {error}"
        return
    if not known:
        await core.remember("found at a start of control", "boot")
    elif core.pending.record is None and not core.state_dir.lost_pending:
        await core.settle()  # it was confirmed, and control ended before the history heard of it


async def _forget(core: Core) -> None:
    try:
        if core.state_dir.has_pending():
            _log.warning("pending_forgotten", hint="that change was not in force any more, or never came into force")
            await core.pending.save(None)
    except OSError as error:
        _log.error("pending_unsaved", error=str(error))
