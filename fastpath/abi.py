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

ABI_VERSION: Final = 3
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
    STREAM_SHARE = 103
    STREAM_AHEAD = 104
    STREAM_CONFLICT = 105
    STREAM_SEQUENCE = 106
    STREAM_URGENT = 107
    STREAM_OPENING_DATA = 108
    STREAM_PICKUP = 109
    STREAM_BUDGET = 110
    STREAM_REFUSED = 111
    MESSAGE_PROTOCOL = 112
    MESSAGE_MALFORMED = 113
    MESSAGE_OPAQUE = 114
    MESSAGE_ANSWER = 115
    MESSAGE_OPERATION = 116
    MESSAGE_CONSTRAINT = 117
    MESSAGE_BUDGET = 118
    PROCESS_VALUE = 120
    PROCESS_STEP = 121
    PROCESS_RATE = 122


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
    Reason.STREAM_SHARE: "inspected: who opened it holds so much of the memory for streams that the rest is for others",
    Reason.STREAM_AHEAD: "inspected TCP: the segment came before its predecessor, which its sender will repeat",
    Reason.STREAM_CONFLICT: "inspected TCP: other bytes than those that passed at the same place in the stream",
    Reason.STREAM_SEQUENCE: "inspected TCP: sequence or acknowledgement number outside the conversation",
    Reason.STREAM_URGENT: "inspected TCP: urgent data, which client and server may read at different places",
    Reason.STREAM_OPENING_DATA: "inspected TCP: data in the opening segment",
    Reason.STREAM_PICKUP: "inspected TCP: a conversation whose beginning was not seen, and not at a message's start",
    Reason.STREAM_BUDGET: "inspected TCP: more unacknowledged bytes, or more conversations, than there is memory for",
    Reason.STREAM_REFUSED: "inspected TCP: a message of this conversation was refused, and the conversation with it",
    Reason.MESSAGE_PROTOCOL: "not the protocol that the conduit permits",
    Reason.MESSAGE_MALFORMED: "a message that contradicts itself or its protocol",
    Reason.MESSAGE_OPAQUE: "a message whose content cannot be read: encrypted or of an unknown kind",
    Reason.MESSAGE_ANSWER: "an answer that nobody asked for",
    Reason.MESSAGE_OPERATION: "the conduit does not permit this operation",
    Reason.MESSAGE_CONSTRAINT: "the conduit permits the operation, but not on this or with these numbers",
    Reason.MESSAGE_BUDGET: "a message longer, nested deeper, or asking for more, than inspection follows",
    Reason.PROCESS_VALUE: "the value lies outside the band that the conduit permits",
    Reason.PROCESS_STEP: "the value differs from the last one by more than the conduit permits",
    Reason.PROCESS_RATE: "the conduit permits such writes, but not so often",
}


class Inspector(IntEnum):
    """What reads the messages of a service: one for each way of framing them."""

    NONE = 0
    MODBUS = 1  # Modbus/TCP
    MODBUS_RTU = 2  # RTU frames in a TCP stream
    S7COMM = 3  # TPKT, COTP, and S7comm or S7comm-plus in it
    ENIP = 4  # EtherNet/IP encapsulation with CIP, TCP or UDP
    ENIP_IO = 5  # implicit I/O: common packet format over UDP, without encapsulation


class Protocol(IntEnum):
    """The protocol of one message."""

    NONE = 0
    MODBUS = 1
    S7COMM = 2
    S7COMM_PLUS = 3
    ENIP = 4
    CIP = 5
    COTP = 6


class Operation(IntEnum):
    """What a message asks of the equipment; the tables by protocol stand in docs/reference/protocols."""

    NONE = 0  # nothing: it opens, keeps or ends a conversation
    READ = 1
    WRITE = 2
    CONTROL = 3
    PROGRAM = 4
    ADMIN = 5
    DIAGNOSE = 6
    OTHER = 7  # a function that no table knows: never one of a conduit's `operations`


# Names of access_t.low/high by protocol: in policies, in decoded messages and in the message log. Append-only.
# Unsigned numbers as on the wire; a range where a message means several at once (addresses, values written).
ACCESS_FIELDS: Final = 12
FIELD_NAMES: Final[dict[Protocol, tuple[str, ...]]] = {
    Protocol.NONE: (),
    Protocol.MODBUS: (
        "unit", "function", "exception", "address", "count", "transaction", "subfunction", "value", "file",
        "record",
    ),
    Protocol.S7COMM: (
        "rosctr", "function", "userdata_group", "userdata_subfunction", "area", "db", "address", "count", "reference",
        "error", "block", "value",
    ),
    Protocol.S7COMM_PLUS: ("version", "opcode", "function", "reference"),
    Protocol.ENIP: ("command", "session", "status", "connection"),
    Protocol.CIP: (
        "service", "response", "class", "instance", "attribute", "status", "connection", "tag", "value", "offset",
        "count", "type",
    ),
    Protocol.COTP: (
        "type", "source_reference", "destination_reference", "destination_tsap", "connection_type", "rack", "slot",
    ),
}  # fmt: skip


class MessageLog(IntEnum):
    """Which messages of an inspected conduit leave an event; refused ones always leave one."""

    NONE = 0
    SAMPLED = 1  # one in so many
    FULL = 2


class RefuseMode(IntEnum):
    """What becomes of the conversation when one of its messages is refused."""

    SILENT = 0  # the segment is dropped, and nobody is told
    RESET = 1  # both ends get a TCP reset
    ANSWER = 2  # the device itself refuses what was made of the request; where that can't be, RESET


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
    PROFILES = 15  # [PROFILE] by CONDUIT.profile - 1
    CLAUSES = 16  # [CLAUSE]: each profile's lie together
    RANGES = 17  # [RANGE]: each clause's lie together, by field and then by their first number
    SERVICE_INSPECTORS = 18  # [u8 Inspector] by service class


SECTION_COUNT: Final = 24
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
IMAGE_HEADER_BYTES: Final = IMAGE_HEADER.size + SECTION_COUNT * SECTION.size  # 512

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
CONDUIT = Layout("conduit_t", 16, fail="B", log="B", profile="H", limit="I", reserved2="Q")  # 0 = none, else index + 1
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
# What a conduit permits inside. Conduits that permit the same share one; what is counted is counted by conduit.
MAX_PROFILES: Final = 65535
MAX_CLAUSES: Final = 256  # of one profile, and
MAX_RANGES: Final = 1024  # of all its clauses: an access is compared with one after the other
MAX_TURNS: Final = 4096  # clauses with a rate, counted for each conduit that has them
NO_FIELD: Final = 0xFF
PROFILE = Layout(
    "profile_t",
    32,
    first_clause="I",
    clause_count="I",
    inspectors="I",  # bit by Inspector: which services it is about
    every="I",  # one message in so many is logged when they are sampled
    operations="H",  # bit by Operation; OTHER never
    constrained="B",  # 1: every access has to match a clause
    messages="B",  # MessageLog
    refuse="B",  # RefuseMode
    guarded="B",  # 1: some clause has a step
    reserved="10s",
)
# One alternative: an access matches when each of its fields that the clause names lies in one of the field's ranges.
CLAUSE = Layout(
    "clause_t",
    48,
    identity="Q",  # from what it says: what it has counted outlives a policy swap that leaves it as it is
    step="Q",  # largest difference from the last value at the same place; 0 = any
    rate_interval_ns="Q",  # as in LIMIT
    rate_burst_ns="Q",
    first_range="I",
    range_count="H",
    operations="H",  # bit by Operation
    protocol="B",
    value_field="B",  # which field is the value; NO_FIELD where the protocol has none
    reserved="6s",
)
RANGE = Layout("range_t", 24, field="B", reserved="7s", low="Q", high="Q")  # both ends included
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
    128 + MAX_BATCH * 8 + REASON_COUNT * 16 + 8,
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
    rewritten="Q",  # of the dropped: the frame went on, with its message made into one that the device refuses
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
EVENT_MESSAGE: Final = 0x04  # the next place in the ring holds a MESSAGE: what was asked for
EVENT_REWRITTEN: Final = 0x08  # the frame went on with its message changed into one that the device refuses
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
# An inspected message, in the place behind its event. `low` and `high` of access_t, of which two may differ.
MESSAGE = Layout(
    "message_t",
    128,
    protocol="B",  # Protocol
    operation="B",  # Operation
    answer="B",
    depth="B",  # of embedded messages
    index="H",  # of the message within its frame
    present="H",  # bit i: FIELD_NAMES[protocol][i] is set
    wide="2s",  # fields whose `high` differs, ACCESS_FIELDS for none
    reserved="6s",
    low=f"{ACCESS_FIELDS * 8}s",  # u64 each
    high="16s",  # of the fields in `wide`
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
    stream="H",  # its stream's place + 1; 0 = none
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


# ---- the streams segment: what inspected conversations carried, for as long as it can matter ------------------------

STREAMS_MAGIC: Final = b"CNDSTR\x00\x01"
STREAMS_PER_TABLE: Final = 16384  # inspected conversations of a queue; fewer than 65536
STREAM_WINDOWS: Final = 128  # of a queue: conversations with more in flight than a stream holds itself
STREAM_SMALL_BYTES: Final = 1024  # held in the stream itself: three of the longest Modbus messages, an S7 PDU of 960
STREAM_LARGE_BYTES: Final = 131072  # a message of 64 KiB behind 64 KiB that are not yet acknowledged
STREAMS_HEADER = Layout(
    "streams_header_t",
    64,
    magic="8s",
    abi_version="I",
    table_count="I",
    streams_per_table="I",
    windows_per_table="I",
    reserved="40s",
)
WAY_EDITS: Final = 3  # bytes of one direction that passed changed and are not acknowledged
# One direction of a stream. Sequence numbers are those of the wire; [base, next) is held in its window.
STREAM_WAY = Layout(
    "stream_way_t",
    64,
    next="I",  # behind the last byte that passed
    acked="I",  # what the other end has acknowledged
    first="I",  # of the first byte of the conversation
    base="I",  # of the first byte held: not acknowledged, or of a message that is not complete
    message="I",  # where the incomplete message begins; equals `next` between messages
    needed="I",  # its length; 0 = too little is there to tell
    tried="I",  # how much of it was there when it was last read incomplete
    at="I",  # where in the window `base` lies
    hole_end="I",  # WAY_HOLE: bytes [hole_end, ahead_end) passed before those in front of them
    ahead_end="I",
    window="H",  # place of its large window + 1; 0 = its bytes are held in the stream
    flags="H",
    edit_at=f"{4 * WAY_EDITS}s",  # [I]: places of bytes that passed changed and are not acknowledged
    edit_to=f"{WAY_EDITS}s",  # what they were changed to; the window holds what their sender sent
    edit_count="B",
    reserved="4s",
)
STREAM = Layout(
    "stream_t",
    2752,
    changing="B",  # 1 while the engine changes it: one that is found so was left by a crash
    flags="B",
    inspector="B",
    reserved="1s",
    opener_share="H",  # place of who opened it: see shares.pxd
    crowd_share="H",
    next_unused="I",  # while it is nobody's: place of the next such + 1, 0 = none
    reserved2="52s",
    ways="128s",  # [STREAM_WAY]: the opener's, the responder's
    dialog="512s",  # what its protocol's module remembers
    small=f"{2 * STREAM_SMALL_BYTES}s",  # the windows of both directions
)
STREAM_LOOSE: Final = 0x01  # its beginning was not seen, or something passed that enforcement would not have let pass
STREAM_SHUT: Final = 0x02  # refused: nothing more passes until the next handshake
STREAM_ENDED: Final = 0x04  # both ends have said goodbye: it may give way
STREAM_GREETED: Final = 0x08  # data came with a SYN, where that passes: nobody knows whether it was taken
WAY_FIN: Final = 0x01  # its sender has finished; the FIN stands at `next`
WAY_LOST: Final = 0x02  # where its messages begin is not known
WAY_HOLE: Final = 0x04
STREAMS_HEADER_BYTES: Final = PAGE_BYTES


def streams_table_bytes(streams: int, windows: int) -> int:
    """Return the size of one queue's table: owners of streams and windows, streams, windows, each from a page on."""
    parts = (4 * streams, 4 * windows, STREAM.size * streams, STREAM_LARGE_BYTES * windows)
    return sum(-(-part // PAGE_BYTES) * PAGE_BYTES for part in parts)


def streams_bytes(table_count: int) -> int:
    """Return the size of a streams segment: header page, then one table per queue."""
    return STREAMS_HEADER_BYTES + table_count * streams_table_bytes(STREAMS_PER_TABLE, STREAM_WINDOWS)


# ---- packet marks ------------------------------------------------------------------------------------------------

MARK_JUDGED: Final = 0x00C00001  # "the engine accepted it": `static` lets it pass. Cleared for every frame in `guard`.
MARK_LANE: Final = 0x00D00000  # the same, and "frames like it may pass without the engine" while the generation holds
MARK_LANE_MASK: Final = 0xFFF00000  # the rest is the lane generation, 1 to LANE_GENERATIONS
LANE_GENERATIONS: Final = 0x000FFFFF
