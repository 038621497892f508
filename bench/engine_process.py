"""A real engine process, kept by the product's own keeper code, on a queue that the bench itself feeds.

In: settings of the queue, images and states. Out: a judging engine whose queue socket is one end of a SEQPACKET pair:
like a netlink socket it keeps datagrams apart and ignores the address that verdicts are sent to. What is put in are the
kernel's messages (bench.messages), what comes out are the engine's verdicts. Root, because the engine drops to nobody.
"""

from __future__ import annotations

import asyncio
import os
import socket
import struct
import tempfile
import threading
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
from gateway.settings import QueueSettings

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable

RECEIVE_SECONDS: Final = struct.pack("ll", 0, 100_000)  # the worker looks up every 100 ms, as on a real queue
BUFFER_BYTES: Final = 4 << 20


class FedQueue:
    """A queue without a kernel behind it."""

    def __init__(self, *_: int) -> None:
        self.bench, self._engine = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._engine.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, RECEIVE_SECONDS)
        for end in (self.bench, self._engine):
            end.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, BUFFER_BYTES)
        self._reader = threading.Thread(target=self._drain, name="verdicts", daemon=True)
        self._reader.start()

    @property
    def fd(self) -> int:
        """The engine's end."""
        return self._engine.fileno()

    def close(self) -> None:
        """Close both ends."""
        self.bench.shutdown(socket.SHUT_RDWR)
        self._reader.join()
        self.bench.close()
        self._engine.close()

    def _drain(self) -> None:
        """Take the verdicts as the kernel would: at once."""
        room = bytearray(1 << 16)
        while self.bench.recv_into(room):
            pass


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
            self.queue.bench.send(content)
        return count + number + 1


@asynccontextmanager
async def engine(settings: QueueSettings, image: bytes, state: bytearray) -> AsyncIterator[RunningEngine]:
    """Start an engine that judges by generation 1; it is ended with the block."""
    configure_log("bench")  # the keeper's lines go where the engine's go
    queues: list[FedQueue] = []

    def open_queue(*numbers: int) -> FedQueue:
        queues.append(FedQueue(*numbers))
        return queues[-1]

    with tempfile.TemporaryDirectory(prefix="conduit-bench-") as directory:
        holdings = open_holdings(settings, open_queue, Path(directory))
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
            await asyncio.wait_for(keeping.first_ready.wait(), 30)
            await running.install(1, image, state)
            yield running
        finally:
            await keeping.stop()
            await living
            releasing.stop()
            holdings.close()
