"""One Modbus/TCP request from any host of the lab: an engineer's write, an attacker's write, a reading.

In: target, register, value. Out: one JSON line {"ok", "detail", "values", "took_ms"} and exit status 0, or 1 when
it failed. Must never retry: what the boundary did to one connection is the experiment. Runs in the asking host's
namespace.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from typing import Any, Final

from pymodbus import ModbusException
from pymodbus.client import ModbusTcpClient

from deploy.lab.plc import MODBUS_PORT

REQUEST_WITHIN_S: Final = 1.0


def request(host: str, port: int, register: int, value: int | None, within_s: float) -> dict[str, Any]:
    """Read a holding register, or write it if there is a value; never raises for what the network does."""
    began = time.monotonic()
    outcome = _ask(ModbusTcpClient(host, port=port, timeout=within_s, retries=0), register, value)
    return outcome | {"took_ms": (time.monotonic() - began) * 1000}


def _ask(client: ModbusTcpClient, register: int, value: int | None) -> dict[str, Any]:
    try:
        if not client.connect():
            return {"ok": False, "detail": "no connection", "values": []}
        if value is None:
            answer = client.read_holding_registers(register, count=1)
        else:
            answer = client.write_register(register, value)
        if answer.isError():
            return {"ok": False, "detail": str(answer), "values": []}
        return {"ok": True, "detail": "answered", "values": list(answer.registers)}
    except (ModbusException, OSError) as error:
        return {"ok": False, "detail": f"{type(error).__name__}: {error}", "values": []}
    finally:
        client.close()


def main() -> int:
    """Parse the command line, ask once, print the outcome."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--host", required=True)
    parser.add_argument("--port", type=int, default=MODBUS_PORT)
    parser.add_argument("--register", type=int, required=True)
    parser.add_argument("--write", type=int, default=None, metavar="VALUE")
    parser.add_argument("--within-s", type=float, default=REQUEST_WITHIN_S)
    given = parser.parse_args()
    outcome = request(given.host, given.port, given.register, given.write, given.within_s)
    print(json.dumps(outcome))
    return 0 if outcome["ok"] else 1


if __name__ == "__main__":
    sys.exit(main())
