"""A CIP station that reads, is refused something, and says what became of it.

`python -m tests.netns.inspection.cip_station pycomm3|cpppo|bare ADDRESS`. Out: one JSON object on stdout. Uses its
kernel's own TCP and the libraries as they are: what it sees is what any client sees.
"""

from __future__ import annotations

import json
import socket
import struct
import sys
from typing import Any, Final

from tests.netns.inspection.station import ANSWER_WITHIN_S, outcome_of

PORT: Final = 44818
READ, WRITE = "R[7]", "W[3]"
RESET, IDENTITY = 0x05, 0x01
OUTPUTS: Final = bytes.fromhex("200424052c652c64")  # configuration 5, outputs 101, inputs 100 of class assembly
CLASS_1: Final = 1


def implicit_open() -> bytes:
    """Return the data of a Forward Open for cyclic outputs and inputs of 32 bytes."""
    half = struct.pack("<IH", 100_000, 2 << 13 | 32)
    head = struct.pack("<BBIIHHIB3x", 5, 157, 0, 0x71190427, 0x4711, 0x1009, 0x12345678, 0)
    return head + half + half + bytes((CLASS_1, len(OUTPUTS) // 2)) + OUTPUTS


def said(tag: Any) -> list[Any]:
    """Return what pycomm3 makes of an answer: value and error."""
    return [tag.value if isinstance(tag.value, int | None) else "bytes", tag.error]


def packed(controller: Any, *values: tuple[str, int]) -> list[Any] | str:
    """Write in one Multiple Service Packet; return what is told of each value, or that pycomm3 raised, and what."""
    from pycomm3 import PycommError

    try:
        return [said(tag) for tag in controller.write(*values)]
    except PycommError as error:
        return type(error).__name__


def pycomm3(host: str) -> dict[str, Any]:
    """Read, be refused in every form that a request can have, and read again."""
    from pycomm3 import LogixDriver

    controller = LogixDriver(host, init_program_tags=False)
    controller.socket_timeout = ANSWER_WITHIN_S
    assert controller.open()
    link = controller._sock
    answers = {
        "read": said(controller.read(READ)),
        "write": packed(controller, ("W[5]", 1), ("W[9]", 2)),
        "connected": said(controller.generic_message(RESET, IDENTITY, 1)),
        "unconnected": said(controller.generic_message(RESET, IDENTITY, 1, connected=False, route_path=False)),
        "routed": said(controller.generic_message(RESET, IDENTITY, 1, connected=False, unconnected_send=True)),
        "outputs": said(
            controller.generic_message(0x54, 6, 1, request_data=implicit_open(), connected=False, route_path=False)
        ),
        "again": [said(tag) for tag in controller.read(READ, "R[8]")],
    }
    same = controller._sock is link
    controller.close()
    return {"answers": answers, "same": same}


def cpppo(host: str) -> dict[str, Any]:
    """Pipeline reading and writing, each in an Unconnected Send; write in a Multiple Service Packet; read again."""
    from cpppo.server.enip import client

    with client.connector(host=host, port=PORT, timeout=ANSWER_WITHIN_S) as link:

        def say(*operations: str, multiple: int = 0) -> list[Any]:
            answers = link.pipeline(
                operations=client.parse_operations(operations), depth=3, multiple=multiple, timeout=ANSWER_WITHIN_S
            )
            return [[status, value] for *_, status, value in answers]

        one_by_one = say(READ, f"{WRITE}=(INT)5", "R[8]")
        try:
            packed = str(say(f"{WRITE}=(INT)5", multiple=500))
        except client.MSVCStatusError as error:
            packed = str(error)
        return {"one by one": one_by_one, "packed": packed, "again": say(READ)}


def bare(host: str) -> dict[str, Any]:
    """Write an element, and see byte by byte what comes back."""
    from tests.evasion.operations import ENIP_REGISTER, OPERATIONS

    write = next(one for one in OPERATIONS if one.name == "cip write tag")
    with socket.create_connection((host, PORT), timeout=ANSWER_WITHIN_S) as link:
        link.sendall(ENIP_REGISTER)
        link.sendall(write.message(3, link.recv(100)))
        answer = link.recv(100)
        return {"answer": answer.hex(), "next": outcome_of(link)}


def main() -> None:
    """Do one thing and print what became of it."""
    what, host = sys.argv[1:]
    print(json.dumps({"pycomm3": pycomm3, "cpppo": cpppo, "bare": bare}[what](host)))


if __name__ == "__main__":
    main()
