"""Somebody who asks for what is forbidden, without a pause: whole, in two parts, and behind a reading.

`python -m bench.intruders --host ADDRESS --out FILE --rest FILE [--seed N] [--protocol NAME]...`: the forbidden
operations of tests/evasion, one conversation for each, with the kernel's TCP; seconds may lie between the two parts, so
that whatever happens to the gateway happens in between. While the --rest file exists nothing is sent. Out: one JSON
line for each attack, an `Attack`. What came of it the server alone knows.
"""

from __future__ import annotations

import argparse
import json
import random
import socket
import struct
import time
from pathlib import Path
from typing import IO, TYPE_CHECKING, Final, NamedTuple

from tests.evasion.operations import OPERATIONS, next_message
from tests.evasion.servers import PORTS

if TYPE_CHECKING:
    from tests.evasion.operations import Operation

OPENED_WITHIN_S: Final = 1.0
HEARD_WITHIN_S: Final = 0.15  # an answer would be here; whoever hears nothing has gone on
LONGEST_PAUSE_S: Final = 1.5
BETWEEN_S: Final = 0.02
REST_S: Final = 0.02
FORBIDDEN: Final = tuple(one for one in OPERATIONS if one.forbidden)
LINGER_NOT: Final = struct.pack("ii", 1, 0)  # close with a reset: the kernel repeats nothing afterwards


class Attack(NamedTuple):
    """One attempt; `operation` is empty when it rested."""

    operation: str
    number: int
    began: float
    ended: float
    outcome: str


def attack(host: str, operation: Operation, number: int, chance: random.Random) -> str:
    """Ask for something forbidden once; return what was heard."""
    try:
        link = socket.create_connection((host, PORTS[operation.protocol]), timeout=OPENED_WITHIN_S)
    except OSError as error:
        return f"not connected: {type(error).__name__}"
    with link:
        link.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, LINGER_NOT)
        link.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        try:
            session = b""
            for request in operation.opening:
                link.sendall(request)
                session = next_message(link, operation.protocol)
            said = operation.message(number, session)
            cut = chance.choice([0, chance.randrange(1, len(said))])
            link.sendall(said[:cut])
            if cut:
                time.sleep(chance.choice([0.0, chance.uniform(0, LONGEST_PAUSE_S)]))
            link.sendall(said[cut:])
            link.settimeout(HEARD_WITHIN_S)
            return link.recv(4096).hex() or "end"
        except TimeoutError:
            return "silence"
        except OSError as error:
            return type(error).__name__


def go_on(host: str, chance: random.Random, rest: Path, chosen: list[Operation], out: IO[str]) -> None:
    """Attack until killed."""

    def note(one: Attack) -> None:
        out.write(json.dumps(one) + "\n")
        out.flush()

    number = 0
    while True:
        if rest.exists():
            note(Attack("", number, time.monotonic(), time.monotonic(), ""))
            while rest.exists():
                time.sleep(REST_S)
        operation = chosen[number % len(chosen)]
        began = time.monotonic()
        outcome = attack(host, operation, number, chance)
        note(Attack(operation.name, number, began, time.monotonic(), outcome))
        number += 1
        time.sleep(BETWEEN_S)


def read_attacks(path: Path) -> list[Attack]:
    """Return the attacks told so far."""
    whole = path.read_text().rpartition("\n")[0] if path.exists() else ""
    return [Attack(*json.loads(line)) for line in whole.splitlines()]


def main() -> None:
    """Attack until killed."""
    parser = argparse.ArgumentParser(prog="python -m bench.intruders", description=__doc__)
    parser.add_argument("--host", required=True)
    parser.add_argument("--out", required=True, type=Path)
    parser.add_argument("--rest", required=True, type=Path)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--protocol", action="append", choices=PORTS)
    given = parser.parse_args()
    chosen = [one for one in FORBIDDEN if one.protocol in (given.protocol or PORTS)]
    with given.out.open("a") as out:
        go_on(given.host, random.Random(given.seed), given.rest, chosen, out)


if __name__ == "__main__":
    main()
