"""An operator station that polls its controller on a fixed beat and counts honestly.

In: Modbus/TCP answers. Out: a JSON file, replaced after every poll: sent, answered, missed, late beats, latencies.
A poll without the right answer (controller's identity, full length) within the time-out is a miss, also when the
connection has to be made anew; nothing is retried. Runs until SIGTERM: `python -m deploy.lab.hmi --host 10.20.50.10 …`.
"""

from __future__ import annotations

import argparse
import asyncio
import math
import signal
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Final

from pymodbus import ModbusException
from pymodbus.client import AsyncModbusTcpClient

from deploy.lab.plc import IDENTITY, MODBUS_PORT
from deploy.lab.processes import write_json

POLLED_REGISTERS: Final = 12
POLL_INTERVAL_S: Final = 0.1
ANSWER_WITHIN_S: Final = 1.0
MISSES_KEPT: Final = 100
CONNECT_WITHIN_S: Final = 10.0


@dataclass(slots=True)
class PollCount:
    """What a judge reads. `late` counts beats skipped because the poll before took longer than the interval."""

    sent: int = 0
    answered: int = 0
    missed: int = 0
    late: int = 0
    connections: int = 0
    longest_ms: float = 0.0
    last_answer: float = 0.0
    running: bool = True
    misses: list[dict[str, object]] = field(default_factory=list)  # the first MISSES_KEPT of them


class Poller:
    """One connection, one beat."""

    def __init__(self, host: str, port: int, identity: int, interval_s: float, state: Path) -> None:
        self._target = (host, port)
        self._identity = identity
        self._interval_s = interval_s
        self._state = state
        self._client: AsyncModbusTcpClient | None = None
        self.count = PollCount()

    async def run(self, ended: asyncio.Event) -> None:
        """Poll until told to end; counting begins with the first connection that stands."""
        await self._first_connection(ended)
        beat = time.monotonic()
        while not ended.is_set():
            await self._poll()
            beat += self._interval_s
            behind = time.monotonic() - beat
            if behind > 0:
                skipped = math.floor(behind / self._interval_s)
                self.count.late += skipped
                beat += skipped * self._interval_s
            await asyncio.sleep(max(0.0, beat - time.monotonic()))
        self.count.running = False
        self.publish()
        self._close()

    def publish(self) -> None:
        """Replace the judge's file."""
        write_json(self._state, asdict(self.count))

    async def _first_connection(self, ended: asyncio.Event) -> None:
        deadline = time.monotonic() + CONNECT_WITHIN_S
        while not ended.is_set() and not await self._connected():
            if time.monotonic() > deadline:
                host, port = self._target
                raise SystemExit(f"no connection to {host}:{port} within {CONNECT_WITHIN_S:.0f} s")
            await asyncio.sleep(self._interval_s)

    async def _connected(self) -> bool:
        if self._client is not None and self._client.connected:
            return True
        self._close()
        host, port = self._target
        self._client = AsyncModbusTcpClient(host, port=port, timeout=ANSWER_WITHIN_S, retries=0, reconnect_delay=0)
        stands: bool = await self._client.connect()
        self.count.connections += stands
        return stands

    async def _poll(self) -> None:
        sent = time.monotonic()
        self.count.sent += 1
        wrong = await self._ask()
        took_ms = (time.monotonic() - sent) * 1000
        if wrong is None and took_ms <= ANSWER_WITHIN_S * 1000:
            self.count.answered += 1
            self.count.last_answer = time.time()
            self.count.longest_ms = max(self.count.longest_ms, took_ms)
        else:
            self.count.missed += 1
            if len(self.count.misses) < MISSES_KEPT:
                self.count.misses.append({"time": time.time(), "took_ms": took_ms, "why": wrong or "too late"})
        self.publish()

    async def _ask(self) -> str | None:
        """Return what is wrong with the answer, None if it is right."""
        try:
            if not await self._connected() or self._client is None:
                return "no connection"
            answer = await self._client.read_holding_registers(IDENTITY, count=POLLED_REGISTERS)
        except (TimeoutError, ModbusException, OSError) as error:
            self._close()  # a late answer must not be taken for the next one's
            return f"{type(error).__name__}: {error}"
        if answer.isError():
            return f"exception answer: {answer}"
        if len(answer.registers) != POLLED_REGISTERS or answer.registers[0] != self._identity:
            return f"wrong answer: {answer.registers}"
        return None

    def _close(self) -> None:
        if self._client is not None:
            self._client.close()
            self._client = None


async def poll_until_told(poller: Poller) -> None:
    """Run a poller until SIGTERM or SIGINT."""
    loop = asyncio.get_running_loop()
    ended = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, ended.set)
    await poller.run(ended)


def main() -> None:
    """Parse the command line and poll."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--host", required=True)
    parser.add_argument("--port", type=int, default=MODBUS_PORT)
    parser.add_argument("--identity", type=int, required=True)
    parser.add_argument("--interval-ms", type=int, default=round(POLL_INTERVAL_S * 1000))
    parser.add_argument("--state", type=Path, required=True)
    given = parser.parse_args()
    poller = Poller(given.host, given.port, given.identity, given.interval_ms / 1000, given.state)
    asyncio.run(poll_until_told(poller))


if __name__ == "__main__":
    main()
