"""The policy of the suite `inspection`: the same two hosts, a conduit and a port for every way to look inside.

In: nothing. Out: YAML in which each case of CASES is a conduit of its own, all enforced, none logged but by the case
that asks for its messages.
"""

from __future__ import annotations

import json
from typing import Any, Final

from bench.rig import NORTH, NORTH_PORT, SOUTH, SOUTH_PORT, Host

CLAUSES: Final = 8
CASES: Final = {  # and the port of each; the protocol is what stands before the first `_`
    "modbus": 1500,
    "modbus_read": 1501,
    "modbus_clauses": 1502,
    "modbus_messages": 1503,
    "s7comm": 1504,
    "s7comm_read": 1505,
    "cip": 1506,
    "cip_read": 1507,
}
INSPECTORS: Final = {"modbus": "modbus", "s7comm": "s7comm", "cip": "enip"}


def inspected_policy() -> str:
    """Return the policy as text (JSON is YAML)."""
    zones = {
        "north": {"kind": "supervisory", "ports": [NORTH_PORT], "prefixes": ["10.80.1.0/24"]},
        "south": {"kind": "control", "ports": [SOUTH_PORT], "prefixes": ["10.80.2.0/24"]},
    }
    ends = {"north-1": ("north", Host(NORTH, 1)), "south-1": ("south", Host(SOUTH, 1))}
    assets = {name: {"zone": zone, "macs": [host.mac], "ips": [host.ip]} for name, (zone, host) in ends.items()}
    site = {"name": "bench", "ceiling": "enforce", "default_stage": "enforce"}
    policy = {
        "version": 1,
        "site": site,
        "zones": zones,
        "assets": assets,
        "services": {case: _service(case, port) for case, port in CASES.items()},
        "conduits": {case: _conduit(case) for case in CASES},
    }
    return json.dumps(policy, indent=1)


def _service(case: str, port: int) -> dict[str, Any]:
    protocol, _, inspected = case.partition("_")
    service: dict[str, Any] = {"protocol": "tcp", "ports": [port]}
    return {**service, "inspect": INSPECTORS[protocol]} if inspected else service


def _conduit(case: str) -> dict[str, Any]:
    ends = {"from": {"asset": "north-1"}, "to": {"asset": "south-1"}, "services": [case]}
    return {**ends, "log": "none", "owner": "bench", "reason": "traffic of the bench", **inside(case)}


def inside(case: str) -> dict[str, Any]:
    """Return what a case asks of the messages; the last of the clauses is the one that permits."""
    match case.partition("_")[2]:
        case "read":
            return {"operations": ["read"]}
        case "clauses":
            others = [{"function": 3, "unit": 1, "address": f"{at}-{at + 99}"} for at in range(1000, 8000, 1000)]
            return {"constraints": {"modbus": [*others[: CLAUSES - 1], {"function": 3, "unit": 1, "address": "0-99"}]}}
        case "messages":
            return {"messages": "full"}
        case _:
            return {}
