"""A large site as an integrator would write it: cells, control rooms, engineering, and who may talk to whom.

In: how many zones. Out: the plain sections of a policy, the same every time: 100 assets and 10 conduits a zone, named
by zone, role, asset and prefix. Every 25 zones are an area: a control room, an engineering room and 23 cells; ten zones
share a trunk port, one VLAN each. `bundle` gives the files that a plant would keep: text and spreadsheet. Used by the
suite `compile`.
"""

from __future__ import annotations

import csv
import io
import json
from typing import Any, Final

from rules.bundle import Bundle

AREA: Final = 25  # zones
ASSETS_A_ZONE: Final = 100
CONDUITS_A_ZONE: Final = 10
ZONES_A_PORT: Final = 10
PLCS, DRIVES, PANELS = 20, 15, 5  # of a cell's assets; the others are remote I/O
ROOM_ROLES: Final = (*("scada", "historian"), *(["operator-station"] * 18), *(["office"] * 80))
BENCH_ROLES: Final = (*("backup", "ntp", "syslog", "jump-host"), *(["ews"] * 16), *(["test-rig"] * 80))
CELL_ROLES: Final = (*(["plc"] * PLCS), *(["drive"] * DRIVES), *(["hmi"] * PANELS), *(["io"] * 60))

COLUMNS: Final = ("zone", "function", "macs", "ips", "roles", "behind", "vendor")
SHEET: Final = "assets.csv"

Sections = dict[str, Any]


def zone_name(zone: int) -> str:
    """Return a zone's name from its number (from 0)."""
    place = zone % AREA
    return f"area{zone // AREA}-" + ("room" if place == 0 else "engineering" if place == 1 else f"cell{place}")


def asset_name(zone: int, host: int) -> str:
    """Return an asset's name from its zone's number and its own place there (from 0)."""
    return f"{zone_name(zone)}-{_roles(zone)[host]}-{host}"


def sections(zones: int) -> Sections:
    """Return the site's sections as `rules.tree` would read them."""
    return {
        "version": 1,
        "site": {"name": "large", "ceiling": "enforce", "default_stage": "enforce"},
        "zones": {zone_name(zone): _zone(zone) for zone in range(zones)},
        "assets": {
            asset_name(zone, host): _asset(zone, host) for zone in range(zones) for host in range(ASSETS_A_ZONE)
        },
        "conduits": {name: conduit for zone in range(zones) for name, conduit in _conduits(zone, zones)},
        "denials": [{"from": [zone_name(0)], "to": ["*"], "stage": "alert"}],
    }


def bundle(zones: int) -> Bundle:
    """Return the site as files: zones and conduits a line each, the assets as a spreadsheet."""
    found = sections(zones)
    sheet = io.StringIO()
    rows = csv.writer(sheet)
    rows.writerow(("name", *COLUMNS))
    for name, asset in found.pop("assets").items():
        cells = (asset.get(column, "") for column in COLUMNS)
        rows.writerow((name, *(" ".join(cell) if isinstance(cell, list) else cell for cell in cells)))
    lines = [f"{name}: {json.dumps(found.pop(name))}" for name in ("version", "site", "denials")]
    for section, entries in found.items():
        lines += [f"{section}:", *(f"  {name}: {json.dumps(entry)}" for name, entry in entries.items())]
    text = "\n".join([*lines, f"inventory: {SHEET}"]) + "\n"
    return Bundle("site.yaml", text, {SHEET: sheet.getvalue().encode()})


def _roles(zone: int) -> tuple[str, ...]:
    return ROOM_ROLES if zone % AREA == 0 else BENCH_ROLES if zone % AREA == 1 else CELL_ROLES


def _network(zone: int) -> str:
    return f"10.{zone >> 8}.{zone & 0xFF}"


def _zone(zone: int) -> Sections:
    kind = ("supervisory", "engineering")[zone % AREA] if zone % AREA < 2 else "control"
    return {
        "kind": kind,
        "ports": [f"trunk{zone // ZONES_A_PORT}"],
        "vlans": [100 + zone % ZONES_A_PORT],
        "prefixes": [f"{_network(zone)}.0/24"],
        "sl_t": 2,
    }


def _asset(zone: int, host: int) -> Sections:
    number = zone * ASSETS_A_ZONE + host
    role = _roles(zone)[host]
    found: Sections = {
        "zone": zone_name(zone),
        "function": f"{role} {host}",
        "macs": [f"02:0c:{number >> 24:02x}:{number >> 16 & 255:02x}:{number >> 8 & 255:02x}:{number & 255:02x}"],
        "ips": [f"{_network(zone)}.{host + 10}"],
        "roles": [role],
        "vendor": "Example Automation",
    }
    if role == "io" and host % 20 == 0:  # behind its controller, without a MAC that the gateway sees
        found |= {"macs": [], "behind": asset_name(zone, host % PLCS)}
    return found


def _conduits(zone: int, zones: int) -> list[tuple[str, Sections]]:
    """Return ten conduits whose target, or source, is this zone; rooms and cells differ."""
    area = zone - zone % AREA
    room, bench = zone_name(area), zone_name(min(area + 1, zones - 1))
    here = zone_name(zone)
    if zone % AREA < 2:
        cells = [zone_name(cell) for cell in range(area + 2, min(area + AREA, zones))] or [here]
        found = [
            (
                f"{here}-{index}",
                {"zone": here, "role": role},
                {"zone": cells[index * 2 % len(cells)], "role": "hmi"},
                name,
            )
            for index, (role, name) in enumerate(
                zip(dict.fromkeys(_roles(zone)), ("vnc", "https", "rdp", "ssh", "http"), strict=False)
            )
        ]
        other = zone_name((zone + AREA) % zones)
        found += [
            (f"{here}-peer{index}", {"asset": asset_name(zone, index)}, {"zone": other, "role": role}, name)
            for index, (role, name) in enumerate(
                zip(dict.fromkeys(_roles((zone + AREA) % zones)), ("https", "ssh", "dns", "smb", "ldap"), strict=False)
            )
        ]
        found += [
            (f"{here}-range{index}", {"prefix": f"{_network(zone)}.{index * 64}/26"}, {"zone": cells[-1]}, "snmp")
            for index in range(CONDUITS_A_ZONE - len(found))
        ]
    else:
        scada = asset_name(area, 0)
        found = [
            (f"{here}-poll", {"asset": scada}, {"zone": here, "role": "plc"}, ["modbus", "s7"]),
            (f"{here}-history", {"asset": asset_name(area, 1)}, {"zone": here, "role": "plc"}, "opcua"),
            (f"{here}-operate", {"zone": room, "role": "operator-station"}, {"zone": here, "role": "hmi"}, "https"),
            (
                f"{here}-program",
                {"zone": bench, "role": "ews"},
                {"zone": here, "role": ["plc", "drive"]},
                ["s7", "enip"],
            ),
            (f"{here}-backup", {"asset": asset_name(min(area + 1, zones - 1), 0)}, {"zone": here}, "ssh"),
            (f"{here}-time", {"zone": here}, {"asset": asset_name(min(area + 1, zones - 1), 1)}, "ntp"),
            (f"{here}-log", {"zone": here}, {"asset": asset_name(min(area + 1, zones - 1), 2)}, "syslog"),
            (f"{here}-jump", {"asset": asset_name(min(area + 1, zones - 1), 3)}, {"zone": here, "role": "hmi"}, "rdp"),
            (f"{here}-watch", {"zone": room, "role": "office"}, {"prefix": f"{_network(zone)}.0/26"}, ["snmp", "echo"]),
            (f"{here}-next", {"asset": asset_name(zone, 0)}, {"asset": asset_name((zone + 1) % zones, 0)}, "modbus"),
        ]
    return [(name, _conduit(source, target, services)) for name, source, target, services in found]


def _conduit(source: Sections, target: Sections, services: Any) -> Sections:
    return {"from": source, "to": target, "services": services, "owner": "plant", "reason": "operation"}
