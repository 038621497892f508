"""The pending change as operators see it, and the connection that holds it.

In: the core. Out: an answer model, and a stream of JSON lines that ends with the change: whoever hangs up before that
takes it back.
"""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

from aiohttp import web

from gateway.control.api.change_models import PendingState
from gateway.control.api.models import PendingAnswer
from gateway.control.deadline import NS_PER_S
from gateway.errors import ConfigError

if TYPE_CHECKING:
    from gateway.control.core import Core
    from gateway.control.plane import ControlPlane
    from gateway.control.roles import Operator

LINE_EVERY_S: Final = 1.0
LOOK_EVERY_S: Final = 0.05  # at the connection: an end of it is acted upon within this time
WRITE_S: Final = 5.0  # a holder that takes nothing for so long is gone


def pending_answer(core: Core) -> PendingAnswer | None:
    """Return what waits to be confirmed."""
    record = core.pending.record
    if record is None:
        return None
    return PendingAnswer(
        what=record.what,
        name=record.name,
        generation=record.generation,
        digest=record.digest,
        who=record.who,
        since=datetime.fromtimestamp(record.deadline.begun.wall_ns / NS_PER_S, UTC),
        reason=record.reason,
        seconds_left=round(core.pending.left_s(), 3),
        confirm_within=record.deadline.seconds,
        hold=record.hold,
        goes_back_to=record.before.digest if record.before is not None else None,
    )


def pending_state(core: Core) -> PendingState:
    """Return the same, and how the last one ended."""
    found = pending_answer(core)
    return PendingState(pending=found, ended=None if found is not None else core.pending.ended)


async def hold(plane: ControlPlane, _operator: Operator, request: web.Request, _query: Any) -> web.StreamResponse:
    """Hold the pending change: one line a second, a last one when it has ended."""
    pending = plane.core.pending
    with pending.holder() as held:
        if held is None:
            raise ConfigError("nothing_pending", "no change waits to be confirmed", "apply one with hold first")
        response = web.StreamResponse(headers={"Content-Type": "application/jsonl"})
        try:
            await response.prepare(request)
            while pending.record is not None and pending.record.deadline == held.deadline:
                await _write(response, pending_state(plane.core))
                await _until_next(plane.core, request)
            await _write(response, PendingState(pending=None, ended=pending.ended))
            await asyncio.wait_for(response.write_eof(), WRITE_S)
        except (ConnectionError, TimeoutError):
            if request.transport is not None:
                request.transport.abort()
        return response


async def _write(response: web.StreamResponse, state: PendingState) -> None:
    await asyncio.wait_for(response.write(state.model_dump_json().encode() + b"\n"), WRITE_S)


async def _until_next(core: Core, request: web.Request) -> None:
    """Wait for the next line's time or for the change's end. Raises ConnectionError when the holder has hung up."""
    mine = core.pending.record
    for _ in range(int(LINE_EVERY_S / LOOK_EVERY_S)):
        if request.transport is None or request.transport.is_closing():
            raise ConnectionResetError("the holder has hung up")
        if core.pending.record is not mine:
            return
        await asyncio.sleep(LOOK_EVERY_S)
