"""One end of the bulk transfer: `bulk_end.py send|receive IP PORT BYTES SEED`. Run by the suite `bulk`.

The content is seeded random bytes in memory; both ends hash what they sent or got only after the last byte, so that
hashing takes no part in the time. Prints JSON: seconds from connected to the last byte, and the hash.
"""

from __future__ import annotations

import hashlib
import json
import random
import socket
import sys
import time
from typing import Final

READ_BYTES: Final = 1 << 20
BLOCK_BYTES: Final = 1 << 22  # random bytes are drawn once for this many, then numbered block by block
TIMEOUT_S: Final = 60.0


def content(size: int, seed: int) -> bytearray:
    """Return the bytes that are sent: no two blocks are alike, so a lost or repeated one changes the hash."""
    block = random.Random(seed).randbytes(BLOCK_BYTES)
    made = bytearray()
    while len(made) < size:
        made += len(made).to_bytes(8, "big") + block[8:]
    return made[:size]


def send(place: tuple[str, int], size: int, seed: int) -> tuple[float, bytearray]:
    """Connect, send, wait until the other end has closed: then it has everything."""
    made = content(size, seed)
    with socket.create_connection(place, TIMEOUT_S) as connection:
        begun = time.monotonic()
        connection.sendall(made)
        connection.shutdown(socket.SHUT_WR)
        connection.recv(1)
        return time.monotonic() - begun, made


def receive(place: tuple[str, int], size: int) -> tuple[float, bytearray]:
    """Accept one connection and read until its end."""
    got = bytearray(size)
    view = memoryview(got)
    with socket.create_server(place) as server:
        print("ready", flush=True)
        server.settimeout(TIMEOUT_S)
        connection, _ = server.accept()
        with connection:
            connection.settimeout(TIMEOUT_S)
            begun, at = time.monotonic(), 0
            while at < size:
                count = connection.recv_into(view[at : at + READ_BYTES])
                if count == 0:
                    break
                at += count
            seconds = time.monotonic() - begun
    return seconds, got[:at]


def main() -> None:
    """Do what the command line asks for."""
    role, ip, port, size, seed = sys.argv[1:]
    place = (ip, int(port))
    seconds, moved = send(place, int(size), int(seed)) if role == "send" else receive(place, int(size))
    digest = hashlib.sha256(moved).hexdigest()
    print(json.dumps({"seconds": seconds, "bytes": len(moved), "sha256": digest}), flush=True)


if __name__ == "__main__":
    main()
