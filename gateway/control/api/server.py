"""The server on the control socket: from bytes to a checked model, to a route's function, to bytes.

In: HTTP requests of admitted peers. Out: JSON, always; every refusal is an ErrorAnswer with a hint. Bounded in size and
time; a request that is cut, malformed, too large or too slow costs its sender its connection and nobody anything else.
"""

from __future__ import annotations

import asyncio
import os
import socket
from typing import TYPE_CHECKING, Any, Final

import orjson
import structlog
from aiohttp import web

from gateway.control.api.gate import Doorkeeper, Gate
from gateway.control.api.models import ErrorAnswer
from gateway.control.api.openapi import document
from gateway.control.api.refusals import refusal_of
from gateway.control.api.routes import Route, route_table
from gateway.control.api.streaming import OPENAPI_DOCUMENT
from gateway.control.journal import Actor
from gateway.control.roles import Operator, Peer, operator_of, peer_of, user_name
from gateway.errors import ConfigError

if TYPE_CHECKING:
    from pathlib import Path

    from pydantic import BaseModel

    from gateway.control.plane import ControlPlane

BODY_BYTES_MAX: Final = 64 << 20  # a policy with all of its files is the largest; see rules.bundle.MAX_BUNDLE_BYTES
BODY_S: Final = 30.0  # a body that takes longer is not coming
KEEPALIVE_S: Final = 75.0
LINGER_S: Final = 5.0  # how long the rest of a refused body is read, so that its sender sees the answer
SHUTDOWN_S: Final = 1.0  # for running requests; the keeper allows 5 s for everything
SOCKET_MODE: Final = 0o666  # connecting is for all; being answered is for those with a role (see gate)
BACKLOG: Final = 128
_log = structlog.get_logger(__name__)


class ControlServer:
    """The server of one control plane."""

    def __init__(self, plane: ControlPlane) -> None:
        self._plane = plane
        self._path = plane.core.settings.control.socket
        self._tasks: set[asyncio.Task[None]] = set()
        self._runner: web.AppRunner | None = None
        self._server: asyncio.AbstractServer | None = None
        self._inode: int | None = None  # of the socket's name, while it is ours

    async def start(self) -> None:
        """Listen. Raises ConfigError when the socket cannot be made."""
        app = web.Application(client_max_size=BODY_BYTES_MAX)
        table = route_table()
        app[OPENAPI_DOCUMENT] = orjson.dumps(document(table))
        for route in table:
            app.router.add_route(route.method, route.path, self._endpoint(route))
        app.middlewares.append(_errors_as_json)
        self._runner = web.AppRunner(
            app,
            access_log=None,
            keepalive_timeout=KEEPALIVE_S,
            lingering_time=LINGER_S,
            shutdown_timeout=SHUTDOWN_S,
            auto_decompress=False,  # a packed body is no JSON: refused, and no bomb is ever unpacked
        )
        await self._runner.setup()
        inside = self._runner.server
        if inside is None:
            raise ConfigError("control_socket", "the HTTP server did not start")
        doorkeeper = Doorkeeper(self._plane.core.settings.roles, self._refused)
        listening = _listening_socket(self._path)
        self._inode = self._path.stat().st_ino
        loop = asyncio.get_running_loop()
        self._server = await loop.create_unix_server(lambda: Gate(doorkeeper, inside), sock=listening, backlog=BACKLOG)
        _log.info("control_socket_ready", path=str(self._path))

    async def stop(self) -> None:
        """Stop listening and let running requests end."""
        if self._server is not None:
            self._server.close()
        self._plane.core.stream.close()  # followers end by themselves then
        self._remove_socket()
        if self._runner is not None:
            await self._runner.cleanup()

    def _remove_socket(self) -> None:
        """Remove our socket's name, unless it is another's by now: a new control may stand before the old one ended."""
        try:
            if self._path.stat().st_ino == self._inode:
                self._path.unlink()
        except FileNotFoundError:
            _log.debug("control_socket_gone", path=str(self._path))

    def _refused(self, peer: Peer, attempts: int) -> None:
        actor = Actor(peer.uid, user_name(peer.uid), "none")
        detail = {"pid": peer.pid, "attempts": attempts}
        task = asyncio.create_task(self._plane.core.record(actor, "access", detail, "refused"))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _endpoint(self, route: Route) -> Any:
        async def endpoint(request: web.Request) -> web.StreamResponse:
            operator = self._operator(request)
            if operator is None or operator.rank < route.rank:
                return await self._forbidden(route, request, operator)
            query = route.query.model_validate(dict(request.query))
            if route.stream is not None:
                return await route.stream(self._plane, operator, request, query)
            body = await _read_body(route, request)
            if route.answer is None:
                raise web.HTTPNotFound
            answer = await route.answer(self._plane, operator, body, query, dict(request.match_info))
            return web.Response(body=answer.model_dump_json(), content_type="application/json")

        return endpoint

    def _operator(self, request: web.Request) -> Operator | None:
        """Asked of the kernel again for each request: a role taken away ends also on an open connection."""
        connection = request.get_extra_info("socket")
        return None if connection is None else operator_of(peer_of(connection), self._plane.core.settings.roles)

    async def _forbidden(self, route: Route, request: web.Request, operator: Operator | None) -> web.Response:
        actor = operator.actor if operator else Actor(None, "unknown", "none")
        wanted = route.rank.name.lower()
        detail = {"request": f"{route.method} {request.path}", "needs": wanted}
        await self._plane.core.record(actor, "access", detail, "refused")
        hint = "an administrator grants roles under [roles] in conduitd.toml"
        text = f"{actor} has the role {actor.role}; this needs {wanted}"
        return _json(403, ErrorAnswer(code="role_too_low", detail=text, hint=hint))


async def _read_body(route: Route, request: web.Request) -> BaseModel | None:
    if (request.content_length or 0) > BODY_BYTES_MAX:
        raise web.HTTPRequestEntityTooLarge(BODY_BYTES_MAX, request.content_length or 0)
    raw = await asyncio.wait_for(request.read(), BODY_S)
    return None if route.body is None else route.body.model_validate_json(raw or b"null")


async def _handled(request: web.Request, handler: Any) -> web.StreamResponse:
    response: web.StreamResponse = await handler(request)
    return response


@web.middleware
async def _errors_as_json(request: web.Request, handler: Any) -> web.StreamResponse:
    """Turn everything that a route raises into an answer; only what nobody foresaw is logged with its trace."""
    try:
        return await _handled(request, handler)
    except asyncio.CancelledError:
        raise
    except Exception as error:  # noqa: BLE001 (one bad request must not end the server)
        status, refusal = refusal_of(error)
        if status >= 500 and not hasattr(error, "code"):
            _log.exception("request_failed", method=request.method, path=request.path)
        return _json(status, refusal)


def _json(status: int, answer: BaseModel) -> web.Response:
    return web.Response(status=status, body=answer.model_dump_json(), content_type="application/json")


def _listening_socket(path: Path) -> socket.socket:
    """Return the bound socket; a stale one of a killed control is replaced in one step, so clients never miss it."""
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        path.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
        draft.unlink(missing_ok=True)
        listening = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
        listening.bind(str(draft))
        draft.chmod(SOCKET_MODE)
        listening.listen(BACKLOG)
        draft.replace(path)
    except OSError as error:
        hint = "the directory must exist and be writable, the path shorter than 90 characters"
        raise ConfigError("control_socket", f"{path}: {error.strerror or error}", hint) from error
    return listening
