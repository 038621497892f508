"""Real TCP conversations of industrial protocols across the rig: who reads what, and how often.

In: a standing rig, a protocol, a port. Out: `Conversations`, open connections that say a number of exchanges at a rate
whenever told to; the program is bench/native/converse.c. Every answer is compared with what it has to be, so a gateway
that refuses, changes or loses a byte ends the run with an EndedError. Used by the suite `inspection`.
"""

from __future__ import annotations

import json
import subprocess
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Self

from bench.native import program
from bench.rig import NORTH, SOUTH, TRAFFIC_CPU, Host
from bench.traffic import await_ready

if TYPE_CHECKING:
    from bench.rig import Rig

CONNECTIONS: Final = 64
END_WITHIN_S: Final = 10.0


@dataclass(frozen=True, slots=True)
class Exchange:
    """A request and its answer; both carry the exchange's number in the two bytes at `number_at`."""

    request: bytes
    answer: bytes
    number_at: int = 0

    def line(self) -> str:
        """Return it as the program reads it."""
        return f"{self.request.hex()} {self.answer.hex()} {self.number_at}\n"


# Read Holding Registers, unit 1, address 0, 10 registers (Modbus application protocol V1.1b3, clause 6.3).
READ_REGISTERS: Final = bytes.fromhex("0000 0000 0006 01 03 0000 000a")
REGISTERS: Final = bytes.fromhex("0000 0000 0017 01 03 14") + bytes(range(20))
MODBUS: Final = (Exchange(READ_REGISTERS, REGISTERS),)

# COTP connection and setup, then Read Var of 10 bytes of DB 1; its PDU reference is the number.
S7_CONNECT: Final = bytes.fromhex("03000016 11e0 0000 0001 00 c0010a c1020100 c2020102")
S7_CONNECTED: Final = bytes.fromhex("03000016 11d0 0001 0001 00 c0010a c1020100 c2020102")
S7_SETUP: Final = bytes.fromhex("03000019 02f080 3201 0000 0001 0008 0000 f000 0001 0001 01e0")
S7_SET_UP: Final = bytes.fromhex("0300001b 02f080 3203 0000 0001 0008 0000 0000 f000 0001 0001 00f0")
S7_READ: Final = bytes.fromhex("0300001f 02f080 3201 0000 0000 000e 0000 0401 120a1002 000a 0001 84 000000")
S7_BYTES: Final = bytes.fromhex("03000023 02f080 3203 0000 0000 0002 000e 0000 0401 ff04 0050") + bytes(range(10))
S7COMM: Final = (Exchange(S7_CONNECT, S7_CONNECTED), Exchange(S7_SETUP, S7_SET_UP), Exchange(S7_READ, S7_BYTES, 11))

# Register Session, then Get Attribute Single of the identity's serial number; the sender context is the number.
SESSION: Final = bytes.fromhex("04030201")


def _enip(command: int, session: bytes, content: bytes) -> bytes:
    header = command.to_bytes(2, "little") + len(content).to_bytes(2, "little") + session
    return header + bytes(16) + content


def _unconnected(message: bytes) -> bytes:
    items = bytes.fromhex("00000000 0500 0200 00000000 b200") + len(message).to_bytes(2, "little")
    return _enip(0x6F, SESSION, items + message)


REGISTER: Final = _enip(0x65, bytes(4), bytes.fromhex("01000000"))
REGISTERED: Final = _enip(0x65, SESSION, bytes.fromhex("01000000"))
GET_SERIAL: Final = _unconnected(bytes.fromhex("0e03 2001 2401 3006"))
SERIAL: Final = _unconnected(bytes.fromhex("8e000000 1a066c00"))
CIP: Final = (Exchange(REGISTER, REGISTERED, 12), Exchange(GET_SERIAL, SERIAL, 12))

NONSENSE: Final = (Exchange(b"\xff" * 24, b"\xff" * 24),)  # no message of any of them


class EndedError(RuntimeError):
    """A conversation was broken off, or something else was said than what had to be."""


class Conversations:
    """Open connections between the rig's two own hosts. Use as a context manager."""

    def __init__(self, rig: Rig, script: tuple[Exchange, ...], port: int, *, connections: int = CONNECTIONS) -> None:
        path = rig.directory / f"script-{port}"
        path.write_text("".join(exchange.line() for exchange in script))
        ends = ["--client", Host(NORTH, 1).ip, "--server", Host(SOUTH, 1).ip, "--port", str(port)]
        places = ["--client-netns", rig.netns(NORTH), "--server-netns", rig.netns(SOUTH)]
        said = ["--connections", str(connections), "--script", str(path)]
        self._argv = [program("converse"), *places, *ends, *said]
        self._rig = rig

    def __enter__(self) -> Self:
        self._process = self._rig.start(
            NORTH, self._argv, cpu=TRAFFIC_CPU, stdin=subprocess.PIPE, stderr=subprocess.STDOUT
        )
        await_ready(self._process)
        return self

    def __exit__(self, *_: object) -> None:
        try:
            self._process.communicate(timeout=END_WITHIN_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.communicate()

    def say(self, count: int, rate: float, burst: int) -> dict[str, Any]:
        """Say that many exchanges, `burst` at a time, and return the program's account once all are answered.

        Raises EndedError with the program's words.
        """
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(f"{count} {rate} {burst}\n".encode())
        self._process.stdin.flush()
        line = self._process.stdout.readline()
        if not line.startswith(b"{"):
            raise EndedError(line.decode().strip())
        found: dict[str, Any] = json.loads(line)
        return found
