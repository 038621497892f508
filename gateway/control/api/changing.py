"""The routes that change what is in force; who may is decided by the route table before these are called."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

from gateway.control.api import answers, models
from gateway.control.api.asking import Params
from gateway.control.api.change_models import StageOnTerms
from gateway.control.api.policies import terms_of
from gateway.control.api.waiting import pending_answer
from gateway.control.quarantine import as_answer
from gateway.control.stage_change import change_stage
from gateway.control.stages import STAGE_NAMES, STAGES, StageObject

if TYPE_CHECKING:
    from gateway.control.plane import ControlPlane
    from gateway.control.roles import Operator


async def set_stage(
    plane: ControlPlane, operator: Operator, body: StageOnTerms, _query: Any, _path: Params
) -> models.StageChanged:
    """Set or reset a stage; when this answers, engine and kernel both act on it."""
    target = StageObject(conduit=body.conduit, pair=body.pair)
    stage = None if body.stage is None else STAGES[body.stage]
    leave = await plane.promotions.leave_for_stage(target, stage, operator.actor, body.reason, force=body.force)
    change = await change_stage(plane.core, target, stage, operator.actor, body.reason, terms_of(body), leave=leave)
    await plane.promotions.note(leave, operator.actor, body.reason)
    return models.StageChanged(
        object=change.target.key,
        previous=STAGE_NAMES[change.previous],
        previous_effective=STAGE_NAMES[change.previous_effective],
        stage=STAGE_NAMES[change.stage],
        effective=STAGE_NAMES[change.effective],
        policy_stage=STAGE_NAMES[change.own],
        persisted=change.persisted,
        pending=pending_answer(plane.core),
    )


async def quarantine_add(
    plane: ControlPlane, operator: Operator, body: models.QuarantineRequest, _query: Any, _path: Params
) -> models.QuarantineEntry:
    """Block a device; when this answers, nothing passes from or to it."""
    duration = None if body.seconds is None else timedelta(seconds=body.seconds)
    return as_answer(await plane.quarantine.add(body.target, body.reason, duration, operator.actor))


async def quarantine_release(
    plane: ControlPlane, operator: Operator, _body: None, query: models.ReleaseQuery, path: Params
) -> answers.QuarantineAnswer:
    """Release a device."""
    released = await plane.quarantine.release(path["which"], operator.actor, query.reason)
    return answers.QuarantineAnswer(entries=[as_answer(entry) for entry in released])
