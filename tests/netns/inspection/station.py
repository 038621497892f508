"""A station that reads, is refused something, and says what became of it: `python -m tests.netns.inspection.station`.

In: the device's address and what to try. Out: one JSON object on stdout. Uses its kernel's own TCP: what it sees is
what any client sees.
"""

from __future__ import annotations

import json
import socket
import sys
import time
from itertools import pairwise
from typing import Any, Final

PORT: Final = 502
PATTERN_DB: Final = 2  # of tests.evasion.servers: byte n holds n
ANSWER_WITHIN_S: Final = 8.0
READ: Final = bytes.fromhex("0001 0000 0006 01 03 0000 0001")
WRITE: Final = bytes.fromhex("0002 0000 0006 01 06 0004 1234")
WRITE_REFUSED: Final = bytes.fromhex("0002 0000 0003 01 86 01")


def conversation(host: str) -> socket.socket:
    """Connect without Nagle's delay and read a register, so that the conversation is known to work."""
    link = socket.create_connection((host, PORT), timeout=ANSWER_WITHIN_S)
    link.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    link.sendall(READ)
    assert len(link.recv(100)) == 11
    return link


def outcome_of(link: socket.socket) -> str:
    """Return what a client sees next: "reset", "end", "silence", or the hexadecimal answer."""
    try:
        return link.recv(100).hex() or "end"
    except ConnectionResetError:
        return "reset"
    except TimeoutError:
        return "silence"


def write(host: str, *pauses: int) -> dict[str, Any]:
    """Write a register, in parts that end at `pauses`, each of which has arrived before the next is sent."""
    link = conversation(host)
    port = link.getsockname()[1]
    edges = [0, *pauses, len(WRITE)]
    began = time.monotonic()
    try:
        for start, end in pairwise(edges):
            link.sendall(WRITE[start:end])
            time.sleep(0.2 if end < len(WRITE) else 0)
        began = time.monotonic()
        said = outcome_of(link)
    except ConnectionResetError:
        said = "reset"  # what was sent first had shown enough
    took = time.monotonic() - began
    then = "" if said == "reset" else _read_on(link)
    return {"port": port, "outcome": said, "took_s": took, "then": then}


def pymodbus(host: str) -> dict[str, Any]:
    """Read, write, and read again with a library; return what it makes of the answers."""
    from pymodbus.client import ModbusTcpClient

    client = ModbusTcpClient(host, timeout=ANSWER_WITHIN_S, retries=0)
    assert client.connect()
    link = client.socket
    answers = [
        client.write_register(4, 0x1234),
        client.write_registers(8, [1, 2, 3]),
        client.write_coil(5, True),
        client.read_holding_registers(0, count=2),
        client.mask_write_register(address=4, and_mask=0, or_mask=0xFFFF),
        client.read_holding_registers(4, count=1),
    ]
    return {
        "answers": [[one.function_code, getattr(one, "exception_code", None), one.isError()] for one in answers],
        "same": client.socket is link,
    }


def polls(host: str, count: int) -> dict[str, Any]:
    """Poll with a library, then ask for a register that the device lacks; return how many polls failed."""
    from pymodbus.client import ModbusTcpClient

    client = ModbusTcpClient(host, timeout=ANSWER_WITHIN_S, retries=0)
    assert client.connect()
    port = client.socket.getsockname()[1]
    failed = sum(client.read_holding_registers(at, count=1).isError() for at in range(count))
    beyond = client.read_holding_registers(60000, count=1)
    return {"port": port, "failed": failed, "beyond": beyond.exception_code}


def snap7(host: str, connection_type: int, rack: int, slot: int) -> dict[str, Any]:
    """Connect with a library as a kind of client, to a place in the rack, and read four bytes."""
    from snap7.client import Client
    from snap7.error import S7Error

    client = Client()
    client.set_connection_type(connection_type)
    try:
        client.connect(host, rack, slot)
        return {"outcome": "connected", "read": client.db_read(PATTERN_DB, 4, 4).hex()}
    except S7Error as error:
        return {"outcome": "refused", "error": f"{type(error).__name__}: {error}"}
    finally:
        client.disconnect()


def _read_on(link: socket.socket) -> str:
    link.sendall(READ)
    return outcome_of(link)


def main() -> None:
    """Do one thing and print what became of it."""
    what, host, *rest = sys.argv[1:]
    done = {"write": write, "pymodbus": pymodbus, "polls": polls, "snap7": snap7}[what](host, *map(int, rest))
    print(json.dumps(done))


if __name__ == "__main__":
    main()
