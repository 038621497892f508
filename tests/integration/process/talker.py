"""The two ends of the numbered stream: `talker.py send ADDRESS PORT PER_SECOND` and `talker.py receive PORT REPORT`.

The sender prints how many it sent when it gets SIGTERM. The receiver, after SIGTERM, goes on until nothing came for
300 ms, then writes [[number, CLOCK_MONOTONIC ns], ...] to the report.
"""

from __future__ import annotations

import json
import signal
import socket
import sys
import time
from pathlib import Path

told_to_stop = []
signal.signal(signal.SIGTERM, lambda *_: told_to_stop.append(True))


def send(address: str, port: int, per_second: int) -> None:
    """Send a number every 1/per_second seconds, keeping to the schedule."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as out:
        began, number = time.monotonic(), 0
        while not told_to_stop:
            time.sleep(max(0.0, began + number / per_second - time.monotonic()))
            out.sendto(number.to_bytes(8, "big"), (address, port))
            number += 1
    print(number, flush=True)


def receive(port: int, report: Path) -> None:
    """Note every number and when it came."""
    seen: list[tuple[int, int]] = []
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as inside:
        inside.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 22)
        inside.bind(("0.0.0.0", port))
        inside.settimeout(0.3)
        while True:
            try:
                seen.append((int.from_bytes(inside.recv(64), "big"), time.monotonic_ns()))
            except TimeoutError:
                if told_to_stop:
                    break
    report.write_text(json.dumps(seen))


if __name__ == "__main__":
    if sys.argv[1] == "send":
        send(sys.argv[2], int(sys.argv[3]), int(sys.argv[4]))
    else:
        receive(int(sys.argv[2]), Path(sys.argv[3]))
