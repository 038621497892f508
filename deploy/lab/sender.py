"""A steady stream of numbered UDP frames from a raw socket: for leaks, losses and benches.

In: addresses, rate, count. Out: the frames, and one JSON line with how many left and how long it took.
Bounded in number and time. Source address and MAC are free to choose, so it also serves as a spoofer.
Run on a lab host: `python -m deploy.lab.sender --run 0011223344556677 --rate 1000 --count 5000 …`.
"""

from __future__ import annotations

import argparse
import json
import signal
import socket
import time
from ipaddress import IPv4Address
from typing import Final

from deploy.lab import frames
from deploy.lab.attacker import interface_mac, mac

COUNT_MAX: Final = 10_000_000
BURST_S: Final = 0.001  # frames are let go in steps of this length; below it the sleep is longer than asked


class Stream:
    """Sends until the count is reached, the time is over, or it is told to stop."""

    def __init__(self, link: socket.socket, to: frames.Addresses, run: bytes, padding: int) -> None:
        self._link = link
        self._to = to
        self._run = run
        self._padding = b"\0" * padding
        self._stopped = False
        self.sent = 0
        self.refused = 0  # the interface's own queue was full: the frame never left

    def stop(self, *_: object) -> None:
        """End after the frame in hand; fit for a signal handler."""
        self._stopped = True

    def send(self, rate: int, count: int, seconds: float) -> float:
        """Send at `rate` frames per second; return the seconds it took."""
        began = time.monotonic()
        while self.sent < count and not self._over(began, seconds):
            due = min(count, int((time.monotonic() - began) * rate) + 1)
            while self.sent < due and not self._over(began, seconds):
                self._one()
            time.sleep(BURST_S)
        return time.monotonic() - began

    def _over(self, began: float, seconds: float) -> bool:
        return self._stopped or time.monotonic() - began > seconds

    def _one(self) -> None:
        frame = frames.udp(self._to, frames.probe(self._run, self.sent) + self._padding)
        try:
            self._link.send(frame)
        except OSError:
            self.refused += 1
        self.sent += 1


def main() -> None:
    """Parse the command line, send, and say how many left."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--interface", default="eth0")
    parser.add_argument("--source-ip", required=True)
    parser.add_argument("--source-mac", default=None)
    parser.add_argument("--target-ip", required=True)
    parser.add_argument("--target-mac", required=True)
    parser.add_argument("--source-port", type=int, default=40000)
    parser.add_argument("--target-port", type=int, default=40000)
    parser.add_argument("--run", type=bytes.fromhex, required=True, help="eight bytes in hex: the experiment's name")
    parser.add_argument("--rate", type=int, required=True, help="frames per second")
    parser.add_argument("--count", type=int, required=True)
    parser.add_argument("--seconds", type=float, default=60.0, help="stop after this long even if frames are left")
    parser.add_argument("--padding", type=int, default=0, help="bytes behind the probe")
    given = parser.parse_args()
    if not 0 < given.count <= COUNT_MAX or given.rate < 1 or len(given.run) != 8:
        parser.error(f"--count 1..{COUNT_MAX}, --rate from 1, --run eight bytes")
    source_mac = mac(given.source_mac) if given.source_mac else interface_mac(given.interface)
    to = frames.Addresses(
        source_mac,
        mac(given.target_mac),
        IPv4Address(given.source_ip).packed,
        IPv4Address(given.target_ip).packed,
        given.source_port,
        given.target_port,
    )
    with socket.socket(socket.AF_PACKET, socket.SOCK_RAW) as link:
        link.bind((given.interface, 0))
        stream = Stream(link, to, given.run, given.padding)
        signal.signal(signal.SIGTERM, stream.stop)
        seconds = stream.send(given.rate, given.count, given.seconds)
    print(json.dumps({"sent": stream.sent - stream.refused, "refused": stream.refused, "seconds": round(seconds, 6)}))


if __name__ == "__main__":
    main()
