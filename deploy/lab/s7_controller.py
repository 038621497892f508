"""An S7 controller of the water works: python-snap7's server, which shows the state of its CPU to the judge.

In: S7 requests on one address. Out: answers; and a JSON file, replaced BEFORE a request is answered: whether
the CPU runs, the bytes of its data block, how many CPU stops it has taken. Whether an attack worked is decided by that
file, never by what the attacker saw. Runs in its host's namespace: `python -m deploy.lab.s7_controller --state FILE`.
"""

from __future__ import annotations

import argparse
import signal
import threading
from pathlib import Path
from typing import Final

from snap7.server import CPUState, Server
from snap7.type import SrvArea

from deploy.lab.processes import write_json

S7_PORT: Final = 102
DATA_BLOCK: Final = 1
RECIPE: Final = bytes(range(0x10, 0x20))  # what the data block holds: a right answer is told by it
DOSE: Final = 4  # first of the two bytes of the recipe that say how much is dosed


class Cpu(Server):
    """The server as it is; it notes each request that left the CPU standing before the answer goes out."""

    def __init__(self, state: Path) -> None:
        super().__init__(log=False)
        self._state = state
        self._stops = 0
        self.block = bytearray(RECIPE)
        self.register_area(SrvArea.DB, DATA_BLOCK, self.block)

    def publish(self) -> None:
        """Replace the judge's file."""
        running = self.cpu_state is CPUState.RUN
        write_json(self._state, {"running": running, "stops": self._stops, "block": list(self.block)})

    def _process_request(self, request_data: bytes, client_address: tuple[str, int]) -> bytes | None:
        ran = self.cpu_state is CPUState.RUN
        answer = super()._process_request(request_data, client_address)
        self._stops += ran and self.cpu_state is not CPUState.RUN
        self.publish()
        return answer


def main() -> None:
    """Serve until SIGTERM or SIGINT."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, default=S7_PORT)
    parser.add_argument("--state", type=Path, required=True)
    given = parser.parse_args()
    ended = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: ended.set())
    cpu = Cpu(given.state)
    cpu.start(given.port)
    cpu.cpu_state = CPUState.RUN
    cpu.publish()
    write_json(given.state.with_suffix(".ready"), {"listening": given.port})
    ended.wait()
    cpu.stop()


if __name__ == "__main__":
    main()
