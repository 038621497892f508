"""The route table: path, who may, what goes in, what comes out, which function answers.

The one list from which the server dispatches, the OpenAPI document is made and docs/reference/api.md is generated.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from aiohttp import web
from pydantic import BaseModel

from gateway.control.api import (
    answers,
    asking,
    change_models,
    changing,
    models,
    policies,
    proof,
    proof_models,
    streaming,
    waiting,
    windows,
)
from gateway.control.plane import ControlPlane
from gateway.control.roles import Operator, Rank

Answer = Callable[[ControlPlane, Operator, Any, Any, dict[str, str]], Awaitable[BaseModel]]
Stream = Callable[[ControlPlane, Operator, web.Request, Any], Awaitable[web.StreamResponse]]


@dataclass(frozen=True, slots=True)
class Route:
    """One route. Exactly one of `answer` (JSON by model) and `stream` (writes the response itself) is set."""

    method: str
    path: str
    rank: Rank
    summary: str
    answer: Answer | None = None
    stream: Stream | None = None
    body: type[models.Model] | None = None
    query: type[models.Model] = models.NoQuery
    reply: type[models.Model] | None = None
    content_type: str = "application/json"


def route_table() -> tuple[Route, ...]:
    """Return every route."""
    viewer, operator, engineer = Rank.VIEWER, Rank.OPERATOR, Rank.ENGINEER
    a, c, m, p = answers, change_models, models, proof_models
    return (
        Route("GET", "/v1/status", viewer, "The gateway at a glance", asking.status, reply=a.StatusAnswer),
        Route("GET", "/v1/doctor", viewer, "Capabilities and what is degraded", asking.doctor, reply=a.DoctorAnswer),
        Route("GET", "/v1/stages", viewer, "Every stage object", asking.stages, reply=a.StagesAnswer),
        Route(
            "PUT", "/v1/stages", engineer, "Set or reset a stage; effective when answered",
            changing.set_stage, body=c.StageOnTerms, reply=m.StageChanged,
        ),
        Route(
            "GET", "/v1/readiness", viewer, "What is missing until stage objects may enforce", proof.readiness,
            query=p.ReadinessQuery, reply=p.ReadinessAnswer,
        ),
        Route(
            "POST", "/v1/readiness/acknowledge", engineer, "Take on what enforcement will drop", proof.acknowledge,
            body=p.AcknowledgeRequest, reply=p.AcknowledgedAnswer,
        ),
        Route(
            "DELETE", "/v1/readiness/acknowledge/{number}", engineer, "Take an acknowledgement back", proof.withdraw,
            reply=p.AcknowledgedAnswer,
        ),
        Route("GET", "/v1/policy", viewer, "The policy in force", asking.policy, reply=a.PolicyAnswer),
        Route(
            "POST", "/v1/policy", engineer, "Put a policy in force", policies.apply, body=c.ApplyRequest,
            reply=a.AppliedAnswer,
        ),
        Route(
            "POST", "/v1/policy/check", viewer, "Check a policy and show what it would change",
            asking.check, body=m.PolicyRequest, reply=a.CheckAnswer,
        ),
        Route(
            "POST", "/v1/policy/plan", viewer, "What a policy would change: objects, paths, stages, live conversations",
            policies.plan, body=m.PolicyRequest, reply=c.PlanAnswer,
        ),
        Route(
            "POST", "/v1/policy/diff", viewer, "Compare two policies", policies.diff, body=c.DiffRequest,
            reply=c.Differences,
        ),
        Route(
            "POST", "/v1/policy/confirm", engineer, "Let the pending change stay", policies.confirm,
            body=c.ConfirmRequest, reply=c.PendingState,
        ),
        Route(
            "POST", "/v1/policy/rollback", engineer, "Take the pending change back, or go back to an older policy",
            policies.rollback, body=c.RollbackRequest, reply=c.RolledBackAnswer,
        ),
        Route(
            "GET", "/v1/policy/history", viewer, "Policies that were in force", policies.history,
            query=c.HistoryQuery, reply=c.HistoryAnswer,
        ),
        Route(
            "GET", "/v1/policy/history/{which}", viewer, "One of them with its text", policies.history_text,
            reply=c.HistoryText,
        ),
        Route(
            "GET", "/v1/pending", viewer, "The change that waits to be confirmed", policies.pending,
            reply=c.PendingState,
        ),
        Route(
            "GET", "/v1/pending/hold", engineer, "Hold the pending change: it goes back if this connection ends first",
            stream=waiting.hold, content_type="application/jsonl",
        ),
        Route("GET", "/v1/zones", viewer, "Zones", asking.zones, reply=a.ZonesAnswer),
        Route("GET", "/v1/assets", viewer, "Assets", asking.assets, reply=a.AssetsAnswer),
        Route("GET", "/v1/conduits", viewer, "Conduits", asking.conduits, reply=a.ConduitsAnswer),
        Route(
            "GET", "/v1/windows", viewer, "When conduits open and close", windows.windows, query=windows.WindowsQuery,
            reply=windows.WindowsAnswer,
        ),
        Route("GET", "/v1/flows", viewer, "Known flows", asking.flows, query=m.FlowsQuery, reply=a.FlowsAnswer),
        Route("GET", "/v1/lane", viewer, "The fast lane", asking.lane, query=m.LaneQuery, reply=a.LaneAnswer),
        Route(
            "GET", "/v1/events", viewer, "The newest events; with follow=1 JSON lines without end",
            stream=streaming.events, query=m.EventsQuery, reply=a.EventsAnswer,
        ),
        Route("GET", "/v1/counters", viewer, "The account of every frame", asking.counters, reply=a.CountersAnswer),
        Route("GET", "/v1/tape", viewer, "How much is on the decision tape", asking.tape, reply=a.TapeAnswer),
        Route(
            "GET", "/v1/tape/observations", viewer, "What was seen, one JSON line for each conversation or violation",
            stream=streaming.observations, query=m.TapeQuery, content_type="application/x-ndjson",
        ),
        Route(
            "GET", "/v1/explain", viewer, "Would it pass, by which conduit, why",
            asking.explain, query=m.ExplainQuery, reply=m.Explanation,
        ),
        Route("GET", "/v1/quarantine", viewer, "Devices in quarantine", asking.quarantined, reply=a.QuarantineAnswer),
        Route(
            "POST", "/v1/quarantine", operator, "Put a device in quarantine", changing.quarantine_add,
            body=m.QuarantineRequest, reply=m.QuarantineEntry,
        ),
        Route(
            "DELETE", "/v1/quarantine/{which}", operator, "Release by entry number or target",
            changing.quarantine_release, query=m.ReleaseQuery, reply=a.QuarantineAnswer,
        ),
        Route(
            "GET", "/v1/journal", engineer, "Who did what", asking.journal, query=m.JournalQuery, reply=a.JournalAnswer,
        ),
        Route(
            "GET", "/v1/metrics", viewer, "Prometheus metrics", stream=streaming.metrics,
            content_type="text/plain; version=0.0.4",
        ),
        Route("GET", "/openapi.json", viewer, "This interface as an OpenAPI 3.1 document", stream=streaming.openapi),
    )  # fmt: skip
