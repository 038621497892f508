"""Putting a policy in force, so that the boundary never has a gap and a failure leaves the old one in force.

In: a compiled policy and its record, under the core's locks. Out: a new generation in engine, kernel and state
directory, or GatewayError and no change.

ORDER, each step undone by `put_back` when a later one fails:
1. build and validate the image in memory: nothing was touched;
2. `pending.json`, for a change that must be confirmed: from now on a crash finds what it goes back to;
3. `candidate.json`: from now on a crash finds the text of whatever the engine runs;
4. the engine takes the image and says so (the kernel's `static` still holds the old policy for unjudged frames),
   the fast lane is closed, so that no flow of the old policy passes unjudged; from now on it is the policy in force
   for everybody who asks or sets a stage;
5. `static` becomes the new policy without a gap, read back; the fast lane is opened. While the kernel loads, the lock
   is given up (`static_rules`), but nobody else can put a policy in force or end what is pending;
6. new ports enter the bridge, protected by both; 7. the overrides are kept with the generation that they stand under,
   then the candidate becomes the record in force.
"""

from __future__ import annotations

import asyncio
import gc
from dataclasses import dataclass
from typing import TYPE_CHECKING

from gateway.control.boot_ruleset import save_boot_ruleset
from gateway.control.compiling import slots_in_force
from gateway.control.in_force import PolicyInForce, build
from gateway.control.put_back import Before, put_back
from gateway.control.stages import put_all, surviving
from gateway.control.state_dir import OverridesRecord
from gateway.control.summary import PolicyChanges, changes
from rules.slots import remember_slots

if TYPE_CHECKING:
    from collections.abc import Callable

    from gateway.control.core import Core
    from gateway.control.pending import Ending
    from gateway.control.stages import StageTable
    from gateway.control.state_dir import InForceRecord, PendingRecord, StageOverride
    from rules.compile import Compiled

    Stand = Callable[[StageTable], dict[str, StageOverride]]


@dataclass(frozen=True, slots=True)
class Applied:
    """What came into force."""

    policy: PolicyInForce
    changes: PolicyChanges
    overrides_dropped: tuple[str, ...]
    number: int | None = None  # in the history


async def swap(
    core: Core,
    compiled: Compiled,
    record: InForceRecord,
    pending: PendingRecord | None = None,
    stand: Stand | None = None,
    ending: Ending = "replaced",
) -> Applied:
    """Put a compiled policy in force; the caller holds `changing` and the lock.

    pending: what it goes back to unless it is confirmed; without one whatever was pending has ended. stand: which stage
    overrides stand under the new policy, by default those of now that it does not contradict. ending: how the change
    that was pending ended.
    """
    new = await _built(core, compiled, record)
    overrides = surviving(core.overrides, new.stages) if stand is None else stand(new.stages)
    before = Before(core.current, core.overrides, core.pending.standing(), overrides)
    put_all(overrides, new.stages)
    await asyncio.to_thread(core.windows.place, new)
    core.generation = record.generation  # used up, also when refused: a number never means two texts
    core.book.add(new.names)
    try:
        await _hand_over(core, new, pending)
        core.current, core.overrides = new, dict(overrides)
        core.windows.came_into_force()
        if pending is not None:
            _begin(core, pending, before.policy)
        else:
            core.pending.over(ending)
        core.leaving = before
        await core.static.load(new)
        core.leaving = None
        await _settle(core, new)
    except BaseException:
        core.leaving = None
        await put_back(core, before, new)
        raise
    if core.pending.record is not None and pending is not None:
        core.pending.begin(core.pending.record)  # whoever is to hold it has time from now on
    elif before.pending.record is not None:
        await core.pending.forget(ending)
    await save_boot_ruleset(core)
    old = before.policy
    if old is not None:
        old.close()
    gc.freeze()  # a later collection would stop every thread for the second that it takes to look at all of this
    dropped = tuple(sorted(set(before.overrides) - set(overrides)))
    return Applied(new, changes(old.compiled if old else None, compiled), dropped)


async def _built(core: Core, compiled: Compiled, record: InForceRecord) -> PolicyInForce:
    given = {conduit.name: conduit.slot for conduit in compiled.lowered.conduits}
    record = record.model_copy(update={"slots": remember_slots(slots_in_force(core), given)})
    ports = [port.name for port in compiled.lowered.ports]
    ifindexes = await asyncio.to_thread(core.kernel.ifindexes, ports)
    return await asyncio.to_thread(build, record, compiled, ifindexes, core.workshop.image)


async def _hand_over(core: Core, new: PolicyInForce, pending: PendingRecord | None) -> None:
    """Have the engine run it, with everything on the disk that a crash would ask for."""
    if pending is not None:
        await core.pending.save(pending)
    await asyncio.to_thread(core.state_dir.save_candidate, new.record)
    await core.keeper.install(new.record.generation, new.image_fd, new.state_fd)
    core.lane.shut()


def _begin(core: Core, pending: PendingRecord, old: PolicyInForce | None) -> None:
    if old is not None and pending.before is not None and pending.before.generation == old.record.generation:
        core.pending.ready = (old.record.generation, old.compiled)
    core.pending.begin(pending)


async def _settle(core: Core, new: PolicyInForce) -> None:
    """Bring the rest into line, now that engine and kernel have it."""
    core.lane.govern(new.state)
    existing = list(await asyncio.to_thread(core.kernel.ifindexes, new.port_names))
    await asyncio.to_thread(core.kernel.attach, existing)
    kept = OverridesRecord(overrides=core.overrides, generation=new.record.generation)
    await asyncio.to_thread(core.state_dir.save_overrides, kept)
    await asyncio.to_thread(core.state_dir.promote_candidate)
    for part in ("policy", "engine", "static"):
        core.trouble.pop(part, None)
