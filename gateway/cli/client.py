"""The control socket, as the command line uses it: one request, one JSON answer; or lines for as long as they come.

In: method, path, parameters. Out: plain JSON values, or a Failure with exit code and hint.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote, urlencode

from gateway.cli.failure import Failure, refused
from gateway.errors import ExitCode

BODY_BYTES_MAX: Final = 64 << 20  # the control socket's limit
ANSWER_S: Final = 90.0  # a large policy compiles and loads within this time


class _UnixConnection(http.client.HTTPConnection):
    def __init__(self, path: Path, timeout_s: float) -> None:
        super().__init__("localhost", timeout=timeout_s)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(str(self._path))


class Client:
    """The control plane behind one socket."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def get(self, path: str, **query: Any) -> Any:
        """Ask."""
        return self.request("GET", path, query=query)

    def request(self, method: str, path: str, *, body: Any = None, query: dict[str, Any] | None = None) -> Any:
        """Send one request and return the JSON answer. Raises Failure."""
        connection = _UnixConnection(self.path, ANSWER_S)
        try:
            answer = self._send(connection, method, path, body, query)
            raw = answer.read()
            content = _parsed(raw)
        except (OSError, http.client.HTTPException) as error:
            raise self._unreachable(error) from error
        finally:
            connection.close()
        if answer.status >= 400:
            raise refused(answer.status, content)
        return content

    def follow(self, path: str, **query: Any) -> Iterator[dict[str, Any]]:
        """Yield JSON lines until the control plane ends. Raises Failure when it was not there or went away."""
        connection = _UnixConnection(self.path, ANSWER_S)
        try:
            answer = self._send(connection, "GET", path, None, query)
            if answer.status >= 400:
                raise refused(answer.status, _parsed(answer.read()))
            while line := answer.readline():
                if line.strip():
                    yield json.loads(line)
        except (OSError, http.client.HTTPException) as error:
            raise self._unreachable(error) from error
        finally:
            connection.close()

    def _send(
        self, connection: _UnixConnection, method: str, path: str, body: Any, query: dict[str, Any] | None
    ) -> http.client.HTTPResponse:
        given = {name: _text(value) for name, value in (query or {}).items() if value is not None}
        target = quote(path) + (f"?{urlencode(given)}" if given else "")
        content = None if body is None else json.dumps(body, ensure_ascii=False).encode()
        if content is not None and len(content) > BODY_BYTES_MAX:
            size = len(content) // 2**20
            detail = f"the request would be {size} MiB; the control socket takes {BODY_BYTES_MAX // 2**20} MiB"
            raise Failure(ExitCode.REFUSED, detail, "a policy has at most 48 MiB in all of its files")
        with contextlib.suppress(BrokenPipeError):  # refused before it was read to the end: the answer says why
            connection.request(method, target, content, {"Content-Type": "application/json"})
        return connection.getresponse()

    def _unreachable(self, error: Exception) -> Failure:
        if isinstance(error, PermissionError):
            return Failure(ExitCode.NOT_PERMITTED, f"{self.path}: permission denied", "ask an administrator for a role")
        hint = "is conduitd running? `systemctl status conduitd`; another socket: --socket PATH"
        return Failure(ExitCode.UNREACHABLE, f"no control plane answers at {self.path}: {error!s}", hint)


def _text(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _parsed(raw: bytes) -> Any:
    try:
        return json.loads(raw) if raw else {}
    except ValueError as error:
        raise Failure(
            ExitCode.INTERNAL, f"the answer is no JSON: {raw[:200]!r}", "is this conduitd's socket?"
        ) from error
