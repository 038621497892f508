"""When numbered datagrams reach the far side, by the kernel's own clock: for suites that change policies.

In: UDP ports, a file. Out: FILE.ready once it listens; after SIGTERM the file, one RECORD per datagram in order of
arrival: port, number, CLOCK_REALTIME ns at which the kernel took it in (SO_TIMESTAMPNS). Run in a host's namespace:
`python -m bench.arrivals --ports 40000,40001 --out FILE`.
"""

from __future__ import annotations

import argparse
import select
import signal
import socket
import struct
from pathlib import Path
from typing import Final

from deploy.lab.frames import PROBE, PROBE_MAGIC

RECORD: Final = struct.Struct("<IQQ")
SO_TIMESTAMPNS: Final = 35  # asm-generic/socket.h; the control message has the same number
SO_RCVBUFFORCE: Final = 33
RECEIVE_BUFFER_BYTES: Final = 16 << 20
LOOK_EVERY_S: Final = 0.05
TIMESPEC: Final = struct.Struct("ll")


def open_port(port: int) -> socket.socket:
    """Return a socket that stamps what it receives."""
    link = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    link.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, RECEIVE_BUFFER_BYTES)
    link.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMPNS, 1)
    link.bind(("0.0.0.0", port))
    link.setblocking(False)
    return link


def take(link: socket.socket, port: int) -> bytes | None:
    """Return the record of the next datagram, None when there is none or it is no probe."""
    try:
        payload, control, _, _ = link.recvmsg(PROBE.size, 64)
    except BlockingIOError:
        return None
    seconds, nanoseconds = TIMESPEC.unpack_from(control[0][2])
    magic, _, number = PROBE.unpack(payload[: PROBE.size].ljust(PROBE.size, b"\0"))
    return RECORD.pack(port, number, seconds * 1_000_000_000 + nanoseconds) if magic == PROBE_MAGIC else b""


def receive(ports: list[int], ready: Path) -> bytes:
    """Receive until SIGTERM, then what is still there; return the records."""
    stopped = False

    def stop(*_: object) -> None:
        nonlocal stopped
        stopped = True

    signal.signal(signal.SIGTERM, stop)
    links = {open_port(port): port for port in ports}
    ready.touch()
    found = bytearray()
    while True:
        readable, _, _ = select.select(list(links), [], [], LOOK_EVERY_S)
        if not readable and stopped:
            return bytes(found)
        for link in readable:
            while (record := take(link, links[link])) is not None:
                found += record


def main() -> None:
    """Receive and write the file."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--ports", required=True)
    parser.add_argument("--out", type=Path, required=True)
    given = parser.parse_args()
    records = receive([int(port) for port in given.ports.split(",")], given.out.with_suffix(".ready"))
    given.out.write_bytes(records)


if __name__ == "__main__":
    main()
