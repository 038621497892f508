"""A station whose conversations stand still and go on when told: `python -m tests.netns.inspection.conversations`.

    halves HOST OUT GO [PROTOCOL…]   for every forbidden operation and several places, the first part of the message;
                                     the rest when the file GO is there
    asked HOST OUT GO                a conversation for every forbidden operation of Modbus; when the file GO is there,
                                     the whole message, and behind its answer a reading
    idle HOST OUT GO COUNT CROWD     COUNT conversations that read once; when GO is there, CROWD more are opened, and
                                     then each of the COUNT reads again

In: the devices of tests/evasion. Out: the file OUT, one JSON list of [name, what became of it]: "reset", "end",
"silence", or the hexadecimal answer; OUT.ready when all stand still. Its kernel's own TCP.
"""

from __future__ import annotations

import argparse
import resource
import socket
import time
from pathlib import Path
from typing import TYPE_CHECKING, Final

from deploy.lab.processes import write_json
from tests.evasion.operations import OPERATIONS, next_message
from tests.evasion.servers import PORTS

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.evasion.operations import Operation

HEARD_WITHIN_S: Final = 30.0  # beyond this a client hangs: TCP has repeated itself at 0.2, 0.6 … 12.6 and 25.4 s
POLL_S: Final = 0.01
BETWEEN_S: Final = 0.001  # slower than polls, so that those keep the places of the flows that they use
LEAST_FILES: Final = 1 << 14
READING: Final = next(one for one in OPERATIONS if one.name == "modbus 3 read")


def conversation(host: str, operation: Operation) -> tuple[socket.socket, bytes]:
    """Open a conversation for an operation; return it and what the last answer of its opening was."""
    link = socket.create_connection((host, PORTS[operation.protocol]), timeout=HEARD_WITHIN_S)
    link.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    session = b""
    for request in operation.opening:
        link.sendall(request)
        session = next_message(link, operation.protocol)
    return link, session


def outcome(link: socket.socket, protocol: str, said: bytes) -> str:
    """Say something; return what became of it."""
    try:
        link.sendall(said)
        return next_message(link, protocol).hex()
    except (ConnectionResetError, BrokenPipeError):
        return "reset"
    except TimeoutError:
        return "silence"
    except ConnectionError:
        return "end"


def wait_for_file(path: Path) -> None:
    """Return when a file is there; whoever started this ends it if it never comes."""
    while not path.exists():
        time.sleep(POLL_S)


def halves(host: str, out: Path, go: Path, protocols: list[str]) -> None:
    """Begin forbidden messages, and end them when told."""
    begun = []
    for number, operation in enumerate(one for one in OPERATIONS if one.forbidden and one.protocol in protocols):
        for place, share in enumerate((0.3, 0.99)):
            link, session = conversation(host, operation)
            said = operation.message(2 * number + place, session)
            cut = max(1, int(len(said) * share))
            link.sendall(said[:cut])
            begun.append((f"{operation.name} at {cut}", link, operation.protocol, said[cut:]))
    out.with_suffix(".ready").touch()
    wait_for_file(go)
    found: list[list[str]] = [[name, outcome(link, protocol, rest)] for name, link, protocol, rest in begun]
    write_json(out, found)


def asked(host: str, out: Path, go: Path) -> None:
    """Ask for what is forbidden when told, and read behind it."""
    chosen = [one for one in OPERATIONS if one.forbidden and one.protocol == "modbus"]
    links = [conversation(host, operation)[0] for operation in chosen]
    for link in links:
        outcome(link, "modbus", READING.message(0, b""))
    out.with_suffix(".ready").touch()
    wait_for_file(go)
    for number, (operation, link) in enumerate(zip(chosen, links, strict=True)):
        link.sendall(operation.message(number, b""))
    found = []
    for number, (operation, link) in enumerate(zip(chosen, links, strict=True)):
        found.append([operation.name, outcome(link, "modbus", b"")])
        found.append([operation.name, outcome(link, "modbus", READING.message(number, b""))])
    write_json(out, found)


def idle(host: str, out: Path, go: Path, count: int, crowd: int) -> None:
    """Be silent, open many more, and read again."""
    resource.setrlimit(resource.RLIMIT_NOFILE, (LEAST_FILES, LEAST_FILES))
    silent = [conversation(host, READING)[0] for _ in range(count)]
    for number, link in enumerate(silent):
        assert READING.answer(number, bytes.fromhex(outcome(link, "modbus", READING.message(number, b""))))
    out.with_suffix(".ready").touch()
    wait_for_file(go)
    others = []
    for _ in range(crowd):
        others.append(conversation(host, READING)[0])
        time.sleep(BETWEEN_S)
    found = [["again", outcome(link, "modbus", READING.message(at, b""))] for at, link in enumerate(silent)]
    for link in others:
        link.close()
    write_json(out, found)


def main() -> None:
    """Do what the command line says."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("what", choices=("halves", "asked", "idle"))
    parser.add_argument("host")
    parser.add_argument("out", type=Path)
    parser.add_argument("go", type=Path)
    parser.add_argument("words", nargs="*")
    given = parser.parse_args()
    does: dict[str, Callable[[], None]] = {
        "halves": lambda: halves(given.host, given.out, given.go, given.words or list(PORTS)),
        "asked": lambda: asked(given.host, given.out, given.go),
        "idle": lambda: idle(given.host, given.out, given.go, *map(int, given.words)),
    }
    does[given.what]()


if __name__ == "__main__":
    main()
