"""The routes that write their response themselves: followed events, metrics, the OpenAPI document."""

from __future__ import annotations

import asyncio
import contextlib
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

import orjson
from aiohttp import web

from gateway.control.api import answers, models
from gateway.control.api.asking import read_account
from gateway.control.metrics import Reading, render
from gateway.tape.lines import line

if TYPE_CHECKING:
    from gateway.control.event_stream import Subscriber
    from gateway.control.plane import ControlPlane
    from gateway.control.roles import Operator

WRITE_S: Final = 30.0  # a follower that takes nothing for this long is gone
OPENAPI_DOCUMENT: Final = web.AppKey("openapi_document", bytes)
LINES_A_TURN: Final = 256
FOREVER_NS: Final = 1 << 62
IDLE_LINE_S: Final = 15.0  # an empty line then shows both sides that the other is there


def wanted(event: dict[str, Any], query: models.EventsQuery) -> bool:
    """Return whether a follower asked for this event."""
    return (
        (query.type is None or event["event_type"] == query.type)
        and (query.conduit is None or event.get("conduit") == query.conduit)
        and (query.verdict is None or event.get("verdict") == query.verdict)
        and (query.policy_verdict is None or event.get("policy_verdict") == query.policy_verdict)
    )


async def events(
    plane: ControlPlane, _operator: Operator, request: web.Request, query: models.EventsQuery
) -> web.StreamResponse:
    """Return the newest events, or follow them as JSON lines."""
    stream = plane.core.stream
    # ORDER: subscribe before looking back, and no await between: no event is missed or sent twice.
    subscriber = stream.subscribe() if query.follow else None
    past = [event for event in stream.recent() if wanted(event, query)][-query.limit :] if query.limit else []
    if subscriber is None:
        return web.Response(body=answers.EventsAnswer(events=past).model_dump_json(), content_type="application/json")
    response = web.StreamResponse(headers={"Content-Type": "application/jsonl"})
    try:
        await response.prepare(request)
        await _write(response, b"".join(orjson.dumps(event) + b"\n" for event in past))
        await _follow(response, subscriber, query)
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(response.write_eof(), WRITE_S)
    except (ConnectionError, TimeoutError):
        if request.transport is not None:
            request.transport.abort()
    finally:
        stream.unsubscribe(subscriber)
    return response


async def _follow(response: web.StreamResponse, subscriber: Subscriber, query: models.EventsQuery) -> None:
    everything = query == models.EventsQuery(follow=True, limit=query.limit)
    while True:
        try:
            line = await asyncio.wait_for(subscriber.lines.get(), IDLE_LINE_S)
        except TimeoutError:
            await _write(response, b"\n")
            continue
        if line is None:
            return
        if everything or wanted(orjson.loads(line), query):
            await _write(response, line)


async def _write(response: web.StreamResponse, content: bytes) -> None:
    if content:
        await asyncio.wait_for(response.write(content), WRITE_S)


async def observations(
    plane: ControlPlane, _operator: Operator, request: web.Request, query: models.TapeQuery
) -> web.StreamResponse:
    """Return what was seen in a stretch of time, as JSON lines."""
    await plane.record_now()
    found = await asyncio.to_thread(
        lambda: list(plane.tape.observations(nanoseconds(query.since, 0), nanoseconds(query.until, FOREVER_NS)))
    )
    response = web.StreamResponse(headers={"Content-Type": "application/x-ndjson"})
    try:
        await response.prepare(request)
        for start in range(0, len(found), LINES_A_TURN):
            await _write(response, b"".join(line(one) for one in found[start : start + LINES_A_TURN]))
        await asyncio.wait_for(response.write_eof(), WRITE_S)
    except (ConnectionError, TimeoutError):
        if request.transport is not None:
            request.transport.abort()
    return response


def nanoseconds(instant: datetime | None, otherwise: int) -> int:
    """Return an instant in nanoseconds since the epoch; one without a zone is UTC."""
    if instant is None:
        return otherwise
    aware = instant if instant.tzinfo else instant.replace(tzinfo=UTC)
    return max(0, int(aware.timestamp())) * 1_000_000_000


async def metrics(plane: ControlPlane, _operator: Operator, _request: web.Request, _query: Any) -> web.StreamResponse:
    """Return the Prometheus metrics."""
    core = plane.core
    reading = Reading(
        account=await read_account(plane),
        engine_judging=core.keeper.engine.state == "judging",
        engine_restarts=core.keeper.engine.restarts,
        generation=core.current.record.generation if core.current else 0,
        ceiling=int(core.current.state.ceiling) if core.current else 0,
        quarantined=len(plane.quarantine.entries()),
        events_lost=plane.pump.lost(),
        events_published=core.stream.published,
        events_file_lost=core.stream.sink.lost,
        journal_failures=core.journal_failures,
        pending_seconds=core.pending.left_s() if core.pending.record is not None else None,
    )
    return web.Response(body=render(reading), headers={"Content-Type": "text/plain; version=0.0.4; charset=utf-8"})


async def openapi(_plane: ControlPlane, _operator: Operator, request: web.Request, _query: Any) -> web.StreamResponse:
    """Return the OpenAPI document, made once when the server starts."""
    return web.Response(body=request.app[OPENAPI_DOCUMENT], content_type="application/json")
