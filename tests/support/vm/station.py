"""A host of the laboratory for one experiment, small enough to start fast where everything is slow.

In: one verb. `send INTERFACE HEX...` sends raw frames; `watch INTERFACE SECONDS HEX` prints how many frames that
contain the bytes came in before one with HEX_END did, or the time was over; `serve PORT BYTES` and `fetch HOST PORT`
move that many bytes over TCP and print their SHA-256. Imports nothing but the standard library, so that it runs with
`python3 -I -S`. Bounded in number and time. Run by tests/vm on lab hosts.
"""

from __future__ import annotations

import hashlib
import random
import socket
import sys
import time
from collections.abc import Callable

ETH_P_ALL = 0x0003  # linux/if_ether.h
OUTGOING = 4  # linux/if_packet.h PACKET_OUTGOING
SOL_PACKET = 263  # linux/socket.h
PACKET_AUXDATA = 8  # linux/if_packet.h: carries the VLAN tag that the kernel took off
TP_STATUS_VLAN_VALID = 0x10
SERVE_SECONDS = 200


def send(interface: str, *frames: str) -> None:
    """Send frames as given, first byte to last."""
    with socket.socket(socket.AF_PACKET, socket.SOCK_RAW) as link:
        link.bind((interface, 0))
        for frame in frames:
            link.send(bytes.fromhex(frame))


def watch(interface: str, seconds: str, *needles: str) -> None:
    """Say `ready`, then print per needle `NEEDLE count vlan` of the frames seen; the last needle ends it."""
    wanted = [bytes.fromhex(needle) for needle in needles]
    seen = dict.fromkeys(wanted, 0)
    tags = dict.fromkeys(wanted, 0)
    deadline = time.monotonic() + float(seconds)
    with socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ETH_P_ALL)) as link:
        link.bind((interface, ETH_P_ALL))
        link.setsockopt(SOL_PACKET, PACKET_AUXDATA, 1)
        print("ready", flush=True)
        while not seen[wanted[-1]] and time.monotonic() < deadline:
            link.settimeout(max(0.01, deadline - time.monotonic()))
            try:
                frame, extra, _, address = link.recvmsg(65536, 64)
            except TimeoutError:
                break
            if address[2] == OUTGOING:
                continue
            for needle in wanted:
                if needle in frame:
                    seen[needle] += 1
                    tags[needle] = _vlan(extra)
    for needle in wanted:
        print(needle.hex(), seen[needle], tags[needle], flush=True)


def _vlan(extra: list[tuple[int, int, bytes]]) -> int:
    """Return the tag of a frame from struct tpacket_auxdata: status at 0, tag at 16."""
    for level, kind, content in extra:
        if level == SOL_PACKET and kind == PACKET_AUXDATA:
            status = int.from_bytes(content[0:4], sys.byteorder)
            return int.from_bytes(content[16:18], sys.byteorder) & 0xFFF if status & TP_STATUS_VLAN_VALID else 0
    return 0


def serve(port: str, count: str) -> None:
    """Send `count` seeded bytes to the first that connects, and print their digest."""
    content = random.Random(62443).randbytes(int(count))
    with socket.create_server(("0.0.0.0", int(port))) as server:
        server.settimeout(SERVE_SECONDS)
        print("ready", flush=True)
        connection, _ = server.accept()
        with connection:
            connection.settimeout(SERVE_SECONDS)
            connection.sendall(content)
    print(hashlib.sha256(content).hexdigest(), len(content), flush=True)


def fetch(host: str, port: str) -> None:
    """Receive everything that the server sends, and print its digest."""
    digest = hashlib.sha256()
    received = 0
    with socket.create_connection((host, int(port)), timeout=SERVE_SECONDS) as connection:
        while part := connection.recv(65536):
            digest.update(part)
            received += len(part)
    print(digest.hexdigest(), received, flush=True)


if __name__ == "__main__":
    verbs: dict[str, Callable[..., None]] = {"send": send, "watch": watch, "serve": serve, "fetch": fetch}
    verbs[sys.argv[1]](*sys.argv[2:])
