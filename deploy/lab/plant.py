"""The water works as facts: zones with their gateway ports, hosts with their addresses.

In: nothing. Out: `ZONES`, `HOSTS` and look-ups by name, the same facts as rules/examples/water-works.yaml
(tests/netns/lab compares the two). Must never touch the kernel: the topology, the demo and the tests read it.

    office-pc ─┐                                                              ┌─ hmi-1
    office-    ├─ ent0 ┐                                              ┌ sup0 ─┼─ hmi-2
    laptop    ─┘       │                                              │       └─ scada-server
    historian-dmz ─ dmz0 ┼──────────── gw: bridge, conduitd ──────────┼ ctl0 ─┬─ plc-1
    eng-laptop ──── eng0 ┘                                            │       └─ plc-2
                                                                      └ saf0 ─── safety-plc
"""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import IPv4Address
from typing import Final

PREFIX_LENGTH4: Final = 16  # one flat subnet: the gateway is a bump in the wire, nobody is readdressed
PREFIX_LENGTH6: Final = 64


@dataclass(frozen=True, slots=True)
class LabZone:
    """A zone and the gateway port behind which it lives; `octet` is the third one of its IPv4 prefix."""

    name: str
    port: str
    octet: int


@dataclass(frozen=True, slots=True)
class LabHost:
    """A host with one interface; every address follows from the zone's octet and its own."""

    name: str
    zone: str
    octet: int
    host: int

    @property
    def ip4(self) -> str:
        """Return the IPv4 address."""
        return f"10.20.{self.octet}.{self.host}"

    @property
    def ip6(self) -> str:
        """Return the IPv6 address; its last groups are written with the IPv4 address's decimal digits."""
        return f"fd20::{self.octet}:{self.host}"

    @property
    def mac(self) -> str:
        """Return the MAC: locally administered, then the bytes of the IPv4 address."""
        return f"02:00:0a:14:{self.octet:02x}:{self.host:02x}"

    @property
    def mac_bytes(self) -> bytes:
        """Return the MAC as six bytes."""
        return bytes.fromhex(self.mac.replace(":", ""))

    @property
    def ip4_bytes(self) -> bytes:
        """Return the IPv4 address in network order."""
        return IPv4Address(self.ip4).packed


ZONES: Final = (
    LabZone("enterprise", "ent0", 10),
    LabZone("dmz", "dmz0", 20),
    LabZone("engineering", "eng0", 30),
    LabZone("supervisory", "sup0", 40),
    LabZone("control", "ctl0", 50),
    LabZone("safety", "saf0", 60),
)

HOSTS: Final = (
    LabHost("office-pc", "enterprise", 10, 10),
    LabHost("office-laptop", "enterprise", 10, 66),
    LabHost("historian-dmz", "dmz", 20, 10),
    LabHost("eng-laptop", "engineering", 30, 10),
    LabHost("hmi-1", "supervisory", 40, 10),
    LabHost("hmi-2", "supervisory", 40, 11),
    LabHost("scada-server", "supervisory", 40, 20),
    LabHost("plc-1", "control", 50, 10),
    LabHost("plc-2", "control", 50, 11),
    LabHost("safety-plc", "safety", 60, 10),
)

PORTS: Final = tuple(zone.port for zone in ZONES)
ATTACKER: Final = "office-laptop"


def host(name: str) -> LabHost:
    """Return a host by name. Raises KeyError with the names that exist."""
    for candidate in HOSTS:
        if candidate.name == name:
            return candidate
    raise KeyError(f"no host {name!r} in the lab; there are: {', '.join(h.name for h in HOSTS)}")


def hosts_of(zone: LabZone) -> tuple[LabHost, ...]:
    """Return the hosts of a zone."""
    return tuple(candidate for candidate in HOSTS if candidate.zone == zone.name)
