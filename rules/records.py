"""The lowered policy: flat, ordered, numbered records with every question of precedence already answered.

In: produced by `lower`. Out: read by `image` (bytes for the engine), `static` (nft sets for the kernel) and `digest`.
Both compilations start here and nowhere else, which is what keeps the engine and the kernel's fallback equal.
Must never hold a name lookup, a clock or anything that differs between two runs on the same policy text.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum
from typing import TYPE_CHECKING, NamedTuple

from fastpath.abi import FailMode, Inspector, LogMode, MessageLog, Operation, Protocol, RefuseMode, Stage

if TYPE_CHECKING:
    from collections.abc import Mapping
    from collections.abc import Set as AbstractSet


class ServiceKind(Enum):
    """Which number space a service range lives in."""

    TCP = "tcp"  # destination port
    UDP = "udp"
    IP = "ip"  # IP protocol number, any but TCP, UDP, ICMP, ICMPv6
    ICMP4 = "icmp4"  # ICMP type
    ICMP6 = "icmp6"
    ETHERTYPE = "ethertype"


@dataclass(frozen=True, slots=True)
class ZoneRecord:
    """A zone. Number 0 is reserved for "belongs to no zone" and has no record."""

    number: int
    name: str
    kind: str
    space: int  # address space: endpoints of different spaces may share an address


@dataclass(frozen=True, slots=True)
class PortRecord:
    """A bridge port by interface name; numbers start at 1."""

    number: int
    name: str


@dataclass(frozen=True, slots=True)
class PortZone:
    """Frames on this port with this VLAN (0 = untagged) belong to this zone."""

    port: int
    vlan: int
    zone: int


class EndpointRecord(NamedTuple):
    """An address or prefix and the endpoint class it belongs to.

    `address` is 16 bytes (IPv4 as ::ffff:a.b.c.d), masked; the longest match wins and carries every conduit
    membership of the shorter ones that also apply.
    """

    address: bytes
    prefix_length: int  # 0..128
    space: int
    zone: int  # 0 only for group addresses, which live behind every port
    asset: int | None  # None: an unlisted address of a zone's prefix
    mac_asset: int | None  # whose MACs the frame must carry; None: not checked
    klass: int  # 0: no conduit names it
    anywhere: bool = False


class MacRecord(NamedTuple):
    """A MAC address (or group MAC) and the endpoint class that frames without IP have by it."""

    mac: bytes  # 6 bytes
    space: int
    zone: int  # 0 for group MACs
    asset: int | None
    klass: int
    anywhere: bool = False


@dataclass(frozen=True, slots=True)
class ServiceRange:
    """Numbers that every conduit treats alike. Ranges of one kind are disjoint and sorted."""

    kind: ServiceKind
    first: int
    last: int  # inclusive
    klass: int  # >= FIRST_SERVICE_CLASS


class RuleRecord(NamedTuple):
    """(source class, destination class, service class) → the conduits that permit it, most specific first.

    The first conduit that is open permits the frame. `service_class` SERVICE_NEIGHBOUR stands for ARP and neighbour
    discovery, granted in both directions to every pair of IP endpoint classes that any conduit joins.
    """

    source_class: int
    destination_class: int
    service_class: int
    conduits: tuple[int, ...]  # slots


@dataclass(frozen=True, slots=True)
class LimitRecord:
    """What a conduit carries at most: one per interval and so much time's worth at once; interval 0 = unlimited."""

    packet_interval_ns: int = 0
    packet_burst_ns: int = 0
    flow_interval_ns: int = 0
    flow_burst_ns: int = 0
    source_packet_interval_ns: int = 0
    source_packet_burst_ns: int = 0
    source_flow_interval_ns: int = 0
    source_flow_burst_ns: int = 0


class RangeRecord(NamedTuple):
    """Numbers that a field of an access may have, both ends included."""

    field: int  # its place in abi.FIELD_NAMES of the clause's protocol
    low: int
    high: int


class ClauseRecord(NamedTuple):
    """One alternative of a profile: an access matches when every field named here lies in one of its ranges."""

    protocol: Protocol
    operations: frozenset[Operation]
    ranges: tuple[RangeRecord, ...]  # sorted; none of a field within another
    step: int = 0  # largest difference from the last value at the same place; 0 = any
    rate_interval_ns: int = 0
    rate_burst_ns: int = 0


class ProfileRecord(NamedTuple):
    """What a conduit permits inside. Equal ones mean the same."""

    inspectors: frozenset[Inspector]
    operations: frozenset[Operation]
    clauses: tuple[ClauseRecord, ...]
    constrained: bool  # every access has to match a clause
    messages: MessageLog = MessageLog.NONE
    every: int = 1
    refuse: RefuseMode = RefuseMode.RESET


@dataclass(frozen=True, slots=True)
class ConduitRecord:
    """A conduit's slot and what the engine must know of it."""

    slot: int
    name: str
    stage: Stage
    open: bool
    fail: FailMode
    log: LogMode
    limit: LimitRecord | None = None
    profile: ProfileRecord | None = None  # None: not inspected


class AssetRecord(NamedTuple):
    """An asset's number and name; its addresses are in the endpoint records."""

    number: int
    name: str
    zone: int


@dataclass(frozen=True, slots=True)
class LoweredPolicy:
    """Everything both compilations need, in a stable order."""

    site: str
    digest: bytes  # SHA-256 of the canonical policy; equal digests mean equal behaviour
    ceiling: Stage
    zones: tuple[ZoneRecord, ...]  # zones[i].number == i + 1
    ports: tuple[PortRecord, ...]  # ports[i].number == i + 1
    port_zones: tuple[PortZone, ...]
    assets: tuple[AssetRecord, ...]  # assets[i].number == i
    endpoints: tuple[EndpointRecord, ...]
    macs: tuple[MacRecord, ...]
    services: tuple[ServiceRange, ...]
    rules: tuple[RuleRecord, ...]
    conduits: tuple[ConduitRecord, ...]  # sorted by slot; slots may have gaps
    pair_stages: Mapping[tuple[int, int], Stage]  # every ordered pair of zone numbers, 0 included (`pairs.PairStages`)
    pair_refusals: AbstractSet[tuple[int, int]] = frozenset()  # the pairs whose drops are answered
    seed: int = 0  # of the image's hash tables
    service_names: dict[int, str] = field(default_factory=dict)  # service class → name shown to people
    inspectors: Mapping[int, Inspector] = field(default_factory=dict)  # service class → what reads its messages
