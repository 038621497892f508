"""Keeping one control plane alive: start it, tell it what is in force, relay its installs and the engine's condition.

In: the holdings and the engine's keeping. Out: a control process that knows what is in force, however often it was
killed; answers to its installs. Frames never wait for control: whatever happens here, judging goes on.
Must never give up. Called by the keeper.
"""

from __future__ import annotations

import asyncio
import os
from dataclasses import dataclass, field
from typing import Any, Final

import structlog

from gateway.channel import AsyncChannel, Message
from gateway.errors import ControlError
from gateway.keeper.child import Child, Restarts, describe_end, first_to_end
from gateway.keeper.engine_life import EngineKeeping, EngineStatus, Spawn
from gateway.keeper.generation import Generation
from gateway.keeper.holdings import Holdings
from gateway.keeper.installs import Installs
from gateway.segments import read_only

ENGINE_WAIT_SECONDS: Final = 15.0  # a first engine that takes longer is not waited for
ALIVE_SECONDS: Final = 10.0  # a control plane that once said `alive` says so at least as often
STOP_SECONDS: Final = 5.0
_log = structlog.get_logger(__name__)


@dataclass(slots=True)
class _Life:
    """One control process and what is on its way to it."""

    child: Child
    channel: AsyncChannel
    outbox: asyncio.Queue[dict[str, Any]] = field(default_factory=asyncio.Queue)
    started: asyncio.Event = field(default_factory=asyncio.Event)  # what it is told to be in force is settled
    told: asyncio.Event = field(default_factory=asyncio.Event)  # and has that message
    alive: asyncio.Event = field(default_factory=asyncio.Event)
    relays: set[asyncio.Task[None]] = field(default_factory=set)


class ControlKeeping:
    """The control plane, over all its lives."""

    def __init__(self, holdings: Holdings, installs: Installs, engine: EngineKeeping, spawn: Spawn) -> None:
        self._holdings = holdings
        self._installs = installs
        self._engine = engine
        self._spawn = spawn
        self._restarts = Restarts()
        self._life: _Life | None = None
        self._stopping = asyncio.Event()

    def tell(self, status: EngineStatus) -> None:
        """Pass the engine's condition on, in order; one that is not there hears it when it starts."""
        if self._life is not None and self._life.started.is_set():
            self._life.outbox.put_nowait(status.message())

    async def run(self) -> None:
        """Keep control alive until `stop`; returns when the last one has ended."""
        while not self._stopping.is_set():
            worked = await self._live()
            delay = self._restarts.next_delay(worked)
            if delay > 0 and not self._stopping.is_set():
                _log.warning("control_restart_delayed", seconds=delay)
                try:
                    await asyncio.wait_for(self._stopping.wait(), delay)
                except TimeoutError:
                    continue

    async def stop(self) -> None:
        """End control on purpose: it takes the queue rule out, so that the queues run dry, and finishes its writing."""
        self._stopping.set()
        life = self._life
        if life is None:
            return
        try:
            await asyncio.wait_for(life.told.wait(), STOP_SECONDS)
            await life.channel.send({"op": "stop"})
            await asyncio.wait_for(life.child.ended(), STOP_SECONDS)
        except (ControlError, TimeoutError):
            await life.child.end(STOP_SECONDS)

    async def _live(self) -> float:
        """Run one control plane from its start to its end; returns for how many seconds it lived."""
        loop = asyncio.get_running_loop()
        began = loop.time()
        try:
            child, channel = self._spawn()
        except OSError as error:
            _log.error("control_not_started", error=error.strerror)
            return 0.0
        self._life = life = _Life(child, channel)
        cause = await self._until_over(life)
        self._life = None
        code = await child.end()
        for relay in life.relays:
            relay.cancel()
        await asyncio.gather(*life.relays, return_exceptions=True)
        channel.close()
        if not self._stopping.is_set():
            _log.error("control_ended", pid=child.pid, end=describe_end(code), cause=cause)
        return loop.time() - began

    async def _until_over(self, life: _Life) -> str:
        """Wait for whatever ends this life first; returns the cause when it is not the process's own end."""
        return await first_to_end(
            listen=self._listen(life),
            send=self._send(life),
            watch=self._watch(life),
            ended=life.child.ended(),
        )

    async def _start(self, life: _Life) -> None:
        """Tell it what is in force; from here on it hears every change."""
        try:
            await asyncio.wait_for(self._engine.first_ready.wait(), ENGINE_WAIT_SECONDS)
        except TimeoutError:
            _log.warning("control_starts_without_engine")
        await self._installs.settle()
        held, generation = self._holdings, self._installs.in_force
        # Only the rings' tails are control's to write; it cannot touch the counters that it reports.
        shared = [read_only(held.counters_fd), read_only(held.flows_fd)]
        fds = [shared[0], held.events_fd, shared[1]]
        if generation is not None:
            fds += [generation.image_fd, generation.state_fd]
        body = {
            "op": "start",
            "queues": list(held.queue_numbers),
            "generation": generation.number if generation is not None else 0,
            "restarts": self._restarts.count,
            "carried": held.carried or generation is not None,
        }
        # ORDER: no await between reading what is in force and `started`; what is queued goes after this message.
        life.started.set()
        self.tell(self._engine.status)
        try:
            await life.channel.send(body, fds)
        finally:
            for fd in shared:
                os.close(fd)
        life.told.set()

    async def _send(self, life: _Life) -> None:
        await life.told.wait()
        while True:
            await life.channel.send(await life.outbox.get())

    async def _watch(self, life: _Life) -> None:
        """Raise when control once said that it is alive and then no longer does."""
        await life.alive.wait()
        while True:
            life.alive.clear()
            try:
                await asyncio.wait_for(life.alive.wait(), ALIVE_SECONDS)
            except TimeoutError as error:
                raise ControlError("control_hung", f"no sign of life for {ALIVE_SECONDS} s") from error

    async def _listen(self, life: _Life) -> None:
        await self._start(life)
        while (message := await life.channel.receive()) is not None:
            if message.op == "install":
                relay = asyncio.create_task(self._relay(life, message))
                life.relays.add(relay)
                relay.add_done_callback(life.relays.discard)
                continue
            message.close_fds()
            if message.op == "alive":
                life.alive.set()
            else:
                _log.warning("control_message_unknown", op=message.op)

    async def _relay(self, life: _Life, message: Message) -> None:
        """Propose what control sent, and queue the engine's answer for it."""
        number = message.body.get("generation")
        if not isinstance(number, int) or number < 1 or len(message.fds) != 2:
            message.close_fds()
            error: str | None = "an install needs a generation from 1 up, an image and a state"
        else:
            error = await self._installs.propose(Generation(number, *message.fds))
        answer: dict[str, Any] = {"op": "refused" if error else "installed", "generation": number}
        life.outbox.put_nowait(answer | ({"error": error} if error else {}))
