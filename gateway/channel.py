"""Messages between keeper, engine and control: one JSON object per SEQPACKET datagram, descriptors beside it.

In: objects with an "op" and open descriptors. Out: the same at the other end; received descriptors belong to the
receiver and never leak, whatever is wrong with the message. A cut, oversized or malformed message is a ControlError:
conclude that the peer is broken. Blocking form for the engine, asyncio form for keeper and control.
"""

from __future__ import annotations

import array
import asyncio
import os
import socket
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import orjson

from gateway.errors import ControlError

MESSAGE_BYTES_MAX: Final = 65536  # far above any message we send, far below the default socket buffer
FDS_MAX: Final = 32  # start: three segments, a socket for answers and MAX_QUEUES queue sockets
SEND_SECONDS: Final = 2.0  # a peer that takes nothing for so long is hung
_FD_BYTES: Final = array.array("i").itemsize


@dataclass(frozen=True, slots=True)
class Message:
    """One received message; `fds` are the receiver's to close."""

    op: str
    body: dict[str, Any]
    fds: tuple[int, ...] = ()

    def close_fds(self) -> None:
        """Close every descriptor that came with the message."""
        for fd in self.fds:
            os.close(fd)

    def number(self, key: str) -> int:
        """Return a non-negative integer of the body. Raises ControlError when it is missing or something else."""
        value = self.body.get(key)
        if not isinstance(value, int) or isinstance(value, bool) or value < 0:
            raise _malformed(f"{self.op}: {key} must be a number")
        return value


def _malformed(what: str) -> ControlError:
    return ControlError("message_malformed", what, "the peer is of another version or broken: it is started anew")


def pair() -> tuple[socket.socket, socket.socket]:
    """Return two connected ends, not inherited by children unless passed on purpose."""
    return socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)


def from_fd(fd: int) -> socket.socket:
    """Return the socket that a parent passed as descriptor `fd`. Raises ControlError when it is something else."""
    try:
        end = socket.socket(fileno=fd)
    except OSError as error:
        hint = "this program is started by conduitd, not by hand"
        raise ControlError("channel_missing", f"descriptor {fd} is not a socket", hint) from error
    end.set_inheritable(False)
    if end.family != socket.AF_UNIX or end.type != socket.SOCK_SEQPACKET:
        end.close()
        raise ControlError("channel_missing", f"descriptor {fd} is not a message channel", "start conduitd instead")
    return end


def encode(body: dict[str, Any]) -> bytes:
    """Return the datagram of a message. Raises ControlError when it would be too long for the other end."""
    datagram = orjson.dumps(body)
    if len(datagram) > MESSAGE_BYTES_MAX:
        raise _malformed(f"a message of {len(datagram)} bytes is longer than {MESSAGE_BYTES_MAX}")
    return datagram


def _send(end: socket.socket, datagram: bytes, fds: Sequence[int]) -> None:
    if len(fds) > FDS_MAX:
        raise _malformed(f"{len(fds)} descriptors in one message")
    ancillary = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", fds))] if fds else []
    try:
        end.sendmsg([datagram], ancillary, socket.MSG_NOSIGNAL)
    except BlockingIOError:
        raise
    except OSError as error:
        detail = f"the other process is gone ({error.strerror})"
        raise ControlError("peer_gone", detail, "it is started anew") from error


def _descriptors(ancillary: list[tuple[int, int, bytes]]) -> tuple[int, ...]:
    fds = array.array("i")
    for level, kind, payload in ancillary:
        if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
            fds.frombytes(payload[: len(payload) - len(payload) % _FD_BYTES])
    return tuple(fds)


def decode(datagram: bytes, fds: tuple[int, ...] = ()) -> Message:
    """Return the message of a datagram; raises ControlError, and closes the descriptors then."""
    try:
        body = orjson.loads(datagram)
        if not isinstance(body, dict) or not isinstance(body.get("op"), str):
            raise _malformed("a message must be an object with an op")
    except (orjson.JSONDecodeError, ControlError) as error:
        for fd in fds:
            os.close(fd)
        raise error if isinstance(error, ControlError) else _malformed(f"not JSON: {error}") from error
    return Message(body["op"], body, fds)


def _receive(end: socket.socket) -> Message | None:
    space = socket.CMSG_SPACE(FDS_MAX * _FD_BYTES)
    try:
        datagram, ancillary, flags, _ = end.recvmsg(MESSAGE_BYTES_MAX, space, socket.MSG_CMSG_CLOEXEC)
    except ConnectionResetError:
        return None
    fds = _descriptors(ancillary)
    if flags & (socket.MSG_TRUNC | socket.MSG_CTRUNC):
        for fd in fds:
            os.close(fd)
        raise _malformed("a message was cut on the way")
    if not datagram:
        for fd in fds:
            os.close(fd)
        return None
    return decode(datagram, fds)


class Channel:
    """Blocking end of a channel."""

    def __init__(self, end: socket.socket) -> None:
        self._end = end
        end.setblocking(True)

    def send(self, body: dict[str, Any], fds: Sequence[int] = ()) -> None:
        """Send one message; the descriptors stay open here. Raises ControlError when the peer is gone."""
        _send(self._end, encode(body), fds)

    def receive(self) -> Message | None:
        """Return the next message, None when the peer has closed its end; blocks until then."""
        return _receive(self._end)

    def close(self) -> None:
        """Close this end; the peer sees it."""
        self._end.close()


class AsyncChannel:
    """Asyncio end of a channel; one task receives, any task sends. Runs on asyncio's loop and on uvloop."""

    def __init__(self, end: socket.socket) -> None:
        self._end = end
        end.setblocking(False)
        self._sending = asyncio.Lock()

    async def send(self, body: dict[str, Any], fds: Sequence[int] = ()) -> None:
        """Send one message; the descriptors stay open here. Raises ControlError when the peer is gone or hung."""
        datagram = encode(body)
        async with self._sending:
            try:
                async with asyncio.timeout(SEND_SECONDS):
                    while True:
                        try:
                            return _send(self._end, datagram, fds)
                        except BlockingIOError:
                            await self._ready(writing=True)
            except TimeoutError as error:
                detail = f"the other process took no message for {SEND_SECONDS} s"
                raise ControlError("peer_hung", detail, "it is started anew") from error

    async def receive(self) -> Message | None:
        """Return the next message, None when the peer has closed its end."""
        while self._end.fileno() >= 0:
            try:
                return _receive(self._end)
            except BlockingIOError:
                await self._ready(writing=False)
        return None

    async def _ready(self, *, writing: bool) -> None:
        loop = asyncio.get_running_loop()
        ready: asyncio.Future[None] = loop.create_future()
        add, remove = (loop.add_writer, loop.remove_writer) if writing else (loop.add_reader, loop.remove_reader)
        fd = self._end.fileno()

        def wake() -> None:
            if not ready.done():
                ready.set_result(None)

        add(fd, wake)
        try:
            await ready
        finally:
            remove(fd)

    def close(self) -> None:
        """Close this end; call it only when no task is receiving."""
        self._end.close()
