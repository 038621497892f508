"""A policy and a frame in the plainest form: what the generators make and the slow twin judges by.

In: nothing of rules/ or fastpath/ but the stage numbers. Out: frozen records of names, numbers and lists, with no
precedence, class or table in them. Must never borrow the product's own model: the twin's worth is its independence.
`tests/support/policies.py` renders a `PlainPolicy` to the operator's YAML, which the product then loads by itself.
"""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass, field
from typing import NamedTuple

from fastpath.abi import Reason, Stage, Verdict


class Address(NamedTuple):
    """An IP address: version 4 or 6 and its value."""

    version: int
    value: int

    def __str__(self) -> str:
        kind = ipaddress.IPv4Address if self.version == 4 else ipaddress.IPv6Address
        return str(kind(self.value))

    @property
    def bits(self) -> int:
        """32 or 128."""
        return 32 if self.version == 4 else 128

    @property
    def packed(self) -> bytes:
        """Network byte order."""
        return self.value.to_bytes(self.bits // 8, "big")

    @property
    def is_multicast(self) -> bool:
        """224.0.0.0/4 or ff00::/8."""
        return self.value >> 28 == 0xE if self.version == 4 else self.value >> 120 == 0xFF


class Prefix(NamedTuple):
    """An IP prefix, host bits zero."""

    version: int
    value: int
    length: int

    def __str__(self) -> str:
        return f"{Address(self.version, self.value)}/{self.length}"

    def holds(self, address: Address) -> bool:
        """Tell whether the address lies in the prefix."""
        shift = address.bits - self.length
        return self.version == address.version and self.value >> shift == address.value >> shift

    def covers(self, other: Prefix) -> bool:
        """Tell whether the other prefix lies in this one."""
        return self.length <= other.length and self.holds(Address(other.version, other.value))


def address(text: str) -> Address:
    """Read an address from its usual text."""
    read = ipaddress.ip_address(text)
    return Address(read.version, int(read))


def prefix(text: str) -> Prefix:
    """Read a prefix from its usual text."""
    read = ipaddress.ip_network(text)
    return Prefix(read.version, int(read.network_address), read.prefixlen)


def mac(text: str) -> bytes:
    """Read a MAC address from its colon form."""
    return bytes.fromhex(text.replace(":", ""))


@dataclass(frozen=True)
class Zone:
    """A zone: its ports, its VLANs (none: untagged), its prefixes, its address space."""

    name: str
    ports: tuple[str, ...]
    vlans: tuple[int, ...] = ()
    prefixes: tuple[Prefix, ...] = ()
    space: str = ""


@dataclass(frozen=True)
class Asset:
    """An asset of one zone."""

    name: str
    zone: str
    macs: tuple[bytes, ...] = ()
    ips: tuple[Address, ...] = ()
    roles: tuple[str, ...] = ()
    behind: str | None = None


@dataclass(frozen=True)
class Service:
    """Ranges of one named service: (number space, first, last); spaces as in `rules.records.ServiceKind`."""

    name: str
    ranges: tuple[tuple[str, int, int], ...]


@dataclass(frozen=True)
class Selector:
    """Whom a conduit means: any of each list, all of the lists that are not empty; or group addresses alone."""

    zones: tuple[str, ...] = ()
    roles: tuple[str, ...] = ()
    assets: tuple[str, ...] = ()
    prefixes: tuple[Prefix, ...] = ()
    group_ips: tuple[Address, ...] = ()
    group_macs: tuple[bytes, ...] = ()


class Rate(NamedTuple):
    """So many in a unit of time, and so many at once."""

    number: int
    unit_ns: int
    burst: int


@dataclass(frozen=True)
class Limit:
    """How much a conduit carries, as a whole and from each source; None: as much as comes."""

    packets: Rate | None = None
    flows: Rate | None = None
    source_packets: Rate | None = None
    source_flows: Rate | None = None


@dataclass(frozen=True)
class Conduit:
    """A permitted path."""

    name: str
    source: Selector
    destination: Selector
    services: tuple[Service, ...]
    stage: Stage = Stage.ENFORCE
    enabled: bool = True
    fail: str = "static"
    limit: Limit | None = None
    via: str | None = None  # the jump host asset
    windows: tuple[str, ...] = ()
    requires: tuple[str, ...] = ()

    @property
    def opener(self) -> Selector:
        """Who opens on the wire: the page says that with `via` it reads as if `from` were the jump host."""
        return self.source if self.via is None else Selector(assets=(self.via,))

    @property
    def open_at_first(self) -> bool:
        """Whether it is open when the policy comes into force."""
        return self.enabled and not self.windows and not self.requires


@dataclass(frozen=True)
class PlainPolicy:
    """A whole policy; `pair_stages` by ordered pair of zone names, others have `default_stage`."""

    zones: tuple[Zone, ...]
    assets: tuple[Asset, ...]
    conduits: tuple[Conduit, ...]
    ceiling: Stage = Stage.ENFORCE
    default_stage: Stage = Stage.ENFORCE
    pair_stages: dict[tuple[str, str], Stage] = field(default_factory=dict)
    refuse: bool = False


@dataclass(frozen=True)
class Frame:
    """A frame about to leave the bridge by one port. `payload` starts at the network header (padding included)."""

    in_port: str
    out_port: str
    vlan: int  # id of the outer tag; 0: none, or priority tagged
    source_mac: bytes
    destination_mac: bytes | None  # None: interception cannot see it
    ethertype: int
    payload: bytes
    about: str = ""  # what the generator meant, for people
    priority_tagged: bool = False  # a tag of VLAN id 0 was taken off

    @property
    def tagged(self) -> bool:
        """Whether a tag was taken off before the payload begins."""
        return self.vlan != 0 or self.priority_tagged


class Answer(NamedTuple):
    """What a frame gets. Zones are those of its ports; None is "unknown"."""

    policy_verdict: Verdict
    verdict: Verdict
    reason: Reason
    conduit: str | None
    source_zone: str | None
    destination_zone: str | None
