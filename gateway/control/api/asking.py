"""The routes that only look: each takes the control plane and checked parameters and returns an answer model."""

from __future__ import annotations

import asyncio
import time
from importlib.metadata import PackageNotFoundError, version
from itertools import islice
from typing import TYPE_CHECKING, Any

from gateway.control import doctor as examination
from gateway.control import listings
from gateway.control.api import answers, models
from gateway.control.api.waiting import pending_answer
from gateway.control.compiling import check_policy
from gateway.control.counts import account
from gateway.control.event_text import timestamp
from gateway.control.explain import Explainer, Question
from gateway.control.kernel_port import KernelView
from gateway.control.quarantine import as_answer
from gateway.control.stages import STAGE_NAMES
from gateway.control.summary import changes
from gateway.errors import GatewayError
from gateway.simulate.openings import Openings, moment
from rules.bundle import Bundle, bundle_of_texts
from rules.problems import PolicyError

if TYPE_CHECKING:
    from gateway.control.plane import ControlPlane
    from gateway.control.roles import Operator

Params = dict[str, str]


def product_version() -> str:
    """Return the installed version."""
    try:
        return version("conduit-gateway")
    except PackageNotFoundError:
        return "not installed"


async def _brief(plane: ControlPlane) -> dict[str, Any]:
    policy = plane.core.policy()
    record = policy.record
    return {
        "site": policy.lowered.site,
        "name": record.name,
        "generation": record.generation,
        "digest": record.digest,
        "who": record.who,
        "applied": record.applied,
        "file_differs": await plane.policy_file.differs(plane.core.settings.policy, record),
    }


async def status(
    plane: ControlPlane, _operator: Operator, _body: None, _query: Any, _path: Params
) -> answers.StatusAnswer:
    """Return the gateway at a glance."""
    core, engine = plane.core, plane.core.keeper.engine
    healthy = engine.state == "judging" and not core.trouble
    return answers.StatusAnswer(
        state="no policy" if core.current is None else "ok" if healthy else "degraded",
        version=product_version(),
        uptime_seconds=int(time.monotonic() - plane.started),
        interception=plane.form.name.lower() if plane.form else None,
        engine=answers.EngineAnswer(state=engine.state, pid=engine.pid, restarts=engine.restarts),
        policy=answers.PolicyBrief(**await _brief(plane)) if core.current else None,
        ceiling=STAGE_NAMES[core.current.state.ceiling] if core.current else None,
        overrides=len(core.overrides),
        quarantined=len(plane.quarantine.entries()),
        followers=core.stream.followers,
        events_lost=plane.pump.lost(),
        events_file_lost=core.stream.sink.lost,
        journal_failures=core.journal_failures,
        trouble=dict(core.trouble),
        pending=pending_answer(core),
    )


async def doctor(
    plane: ControlPlane, _operator: Operator, _body: None, _query: Any, _path: Params
) -> answers.DoctorAnswer:
    """Return what the machine can do and what is degraded."""
    findings = examination.machine_findings(plane.capabilities, plane.form)
    findings += await asyncio.to_thread(examination.host_findings, plane.form)
    findings += await examination.live_findings(plane)
    return answers.DoctorAnswer(
        interception=plane.form.name.lower() if plane.form else None,
        capabilities=dict(plane.capabilities),
        findings=findings,
    )


async def stages(
    plane: ControlPlane, _operator: Operator, _body: None, _query: Any, _path: Params
) -> answers.StagesAnswer:
    """Return every stage object."""
    return listings.stages(plane.core)


async def policy(
    plane: ControlPlane, _operator: Operator, _body: None, _query: Any, _path: Params
) -> answers.PolicyAnswer:
    """Return the policy in force."""
    record = plane.core.policy().record
    return answers.PolicyAnswer(**await _brief(plane), text=record.text, files=record.files)


def bundle_of(body: models.PolicyRequest) -> Bundle:
    """Return the policy that a request brings."""
    return bundle_of_texts(body.name, body.text, body.files)


def problem_models(problems: Any) -> list[models.Problem]:
    """Return rules' problems as answer models."""
    return [models.Problem.model_validate(problem.as_dict()) for problem in problems]


def change_models(found: Any) -> models.Changes:
    """Return a comparison as an answer model."""
    return models.Changes.model_validate(found, from_attributes=True)


async def check(
    plane: ControlPlane, _operator: Operator, body: models.PolicyRequest, _query: Any, _path: Params
) -> answers.CheckAnswer:
    """Check a text against what is in force."""
    core = plane.core
    try:
        compiled = await check_policy(core, bundle_of(body))
    except PolicyError as error:
        found = problem_models(error.problems)
        return answers.CheckAnswer(ok=False, digest=None, problems=found, warnings=[], changes=None)
    return answers.CheckAnswer(
        ok=True,
        digest=compiled.lowered.digest.hex(),
        problems=[],
        warnings=problem_models(compiled.warnings),
        changes=change_models(changes(core.current.compiled if core.current else None, compiled)),
    )


async def zones(
    plane: ControlPlane, _operator: Operator, _body: None, _query: Any, _path: Params
) -> answers.ZonesAnswer:
    """Return every zone."""
    return answers.ZonesAnswer(zones=listings.zones(plane.core))


async def assets(
    plane: ControlPlane, _operator: Operator, _body: None, _query: Any, _path: Params
) -> answers.AssetsAnswer:
    """Return every asset."""
    return answers.AssetsAnswer(assets=listings.assets(plane))


async def conduits(
    plane: ControlPlane, _operator: Operator, _body: None, _query: Any, _path: Params
) -> answers.ConduitsAnswer:
    """Return every conduit."""
    return answers.ConduitsAnswer(conduits=listings.conduits(plane))


async def flows(
    plane: ControlPlane, _operator: Operator, _body: None, query: models.FlowsQuery, _path: Params
) -> answers.FlowsAnswer:
    """Return known flows."""
    found = await asyncio.to_thread(lambda: list(islice(listings.flows(plane, query), query.limit + 1)))
    return answers.FlowsAnswer(flows=found[: query.limit], more=len(found) > query.limit)


async def lane(
    plane: ControlPlane, _operator: Operator, _body: None, query: models.LaneQuery, _path: Params
) -> answers.LaneAnswer:
    """Return the fast lane with its flows."""
    frames = (await read_account(plane))["lane"]
    return await asyncio.to_thread(listings.lane, plane, frames, query.limit)


async def read_account(plane: ControlPlane) -> dict[str, Any]:
    """Return the counters; without the kernel's part when it cannot be read, which `trouble` then says."""
    try:
        view = await asyncio.to_thread(plane.core.kernel.view)
        plane.core.trouble.pop("counters", None)
    except (GatewayError, OSError) as error:
        plane.core.trouble["counters"] = f"the kernel's counters cannot be read: {error}"
        view = KernelView()
    return account(view, plane.counters, plane.core.current)


async def counters(
    plane: ControlPlane, _operator: Operator, _body: None, _query: Any, _path: Params
) -> answers.CountersAnswer:
    """Return the account of every frame."""
    return answers.CountersAnswer.model_validate(await read_account(plane))


async def explain(
    plane: ControlPlane, _operator: Operator, _body: None, query: models.ExplainQuery, _path: Params
) -> models.Explanation:
    """Judge a made-up opening frame with the image in force."""
    current = plane.core.policy()
    question = Question(
        query.source, query.destination, query.service, query.source_zone, query.destination_zone, query.message
    )
    state = current.state.snapshot()
    if query.at is not None:
        await asyncio.to_thread(Openings(current.compiled, state).turn_to, moment(current.compiled, query.at))
    explainer = Explainer(current.compiled, current.names, current.image, state)
    answer = await asyncio.to_thread(explainer.answer, question)
    entry = plane.quarantine.covering(*explainer.addresses(question))
    if entry is not None:
        answer |= {
            "verdict": "drop",
            "policy_verdict": "drop",
            "reason": "GUARD_QUARANTINE",
            "text": f"{entry.target} is in quarantine: {entry.reason}",
            "quarantined": entry.target,
        }
    return models.Explanation.model_validate(answer)


async def quarantined(
    plane: ControlPlane, _operator: Operator, _body: None, _query: Any, _path: Params
) -> answers.QuarantineAnswer:
    """Return the devices in quarantine."""
    return answers.QuarantineAnswer(entries=[as_answer(entry) for entry in plane.quarantine.entries()])


async def journal(
    plane: ControlPlane, _operator: Operator, _body: None, query: models.JournalQuery, _path: Params
) -> answers.JournalAnswer:
    """Return the newest journal entries."""
    book = plane.core.journal
    entries = await asyncio.to_thread(book.entries, query.limit)
    broken = await asyncio.to_thread(book.verify) if query.verify else None
    return answers.JournalAnswer(entries=entries, broken_at=broken)


async def tape(plane: ControlPlane, _operator: Operator, _body: None, _query: Any, _path: Params) -> answers.TapeAnswer:
    """Return how much is on the decision tape."""
    found = await asyncio.to_thread(plane.tape.extent)
    return answers.TapeAnswer(
        first_seen=None if found.first_ns is None else timestamp(found.first_ns),
        last_seen=None if found.last_ns is None else timestamp(found.last_ns),
        sights=found.sights,
        rows=found.rows,
        bytes=found.bytes,
        forgotten_rows=found.forgotten_rows,
        uncounted=found.uncounted,
    )
