"""Applying a policy: from a bundle to a new generation in force, in the history and in the journal.

In: a policy with all of its files, who wants it, on what terms. Out: `Applied`, or PolicyError or GatewayError and no
change. Compiling comes before any lock: calming the plant must not wait for a compiler. What comes into force, and in
which order, is `swap`'s.
"""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

from gateway.control.compiling import compile_policy, slots_in_force
from gateway.control.pending import Terms
from gateway.control.state_dir import InForceRecord
from gateway.control.swap import Applied, swap
from gateway.errors import GatewayError
from rules.problems import PolicyError

if TYPE_CHECKING:
    from gateway.control.core import Core
    from gateway.control.history import How
    from gateway.control.journal import Actor
    from gateway.control.promotion import PolicyPromotion
    from gateway.control.state_dir import PendingRecord
    from gateway.control.swap import Stand
    from rules.bundle import Bundle
    from rules.compile import Compiled

OUTRIGHT: Final = Terms()


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
    async with core.changing, core.lock:
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
