"""Polls on a fixed beat, judged by the client: Modbus/TCP of pymodbus, and beside it requests and replies over UDP.

    python -m bench.polls serve --port N                       answers every datagram with itself
    python -m bench.polls poll --host IP --identity N --udp-port N --out FILE

In: the lab's controller (deploy.lab.plc) and `serve`. Out: "ready" after the first right answers, and after SIGTERM the
file: one Row per beat, CLOCK_MONOTONIC. An answer that takes longer than the period is wrong, and so is a beat at which
nothing could be asked because the poll before was still open: a poll missed. The poller still waits PATIENCE_S for a
late answer, to tell how late it was. Nothing is retried.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import signal
import time
from pathlib import Path
from typing import Any, Final, NamedTuple, Protocol

from pymodbus import ModbusException
from pymodbus.client import AsyncModbusTcpClient

from deploy.lab.hmi import POLLED_REGISTERS
from deploy.lab.plc import IDENTITY, MODBUS_PORT

PERIOD_NS: Final = 100_000_000
PATIENCE_S: Final = 1.0
TCP, UDP = "tcp", "udp"
READY_WITHIN_S: Final = 10.0
NOT_ASKED: Final = "not asked: the poll before was still open"
TOO_LATE: Final = "too late"


class Row(NamedTuple):
    """One beat."""

    kind: str
    due_ns: int
    took_ns: int
    wrong: str | None


class Poll(Protocol):
    """One way to ask."""

    kind: str

    async def ask(self) -> str | None:
        """Return what is wrong with the answer, None if it is right."""


class ModbusPoll:
    """One Modbus/TCP connection, made anew only when a poll has failed."""

    kind = TCP

    def __init__(self, host: str, identity: int) -> None:
        self._host, self._identity = host, identity
        self._client: AsyncModbusTcpClient | None = None

    async def ask(self) -> str | None:
        """Read registers; the first one says whose they are."""
        try:
            client = self._client = self._client or await self._connected()
            answer = await client.read_holding_registers(IDENTITY, count=POLLED_REGISTERS)
        except (TimeoutError, ModbusException, OSError) as error:
            if self._client is not None:
                self._client.close()  # a late answer must not be taken for the next one's
                self._client = None
            return f"{type(error).__name__}: {error}"
        if answer.isError() or len(answer.registers) != POLLED_REGISTERS or answer.registers[0] != self._identity:
            return f"wrong answer: {answer}"
        return None

    async def _connected(self) -> AsyncModbusTcpClient:
        client = AsyncModbusTcpClient(self._host, port=MODBUS_PORT, timeout=PATIENCE_S, retries=0, reconnect_delay=0)
        if not await client.connect():
            raise ConnectionError("no connection")
        return client


class DatagramPoll(asyncio.DatagramProtocol):
    """One UDP socket for all requests: the replies of its conversation pass as long as somebody remembers it."""

    kind = UDP

    def __init__(self) -> None:
        self._number = 0
        self._answer: asyncio.Future[None] | None = None
        self._transport: asyncio.DatagramTransport | None = None

    def connection_made(self, transport: Any) -> None:
        """Keep the socket."""
        self._transport = transport

    def datagram_received(self, data: bytes, _: object) -> None:
        """Take the answer to the request in hand, and no other."""
        if self._answer is not None and not self._answer.done() and data == self._request():
            self._answer.set_result(None)

    async def ask(self) -> str | None:
        """Send the next number and wait for it."""
        assert self._transport is not None
        self._number += 1
        self._answer = asyncio.get_running_loop().create_future()
        self._transport.sendto(self._request())
        try:
            await asyncio.wait_for(self._answer, PATIENCE_S)
        except TimeoutError:
            return "no answer"
        return None

    def _request(self) -> bytes:
        return self._number.to_bytes(8, "big")


class Echo(asyncio.DatagramProtocol):
    """Answers every datagram with itself."""

    def connection_made(self, transport: Any) -> None:
        """Keep the socket."""
        self._transport: asyncio.DatagramTransport = transport

    def datagram_received(self, data: bytes, address: Any) -> None:
        """Answer."""
        self._transport.sendto(data, address)


async def beats(poll: Poll, due_ns: int, ended: asyncio.Event, rows: list[Row]) -> None:
    """Ask at every beat until told to end."""
    while not ended.is_set():
        await asyncio.sleep(max(0, due_ns - time.monotonic_ns()) / 1e9)
        sent_ns = time.monotonic_ns()
        wrong = await poll.ask()
        took_ns = time.monotonic_ns() - sent_ns
        rows.append(Row(poll.kind, due_ns, took_ns, wrong or (TOO_LATE if took_ns > PERIOD_NS else None)))
        due_ns += PERIOD_NS
        while time.monotonic_ns() - due_ns > PERIOD_NS:
            rows.append(Row(poll.kind, due_ns, 0, NOT_ASKED))
            due_ns += PERIOD_NS


async def poll_until_told(host: str, identity: int, udp_port: int) -> list[Row]:
    """Poll in both ways, half a period apart, until SIGTERM."""
    loop = asyncio.get_running_loop()
    ended = asyncio.Event()
    loop.add_signal_handler(signal.SIGTERM, ended.set)
    modbus = ModbusPoll(host, identity)
    _, datagrams = await loop.create_datagram_endpoint(DatagramPoll, remote_addr=(host, udp_port))
    async with asyncio.timeout(READY_WITHIN_S):
        while await modbus.ask() is not None or await datagrams.ask() is not None:  # noqa: ASYNC110 no bell rings
            await asyncio.sleep(PERIOD_NS / 1e9)
    print("ready", flush=True)
    rows: list[Row] = []
    start_ns = time.monotonic_ns() + PERIOD_NS
    await asyncio.gather(beats(modbus, start_ns, ended, rows), beats(datagrams, start_ns + PERIOD_NS // 2, ended, rows))
    return rows


async def serve(port: int) -> None:
    """Echo until SIGTERM."""
    loop = asyncio.get_running_loop()
    ended = asyncio.Event()
    loop.add_signal_handler(signal.SIGTERM, ended.set)
    await loop.create_datagram_endpoint(Echo, local_addr=("0.0.0.0", port))
    print("ready", flush=True)
    await ended.wait()


def main() -> None:
    """Do what the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__)
    roles = parser.add_subparsers(dest="role", required=True)
    serving = roles.add_parser("serve")
    serving.add_argument("--port", type=int, required=True)
    polling = roles.add_parser("poll")
    polling.add_argument("--host", required=True)
    polling.add_argument("--identity", type=int, required=True)
    polling.add_argument("--udp-port", type=int, required=True)
    polling.add_argument("--out", type=Path, required=True)
    given = parser.parse_args()
    if given.role == "serve":
        asyncio.run(serve(given.port))
    else:
        rows = asyncio.run(poll_until_told(given.host, given.identity, given.udp_port))
        given.out.write_text(json.dumps(rows))


if __name__ == "__main__":
    main()
