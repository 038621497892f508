"""A real engine process, kept by the product's own keeper code, on a queue that the bench itself feeds.

In: settings of the queue, images and states. Out: a judging engine whose queue socket is a netlink socket bound to no
queue. What the bench sends there are the kernel's own messages (bench.messages); the kernel answers each verdict with
"no such queue", which the engine counts. Root: only root sends from one netlink socket to another.
"""

from __future__ import annotations

import asyncio
import os
import socket
import struct
import tempfile
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from fastpath import abi
from fastpath.queue import Releaser
from gateway.keeper.child import start_child
from gateway.keeper.engine_life import EngineKeeping
from gateway.keeper.generation import Generation
from gateway.keeper.holdings import Holdings, open_holdings
from gateway.keeper.installs import Installs
from gateway.keeper.keeper import child_environment, python_program
from gateway.keeper.releasing import Releasing
from gateway.log import configure_log
from gateway.segments import SegmentKind, attach, create_image, create_state
from gateway.settings import Settings

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable

RECEIVE_SECONDS: Final = struct.pack("ll", 0, 100_000)  # the worker looks up every 100 ms, as on a real queue
READY_SECONDS: Final = 30.0
BUFFER_BYTES: Final = 4 << 20
NETLINK_NETFILTER: Final = 12  # linux/netlink.h
SO_RCVBUFFORCE: Final = 33  # asm-generic/socket.h


class FedQueue:
    """A netlink socket that is bound to no queue: what it receives, the bench has sent."""

    def __init__(self, *_: int) -> None:
        self._engine = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, NETLINK_NETFILTER)
        self._engine.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, RECEIVE_SECONDS)
        self._engine.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, BUFFER_BYTES)
        self._bench = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, NETLINK_NETFILTER)
        for end in (self._engine, self._bench):
            end.bind((0, 0))

    @property
    def fd(self) -> int:
        """The engine's end."""
        return self._engine.fileno()

    def feed(self, message: bytes | bytearray) -> None:
        """Hand one message to the engine; blocks while its buffer is full."""
        self._bench.sendto(message, (self._engine.getsockname()[0], 0))

    def close(self) -> None:
        """Close both ends."""
        self._bench.close()
        self._engine.close()


@dataclass(frozen=True, slots=True)
class RunningEngine:
    """An engine that judges."""

    keeping: EngineKeeping
    installs: Installs
    holdings: Holdings
    queue: FedQueue

    @property
    def pid(self) -> int:
        """The engine's process."""
        pid = self.keeping.status.pid
        if pid is None:
            raise RuntimeError("the engine is gone")
        return pid

    async def install(self, number: int, image: bytes, state: bytearray) -> None:
        """Put a generation in force; raises RuntimeError with the engine's words."""
        error = await self.installs.propose(Generation(number, create_image(image), create_state(state)))
        if error is not None:
            raise RuntimeError(f"generation {number}: {error}")

    async def judge(self, messages: Iterable[bytes]) -> None:
        """Feed messages and return when all were judged."""
        count = await asyncio.to_thread(self._feed, messages)
        async with asyncio.timeout(30):
            while self.received() < count:  # noqa: ASYNC110 shared memory rings no bell
                await asyncio.sleep(0.005)

    def received(self) -> int:
        """Return how many messages the engine has judged since its start."""
        counters = self.holdings.counters.view
        return int(abi.QUEUE_COUNTERS.unpack_from(counters, abi.COUNTERS_HEADER_BYTES)["received"])

    def flows_in_use(self) -> int:
        """Return how many conversations it remembers."""
        flows = attach(SegmentKind.FLOWS, self.holdings.flows_fd).view[abi.FLOWS_HEADER_BYTES :]
        return sum(entry["in_use"] for entry in abi.FLOW.iter_unpack(flows))

    def _feed(self, messages: Iterable[bytes]) -> int:
        count = self.received()
        for number, message in enumerate(messages):
            content = bytearray(message)
            struct.pack_into("!I", content, 24, count + number + 1)  # NFQA_PACKET_HDR comes first
            self.queue.feed(content)
        return count + number + 1


@asynccontextmanager
async def engine(settings: Settings, image: bytes, state: bytearray) -> AsyncIterator[RunningEngine]:
    """Start an engine that judges by generation 1; it is ended with the block."""
    configure_log("bench")  # the keeper's lines go where the engine's go
    queues: list[FedQueue] = []

    def open_queue(*numbers: int) -> FedQueue:
        queues.append(FedQueue(*numbers))
        return queues[-1]

    with tempfile.TemporaryDirectory(prefix="conduit-bench-") as directory:
        holdings = open_holdings(settings.queue, open_queue, Path(directory))
        installs, releasing = Installs(), Releasing(holdings, Releaser)
        keeping = EngineKeeping(
            holdings,
            settings,
            installs,
            releasing,
            spawn=lambda: start_child("engine", python_program("gateway.engine"), child_environment(os.environ), 0),
            announce=lambda _: None,
        )
        living = asyncio.create_task(keeping.run())
        try:
            running = RunningEngine(keeping, installs, holdings, queues[0])
            ready = asyncio.create_task(keeping.first_ready.wait())
            await asyncio.wait([ready, living], timeout=READY_SECONDS, return_when=asyncio.FIRST_COMPLETED)
            if not ready.done():
                ready.cancel()
                raise RuntimeError("the engine did not come up") from living.exception() if living.done() else None
            await running.install(1, image, state)
            yield running
        finally:
            await keeping.stop()
            await living
            releasing.stop()
            holdings.close()
