"""The policy that conduitd judges by in the traffic suites, and the same permits for the Python subjects.

In: how much the benchmark's own conduits log. Out: YAML of six zones, about 200 assets and 100 conduits: a small plant,
of which the traffic uses three conduits. Everything is staged enforce. Costs against policy size are the suite
`classify`'s question, not this one's.
"""

from __future__ import annotations

import json
from typing import Final, Literal

from bench import traffic
from bench.rig import NORTH, NORTH_PORT, SOUTH, SOUTH_PORT, Host

HOSTS_EACH: Final = 29
OTHER_ZONES: Final = {"cell-1": (NORTH_PORT, 101), "cell-2": (NORTH_PORT, 102), "cell-3": (SOUTH_PORT, 103)}
LAST_ZONE: Final = ("cell-4", (SOUTH_PORT, 104))
ASSETS_IN_A_CELL: Final = 36
CELL_CONDUITS: Final = 97
Log = Literal["none", "flow", "all"]


def name(host: Host) -> str:
    """Return the asset's name."""
    return f"{'north' if host.side == NORTH else 'south'}-{host.number}"


def policy_yaml(log: Log = "none") -> str:
    """Return the policy as text (JSON is YAML)."""
    cells = {**OTHER_ZONES, LAST_ZONE[0]: LAST_ZONE[1]}
    zones: dict[str, object] = {
        "north": {"kind": "supervisory", "ports": [NORTH_PORT], "prefixes": ["10.80.1.0/24"]},
        "south": {"kind": "control", "ports": [SOUTH_PORT], "prefixes": ["10.80.2.0/24"]},
    }
    assets: dict[str, object] = {}
    for side in (NORTH, SOUTH):
        for host in (Host(side, number) for number in range(1, HOSTS_EACH + 1)):
            zone = "north" if side == NORTH else "south"
            assets[name(host)] = {"zone": zone, "macs": [host.mac], "ips": [host.ip]}
    for at, (cell, (port, vlan)) in enumerate(cells.items(), 3):
        zones[cell] = {"kind": "control", "ports": [port], "vlans": [vlan], "prefixes": [f"10.80.{at}.0/24"]}
        for number in range(1, ASSETS_IN_A_CELL + 1):
            mac = f"02:00:0a:50:{at:02x}:{number:02x}"
            assets[f"{cell}-{number}"] = {"zone": cell, "macs": [mac], "ips": [f"10.80.{at}.{number}"]}
    services = {
        "bench-polls": {"protocol": "udp", "ports": list(traffic.POLL_PORTS)},
        "bench-echo": {"protocol": "udp", "ports": [traffic.ECHO_PORT]},
        "bench-bulk": {"protocol": "tcp", "ports": [traffic.BULK_PORT]},
    }
    ends = {"from": {"asset": name(Host(NORTH, 1))}, "to": {"asset": name(Host(SOUTH, 1))}}
    polls = {
        "from": {"asset": [name(Host(NORTH, number)) for number in traffic.HOSTS_A_SIDE]},
        "to": {"asset": [name(Host(SOUTH, number)) for number in traffic.HOSTS_A_SIDE]},
        "services": ["bench-polls"],
    }
    why = {"owner": "bench", "reason": "traffic of the bench"}
    conduits = {
        "polls": {**polls, **why, "log": log},
        "echo": {**ends, "services": ["bench-echo"], **why, "log": log},
        "bulk": {**ends, "services": ["bench-bulk"], **why, "log": log},
    }
    names = list(cells)
    for number in range(CELL_CONDUITS):
        near, far = names[number % 4], names[(number + 1 + number // 4 % 3) % 4]
        one = {"asset": f"{near}-{number % ASSETS_IN_A_CELL + 1}"}
        other = {"asset": f"{far}-{number * 7 % ASSETS_IN_A_CELL + 1}"}
        conduits[f"cell-{number}"] = {"from": one, "to": other, "services": ["modbus"], **why}
    site = {"name": "bench", "ceiling": "enforce", "default_stage": "enforce"}
    policy = {"version": 1, "site": site, "zones": zones, "assets": assets, "services": services, "conduits": conduits}
    return json.dumps(policy, indent=1)


def python_policy() -> str:
    """Return what the Python subjects look up: address → [class, MAC]; permits (class, class, protocol, port)."""
    endpoints = {
        Host(side, number).ip: [0, Host(side, number).mac] for side in (NORTH, SOUTH) for number in range(2, 30)
    }
    for at, side in enumerate((NORTH, SOUTH)):
        for number in traffic.HOSTS_A_SIDE:
            endpoints[Host(side, number).ip][0] = 1 + at
        endpoints[Host(side, 1).ip] = [3 + at, Host(side, 1).mac]
    permits = [[1, 2, 17, port] for port in traffic.POLL_PORTS]
    permits += [[3, 4, 17, traffic.ECHO_PORT], [3, 4, 6, traffic.BULK_PORT]]
    return json.dumps({"endpoints": endpoints, "permits": permits})
