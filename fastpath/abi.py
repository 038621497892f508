"""Every number and layout that two of our processes, or Python and C, must agree on, stated once.

In: nothing. Out: enumerations, sizes and `Layout` objects for the shared-memory segments and the policy image.
`abi.pxd` states the same for C; `tests/contract/test_abi.py` compares the two byte for byte.
Must never import anything of ours: rules/, gateway/ and the tests all build on it.
Byte order is little-endian throughout unless a name ends in `_be`. Numbers are append-only. One long file on purpose:
every layout stands beside the others that it must fit.
"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Callable, Iterable, Iterator
from enum import IntEnum
from typing import Any, Final

ABI_VERSION: Final = 2
CACHE_LINE_BYTES: Final = 64
PAGE_BYTES: Final = 4096


class Stage(IntEnum):
    """How far a violation is acted upon; the effective stage is the lower of the object's and the site ceiling."""

    MONITOR = 1
    ALERT = 2
    ENFORCE = 3


class Verdict(IntEnum):
    """What happened to a frame (`verdict`), or what the policy says of it (`policy_verdict`)."""

    ACCEPT = 1
    DROP = 2


class FailMode(IntEnum):
    """What a conduit's traffic gets when the engine cannot judge it (design: the data path)."""

    STATIC = 0
    CLOSED = 1
    OPEN = 2


class LogMode(IntEnum):
    """Which permitted traffic of a conduit leaves an event; violations always leave one."""

    NONE = 0
    FLOW = 1
    ALL = 2


class Reason(IntEnum):
    """Why a frame got its policy verdict. Below `FIRST_DROP_REASON` the policy accepts, from there on it drops."""

    NONE = 0
    POLICY_CONDUIT = 1
    FLOW_ESTABLISHED = 2
    FLOW_PICKUP = 3
    FLOW_RELATED = 4
    NEIGHBOUR_RESOLUTION = 5
    ZONE_INTERNAL = 6
    FRAME_TRUNCATED = 32
    FRAME_MALFORMED = 33
    FRAME_FRAGMENT = 34
    FRAME_TCP_FLAGS = 35
    FRAME_EXTENSION = 36
    FRAME_VLAN_STACKED = 37
    FRAME_LLC = 38
    IDENTITY_PORT_UNKNOWN = 48
    IDENTITY_SOURCE_UNKNOWN = 49
    IDENTITY_SOURCE_ZONE = 50
    IDENTITY_SOURCE_MAC = 51
    IDENTITY_DESTINATION_UNKNOWN = 52
    IDENTITY_DESTINATION_ZONE = 53
    IDENTITY_NEIGHBOUR = 54
    POLICY_NO_CONDUIT = 64
    POLICY_CONDUIT_CLOSED = 65
    NEIGHBOUR_NO_CONDUIT = 66
    GUARD_QUARANTINE = 80
    LIMIT_PACKETS = 96
    LIMIT_FLOWS = 97
    LIMIT_SOURCE = 98


FIRST_DROP_REASON: Final = 32
REASON_COUNT: Final = 128

# One sentence per reason: the operator's page, `conduitctl events` and docs/reference/reasons.md are made from it.
REASON_TEXT: Final[dict[Reason, str]] = {
    Reason.NONE: "not judged",
    Reason.POLICY_CONDUIT: "a conduit permits it: first frame of a flow",
    Reason.FLOW_ESTABLISHED: "belongs to a flow that a conduit permitted",
    Reason.FLOW_PICKUP: "mid-stream TCP of a permitted conversation, taken up after a restart",
    Reason.FLOW_RELATED: "ICMP error about a permitted flow",
    Reason.NEIGHBOUR_RESOLUTION: "ARP or neighbour discovery between endpoints that share a conduit",
    Reason.ZONE_INTERNAL: "both ports belong to the same zone",
    Reason.FRAME_TRUNCATED: "the frame ends before its headers do",
    Reason.FRAME_MALFORMED: "a header contradicts itself or the frame's length",
    Reason.FRAME_FRAGMENT: "IP fragment: its ports cannot be known",
    Reason.FRAME_TCP_FLAGS: "impossible TCP flags",
    Reason.FRAME_EXTENSION: "IPv6 extension header",
    Reason.FRAME_VLAN_STACKED: "more than one VLAN tag",
    Reason.FRAME_LLC: "802.2 LLC or SNAP frame",
    Reason.IDENTITY_PORT_UNKNOWN: "the bridge port or VLAN belongs to no zone",
    Reason.IDENTITY_SOURCE_UNKNOWN: "the source is neither an asset nor in a zone's prefix",
    Reason.IDENTITY_SOURCE_ZONE: "the source address belongs to another zone than the port it came in by (spoof)",
    Reason.IDENTITY_SOURCE_MAC: "the source MAC is not the asset's (spoof)",
    Reason.IDENTITY_DESTINATION_UNKNOWN: "the destination is neither an asset nor in a zone's prefix",
    Reason.IDENTITY_DESTINATION_ZONE: "the destination lives behind another port (flooded copy or wrong path)",
    Reason.IDENTITY_NEIGHBOUR: "ARP or neighbour discovery whose addresses contradict each other (spoof)",
    Reason.POLICY_NO_CONDUIT: "no conduit permits this service between these endpoints",
    Reason.POLICY_CONDUIT_CLOSED: "the conduit that permits it is closed now",
    Reason.NEIGHBOUR_NO_CONDUIT: "ARP or neighbour discovery between endpoints that share no conduit",
    Reason.GUARD_QUARANTINE: "one of the endpoints is in quarantine",
    Reason.LIMIT_PACKETS: "the conduit permits it, but not so many packets per second",
    Reason.LIMIT_FLOWS: "the conduit permits it, but not so many new flows per second",
    Reason.LIMIT_SOURCE: "the conduit permits it, but not so much from one source",
}


class Form(IntEnum):
    """How frames are intercepted (kernel notes: the two kernels)."""

    BRIDGE = 1  # native bridge-family queue: every frame
    BRNF = 2  # br_netfilter and x_tables NFQUEUE: IP only, no destination MAC, no VLAN


class Layout:
    """A packed C struct: field names, struct-module codes, offsets.

    Codes follow the `struct` module without its padding: every layout states its padding as a field, so that the
    same order in C has the same offsets by natural alignment.
    """

    def __init__(self, name: str, size_bytes: int, **fields: str) -> None:
        self.name = name
        self.fields = fields
        self._packer = struct.Struct("<" + "".join(fields.values()))
        if self._packer.size != size_bytes:
            raise ValueError(f"{name}: fields add up to {self._packer.size} bytes, {size_bytes} declared")
        self.size = size_bytes
        self.offsets: dict[str, int] = {}
        at = 0
        for field, code in fields.items():
            self.offsets[field] = at
            at += struct.calcsize("<" + code)

    def pack(self, *values: Any) -> bytes:
        """Return the bytes of one struct, values in field order."""
        return self._packer.pack(*values)

    @property
    def pack_into(self) -> Callable[..., None]:
        """Write one struct into a writable buffer at a byte offset: (buffer, offset, *values)."""
        return self._packer.pack_into

    def unpack_from(self, buffer: Any, offset: int = 0) -> dict[str, Any]:
        """Read one struct as a dict by field name."""
        return dict(zip(self.fields, self._packer.unpack_from(buffer, offset), strict=True))

    def iter_unpack(self, buffer: Any) -> Iterator[dict[str, Any]]:
        """Read consecutive structs."""
        for values in self._packer.iter_unpack(buffer):
            yield dict(zip(self.fields, values, strict=True))


# ---- the policy image -------------------------------------------------------------------------------------------

IMAGE_MAGIC: Final = b"CNDIMG\x00\x01"
MAX_PROBE: Final = 16  # slots a lookup may visit; the builder enlarges a table until every key fits within it
NO_ASSET: Final = 0xFFFFFFFF
NO_CONDUIT: Final = 0xFFFFFFFF
NO_NODE: Final = 0xFFFFFFFF
NO_CLASS: Final = 0  # endpoint class and service class of "nothing a conduit names"
SERVICE_NEIGHBOUR: Final = 1  # reserved service class: ARP and IPv6 neighbour discovery
FIRST_SERVICE_CLASS: Final = 2
UNKNOWN_ZONE: Final = 0
MAX_ZONES: Final = 4096
MAX_PORTS: Final = 255
MAX_CONDUITS: Final = 131072  # slots: sizes a sparse block of counters per queue, and nothing else
MAX_CLASSES: Final = 65535
VLAN_COUNT: Final = 4096  # index 0 = untagged (or priority tagged)
HOST_PREFIX_LENGTH: Final = 128
ENDPOINT_ANYWHERE: Final = 0x01  # group or broadcast destination: lives behind every port


class Section(IntEnum):
    """Index into the header's section table; entry type in brackets."""

    ENDPOINTS = 0  # hash of ENDPOINT by (address, space, prefix length)
    MACS = 1  # hash of MAC by (address, space)
    RULES = 2  # hash of RULE by (source class, destination class, service class)
    NODES = 3  # [NODE]: chains of alternative conduits
    CONDUITS = 4  # [CONDUIT] by slot
    ZONES = 5  # [ZONE] by zone number, 0 = unknown
    PORT_ZONES = 6  # [u16 zone] by VLAN * port_count + port: all ports' untagged zones lie together; port 0 is unknown
    PREFIX_LENGTHS = 7  # [u8] distinct lengths below 128, longest first
    SERVICES_TCP = 8  # [u16 service class] by destination port
    SERVICES_UDP = 9
    SERVICES_IP = 10  # by IP protocol, for everything but TCP, UDP and ICMP
    SERVICES_ICMP4 = 11  # by ICMP type
    SERVICES_ICMP6 = 12
    SERVICES_ETHERTYPE = 13  # by EtherType
    LIMITS = 14  # [LIMIT] by CONDUIT.limit - 1


SECTION_COUNT: Final = 16
SECTION = Layout("section_t", 16, offset_bytes="Q", count="I", reserved="I")
IMAGE_HEADER = Layout(
    "image_header_t",
    128,
    magic="8s",
    abi_version="I",
    header_bytes="I",  # including the section table
    generation="Q",
    image_bytes="Q",
    policy_digest="32s",  # SHA-256 of the lowered policy in canonical form: what is in force
    image_sha256="32s",  # SHA-256 of the whole image with this field zero: is it intact
    hash_seed="Q",
    zone_count="H",  # including zone 0
    port_count="H",  # including the unused port 0
    conduit_capacity="I",  # highest conduit slot + 1
    node_count="I",
    reserved="I",
    reserved2="Q",
)
IMAGE_HEADER_BYTES: Final = IMAGE_HEADER.size + SECTION_COUNT * SECTION.size  # 384

# An empty hash slot has in_use = 0. `mac_asset`: whose MACs the frame must carry (the router's when it is routed).
ENDPOINT = Layout(
    "endpoint_t",
    32,
    address="16s",  # IPv6, or IPv4 as ::ffff:a.b.c.d; masked to prefix_length
    asset="I",
    mac_asset="I",
    space="H",
    zone="H",
    klass="H",
    prefix_length="B",  # 0..128; IPv4 /n is stored as 96 + n
    flags="B",  # ENDPOINT_ANYWHERE | ENDPOINT_IN_USE
)
ENDPOINT_IN_USE: Final = 0x80
# `address_space`: MAC << 16 | space; 0 = empty
MAC = Layout("mac_t", 16, address_space="Q", asset="I", zone="H", klass="H")
MAC_ANYWHERE_ZONE: Final = 0xFFFF  # `zone` of a group MAC: lives behind every port
RULE = Layout("rule_t", 16, key="Q", node="I", reserved="I")  # source << 32 | destination << 16 | service; 0 = empty
NODE = Layout("node_t", 8, conduit="I", next="I")
CONDUIT = Layout("conduit_t", 16, fail="B", log="B", profile="H", limit="I", reserved2="Q")  # limit 0 = none
# Rates as intervals: one packet (or new flow) per `interval_ns`, and `burst_ns` of them at once; 0 = unlimited.
LIMIT = Layout(
    "limit_t",
    64,
    packet_interval_ns="Q",  # of the conduit as a whole
    packet_burst_ns="Q",
    flow_interval_ns="Q",
    flow_burst_ns="Q",
    source_packet_interval_ns="Q",  # of each source address
    source_packet_burst_ns="Q",
    source_flow_interval_ns="Q",
    source_flow_burst_ns="Q",
)
ZONE = Layout("zone_t", 8, space="H", reserved="H", reserved2="I")

HASH_MULTIPLIER_1: Final = 0x9E3779B97F4A7C15
HASH_MULTIPLIER_2: Final = 0xC2B2AE3D27D4EB4F
_MASK64: Final = 0xFFFFFFFFFFFFFFFF


def mix64(a: int, b: int) -> int:
    """Return the 64-bit hash of two words; `mix64` in abi.pxd is the same function."""
    h = ((a ^ HASH_MULTIPLIER_2) * HASH_MULTIPLIER_1) & _MASK64
    h ^= h >> 32
    h = ((h ^ b) * HASH_MULTIPLIER_2) & _MASK64
    h ^= h >> 29
    h = (h * HASH_MULTIPLIER_1) & _MASK64
    return h ^ (h >> 32)


def mix64_each(a: int, words: Iterable[int]) -> list[int]:
    """Return `mix64(a, word)` for each word; a table of a large site has a hundred thousand."""
    begun = ((a ^ HASH_MULTIPLIER_2) * HASH_MULTIPLIER_1) & _MASK64
    begun ^= begun >> 32
    found = []
    for word in words:
        h = ((begun ^ word) * HASH_MULTIPLIER_2) & _MASK64
        h = ((h ^ (h >> 29)) * HASH_MULTIPLIER_1) & _MASK64
        found.append(h ^ (h >> 32))
    return found


def endpoint_hash(seed: int, address: bytes, space: int, prefix_length: int) -> int:
    """Return the hash of an endpoint key; `address` is 16 bytes, already masked."""
    high, low = struct.unpack("<QQ", address)
    return mix64(mix64(seed ^ high, low), space << 8 | prefix_length)


def mac_hash(seed: int, address_space: int) -> int:
    """Return the hash of a MAC key."""
    return mix64(seed, address_space)


def rule_hash(seed: int, key: int) -> int:
    """Return the hash of a rule key."""
    return mix64(seed, key)


def image_sha256(image: bytes | bytearray | memoryview) -> bytes:
    """Return the digest an intact image must carry in its header."""
    start = IMAGE_HEADER.offsets["image_sha256"]
    view = memoryview(image)
    digest = hashlib.sha256(view[:start])
    digest.update(bytes(32))
    digest.update(view[start + 32 :])
    return digest.digest()


# ---- the state segment: written by control, read by the engine ---------------------------------------------------

STATE_MAGIC: Final = b"CNDSTA\x00\x01"
STATE_PORT_SLOTS: Final = 1024  # open addressing by ifindex, linear probing; at most MAX_PORTS used
CONDUIT_STAGE_MASK: Final = 0x03
CONDUIT_OPEN: Final = 0x04
PAIR_STAGE_MASK: Final = 0x03
PAIR_REFUSE: Final = 0x04  # answer what is dropped (TCP reset, ICMP prohibited) instead of keeping silent
STATE_HEADER = Layout(
    "state_header_t",
    128,
    magic="8s",
    abi_version="I",
    header_bytes="I",
    state_bytes="Q",
    generation="Q",  # of the image it belongs to
    ceiling="B",  # Stage
    reserved="B",
    zone_count="H",
    conduit_capacity="I",
    ports_offset="Q",  # [STATE_PORT] x STATE_PORT_SLOTS
    pairs_offset="Q",  # [u8 Stage | PAIR_REFUSE] by source zone * zone_count + destination zone
    conduits_offset="Q",  # [u8 stage | CONDUIT_OPEN] by slot
    lane_mark="I",  # MARK_LANE | lane generation: the mark that lets a flow stay in the kernel; 0 = no fast lane
    reserved2="60s",
)
STATE_PORT = Layout("state_port_t", 8, ifindex="I", port="H", reserved="H")  # ifindex 0 = empty

# ---- the counters segment: written by the engine (and by the keeper while no engine lives) -----------------------

COUNTERS_MAGIC: Final = b"CNDCNT\x00\x01"
MAX_QUEUES: Final = 16
MAX_BATCH: Final = 64  # frames per recvmmsg
COUNTERS_HEADER = Layout(
    "counters_header_t",
    64,
    magic="8s",
    abi_version="I",
    queue_count="I",
    queue_bytes="Q",
    lost_before="Q",  # frames that the kernel lost in queues of earlier runs, written by the keeper at its start
    reserved="32s",
)
TALLY_ENTRY = Layout("tally_entry_t", 8, conduit="I", reason="B", verdict="B", flags="H")
# A batch's tally is written before its verdicts are sent and added to the counters afterwards. Whoever finds
# `pending` set after a crash asks the kernel whether `last_id` is still parked: sent means add, parked means forget.
QUEUE_COUNTERS = Layout(
    "queue_counters_t",
    128 + MAX_BATCH * 8 + REASON_COUNT * 16,
    heartbeat_ns="Q",  # CLOCK_MONOTONIC of the last loop
    generation="Q",  # of the image in use
    received="Q",  # packets read from the queue socket
    accepted="Q",  # verdicts sent, by kind
    dropped="Q",
    would_drop="Q",  # policy said drop, the stage let it pass
    released="Q",  # handed to `static` unjudged by the keeper
    batches="Q",
    receive_errors="Q",  # ENOBUFS and other socket errors
    verdict_errors="Q",
    flows_created="Q",
    flows_evicted="Q",
    last_id="I",  # NFQUEUE packet id of the newest packet read
    pending="I",  # entries of the tally in flight
    queue_number="I",
    reserved="I",
    refused="Q",  # drops answered with a TCP reset or ICMP prohibited
    laned="Q",  # accepted with the lane mark
    tally=f"{MAX_BATCH * 8}s",
    by_reason=f"{REASON_COUNT * 16}s",  # [passed u64, dropped u64] by reason
)
CONDUIT_COUNTERS = Layout("conduit_counters_t", 16, accepted="Q", dropped="Q")  # by slot, behind each QUEUE_COUNTERS
QUEUE_COUNTERS_STRIDE: Final = PAGE_BYTES + MAX_CONDUITS * 16
COUNTERS_HEADER_BYTES: Final = PAGE_BYTES


def counters_bytes(queue_count: int) -> int:
    """Return the size of a counters segment: header page, then one sparse block per queue."""
    return COUNTERS_HEADER_BYTES + queue_count * QUEUE_COUNTERS_STRIDE


# ---- the events segment: bounded rings, one per queue ------------------------------------------------------------

EVENTS_MAGIC: Final = b"CNDEVT\x00\x01"
EVENTS_PER_RING: Final = 65536  # power of two
EVENT_TCP_OPENING: Final = 0x01
EVENT_SAMPLED: Final = 0x02
EVENT = Layout(
    "event_t",
    128,
    time_ns="Q",  # CLOCK_REALTIME of the batch
    generation="Q",
    source="16s",  # as ENDPOINT.address; zero for frames without IP
    destination="16s",
    source_mac="6s",
    destination_mac="6s",
    source_asset="I",
    destination_asset="I",
    conduit="I",
    in_ifindex="I",
    out_ifindex="I",
    length="I",  # bytes from the network header
    source_zone="H",
    destination_zone="H",
    ethertype="H",
    vlan="H",
    source_port="H",  # ICMP: type
    destination_port="H",  # ICMP: code
    service="H",
    protocol="B",
    reason="B",
    verdict="B",
    policy_verdict="B",
    stage="B",
    queue="B",
    flags="I",
    reserved="I",
    sequence="Q",  # of its ring: gaps are losses
    reserved2="8s",
)
RING_HEADER = Layout(
    "ring_header_t",
    192,
    head="Q",  # next sequence the engine writes
    lost="Q",  # events not written because the ring was full
    reserved="48s",
    tail="Q",  # next sequence control reads; control is its only writer
    reserved2="56s",
    reserved3="64s",
)
EVENTS_HEADER = Layout(
    "events_header_t",
    64,
    magic="8s",
    abi_version="I",
    ring_count="I",
    events_per_ring="I",
    ring_bytes="I",
    reserved="40s",
)
EVENTS_HEADER_BYTES: Final = PAGE_BYTES
RING_BYTES: Final = PAGE_BYTES + EVENTS_PER_RING * EVENT.size


def events_bytes(queue_count: int) -> int:
    """Return the size of an events segment: header page, then per queue a ring header page and its events."""
    return EVENTS_HEADER_BYTES + queue_count * RING_BYTES


# ---- the flows segment: outlives an engine, so that a new one knows who opened what -------------------------------

FLOWS_MAGIC: Final = b"CNDFLW\x00\x01"
FLOW_WAYS: Final = 4
FLOWS_HEADER = Layout(
    "flows_header_t",
    64,
    magic="8s",
    abi_version="I",
    table_count="I",
    flows_per_table="I",
    reserved="I",
    seed="Q",
    reserved2="32s",
)
FLOW = Layout(
    "flow_t",
    128,
    # first cache line: whose frame it is, and whether it may pass
    opener="16s",  # who opened it
    responder="16s",
    opener_port="H",  # ICMP echo: identifier
    responder_port="H",  # ICMP echo: 0
    opener_zone="H",
    responder_zone="H",
    protocol="B",
    in_use="B",
    flags="H",
    conduit="I",
    opener_asset="I",
    responder_asset="I",
    generation="Q",  # of the image that last permitted it
    # second cache line: what it did so far
    opener_mac="6s",  # of the newest frame that passed the identity checks under `generation`; see FLOW_KNOWN_
    responder_mac="6s",
    service="H",
    reserved="H",
    first_seen_ns="Q",  # CLOCK_REALTIME
    last_seen_ns="Q",
    opener_frames="Q",
    responder_frames="Q",
    opener_bytes="Q",
    responder_bytes="Q",
)
FLOW_CLOSED: Final = 0x01  # RST, or FIN from both sides seen
FLOW_FIN_OPENER: Final = 0x02
FLOW_FIN_RESPONDER: Final = 0x04
FLOW_KNOWN_OPENER: Final = 0x08  # opener_mac is set: a frame of the opener passed every identity check
FLOW_KNOWN_RESPONDER: Final = 0x10
FLOW_PLAIN: Final = 0x20  # its conduit neither limits nor logs the frames of a flow
FLOWS_HEADER_BYTES: Final = PAGE_BYTES


def flows_bytes(table_count: int, flows_per_table: int) -> int:
    """Return the size of a flows segment: header page, then one table per queue."""
    return FLOWS_HEADER_BYTES + table_count * flows_per_table * FLOW.size


# ---- packet marks ------------------------------------------------------------------------------------------------

MARK_JUDGED: Final = 0x00C00001  # "the engine accepted it": `static` lets it pass. Cleared for every frame in `guard`.
MARK_LANE: Final = 0x00D00000  # the same, and "frames like it may pass without the engine" while the generation holds
MARK_LANE_MASK: Final = 0xFFF00000  # the rest is the lane generation, 1 to LANE_GENERATIONS
LANE_GENERATIONS: Final = 0x000FFFFF
