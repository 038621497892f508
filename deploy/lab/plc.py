"""A Modbus/TCP controller of the water works: a real pymodbus server that shows its registers to the judge.

In: Modbus requests on one address. Out: answers; and a JSON file, replaced atomically BEFORE a write is answered, with
the registers as they are. Whether an attack worked is decided by that file, never by what the attacker saw.
Runs in its host's namespace: `python -m deploy.lab.plc --identity 5010 --state FILE`.
"""

from __future__ import annotations

import argparse
import asyncio
import signal
import time
from pathlib import Path
from typing import TYPE_CHECKING, Final

from pymodbus.server import ModbusTcpServer
from pymodbus.simulator import DataType, SimData, SimDevice

from deploy.lab.processes import write_json

if TYPE_CHECKING:
    from pymodbus.constants import ExcCodes

MODBUS_PORT: Final = 502
REGISTER_COUNT: Final = 64
IDENTITY: Final = 0  # holding register: which controller this is, so that a poll can tell a right answer
LEVEL: Final = 1  # tank level in mm, creeping towards the set point
SETPOINT: Final = 10  # mm; the register that the attacker is after
SAFE_SETPOINT: Final = 2000
LEVEL_STEP: Final = 1
PUBLISH_EVERY_S: Final = 0.2  # reads alone refresh the file this often


class Controller:
    """The registers' owner: pymodbus calls `on_request` before it answers any request."""

    def __init__(self, identity: int, state: Path) -> None:
        self._state = state
        self._reads = 0
        self._writes: list[dict[str, object]] = []
        self._published = 0.0
        self.initial = [0] * REGISTER_COUNT
        self.initial[IDENTITY] = identity
        self.initial[LEVEL] = self.initial[SETPOINT] = SAFE_SETPOINT
        self.publish(self.initial)

    async def on_request(
        self,
        function: int,
        start: int,
        address: int,
        count: int,
        registers: list[int],
        values: list[int] | list[bool] | None,
    ) -> ExcCodes | None:
        """Run one scan, take a write into the registers and publish them before the answer leaves."""
        if values is None:
            self._reads += 1
            self._scan(registers)
        else:
            at = address - start
            registers[at : at + count] = [int(value) for value in values]
            self._writes.append({"time": time.time(), "function": function, "address": address, "values": list(values)})
        if values is not None or time.monotonic() - self._published > PUBLISH_EVERY_S:
            self.publish(registers)
        return None

    def publish(self, registers: list[int]) -> None:
        """Replace the judge's file."""
        self._published = time.monotonic()
        write_json(self._state, {"registers": registers[:REGISTER_COUNT], "reads": self._reads, "writes": self._writes})

    @staticmethod
    def _scan(registers: list[int]) -> None:
        gap = registers[SETPOINT] - registers[LEVEL]
        registers[LEVEL] += max(-LEVEL_STEP, min(LEVEL_STEP, gap))


async def serve(listen: str, port: int, identity: int, state: Path) -> None:
    """Serve until SIGTERM or SIGINT."""
    controller = Controller(identity, state)
    memory = SimData(0, values=controller.initial, datatype=DataType.REGISTERS)
    device = SimDevice(id=0, simdata=memory, action=controller.on_request)
    server = ModbusTcpServer(device, address=(listen, port))
    loop = asyncio.get_running_loop()
    ended = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, ended.set)
    await server.serve_forever(background=True)
    write_json(state.with_suffix(".ready"), {"listening": f"{listen}:{port}"})
    await ended.wait()
    await server.shutdown()


def main() -> None:
    """Parse the command line and serve."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--listen", default="")
    parser.add_argument("--port", type=int, default=MODBUS_PORT)
    parser.add_argument("--identity", type=int, required=True)
    parser.add_argument("--state", type=Path, required=True)
    given = parser.parse_args()
    asyncio.run(serve(given.listen, given.port, given.identity, given.state))


if __name__ == "__main__":
    main()
