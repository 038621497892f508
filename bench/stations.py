"""Real clients of the three protocols, each of which reads from a device as often as told and checks every answer.

`python -m bench.stations NAME --host ADDRESS --count N`: pymodbus, snap7, pycomm3 (unconnected and connected
messages), cpppo; and `modbus-apart`, `s7-apart`, `cip-apart`: plain sockets with Nagle's algorithm, which write header
and body of a request by two calls. Out: one JSON line {"done", "failed", "seconds", "first_failure"}. The devices are
those of tests/evasion/servers.py. Must never retry: a transaction that was not answered has failed.
"""

from __future__ import annotations

import argparse
import json
import socket
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Final

from tests.evasion.operations import OPERATIONS, Operation, next_message
from tests.evasion.servers import PATTERN_AT, PATTERN_DB, PATTERN_REGISTERS, PATTERN_TAG, PORTS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

ANSWER_WITHIN_S: Final = 5.0
PARALLEL: Final = 32  # connections that write apart: Nagle and delayed acknowledgements make each wait 40 ms
READ: Final = 10  # registers, bytes or elements of one transaction
HEADER_BYTES: Final = {"modbus": 7, "s7comm": 4, "cip": 24}
SERIAL: Final = (0x006C061A).to_bytes(4, "little")  # of cpppo's identity object


class Count:
    """What was done and what failed."""

    def __init__(self) -> None:
        self.done = self.failed = 0
        self.first_failure = ""

    def note(self, said: Iterator[str]) -> None:
        """Count transactions: each says "" or why it failed. A library's error ends the client and counts once."""
        try:
            for problem in said:
                self.done += 1
                if problem:
                    self._fail(problem)
        except Exception as error:  # noqa: BLE001 - whatever a client library raises is a failed transaction
            self.done += 1
            self._fail(f"{type(error).__name__}: {error}")

    def _fail(self, problem: str) -> None:
        self.failed += 1
        self.first_failure = self.first_failure or problem


def _compare(found: object, expected: object) -> str:
    return "" if found == expected else f"{found!r} instead of {expected!r}"


def pymodbus(host: str, count: int, within_s: float = ANSWER_WITHIN_S) -> Iterator[str]:
    """Read holding and input registers in turn."""
    from pymodbus.client import ModbusTcpClient  # noqa: PLC0415 - one library in one process

    client = ModbusTcpClient(host, timeout=within_s, retries=0)
    if not client.connect():
        raise ConnectionError(host)
    for number in range(count):
        at = PATTERN_AT + number % (PATTERN_REGISTERS - READ)
        read = client.read_input_registers if number % 2 else client.read_holding_registers
        yield _compare(read(at, count=READ).registers, list(range(at, at + READ)))
    client.close()


def snap7(host: str, count: int, within_s: float = ANSWER_WITHIN_S) -> Iterator[str]:
    """Read a data block."""
    from snap7.client import Client  # noqa: PLC0415

    client = Client()
    client.connect(host, 0, 1, PORTS["s7comm"])
    client.connection.socket.settimeout(within_s)
    for number in range(count):
        at = number % (PATTERN_REGISTERS - READ)
        found = bytes(client.db_read(PATTERN_DB, at, READ))
        yield _compare(found, bytes(byte & 0xFF for byte in range(at, at + READ)))
    client.disconnect()


def pycomm3(host: str, count: int, within_s: float = ANSWER_WITHIN_S) -> Iterator[str]:
    """Get the identity's serial number, by turns unconnected and over a connection that is opened for it."""
    from pycomm3 import CIPDriver  # noqa: PLC0415

    driver = CIPDriver(host)
    driver.socket_timeout = within_s
    with driver:
        for number in range(count):
            found = driver.generic_message(
                service=0x0E,
                class_code=1,
                instance=1,
                attribute=6,
                connected=number % 2 == 1,
                unconnected_send=False,
            )
            yield str(found.error) if found.error else _compare(found.value, SERIAL)


def cpppo(host: str, count: int, within_s: float = ANSWER_WITHIN_S) -> Iterator[str]:
    """Read elements of a tag, by Unconnected Send along a route path."""
    from cpppo.server.enip import client  # noqa: PLC0415

    def asked() -> Iterator[str]:
        for number in range(count):
            at = number % (PATTERN_REGISTERS - READ)
            yield f"{PATTERN_TAG}[{at}-{at + READ - 1}]"

    with client.connector(host=host, timeout=within_s) as connection:
        operations = client.parse_operations(asked())
        said = connection.synchronous(operations=operations, timeout=within_s)
        for number, (_, _, _, _, status, value) in enumerate(said):
            at = number % (PATTERN_REGISTERS - READ)
            yield _compare((status, value), (0, list(range(at, at + READ))))


def _apart(host: str, operation: Operation, numbers: range) -> Iterator[str]:
    """Say requests over one connection, header and body by two calls, with Nagle's algorithm on."""
    with socket.create_connection((host, PORTS[operation.protocol]), timeout=ANSWER_WITHIN_S) as link:
        session = b""
        for request in operation.opening:
            session = _ask(link, operation.protocol, request)
        for number in numbers:
            answer = _ask(link, operation.protocol, operation.message(number, session))
            yield "" if operation.answer(number, answer) else f"{operation.name}: {answer.hex()}"


def _ask(link: socket.socket, protocol: str, request: bytes) -> bytes:
    header = HEADER_BYTES[protocol]
    link.sendall(request[:header])
    link.sendall(request[header:])
    return next_message(link, protocol)


def apart(protocol: str) -> Callable[[str, int], Count]:
    """Return the station that writes a protocol's header and body apart, over many connections."""
    operation = next(one for one in OPERATIONS if one.protocol == protocol and not one.forbidden)

    def run(host: str, count: int) -> Count:
        def one(number: int) -> Count:
            counted = Count()
            counted.note(_apart(host, operation, range(number, count, PARALLEL)))
            return counted

        total = Count()
        with ThreadPoolExecutor(PARALLEL) as pool:
            for counted in pool.map(one, range(PARALLEL)):
                total.done += counted.done
                total.failed += counted.failed
                total.first_failure = total.first_failure or counted.first_failure
        return total

    return run


def alone(client: Callable[[str, int], Iterator[str]]) -> Callable[[str, int], Count]:
    """Return the station that is one client library over one connection."""

    def run(host: str, count: int) -> Count:
        counted = Count()
        counted.note(client(host, count))
        return counted

    return run


STATIONS: Final[dict[str, tuple[str, Callable[[str, int], Count]]]] = {
    "pymodbus": ("modbus", alone(pymodbus)),
    "modbus-apart": ("modbus", apart("modbus")),
    "snap7": ("s7comm", alone(snap7)),
    "s7-apart": ("s7comm", apart("s7comm")),
    "pycomm3": ("cip", alone(pycomm3)),
    "cpppo": ("cip", alone(cpppo)),
    "cip-apart": ("cip", apart("cip")),
}


def main() -> int:
    """Run one station."""
    parser = argparse.ArgumentParser(prog="python -m bench.stations", description=__doc__)
    parser.add_argument("name", choices=STATIONS)
    parser.add_argument("--host", required=True)
    parser.add_argument("--count", type=int, required=True)
    given = parser.parse_args()
    began = time.monotonic()
    counted = STATIONS[given.name][1](given.host, given.count)
    said = {"done": counted.done, "failed": counted.failed, "seconds": round(time.monotonic() - began, 3)}
    print(json.dumps(said | {"first_failure": counted.first_failure}))
    return 0 if counted.failed == 0 and counted.done == given.count else 1


if __name__ == "__main__":
    sys.exit(main())
