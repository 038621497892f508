"""The routes of safe change: apply, plan, confirm, roll back, history and difference."""

from __future__ import annotations

import asyncio
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from gateway.control.api import answers, change_models, models
from gateway.control.api.asking import Params, bundle_of, problem_models
from gateway.control.api.asking import change_models as summary_models
from gateway.control.api.waiting import pending_answer, pending_state
from gateway.control.apply import apply_policy
from gateway.control.compiling import check_policy
from gateway.control.history import IN_FORCE
from gateway.control.pending import Terms
from gateway.control.plan import differences
from gateway.control.plan import plan as make_plan
from gateway.control.promotion import PolicyPromotion
from gateway.control.recorded import recorded
from gateway.control.rollback import confirm as confirm_pending
from gateway.control.rollback import overrides_then, restore_quarantine, roll_back
from gateway.control.stages import surviving
from gateway.errors import ConfigError, InternalError
from rules.bundle import bundle_of_texts
from rules.problems import PolicyError

if TYPE_CHECKING:
    from gateway.control.history import Entry
    from gateway.control.plane import ControlPlane
    from gateway.control.roles import Operator
    from gateway.control.stages import StageTable
    from gateway.control.state_dir import StageOverride
    from rules.compile import Compiled


def terms_of(body: change_models.Terms) -> Terms:
    """Return the terms that a request asks for."""
    return Terms(body.confirm_within, body.hold, body.replace)


async def apply(
    plane: ControlPlane, operator: Operator, body: change_models.ApplyRequest, _query: Any, _path: Params
) -> answers.AppliedAnswer:
    """Put a policy in force, on terms if it is to go back by itself."""
    promotion = PolicyPromotion(plane, force=body.force)
    applied = await apply_policy(
        plane.core, bundle_of(body), operator.actor, body.reason, terms=terms_of(body), promotion=promotion
    )
    try:
        async with plane.core.lock:
            await plane.quarantine.restore()  # a quarantined asset may have got new addresses
    finally:
        await promotion.note(operator.actor, body.reason)  # takes seconds: without the lock, and last
    return answers.AppliedAnswer(
        generation=applied.policy.record.generation,
        digest=applied.policy.record.digest,
        changes=summary_models(applied.changes),
        warnings=problem_models(applied.policy.compiled.warnings),
        overrides_dropped=list(applied.overrides_dropped),
        number=applied.number,
        pending=pending_answer(plane.core),
    )


async def plan(
    plane: ControlPlane, _operator: Operator, body: models.PolicyRequest, _query: Any, _path: Params
) -> change_models.PlanAnswer:
    """Say what a text would change, and change nothing."""
    core = plane.core
    try:
        compiled = await check_policy(core, bundle_of(body))
    except PolicyError as error:
        problems = problem_models(error.problems)
        nothing: dict[str, Any] = {"changes": None, "flows": None, "overrides_dropped": []}
        return change_models.PlanAnswer(ok=False, problems=problems, warnings=[], **nothing)
    overrides = dict(core.overrides)
    raised, missing = await PolicyPromotion(plane, force=False).foresee(compiled)
    found, flows, dropped = await asyncio.to_thread(
        make_plan, core.current, compiled, overrides, plane.flows.flows(), core.windows.now()
    )
    return change_models.PlanAnswer(
        ok=True,
        problems=[],
        warnings=problem_models(compiled.warnings),
        changes=found,
        flows=flows,
        recorded=await asyncio.to_thread(recorded, plane.tape, compiled, body.name),
        overrides_dropped=list(dropped),
        raised=raised,
        missing=missing,
    )


async def pending(
    plane: ControlPlane, _operator: Operator, _body: None, _query: Any, _path: Params
) -> change_models.PendingState:
    """Return what waits to be confirmed."""
    return pending_state(plane.core)


async def confirm(
    plane: ControlPlane, operator: Operator, body: change_models.ConfirmRequest, _query: Any, _path: Params
) -> change_models.PendingState:
    """Let the pending change stay."""
    await confirm_pending(plane.core, operator.actor, body.digest, body.reason)
    return pending_state(plane.core)


async def rollback(
    plane: ControlPlane, operator: Operator, body: change_models.RollbackRequest, _query: Any, _path: Params
) -> change_models.RolledBackAnswer:
    """Go back to what was before the pending change, or to any policy of the history."""
    core = plane.core
    if body.which is not None:
        entry = await asyncio.to_thread(core.history.find, body.which)
        content = await asyncio.to_thread(core.history.content, entry.number)
        bundle = bundle_of_texts(entry.name, content.text, content.files)
        then = await asyncio.to_thread(core.history.overrides, entry.number)

        def stand(table: StageTable) -> dict[str, StageOverride]:
            return surviving(core.overrides, table) if then is None else overrides_then(then, core.overrides, table)

        reason = body.reason or f"back to {entry.number}"
        await apply_policy(core, bundle, operator.actor, reason, terms=terms_of(body), how="rollback", stand=stand)
    async with core.changing, core.lock:
        if body.which is None:
            await roll_back(core, operator.actor, body.reason or "an operator takes it back")
        await restore_quarantine(plane)
    record = core.policy().record
    return change_models.RolledBackAnswer(
        generation=record.generation, digest=record.digest, name=record.name, pending=pending_answer(core)
    )


def _row(plane: ControlPlane, entry: Entry) -> dict[str, Any]:
    current = plane.core.current
    here = current is not None and entry.ended is None and entry.generation == current.record.generation
    return asdict(entry) | {"in_force": here}


async def history(
    plane: ControlPlane, _operator: Operator, _body: None, query: change_models.HistoryQuery, _path: Params
) -> change_models.HistoryAnswer:
    """Return policies that were in force."""
    entries = await asyncio.to_thread(plane.core.history.entries, query.limit)
    return change_models.HistoryAnswer(policies=[_history_row(plane, entry) for entry in entries])


def _history_row(plane: ControlPlane, entry: Entry) -> change_models.HistoryRow:
    try:
        return change_models.HistoryRow.model_validate(_row(plane, entry))
    except ValidationError as error:  # the disk's fault, not the one's who asks
        hint = "fewer entries (--limit) may be whole; the journal says what was applied when"
        raise InternalError("history_damaged", f"entry {entry.number} cannot be read: {error}"[:500], hint) from error


async def history_text(
    plane: ControlPlane, _operator: Operator, _body: None, _query: Any, path: Params
) -> change_models.HistoryText:
    """Return one of them with its text."""
    book = plane.core.history
    entry = await asyncio.to_thread(book.find, path["which"])
    content = await asyncio.to_thread(book.content, entry.number)
    return change_models.HistoryText.model_validate(_row(plane, entry) | asdict(content))


async def diff(
    plane: ControlPlane, _operator: Operator, body: change_models.DiffRequest, _query: Any, _path: Params
) -> change_models.Differences:
    """Compare two policies, each in force, of the history, or given."""
    old, new = await _compiled(plane, body.old), await _compiled(plane, body.new)
    return await asyncio.to_thread(differences, old, new)


async def _compiled(plane: ControlPlane, ref: change_models.PolicyRef) -> Compiled:
    core = plane.core
    if ref.policy is not None:
        return await check_policy(core, bundle_of(ref.policy))
    if ref.which is None:
        raise ConfigError("policy_unknown", "no policy is named", "give which or policy")
    if ref.which == IN_FORCE:
        return core.policy().compiled
    entry = await asyncio.to_thread(core.history.find, ref.which)
    content = await asyncio.to_thread(core.history.content, entry.number)
    bundle = bundle_of_texts(entry.name, content.text, content.files)
    return await check_policy(core, bundle, accepted=True)
