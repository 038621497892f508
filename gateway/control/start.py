"""Bringing the control plane up: first start, restart of the daemon, and resuming after control alone was killed.

In: settings and the keeper's `start` message. Out: a ControlPlane whose boundary stands. ORDER:
1. bridge, closed base table, queue rule; 2. quarantine (before any port can carry frames);
3. the policy: the one the engine already runs, else the last known good (what it goes back to, when it was never
   confirmed and its time is over), else the policy file, else none: closed;
4. `static` of it, and a new generation of the fast lane; 5. ports into the bridge;
6. the engine takes the image (retried until it does); 7. what waits to be confirmed goes back, or goes on waiting.
Whatever fails here is shown in status and doctor and leaves the boundary as closed as it was; it never ends control.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

import structlog

from gateway.control.apply import apply_policy
from gateway.control.boot_ruleset import save_boot_ruleset
from gateway.control.in_force import PolicyInForce, build, resume
from gateway.control.journal import DAEMON
from gateway.control.pending import Terms
from gateway.control.rollback import overrides_before
from gateway.control.settle import adopt_pending, renumber_pending, settle_pending
from gateway.control.stage_change import persist_overrides, recovered_overrides
from gateway.control.stages import put_all, surviving
from gateway.control.state_dir import OverridesRecord
from gateway.errors import ControlError, GatewayError
from rules.bundle import read_bundle
from rules.compile import Compiled, compile_bundle
from rules.problems import PolicyError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from gateway.channel import Message
    from gateway.control.core import Core
    from gateway.control.plane import ControlPlane
    from gateway.control.state_dir import InForceRecord


@dataclass(frozen=True, slots=True)
class Start:
    """The keeper's first message: descriptors of what is shared, and what the engine runs."""

    segments: tuple[int, int, int]  # counters, events, flows
    image_fds: tuple[int, int] | None  # image and state of the generation that the engine runs
    generation: int  # 0 while there is none
    carried: bool  # the counters go on from before; else the kernel's must start at zero as well


RETRY_S: Final = 1.0
_log = structlog.get_logger(__name__)


async def bring_up(plane: ControlPlane, start: Start) -> None:
    """Do all of it."""
    core, image_fds, generation = plane.core, start.image_fds, start.generation
    if not start.carried:
        await _reset_counters(core)
    await _probe_and_intercept(plane)
    core.overrides = dict(core.state_dir.overrides(core.generation).overrides)
    try:
        await plane.quarantine.restore()
    except (GatewayError, OSError) as error:
        _trouble(core, "quarantine", f"could not be restored: {error}")
    resumed = await _resume(core, image_fds, generation) if image_fds and generation else None
    chosen = resumed or await _last_known_good(core, generation)
    if chosen is None:
        await _first_policy(core)
    else:
        await _put_in_force(core, chosen, running=resumed is not None)
    if core.current is not None:
        await plane.quarantine.restore()  # assets have addresses only now
        await settle_pending(plane)
    if core.state_dir.broken:
        _trouble(core, "state_dir", "; ".join(core.state_dir.broken))
    policy = core.current.record if core.current else None
    result = f"generation {policy.generation}" if policy else "no policy"
    await core.record(DAEMON, "control.start", {"resumed": resumed is not None, "trouble": dict(core.trouble)}, result)


def _trouble(core: Core, part: str, text: str) -> None:
    core.trouble[part] = text
    _log.error("degraded", part=part, text=text)


async def _reset_counters(core: Core) -> None:
    try:
        await asyncio.to_thread(core.kernel.reset_counters)
        core.trouble.pop("counters", None)
    except (GatewayError, OSError) as error:
        _trouble(core, "counters", f"the kernel's counters were not set to zero, the account will not close: {error}")


async def _probe_and_intercept(plane: ControlPlane) -> None:
    core = plane.core
    try:
        plane.capabilities = await asyncio.to_thread(core.kernel.capabilities)
        plane.form = await asyncio.to_thread(core.kernel.intercept)
        core.trouble.pop("interception", None)
    except (GatewayError, OSError) as error:
        _trouble(core, "interception", str(error))


async def _resume(core: Core, fds: tuple[int, int], generation: int) -> PolicyInForce | None:
    """Find the text of what the engine runs: the record in force, or the candidate whose apply was cut short."""
    core.generation = generation
    for record in (core.state_dir.in_force(), core.state_dir.candidate()):
        if record is None or record.generation != generation:
            continue
        try:
            policy = resume(record, await _compile(record), *fds)
        except (PolicyError, GatewayError) as error:
            _log.error("resume_failed", generation=generation, error=str(error)[:500])
            continue
        core.overrides = dict(core.state_dir.overrides(generation).overrides)
        core.overrides = recovered_overrides(core, policy)
        return policy
    _trouble(
        core,
        "policy",
        f"the engine runs generation {generation}, whose text is lost; going back to the last known good",
    )
    return None


async def _compile(record: InForceRecord) -> Compiled:
    return await asyncio.to_thread(compile_bundle, record.bundle(), record.slots, accepted=True)


async def _last_known_good(core: Core, generation: int) -> PolicyInForce | None:
    record = core.state_dir.in_force()
    candidate = core.state_dir.candidate()
    core.generation = max(generation, record.generation if record else 0, candidate.generation if candidate else 0)
    if record is None:
        return None
    core.overrides = dict(core.state_dir.overrides(record.generation).overrides)
    adopt_pending(core, record)
    if core.pending.due() and (before := await _predecessor(core)) is not None:
        return before  # its time is over: it never comes into force again
    if generation:  # the engine runs something we do not know: a number never means two texts
        core.generation += 1
        record = record.model_copy(update={"generation": core.generation})
        await _save_candidate(core, record)
        await renumber_pending(core)
    try:
        compiled = await _compile(record)
        record = _as_it_means(core, record, compiled)
        ifindexes = await asyncio.to_thread(core.kernel.ifindexes, [port.name for port in compiled.lowered.ports])
        policy = await asyncio.to_thread(build, record, compiled, ifindexes)
    except (PolicyError, GatewayError, OSError) as error:
        _trouble(core, "policy", f"the last known good policy cannot be used: {error}")
        return await _predecessor(core)
    pending = core.pending.record
    if pending is not None and pending.before is None and core.pending.due():
        core.overrides = overrides_before(
            pending, policy.stages
        )  # a stage whose time is over does not come back either
    core.overrides = surviving(core.overrides, policy.stages)
    put_all(core.overrides, policy.stages)
    return policy


def _as_it_means(core: Core, record: InForceRecord, compiled: Compiled) -> InForceRecord:
    """Return the record with the digest of what it means now: nothing is in force under the name of something else."""
    digest = compiled.lowered.digest.hex()
    if digest != record.digest:
        text = f"the text in force means something else than when it was applied ({record.digest[:12]} → {digest[:12]})"
        _trouble(core, "policy", f"{text}: this version reads it otherwise, or its file is damaged; apply it again")
    return record.model_copy(update={"digest": digest})


async def _save_candidate(core: Core, record: InForceRecord) -> None:
    """Keep a record under its new number, so that the next control knows what the engine runs."""
    try:
        await asyncio.to_thread(core.state_dir.save_candidate, record)  # promoted when it is in force
    except OSError as error:
        _log.error("candidate_unsaved", generation=record.generation, error=str(error))


async def _predecessor(core: Core) -> PolicyInForce | None:
    """Return what the last known good policy goes back to, if it was never confirmed."""
    pending = core.pending.record
    if pending is None or pending.before is None:
        return None
    record = pending.before.model_copy(update={"generation": core.generation + 1, "applied": datetime.now(UTC)})
    try:
        compiled = await _compile(record)
        ifindexes = await asyncio.to_thread(core.kernel.ifindexes, [port.name for port in compiled.lowered.ports])
        policy = await asyncio.to_thread(build, record, compiled, ifindexes)
        overrides = overrides_before(pending, policy.stages)
        kept = OverridesRecord(overrides=overrides, generation=record.generation)
        await asyncio.to_thread(core.state_dir.save_overrides, kept)
        await asyncio.to_thread(core.state_dir.save_candidate, record)  # promoted when it is in force
    except (PolicyError, GatewayError, OSError) as error:
        _log.error("predecessor_unusable", error=str(error)[:500])  # `Rollback` goes on trying
        return None
    core.generation, core.overrides = record.generation, overrides
    put_all(core.overrides, policy.stages)
    return policy


async def _put_in_force(core: Core, policy: PolicyInForce, *, running: bool) -> None:
    """Put a resumed or reloaded policy in force. The kernel's part does not wait for an engine."""
    core.current = policy
    core.book.add(policy.names)
    changed = await asyncio.to_thread(core.windows.place, policy)
    if running and changed:
        await core.windows.record(policy, changed, core.windows.now())
    try:
        await asyncio.to_thread(core.kernel.apply_static, policy.lowered, policy.stages_in_force())
        core.lane.govern(policy.state)
    except (GatewayError, OSError) as error:
        _trouble(core, "static", f"not brought up to date: {error}")
    else:
        await save_boot_ruleset(core)
    await place_ports(core)
    if not running:
        await install_or_note(core)
    candidate = core.state_dir.candidate()
    if candidate is not None and candidate.generation == policy.record.generation:
        await asyncio.to_thread(core.state_dir.promote_candidate)
    elif candidate is not None:
        await asyncio.to_thread(core.state_dir.drop_candidate)
    await persist_overrides(core)


async def _first_policy(core: Core) -> None:
    path = core.settings.policy
    try:
        bundle = await asyncio.to_thread(read_bundle, path)
        await apply_policy(core, bundle, DAEMON, "first start", terms=Terms(replace=True), how="boot")
    except (PolicyError, GatewayError, OSError) as error:
        _trouble(core, "policy", f"no policy: {path} was refused; the boundary is closed. {error}"[:2000])


async def install_or_note(core: Core) -> None:
    """Have the engine take the policy in force, or note that it did not."""
    policy = core.policy()
    try:
        await core.keeper.install(policy.record.generation, policy.image_fd, policy.state_fd)
        core.trouble.pop("engine", None)
    except (GatewayError, OSError) as error:
        _trouble(core, "engine", f"does not judge by generation {policy.record.generation} yet: {error}")


async def place_ports(core: Core) -> Mapping[str, int]:
    """Bring existing ports into the bridge and tell the engine their numbers."""
    policy = core.policy()
    try:
        found = await asyncio.to_thread(core.kernel.ifindexes, policy.port_names)
        policy.place_ports(found)
        await asyncio.to_thread(core.kernel.attach, list(found))
    except (GatewayError, OSError, ValueError) as error:
        _trouble(core, "ports", str(error))
        return {}
    missing = sorted(set(policy.port_names) - set(found))
    core.trouble.pop("ports", None)
    if missing:
        core.trouble["ports"] = f"not there: {', '.join(missing)}"
    return found


def read_start(message: Message | None) -> Start:
    """Return what the keeper begins with. Raises ControlError."""
    if message is None or message.op != "start" or len(message.fds) not in (3, 5):
        if message is not None:
            message.close_fds()
        raise ControlError("start_malformed", "the keeper did not begin with a proper start", "restart conduitd")
    segments = (message.fds[0], message.fds[1], message.fds[2])
    images = (message.fds[3], message.fds[4]) if len(message.fds) == 5 else None
    return Start(segments, images, message.number("generation"), carried=message.body.get("carried") is True)
