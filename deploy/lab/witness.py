"""A witness on the far side: counts the numbered frames that really arrived.

In: an interface and an experiment's name. Out: FILE.ready once it listens, then one JSON line (also into FILE) with how
many probes came, how often again, out of order, first and last number. Bounded in number and time; ends on SIGTERM.
It sees frames, not intentions: what a boundary let through is what this file says.
"""

from __future__ import annotations

import argparse
import json
import select
import signal
import socket
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

from deploy.lab import frames
from deploy.lab.processes import write_json

ETH_P_ALL: Final = 0x0003  # linux/if_ether.h
FRAME_BYTES: Final = 65536
RECEIVE_BUFFER_BYTES: Final = 32 << 20
OUTGOING: Final = 4  # linux/if_packet.h PACKET_OUTGOING: sent by this host itself, no witness of anything
LOOK_EVERY_S: Final = 0.05
SO_RCVBUFFORCE: Final = 33  # asm-generic/socket.h
SOL_PACKET: Final = 263
PACKET_STATISTICS: Final = 6


@dataclass(slots=True)
class Sightings:
    """What was seen. `overrun` counts frames that the kernel could not hand to the witness: its own blindness."""

    seen: int = 0
    distinct: int = 0
    disordered: int = 0
    first: int | None = None
    last: int | None = None
    overrun: int = 0


class Witness:
    """Counts the probes of one run on one interface."""

    def __init__(self, link: socket.socket, run: bytes) -> None:
        self._link = link
        self._run = run
        self._numbers: set[int] = set()
        self._stopped = False
        self.sightings = Sightings()

    def stop(self, *_: object) -> None:
        """Drain what has arrived, then end; fit for a signal handler."""
        self._stopped = True

    def watch(self, count: int, seconds: float) -> Sightings:
        """Count until `count` probes were seen, the time is over or it is told to stop."""
        deadline = time.monotonic() + seconds
        while self.sightings.seen < count and time.monotonic() < deadline:
            ready, _, _ = select.select([self._link], [], [], LOOK_EVERY_S)
            if ready:
                self._take()
            elif self._stopped:
                break
        self.sightings.distinct = len(self._numbers)
        statistics = self._link.getsockopt(SOL_PACKET, PACKET_STATISTICS, 8)
        self.sightings.overrun = int.from_bytes(statistics[4:8], sys.byteorder)
        return self.sightings

    def _take(self) -> None:
        frame, origin = self._link.recvfrom(FRAME_BYTES)
        number = frames.probe_sequence(frame, self._run)
        if origin[2] == OUTGOING or number is None:
            return
        seen = self.sightings
        seen.seen += 1
        seen.disordered += seen.last is not None and number < seen.last
        seen.first = number if seen.first is None else seen.first
        seen.last = number
        self._numbers.add(number)


def main() -> None:
    """Parse the command line, listen, and testify."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--interface", default="eth0")
    parser.add_argument("--run", type=bytes.fromhex, required=True, help="eight bytes in hex: the experiment's name")
    parser.add_argument("--count", type=int, required=True, help="end after this many")
    parser.add_argument("--seconds", type=float, required=True, help="end after this long")
    parser.add_argument("--state", type=Path, required=True)
    given = parser.parse_args()
    with socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ETH_P_ALL)) as link:
        link.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, RECEIVE_BUFFER_BYTES)
        link.bind((given.interface, 0))
        witness = Witness(link, given.run)
        signal.signal(signal.SIGTERM, witness.stop)
        write_json(given.state.with_suffix(".ready"), {"interface": given.interface})
        seen = witness.watch(given.count, given.seconds)
    write_json(given.state, asdict(seen))
    print(json.dumps(asdict(seen)))


if __name__ == "__main__":
    main()
