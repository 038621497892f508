"""One S7 request from any host of the lab, with a real client: read a data block, write its dose, or stop the CPU.

In: target, what to ask, and the dose to write. Out: one JSON line {"ok", "detail", "values", "took_ms"} and exit
status 0, or 1 when it failed. Must never retry: what the boundary did to one connection is the experiment. Runs in the
asking host's namespace.
"""

from __future__ import annotations

import argparse
import json
import logging
import sys
import time
from typing import Any, Final

from snap7.client import Client
from snap7.error import S7Error

from deploy.lab.s7_controller import DATA_BLOCK, DOSE, RECIPE, S7_PORT

RACK, SLOT = 0, 1
REQUESTS: Final = ("read", "write", "stop")


def request(host: str, port: int, what: str, value: int) -> dict[str, Any]:
    """Connect and ask once; never raises for what the network does."""
    logging.getLogger("snap7").setLevel(logging.CRITICAL)
    client = Client()
    values: list[int] = []
    asked = time.monotonic()
    try:
        client.connect(host, RACK, SLOT, port)
        asked = time.monotonic()
        if what == "read":
            values = list(client.db_read(DATA_BLOCK, 0, len(RECIPE)))
        elif what == "write":
            client.db_write(DATA_BLOCK, DOSE, bytearray(value.to_bytes(2)))
        else:
            client.plc_stop()
    except (S7Error, OSError) as error:
        return {"ok": False, "detail": f"{type(error).__name__}: {error}", "values": [], "took_ms": _since_ms(asked)}
    finally:
        client.disconnect()
    return {"ok": True, "detail": "answered", "values": values, "took_ms": _since_ms(asked)}


def _since_ms(moment: float) -> float:
    return (time.monotonic() - moment) * 1000


def main() -> int:
    """Parse the command line, ask once, print the outcome."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--host", required=True)
    parser.add_argument("--port", type=int, default=S7_PORT)
    parser.add_argument("what", choices=REQUESTS)
    parser.add_argument("--value", type=int, default=0, help="the dose to write")
    given = parser.parse_args()
    outcome = request(given.host, given.port, given.what, given.value)
    print(json.dumps(outcome))
    return 0 if outcome["ok"] else 1


if __name__ == "__main__":
    sys.exit(main())
