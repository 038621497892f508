"""Putting a policy in force, so that the boundary never has a gap and a failure leaves the old one in force.

In: a policy with all of its files. Out: a new generation in engine, kernel and state directory, or PolicyError or
GatewayError and no change.

ORDER, each step undone by `_put_back` when a later one fails:
1. compile, build and validate the image in memory: a wrong text ends here, nothing was touched;
2. `pending.json`, for a change that must be confirmed: from now on a crash finds what it goes back to;
3. `candidate.json`: from now on a crash finds the text of whatever the engine runs;
4. the engine takes the image and says so (the kernel's `static` still holds the old policy for unjudged frames),
   the fast lane is closed, so that no flow of the old policy passes unjudged;
5. `static` becomes the new policy without a gap, read back; the fast lane is opened;
6. new ports enter the bridge, protected by both; 7. the candidate becomes the record in force; 8. journal and history.
"""

from __future__ import annotations

import asyncio
import gc
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING, Any, Final

import structlog

from gateway.control.boot_ruleset import save_boot_ruleset
from gateway.control.in_force import PolicyInForce, build
from gateway.control.pending import Terms
from gateway.control.stages import put_all, surviving
from gateway.control.state_dir import InForceRecord, OverridesRecord
from gateway.control.summary import PolicyChanges, changes
from gateway.errors import ControlError, GatewayError
from rules.compile import Compiled, compile_bundle
from rules.problems import PolicyError
from rules.slots import remember_slots

if TYPE_CHECKING:
    from collections.abc import Callable

    from gateway.control.core import Core
    from gateway.control.history import How
    from gateway.control.journal import Actor
    from gateway.control.pending import Ending
    from gateway.control.promotion import PolicyPromotion
    from gateway.control.stages import StageTable
    from gateway.control.state_dir import PendingRecord, StageOverride
    from rules.bundle import Bundle

    Stand = Callable[[StageTable], dict[str, StageOverride]]

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Applied:
    """What came into force."""

    policy: PolicyInForce
    changes: PolicyChanges
    overrides_dropped: tuple[str, ...]
    number: int | None = None  # in the history


OUTRIGHT: Final = Terms()


def slots_in_force(core: Core) -> dict[str, int]:
    """Return the slots of all conduits, also of removed ones, so that counters, limits and flows stay with theirs."""
    return core.current.record.slots if core.current else {}


async def compile_policy(core: Core, bundle: Bundle, *, accepted: bool = False) -> Compiled:
    """Compile a policy against the slots in force, one at a time. Raises PolicyError with every problem.

    accepted: it was in force before, so that a check that is newer than it, and could be waived, does not refuse it.

    A large one takes seconds of one thread. Were several compiled at once, they would take the threads that stage
    changes and quarantine need.
    """
    async with core.compiling:
        today = datetime.now(UTC).astimezone().date()  # what is overdue or expired: the host's day
        slots = slots_in_force(core)
        compiling = partial(compile_bundle, bundle, slots, today, accepted=accepted, workshop=core.workshop)
        return await asyncio.to_thread(compiling)


async def compile_record(core: Core, record: InForceRecord) -> Compiled:
    """Compile a policy to the very image that it had. Raises PolicyError when this version refuses its text."""
    async with core.compiling:
        again = partial(compile_bundle, record.bundle(), record.slots, accepted=True, workshop=core.workshop)
        return await asyncio.to_thread(again)


async def check_policy(core: Core, bundle: Bundle, *, accepted: bool = False) -> Compiled:
    """Compile a policy only to look at it. Raises PolicyError, or ControlError while another one is being compiled."""
    if core.compiling.locked():
        raise ControlError("busy", "another policy is being checked or applied", "try again in a moment")
    return await compile_policy(core, bundle, accepted=accepted)


async def apply_policy(
    core: Core,
    bundle: Bundle,
    actor: Actor,
    reason: str = "",
    *,
    terms: Terms = OUTRIGHT,
    how: How = "apply",
    promotion: PolicyPromotion | None = None,
    stand: Stand | None = None,
) -> Applied:
    """Put a policy in force. Raises PolicyError or GatewayError; then the old one is in force unchanged.

    promotion: asks for the proof of what it raises to enforce; None for what was in force before and comes back. The
    caller notes afterwards, without the lock, what was forced. stand: as of `swap`.
    """
    # Outside the lock: calming the plant must not wait for a compiler.
    slots, name = slots_in_force(core), bundle.name
    try:
        core.pending.allow(terms)
        compiled = await compile_policy(core, bundle, accepted=how == "rollback")
        if promotion is not None:
            await promotion.ask(compiled)
    except (PolicyError, GatewayError) as error:
        await core.record(actor, "policy.apply", _refusal(core, name, reason, error), "refused")
        raise
    async with core.lock:
        try:
            core.pending.allow(terms)
            if slots_in_force(core) != slots:  # another policy came into force meanwhile
                compiled = await compile_policy(core, bundle, accepted=how == "rollback")
            if promotion is not None:
                await promotion.check(compiled)
            record = await _record(core, compiled, bundle, str(actor))
            applied = await swap(core, compiled, record, core.pending.of_policy(record, terms, reason), stand)
        except (PolicyError, GatewayError, OSError) as error:
            await core.record(actor, "policy.apply", _refusal(core, name, reason, error), "refused")
            raise
        applied = replace(applied, number=await core.remember(reason, how))
        forced = {"forced": True} if promotion is not None and promotion.is_forced else {}
        await core.record(actor, "policy.apply", _detail(applied, reason) | {"how": how} | forced)
        if core.pending.record is not None:
            await core.record(actor, "policy.pending", pending_detail(core.pending.record))
        return applied


async def _record(core: Core, compiled: Compiled, bundle: Bundle, who: str) -> InForceRecord:
    return InForceRecord(
        text=bundle.text,
        files=await asyncio.to_thread(bundle.texts),
        name=bundle.name,
        digest=compiled.lowered.digest.hex(),
        generation=core.generation + 1,
        slots={conduit.name: conduit.slot for conduit in compiled.lowered.conduits},
        who=who,
        applied=datetime.now(UTC),
    )


def pending_detail(pending: PendingRecord) -> dict[str, Any]:
    """Return what the journal says of a change that waits to be confirmed."""
    before = pending.before
    return {
        "what": pending.what,
        "name": pending.name,
        "generation": pending.generation,
        "digest": pending.digest,
        "seconds": pending.deadline.seconds,
        "hold": pending.hold,
        "goes_back_to": {"digest": before.digest, "name": before.name} if before else None,
        "reason": pending.reason,
    }


def _detail(applied: Applied, reason: str) -> dict[str, Any]:
    record = applied.policy.record
    return {
        "name": record.name,
        "generation": record.generation,
        "digest": record.digest,
        "number": applied.number,
        "reason": reason,
        "changes": applied.changes.counts(),
        "overrides_dropped": list(applied.overrides_dropped),
    }


def _refusal(core: Core, name: str, reason: str, error: Exception) -> dict[str, Any]:
    in_force = core.current.record if core.current else None
    return {
        "name": name,
        "reason": reason,
        "error": str(error)[:2000],
        "digest_in_force": in_force.digest if in_force else None,
        "generation_in_force": in_force.generation if in_force else 0,
    }


async def swap(
    core: Core,
    compiled: Compiled,
    record: InForceRecord,
    pending: PendingRecord | None = None,
    stand: Stand | None = None,
    ending: Ending = "replaced",
) -> Applied:
    """Put a compiled policy in force; the caller holds the lock.

    pending: what it goes back to unless it is confirmed; without one whatever was pending has ended. stand: which stage
    overrides stand under the new policy, by default those of now that it does not contradict. ending: how the change
    that was pending ended.
    """
    old = core.current
    given = {conduit.name: conduit.slot for conduit in compiled.lowered.conduits}
    record = record.model_copy(update={"slots": remember_slots(slots_in_force(core), given)})
    ports = [port.name for port in compiled.lowered.ports]
    ifindexes = await asyncio.to_thread(core.kernel.ifindexes, ports)
    new = await asyncio.to_thread(build, record, compiled, ifindexes, core.workshop.image)
    overrides = surviving(core.overrides, new.stages) if stand is None else stand(new.stages)
    put_all(overrides, new.stages)
    await asyncio.to_thread(core.windows.place, new)
    core.generation = record.generation  # used up, also when refused: a number never means two texts
    core.book.add(new.names)
    try:
        await _commit(core, new, overrides, pending)
    except BaseException:
        await _put_back(core, old)
        if pending is not None:
            await core.pending.save_again()
        new.close()
        raise
    dropped = tuple(sorted(set(core.overrides) - set(overrides)))
    core.current, core.overrides = new, overrides
    if pending is not None:
        if old is not None and pending.before is not None and pending.before.generation == old.record.generation:
            core.pending.ready = (old.record.generation, old.compiled)
        core.pending.begin(pending)
    else:
        await core.pending.end(ending)
    core.windows.came_into_force()
    await save_boot_ruleset(core)
    if old is not None:
        old.close()
    gc.freeze()  # a later collection would stop every thread for the second that it takes to look at all of this
    return Applied(new, changes(old.compiled if old else None, compiled), dropped)


async def _commit(
    core: Core, new: PolicyInForce, overrides: dict[str, StageOverride], pending: PendingRecord | None
) -> None:
    kernel = core.kernel
    if pending is not None:
        await core.pending.save(pending)
    await asyncio.to_thread(core.state_dir.save_candidate, new.record)
    await core.keeper.install(new.record.generation, new.image_fd, new.state_fd)
    core.lane.shut()
    await asyncio.to_thread(kernel.apply_static, new.lowered, new.stages_in_force())
    core.lane.govern(new.state)
    existing = list(await asyncio.to_thread(kernel.ifindexes, new.port_names))
    await asyncio.to_thread(kernel.attach, existing)
    kept = OverridesRecord(overrides=overrides, generation=new.record.generation)
    await asyncio.to_thread(core.state_dir.save_overrides, kept)
    await asyncio.to_thread(core.state_dir.promote_candidate)
    for part in ("policy", "engine", "static"):
        core.trouble.pop(part, None)


async def _put_back(core: Core, old: PolicyInForce | None) -> None:
    """Put engine, kernel and state directory back to the old policy, as far as each still listens."""
    try:
        await asyncio.to_thread(core.state_dir.drop_candidate)
        if old is not None:
            kept = OverridesRecord(overrides=core.overrides, generation=old.record.generation)
            await asyncio.to_thread(core.state_dir.save_overrides, kept)
    except OSError as error:
        _log.error("put_back_state_dir", error=str(error))
    if old is None:
        core.trouble["policy"] = "no policy: the first one could not be put in force; the boundary is closed"
        return
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
