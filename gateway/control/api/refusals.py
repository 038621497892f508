"""From an exception to an HTTP status and an ErrorAnswer: the one place where that is decided."""

from __future__ import annotations

import sqlite3
from typing import Final

from aiohttp import web
from pydantic import ValidationError

from gateway.control.api.asking import problem_models
from gateway.control.api.models import ErrorAnswer
from gateway.errors import ConfigError, ControlError, GatewayError, InternalError, KernelError, NotPermittedError
from rules.problems import PolicyError

NOT_FOUND: Final = frozenset(
    {
        "conduit_unknown", "zone_unknown", "asset_unknown", "service_unknown", "quarantine_unknown", "policy_missing",
        "policy_unknown", "nothing_pending", "acknowledgement_unknown", "nothing_to_acknowledge",
    }
)  # fmt: skip
_STATUS: Final[tuple[tuple[type[GatewayError], int], ...]] = (
    (NotPermittedError, 403),
    (ConfigError, 422),
    (KernelError, 503),
    (ControlError, 503),
    (InternalError, 500),
)


def refusal_of(error: Exception) -> tuple[int, ErrorAnswer]:
    """Return status and answer."""
    if isinstance(error, PolicyError):
        text = f"the policy has {len(error.problems)} problem{'' if len(error.problems) == 1 else 's'}"
        hint = "nothing in force has changed; correct them and try again"
        problems = problem_models(error.problems)
        return 422, ErrorAnswer(code="policy_refused", detail=text, hint=hint, problems=problems)
    if isinstance(error, GatewayError):
        status = next((status for kind, status in _STATUS if isinstance(error, kind)), 500)
        status = 404 if error.code in NOT_FOUND else status
        return status, ErrorAnswer(code=error.code, detail=error.detail, hint=error.hint)
    if isinstance(error, ValidationError):
        return 400, ErrorAnswer(code="request_invalid", detail=_validation_text(error), hint="see GET /openapi.json")
    return _transport_refusal(error)


def _transport_refusal(error: Exception) -> tuple[int, ErrorAnswer]:
    if isinstance(error, web.HTTPRequestEntityTooLarge):
        hint = "a policy has at most 48 MiB in all of its files"
        return 413, ErrorAnswer(code="request_too_large", detail="the request is larger than 64 MiB", hint=hint)
    if isinstance(error, web.HTTPException):
        detail = f"{error.reason}"
        return error.status, ErrorAnswer(code=f"http_{error.status}", detail=detail, hint="see GET /openapi.json")
    if isinstance(error, TimeoutError):
        return 408, ErrorAnswer(code="request_too_slow", detail="the request did not arrive in time", hint="try again")
    if isinstance(error, ConnectionError):
        return 400, ErrorAnswer(code="request_cut", detail="the connection ended within the request")
    if isinstance(error, (OSError, sqlite3.Error)):
        return 503, ErrorAnswer(code="host_failing", detail=str(error), hint="see `conduitctl doctor` and the log")
    return 500, ErrorAnswer(code="internal", detail=f"{type(error).__name__}: {error}", hint="see the log of conduitd")


def _validation_text(error: ValidationError) -> str:
    lines = []
    for problem in error.errors(include_url=False, include_input=False)[:20]:
        where = ".".join(str(part) for part in problem["loc"]) or "request"
        lines.append(f"{where}: {problem['msg']}")
    return "; ".join(lines)
