"""Control's end of the channel to the keeper: asks for installs, hears what becomes of them and of the engine.

In: datagrams `start`, `installed`, `refused`, `engine`. Out: `install` with two descriptors. One install is under way
at a time (the enforcement core holds its lock). When the channel closes, the keeper is gone: `closed` is set and this
process must end, a new keeper starts a new one.
"""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, Any, Final, Protocol

import structlog

from gateway.control.keeper_port import EngineStatus
from gateway.errors import ControlError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from gateway.channel import Message

INSTALL_S: Final = 10.0  # an engine that is just being restarted takes its image within this time
_log = structlog.get_logger(__name__)


class MessageChannel(Protocol):
    """`gateway.channel.AsyncChannel`."""

    async def send(self, body: dict[str, Any], fds: Sequence[int] = ...) -> None:
        """Send one datagram."""

    async def receive(self) -> Message | None:
        """Return the next datagram; None when the peer is gone."""


class KeeperLink:
    """The link, once `start` has been received."""

    def __init__(self, channel: MessageChannel) -> None:
        self._channel = channel
        self.on_engine: Callable[[EngineStatus, EngineStatus], None] | None = None  # called with (before, now)
        self.on_stop: Callable[[], None] | None = None  # called when the whole daemon is about to stop
        self._engine = EngineStatus()
        self._waiting: tuple[int, asyncio.Future[None]] | None = None
        self.closed = asyncio.Event()

    @property
    def engine(self) -> EngineStatus:
        """The engine's last known condition."""
        return self._engine

    async def install(self, generation: int, image_fd: int, state_fd: int) -> None:
        """Have the engine take an image; returns when it judges by it. Raises ControlError when it does not."""
        answer: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting = (generation, answer)
        try:
            await self._channel.send({"op": "install", "generation": generation}, (image_fd, state_fd))
            await asyncio.wait_for(answer, INSTALL_S)
        except TimeoutError:
            detail = f"the engine did not take generation {generation} within {INSTALL_S:.0f} s"
            raise ControlError("engine_silent", detail, "`conduitctl doctor` says how the engine is") from None
        finally:
            self._waiting = None

    async def run(self) -> None:
        """Receive until the keeper is gone."""
        try:
            while (message := await self._channel.receive()) is not None:
                self._take(message)
        except ControlError as error:
            _log.error("keeper_channel_broken", error=str(error))
        finally:
            if self._waiting is not None and not self._waiting[1].done():
                self._waiting[1].set_exception(ControlError("keeper_gone", "the keeper is gone", "see its log"))
            self.closed.set()

    async def run_alive(self, pause_s: float) -> None:
        """Tell the keeper that this loop turns, until cancelled; a control that hangs is started anew."""
        while not self.closed.is_set():
            with contextlib.suppress(ControlError):
                await self._channel.send({"op": "alive"})
            await asyncio.sleep(pause_s)

    def _take(self, message: Message) -> None:
        message.close_fds()  # nothing the keeper says after `start` brings descriptors that we need
        if message.op == "engine":
            self._take_engine(message)
        elif message.op in ("installed", "refused"):
            self._take_answer(message)
        elif message.op == "stop":
            if self.on_stop is not None:
                self.on_stop()
        else:
            _log.warning("keeper_message_unknown", op=message.op)

    def _take_engine(self, message: Message) -> None:
        before = self._engine
        with contextlib.suppress(ValueError, TypeError):
            pid = message.body.get("pid")
            self._engine = EngineStatus(
                state=str(message.body.get("state", "unknown")),
                pid=int(pid) if pid else None,
                restarts=int(message.body.get("restarts", before.restarts)),
            )
        if self._engine != before and self.on_engine is not None:
            self.on_engine(before, self._engine)

    def _take_answer(self, message: Message) -> None:
        if self._waiting is None or message.body.get("generation") != self._waiting[0] or self._waiting[1].done():
            return  # an engine restarted meanwhile took the image again
        if message.op == "installed":
            self._waiting[1].set_result(None)
        else:
            reason = str(message.body.get("error", "no reason given"))
            hint = "the old policy stays in force"
            self._waiting[1].set_exception(
                ControlError("engine_refused", f"the engine refused the image: {reason}", hint)
            )
