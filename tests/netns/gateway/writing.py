"""A maintenance station that writes to a controller as often as it can, over one connection for as long as that lives.

`python writing.py HOST SECONDS`: real pymodbus; says at its end how many connections it made and what was answered.
What reached the controller is for the controller to say.
"""

from __future__ import annotations

import json
import sys
import time

from pymodbus import ModbusException
from pymodbus.client import ModbusTcpClient

SETPOINT = 10
EVERY_S = 0.01
ANSWER_WITHIN_S = 0.1


def main(host: str, seconds: float) -> None:
    """Write until time is up."""
    end = time.monotonic() + seconds
    tried = answered = connections = 0
    client: ModbusTcpClient | None = None
    while time.monotonic() < end:
        if client is None:
            client = ModbusTcpClient(host, timeout=ANSWER_WITHIN_S, retries=0)
            if not client.connect():
                client = None
                continue
            connections += 1
        tried += 1
        try:
            answered += not client.write_register(SETPOINT, 1 + tried % 4000).isError()
        except (ModbusException, OSError):
            client.close()
            client = None
        time.sleep(EVERY_S)
    print(json.dumps({"tried": tried, "answered": answered, "connections": connections}))


if __name__ == "__main__":
    main(sys.argv[1], float(sys.argv[2]))
