"""Plants of any size, without a text: the policy as objects, and who may talk to whom in it.

In: a number of conduits. Out: a checked-in-form `Policy` (pydantic, as `load` would give it) and its talks, from the
same seed every time. YAML would do as well and take 80 s for 100,000 assets. Assets: ten a conduit, at most 100,000, in
zones of one /16 and one port each, every one with an address and a MAC. Conduits join one role with another over one
service. Used by the suites `classify` and `memory` and by the instruction guard.
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from ipaddress import IPv4Address
from typing import TYPE_CHECKING, Any, Final

from fastpath.abi import Stage
from rules.image import build_image
from rules.lower import lower
from rules.model import Policy
from rules.state import build_state

if TYPE_CHECKING:
    from collections.abc import Iterator

SEED: Final = 62443
MAX_ASSETS: Final = 100_000
MAX_ZONES: Final = 200  # each has a port of its own, and ports are at most 255
FIRST_IFINDEX: Final = 10
CONDUITS_A_ROLE: Final = 5
SERVICES: Final = {f"service-{port}": ("tcp" if port % 2 else "udp", port) for port in range(20001, 20017)}
UNNAMED_PORT: Final = 30000  # of no service


@dataclass(frozen=True, slots=True)
class Asset:
    """One device of the plant."""

    number: int
    zone: int  # from 0
    host: int  # place in its zone, from 0

    @property
    def ip(self) -> IPv4Address:
        """10.zone.x.y, from 10.zone.1.0 on."""
        return IPv4Address((10 << 24) + (self.zone << 16) + 256 + self.host)

    @property
    def mac(self) -> bytes:
        """Locally administered, from the number."""
        return bytes((2, 0x0C)) + self.number.to_bytes(4, "big")

    @property
    def ifindex(self) -> int:
        """Of the port of its zone."""
        return FIRST_IFINDEX + self.zone


@dataclass(frozen=True, slots=True)
class Talk:
    """One conversation that a conduit permits: `source` opens it."""

    source: Asset
    destination: Asset
    protocol: str
    port: int


@dataclass(frozen=True, slots=True)
class Plant:
    """A policy and what lives in it."""

    policy: Policy
    zone_count: int
    roles: list[list[Asset]]
    joined: list[tuple[int, int, str]]  # (source role, destination role, service) by conduit

    def talks(self, chance: random.Random) -> Iterator[Talk]:
        """Yield permitted conversations for ever, every conduit alike."""
        while True:
            source, destination, service = chance.choice(self.joined)
            yield Talk(chance.choice(self.roles[source]), chance.choice(self.roles[destination]), *SERVICES[service])

    def foreign(self, chance: random.Random) -> Iterator[Talk]:
        """Yield conversations between known assets of different zones that no conduit permits."""
        permitted = set(self.joined)
        services = [*SERVICES, None]
        while True:
            source, destination = chance.randrange(len(self.roles)), chance.randrange(len(self.roles))
            service = chance.choice(services)
            here, there = chance.choice(self.roles[source]), chance.choice(self.roles[destination])
            if here.zone != there.zone and (source, destination, service) not in permitted:
                yield Talk(here, there, *(SERVICES[service] if service else ("udp", UNNAMED_PORT)))

    def compiled(self, generation: int = 1) -> tuple[bytes, bytearray]:
        """Return image and state, every port present, the ceiling at enforce."""
        lowered = lower(self.policy)
        ports = {f"z{zone}": FIRST_IFINDEX + zone for zone in range(self.zone_count)}
        return build_image(lowered, generation), build_state(lowered, generation, ports, ceiling=Stage.ENFORCE)


def plant(conduits: int, assets: int | None = None, *, inspected: bool = False) -> Plant:
    """Return the plant of a size; `assets` defaults to ten a conduit, at most MAX_ASSETS.

    inspected: its TCP services are Modbus, and all that their messages may do is read.
    """
    chance = random.Random(SEED + conduits)
    count = min(10 * conduits, MAX_ASSETS) if assets is None else assets
    role_count = min(max(4, conduits // CONDUITS_A_ROLE), count // 2)
    zone_count = min(role_count, MAX_ZONES)
    roles: list[list[Asset]] = [[] for _ in range(role_count)]
    inhabitants = [0] * zone_count
    for number in range(count):
        role = number % role_count
        zone = role % zone_count
        roles[role].append(Asset(number, zone, inhabitants[zone]))
        inhabitants[zone] += 1
    joined = _joined(chance, conduits, role_count, zone_count)
    return Plant(_policy(roles, joined, zone_count, inspected=inspected), zone_count, roles, joined)


def _joined(chance: random.Random, conduits: int, role_count: int, zone_count: int) -> list[tuple[int, int, str]]:
    names = list(SERVICES)
    found: dict[tuple[int, int, str], None] = {}
    while len(found) < conduits:
        source, destination = chance.randrange(role_count), chance.randrange(role_count)
        if source % zone_count != destination % zone_count:
            found[source, destination, chance.choice(names)] = None
    return list(found)


def _policy(
    roles: list[list[Asset]], joined: list[tuple[int, int, str]], zone_count: int, *, inspected: bool
) -> Policy:
    inspects = {name for name, (kind, _) in SERVICES.items() if inspected and kind == "tcp"}
    sections: dict[str, Any] = {
        "version": 1,
        "site": {"name": "bench", "ceiling": "enforce", "default_stage": "enforce"},
        "zones": {
            f"zone-{zone}": {"kind": "control", "ports": [f"z{zone}"], "prefixes": [f"10.{zone}.0.0/16"]}
            for zone in range(zone_count)
        },
        "assets": {
            f"asset-{asset.number}": {
                "zone": f"zone-{asset.zone}",
                "macs": [asset.mac],
                "ips": [asset.ip],
                "roles": [f"role-{role}"],
            }
            for role, members in enumerate(roles)
            for asset in members
        },
        "services": {
            name: {"protocol": kind, "ports": [port]} | ({"inspect": "modbus"} if name in inspects else {})
            for name, (kind, port) in SERVICES.items()
        },
        "conduits": {
            f"conduit-{order}": {
                "from": {"role": [f"role-{source}"]},
                "to": {"role": [f"role-{destination}"]},
                "services": [service],
                "log": "none",
            }
            | ({"operations": ["read"]} if service in inspects else {})
            for order, (source, destination, service) in enumerate(joined)
        },
    }
    return Policy.model_validate(sections)
