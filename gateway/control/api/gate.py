"""The door of the control socket: who connects is known before a single byte of theirs is read.

In: connections. Out: the aiohttp protocol with the peer's role beside it; a user without a role gets a fixed 403 and is
reported, and no parser of ours ever sees what it sends. The socket itself is open to connect for all local users,
because a refusal by file mode could not be recorded.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, cast

import structlog

from gateway.control.api.models import ErrorAnswer
from gateway.control.roles import Operator, Peer, operator_of, peer_of

LINGER_S: Final = 2.0  # a refused peer may finish its request before the connection ends
QUIET_S: Final = 1.0  # refusals of one uid within this time are counted, not recorded one by one
UIDS_REMEMBERED: Final = 1024
CONNECTIONS_PER_UID: Final = 64
_log = structlog.get_logger(__name__)

Refused = Callable[[Peer, int], None]


class Doorkeeper:
    """Decides who may in, and remembers who knocked too often to be recorded each time."""

    def __init__(self, roles: Mapping[Any, Sequence[str]], refused: Refused) -> None:
        self._roles = roles
        self._refused = refused
        self._knocks: dict[int, tuple[float, int]] = {}
        self._inside: dict[int, list[asyncio.BaseTransport]] = {}  # open connections by uid

    def admit(self, connection: Any) -> Operator | None:
        """Return the peer with its role, or None after recording the attempt."""
        try:
            peer = peer_of(connection)
        except OSError as error:
            _log.warning("peer_unknown", error=str(error))
            return None
        operator = operator_of(peer, self._roles)
        if operator is None:
            self._record(peer)
        elif self._crowded(peer.uid):
            _log.warning("too_many_connections", uid=peer.uid, most=CONNECTIONS_PER_UID)
            return None
        return operator

    def entered(self, uid: int, transport: asyncio.BaseTransport) -> None:
        """Count a connection as open until its transport closes."""
        self._inside.setdefault(uid, []).append(transport)

    def _crowded(self, uid: int) -> bool:
        """Say whether a user holds too many connections: idle ones would use up our descriptors."""
        still = [transport for transport in self._inside.get(uid, ()) if not transport.is_closing()]
        self._inside[uid] = still
        return len(still) >= CONNECTIONS_PER_UID

    def _record(self, peer: Peer) -> None:
        now = time.monotonic()
        last, unrecorded = self._knocks.get(peer.uid, (0.0, 0))
        if now - last < QUIET_S:
            self._knocks[peer.uid] = (last, unrecorded + 1)
            return
        if len(self._knocks) >= UIDS_REMEMBERED:
            self._knocks.clear()
        self._knocks[peer.uid] = (now, 0)
        self._refused(peer, unrecorded + 1)


class Gate(asyncio.Protocol):
    """One connection, until it is known whose it is."""

    def __init__(self, doorkeeper: Doorkeeper, inside: Callable[[], asyncio.Protocol]) -> None:
        self._doorkeeper = doorkeeper
        self._inside = inside
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Hand the connection on, or refuse it."""
        operator = self._doorkeeper.admit(transport.get_extra_info("socket"))
        if operator is not None:
            protocol = self._inside()
            self._doorkeeper.entered(operator.peer.uid, transport)
            transport.set_protocol(protocol)
            protocol.connection_made(transport)
            return
        self._transport = cast("asyncio.Transport", transport)  # uvloop's transports are no asyncio classes
        self._transport.write(_refusal())
        asyncio.get_running_loop().call_later(LINGER_S, transport.close)

    def data_received(self, _data: bytes) -> None:
        """Forget what a refused peer sends; its first bytes end the wait."""
        if self._transport is not None:
            self._transport.close()


def _refusal() -> bytes:
    hint = "an administrator adds users and groups under [roles] in conduitd.toml"
    body = ErrorAnswer(code="not_permitted", detail="this user has no role here", hint=hint).model_dump_json().encode()
    fields = (
        "HTTP/1.1 403 Forbidden",
        "Content-Type: application/json",
        f"Content-Length: {len(body)}",
        "Connection: close",
    )
    head = "\r\n".join((*fields, "", ""))
    return head.encode() + body
