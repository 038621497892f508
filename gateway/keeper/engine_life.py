"""Keeping one engine judging: start it, give it what is in force, tell it to go, take over the queues when it ends.

In: the holdings, and proposals of new generations from control. Out: an engine that judges, or frames that go on to
`static`; answers to proposals; the engine's condition to whoever listens. A generation is in force only after an engine
took it in, and one that an engine dies of is refused and never tried again. Must never give up. Called by the keeper.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from typing import Any, Final

import structlog

from gateway.channel import AsyncChannel, Message
from gateway.errors import ControlError, InternalError
from gateway.keeper.child import Child, Restarts, describe_end, first_to_end
from gateway.keeper.generation import Generation
from gateway.keeper.heartbeat import POLL_SECONDS, HeartbeatWatch
from gateway.keeper.holdings import Holdings
from gateway.keeper.installs import Installs
from gateway.keeper.releasing import Releasing
from gateway.placement import thread_plans
from gateway.segments import read_only
from gateway.settings import Settings

READY_SECONDS: Final = 30.0  # imports on a cold disk of a small box
INSTALL_SECONDS: Final = 3.5  # see installs.UNSENT_SECONDS: hashing the largest image, then the workers' adoption
STOP_SECONDS: Final = 3.0
GRACE_SECONDS: Final = 0.02  # between closing the channel and the end of a process that ends by itself
_log = structlog.get_logger(__name__)

Spawn = Callable[[], tuple[Child, AsyncChannel]]


@dataclass(frozen=True, slots=True)
class EngineStatus:
    """The engine's condition, as control is told it."""

    state: str = "starting"  # judging, starting or dead
    pid: int | None = None
    restarts: int = 0
    generation: int = 0  # in force, 0 while there is none

    def message(self) -> dict[str, Any]:
        """Return it as a message to control."""
        return {
            "op": "engine",
            "state": self.state,
            "pid": self.pid,
            "restarts": self.restarts,
            "generation": self.generation,
        }


@dataclass(slots=True)
class _Life:
    """One engine process and what is known of it."""

    child: Child
    channel: AsyncChannel
    replies: asyncio.Queue[Message] = field(default_factory=asyncio.Queue)
    going: asyncio.Event = field(default_factory=asyncio.Event)
    went_at: float | None = None


class EngineKeeping:
    """The engine, over all its lives."""

    def __init__(
        self,
        holdings: Holdings,
        settings: Settings,
        installs: Installs,
        releasing: Releasing,
        *,
        spawn: Spawn,
        announce: Callable[[EngineStatus], None],
    ) -> None:
        self._holdings = holdings
        self._settings = settings
        self._installs = installs
        self._releasing = releasing
        self._spawn = spawn
        self._announce = announce
        self._restarts = Restarts()
        self._life: _Life | None = None
        self._stopping = asyncio.Event()
        self.first_ready = asyncio.Event()
        self.status = EngineStatus()

    async def run(self) -> None:
        """Keep an engine alive until `stop`; returns when the last one has ended."""
        while not self._stopping.is_set():
            worked = await self._live()
            delay = self._restarts.next_delay(worked)
            if delay > 0 and not self._stopping.is_set():
                _log.warning("engine_restart_delayed", seconds=delay)
                try:
                    await asyncio.wait_for(self._stopping.wait(), delay)
                except TimeoutError:
                    continue

    async def stop(self) -> None:
        """End the engine on purpose: it finishes its batches, then frames are released."""
        self._installs.closed = True
        self._stopping.set()
        life = self._life
        if life is not None:
            try:
                await life.channel.send({"op": "stop"})
                await asyncio.wait_for(life.child.ended(), STOP_SECONDS)
            except (ControlError, TimeoutError):
                await life.child.end()

    async def _live(self) -> float:
        """Run one engine from its start to its end; returns for how many seconds it judged."""
        self._releasing.start()
        try:
            child, channel = self._spawn()
        except OSError as error:
            _log.error("engine_not_started", error=error.strerror)
            return 0.0
        self._life = life = _Life(child, channel)
        self._tell("starting")
        cause = await self._until_over(life)
        if not cause:  # it ends by itself: let it say how
            await asyncio.wait([asyncio.ensure_future(child.ended())], timeout=self._grace())
        code = await child.end()
        # ORDER: the engine is dead, so its queues have no reader: take them before anything else is done.
        self._releasing.start()
        self._life = None
        channel.close()
        end = describe_end(code)
        self._installs.engine_ended(cause or end)
        if not self._stopping.is_set():
            _log.error("engine_ended", pid=child.pid, end=end, cause=cause, in_force=self._installs.number)
        self._tell("dead")
        return asyncio.get_running_loop().time() - life.went_at if life.went_at is not None else 0.0

    def _grace(self) -> float:
        return STOP_SECONDS if self._stopping.is_set() else GRACE_SECONDS

    async def _until_over(self, life: _Life) -> str:
        """Wait for whatever ends this life first; returns the cause when it is not the process's own end."""
        return await first_to_end(
            read=self._read(life),
            lead=self._lead(life),
            watch=self._watch(life),
            ended=life.child.ended(),
        )

    async def _read(self, life: _Life) -> None:
        while (message := await life.channel.receive()) is not None:
            message.close_fds()
            life.replies.put_nowait(message)

    async def _watch(self, life: _Life) -> None:
        """Raise when a queue's heartbeat stands still."""
        await life.going.wait()
        loop = asyncio.get_running_loop()
        watch = HeartbeatWatch(self._holdings.counters, loop.time())
        while (index := watch.stale_queue(loop.time())) is None:  # noqa: ASYNC110 (shared memory rings no bell)
            await asyncio.sleep(POLL_SECONDS)
        number = self._holdings.queue_numbers[index]
        raise InternalError("engine_hung", f"the thread of queue {number} stood still for a second")

    async def _lead(self, life: _Life) -> None:
        """Start the engine, give it what is in force, then every generation that is proposed."""
        await self._start(life)
        installs = self._installs
        if installs.in_force is not None:
            error = await self._install(life, installs.in_force)
            if error is None:
                await self._go(life)
            else:
                _log.error("generation_in_force_refused", generation=installs.number, error=error)
        while True:
            proposal = await installs.next()
            error = await self._install(life, proposal.generation)
            if error is not None:
                installs.refuse(error)
                continue
            installs.accept(proposal)
            if life.going.is_set():
                self._tell("judging")
            else:
                await self._go(life)

    async def _start(self, life: _Life) -> None:
        held = self._holdings
        kept = [held.counters_fd, held.events_fd, held.flows_fd, held.streams_fd, held.answers.fileno()]
        fds = [*kept, *(queue.fd for queue in held.sockets)]
        body = {
            "op": "start",
            "threads": [asdict(plan) for plan in thread_plans(self._settings)],
            "copy_bytes": self._settings.queue.copy_bytes,
            "polling_us": self._settings.engine.polling_us,
        }
        await life.channel.send(body, fds)
        await self._reply(life, READY_SECONDS, "ready")
        self.first_ready.set()

    async def _install(self, life: _Life, generation: Generation) -> str | None:
        """Return None when the engine took it in, else why it refused."""
        state_fd = read_only(generation.state_fd)
        try:
            await life.channel.send(
                {"op": "install", "generation": generation.number},
                (generation.image_fd, state_fd),
            )
        finally:
            os.close(state_fd)
        message = await self._reply(life, INSTALL_SECONDS, "installed", "refused")
        if message.body.get("generation") != generation.number:
            raise ControlError("answer_mismatch", "the engine answered about another generation")
        return None if message.op == "installed" else str(message.body.get("error"))

    async def _reply(self, life: _Life, seconds: float, *ops: str) -> Message:
        try:
            message = await asyncio.wait_for(life.replies.get(), seconds)
        except TimeoutError as error:
            raise ControlError("engine_silent", f"no {' or '.join(ops)} within {seconds} s") from error
        if message.op not in ops:
            raise ControlError("answer_mismatch", f"the engine said {message.op}, not {' or '.join(ops)}")
        return message

    async def _go(self, life: _Life) -> None:
        self._releasing.stop()
        await life.channel.send({"op": "go"})
        life.went_at = asyncio.get_running_loop().time()
        life.going.set()
        self._tell("judging")

    def _tell(self, state: str) -> None:
        pid = self._life.child.pid if self._life is not None else None
        self.status = EngineStatus(state, pid, self._restarts.count, self._installs.number)
        self._announce(self.status)
