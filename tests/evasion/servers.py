"""The devices that are attacked: real server stacks, one process each, which tell their own state beside the network.

`python -m tests.evasion.servers modbus|s7comm|cip|logix --state PATH`: pymodbus, python-snap7, cpppo or cm-ethernetip
(a controller's tags, in place of cpppo) on its usual port. In: requests from the network. Out: over the UNIX socket
PATH, to whoever connects, one JSON object {"changed": [cells that no longer hold what they held at the start],
"stopped": [client ports], "reset": [client ports]}.
What a case did is read there and nowhere else: must never be asked over the network that is under judgement.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import logging
import socket
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Callable

CELLS: Final = 2048  # one for each case; a cell is CELL_REGISTERS registers, or one attribute, or two bytes
CELL_REGISTERS: Final = 4
PATTERN_AT: Final = CELLS * CELL_REGISTERS  # from here on register n holds n: what benign cases read
PATTERN_REGISTERS: Final = 2048
ATTACKED: Final = ("modbus", "s7comm", "cip")
PORTS: Final = {"modbus": 502, "s7comm": 102, "cip": 44818, "logix": 44818}
WRITTEN_DB, PATTERN_DB = 1, 2
ATTRIBUTE_CLASS: Final = 0x99
ATTRIBUTES: Final = 512  # cpppo takes long over more; the cases that set one come first
TAG, PATTERN_TAG = "W", "R"
CIP_RESET: Final = 0x05
CIP_INT: Final = 0xC3
POLL_S: Final = 0.02
SNAP7_CLIENTS: Final = 512

State = dict[str, list[int]]


def show(path: Path, state: Callable[[], State]) -> None:
    """Answer every connection to a UNIX socket with the state of that moment; a thread of its own, until the end."""
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    listener.bind(str(path))
    listener.listen(8)

    def answer() -> None:
        while True:
            asker, _ = listener.accept()
            with asker:
                asker.sendall(json.dumps(state()).encode())

    threading.Thread(target=answer, daemon=True).start()


def ask(path: Path, within_s: float = 10.0) -> State:
    """Return what a server says of itself. Raises OSError when it is not there."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as asker:
        asker.settimeout(within_s)
        asker.connect(str(path))
        said = b""
        while more := asker.recv(1 << 16):
            said += more
    state: State = json.loads(said)
    return state


def serve_modbus(path: Path) -> None:
    """pymodbus: one block of registers, whose bits are the coils."""
    from pymodbus.server import ModbusTcpServer
    from pymodbus.simulator import DataType, SimData, SimDevice

    values = [0] * PATTERN_AT + list(range(PATTERN_AT, PATTERN_AT + PATTERN_REGISTERS))

    async def serve() -> None:
        device = SimDevice(id=0, simdata=SimData(0, values=values, datatype=DataType.REGISTERS))
        server = ModbusTcpServer(device, address=("", PORTS["modbus"]))
        await server.serve_forever(background=True)
        registers: list[int] = server.context.devices[0].block["x"][2]  # type: ignore[union-attr]

        def state() -> State:
            now = list(registers)
            changed = {at // CELL_REGISTERS for at in range(PATTERN_AT) if now[at]}
            changed |= {at // CELL_REGISTERS for at in range(PATTERN_AT, len(values)) if now[at] != at}
            return {"changed": sorted(changed), "stopped": [], "reset": []}

        show(path, state)
        await asyncio.Event().wait()

    asyncio.run(serve())


def serve_s7comm(path: Path) -> None:
    """python-snap7: DB1 is written, DB2 read. A CPU that was stopped is noted with who did it, and started again."""
    from snap7.server import CPUState, Server
    from snap7.type import SrvArea

    stopped: list[int] = []
    written = bytearray(2 * CELLS)
    pattern = bytearray(at & 0xFF for at in range(2 * PATTERN_REGISTERS))

    class Cpu(Server):
        """The server as it is; behind a request it looks whether the CPU still runs."""

        def _process_request(self, request_data: bytes, client_address: tuple[str, int]) -> bytes | None:
            answer = super()._process_request(request_data, client_address)
            if self.cpu_state is not CPUState.RUN:
                stopped.append(client_address[1])
                self.cpu_state = CPUState.RUN
            return answer

    cpu = Cpu(log=False, max_clients=SNAP7_CLIENTS)
    cpu.register_area(SrvArea.DB, WRITTEN_DB, written)
    cpu.register_area(SrvArea.DB, PATTERN_DB, pattern)
    cpu.start(PORTS["s7comm"])
    assert cpu.server_socket is not None
    cpu.server_socket.listen(SNAP7_CLIENTS)  # its own backlog of 5 resets stations that come together
    show(path, lambda: {"changed": _nonzero(bytes(written)), "stopped": list(stopped), "reset": []})
    while cpu.running:
        time.sleep(POLL_S)
    raise SystemExit("the S7 server ended")


def _nonzero(written: bytes) -> list[int]:
    return sorted({at // 2 for at, byte in enumerate(written) if byte})


def serve_cip(path: Path) -> None:
    """cpppo: a tag and attributes that are written, a tag that is read, an identity that can be reset."""
    from cpppo.server.enip import device
    from cpppo.server.enip.main import main as enip_main

    reset: list[int] = []
    found: dict[str, Any] = {}

    class Kept(device.Attribute):  # type: ignore[misc]  # cpppo has no types
        """An attribute as it is, which can be found again."""

        def __init__(self, *words: Any, **named: Any) -> None:
            super().__init__(*words, **named)
            found[self.name] = self
            if self.name == PATTERN_TAG:
                self[:] = [at % 0x7FFF for at in range(len(self))]

    class Identity(device.Identity):  # type: ignore[misc]
        """The identity object with the service Reset (CIP Volume 1 clause 5A-2), which cpppo leaves out."""

        def request(self, data: Any, addr: Any = None) -> bool:
            if data.get("service") != CIP_RESET:
                return bool(super().request(data, addr=addr))
            reset.append(addr[1])
            data.service |= 0x80
            data.status = 0
            data.pop("service_code", None)
            data.input = bytearray(self.produce(data))
            return True

    def state() -> State:
        changed = {at for at, value in enumerate(list(found[TAG][:])) if value}
        changed |= {number for number in range(1, ATTRIBUTES) if _first(found[f"A{number}"])}
        return {"changed": sorted(changed), "stopped": [], "reset": list(reset)}

    show(path, state)
    tags = [f"{TAG}=INT[{CELLS}]", f"{PATTERN_TAG}=INT[{PATTERN_REGISTERS}]"]
    tags += [f"A{number}@{ATTRIBUTE_CLASS}/1/{number}=INT" for number in range(1, ATTRIBUTES)]
    logging.getLogger().setLevel(logging.ERROR)
    enip_main(
        ["--no-config", "--address", f"0.0.0.0:{PORTS['cip']}", *tags], attribute_class=Kept, identity_class=Identity
    )


def serve_logix(path: Path) -> None:
    """cm-ethernetip: a controller with the same tags. What it does not have it answers as CIP asks of a device."""
    from ethernetip.cip.identity_info import IdentityInfo
    from ethernetip.logix.logix_dispatcher import LogixDispatcher
    from ethernetip.protocol.eip_adapter import EipAdapter

    reset: list[int] = []

    class Controller(LogixDispatcher):
        """The controller as it is, which notes who was reset."""

        def dispatch(self, service_code: int, path: Any, data: bytes) -> Any:
            if service_code == CIP_RESET:
                reset.append(path.instance_id)
            return super().dispatch(service_code, path, data)

    async def serve() -> None:
        identity = IdentityInfo()
        controller = Controller(identity=identity)
        written = controller.tags.add_tag(TAG, CIP_INT, CELLS)
        controller.tags.add_tag(PATTERN_TAG, CIP_INT, PATTERN_REGISTERS).set_data(
            b"".join((at & 0x7FFF).to_bytes(2, "little") for at in range(PATTERN_REGISTERS))
        )
        await EipAdapter(controller, identity).listen("0.0.0.0", PORTS["logix"])
        show(path, lambda: {"changed": _nonzero(written.get_data()), "stopped": [], "reset": list(reset)})
        await asyncio.Event().wait()

    asyncio.run(serve())


def _first(attribute: Any) -> int:
    value = attribute[0] if len(attribute) == 1 else attribute[:][0]
    return int(value[0] if isinstance(value, list) else value)


SERVERS: Final[dict[str, Callable[[Path], None]]] = {
    "modbus": serve_modbus,
    "s7comm": serve_s7comm,
    "cip": serve_cip,
    "logix": serve_logix,
}


def main() -> None:
    """Serve until killed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("protocol", choices=SERVERS)
    parser.add_argument("--state", type=Path, required=True)
    given = parser.parse_args()
    SERVERS[given.protocol](given.state)


if __name__ == "__main__":
    main()
