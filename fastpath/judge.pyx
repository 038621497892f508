# cython: language_level=3, boundscheck=False, wraparound=False, initializedcheck=False, cdivision=True
# cython: autotestdict=False, auto_pickle=False, binding=True
"""The engine without a queue: the same decision over frames that somebody else supplies, and the checks of an image.

In: image and state bytes, frames. Out: judgements. Used by `explain`, simulation and the tests; `validate_image` and
`validate_state` also guard the live engine: after them every offset, index and chain in the image is in range.
"""

from typing import NamedTuple

from cpython.mem cimport PyMem_Calloc, PyMem_Free
from libc.stdint cimport uint8_t, uint32_t, uint64_t
from libc.string cimport memset

from fastpath.abi cimport (
    FLOW_WAYS,
    MAC_ANYWHERE_ZONE,
    NO_ASSET,
    NO_CONDUIT,
    NO_NODE,
    SECTION_CLAUSES,
    SECTION_CONDUITS,
    SECTION_ENDPOINTS,
    SECTION_LIMITS,
    SECTION_MACS,
    SECTION_NODES,
    SECTION_PORT_ZONES,
    SECTION_PREFIX_LENGTHS,
    SECTION_PROFILES,
    SECTION_RANGES,
    SECTION_RULES,
    SECTION_SERVICE_INSPECTORS,
    SECTION_SERVICES_ETHERTYPE,
    SECTION_SERVICES_ICMP4,
    SECTION_SERVICES_ICMP6,
    SECTION_SERVICES_IP,
    SECTION_SERVICES_TCP,
    SECTION_SERVICES_UDP,
    SECTION_ZONES,
    VLAN_COUNT,
    clause_t,
    conduit_t,
    endpoint_t,
    flow_t,
    image_header_t,
    limit_t,
    mac_t,
    node_t,
    profile_t,
    range_t,
    rule_t,
    section_t,
    state_header_t,
    zone_t,
)
from fastpath.answer cimport ANSWER_BYTES, build_answer
from fastpath.attach cimport attach_table
from fastpath.decide cimport decide, look_at
from fastpath.decision cimport decision_t
from fastpath.flow_index cimport flow_slot_t, flows_t
from fastpath.frame cimport frame_t
from fastpath.inspect.profile_check cimport profile_fault
from fastpath.pace cimport limiter_t
from fastpath.refuse cimport is_answerable, is_broadcast, is_refused
from fastpath.stream_memory cimport attach_streams
from fastpath.table cimport table_t

from fastpath import abi

cdef enum:
    JUDGE_STREAMS = 1024  # inspected conversations an offline judge remembers
    JUDGE_WINDOWS = 16
    JUDGE_FLOWS = 65536  # flows an offline judge remembers unless told otherwise

LONGEST_BURST_NS = 1 << 62


class Judgement(NamedTuple):
    """What the engine says of one frame; numbers as in the image, None where nobody is meant."""

    verdict: abi.Verdict
    policy_verdict: abi.Verdict
    reason: abi.Reason
    stage: abi.Stage
    conduit: int | None
    source_zone: int
    destination_zone: int
    source_asset: int | None
    destination_asset: int | None
    service: int
    answer: bytes | None  # the frame that the engine sends back to whom it drops, where the policy says so


# ---- checks -------------------------------------------------------------------------------------------------------


cdef dict _SECTION_SIZES = {
    SECTION_ENDPOINTS: sizeof(endpoint_t),
    SECTION_MACS: sizeof(mac_t),
    SECTION_RULES: sizeof(rule_t),
    SECTION_NODES: sizeof(node_t),
    SECTION_CONDUITS: sizeof(conduit_t),
    SECTION_LIMITS: sizeof(limit_t),
    SECTION_PROFILES: sizeof(profile_t),
    SECTION_CLAUSES: sizeof(clause_t),
    SECTION_RANGES: sizeof(range_t),
    SECTION_SERVICE_INSPECTORS: 1,
    SECTION_ZONES: sizeof(zone_t),
    SECTION_PORT_ZONES: 2,
    SECTION_PREFIX_LENGTHS: 1,
    SECTION_SERVICES_TCP: 2,
    SECTION_SERVICES_UDP: 2,
    SECTION_SERVICES_IP: 2,
    SECTION_SERVICES_ICMP4: 2,
    SECTION_SERVICES_ICMP6: 2,
    SECTION_SERVICES_ETHERTYPE: 2,
}
cdef frozenset _INSPECTORS = frozenset(abi.Inspector)
cdef tuple _HASHES = (SECTION_ENDPOINTS, SECTION_MACS, SECTION_RULES)


def validate_image(image):
    """Check an image completely; raises ValueError saying what is wrong. Cost: one pass and one SHA-256."""
    cdef const uint8_t[::1] view = image
    cdef const image_header_t *header
    if view.shape[0] < abi.IMAGE_HEADER_BYTES:
        raise ValueError(f"image of {view.shape[0]} bytes is shorter than its header")
    header = <const image_header_t *>&view[0]
    if bytes(view[:8]) != abi.IMAGE_MAGIC:
        raise ValueError("not a policy image (magic)")
    if header.abi_version != abi.ABI_VERSION:
        raise ValueError(f"image of ABI version {header.abi_version}, this engine speaks {abi.ABI_VERSION}")
    if header.header_bytes != abi.IMAGE_HEADER_BYTES:
        raise ValueError("image header has the wrong size")
    if header.image_bytes != <uint64_t>view.shape[0]:
        raise ValueError(f"image is {view.shape[0]} bytes, its header says {header.image_bytes}: truncated or padded")
    if bytes(header.image_sha256[:32]) != abi.image_sha256(view):
        raise ValueError("image digest does not match its content")
    if header.generation == 0:
        raise ValueError("generation 0 is no policy")
    if not (1 <= header.zone_count <= abi.MAX_ZONES + 1 and 1 <= header.port_count <= abi.MAX_PORTS + 1):
        raise ValueError("zone or port count out of range")
    if header.conduit_capacity > abi.MAX_CONDUITS:
        raise ValueError("too many conduits")
    _validate_sections(view, header)
    _validate_entries(view, header)


cdef int _validate_sections(const uint8_t[::1] view, const image_header_t *header) except -1:
    cdef const section_t *sections = <const section_t *>(&view[0] + sizeof(image_header_t))
    cdef uint64_t start, size
    for index, entry_bytes in _SECTION_SIZES.items():
        start = sections[<int>index].offset_bytes
        size = <uint64_t>sections[<int>index].count * <uint64_t>entry_bytes
        if start % 8 or start < <uint64_t>abi.IMAGE_HEADER_BYTES or start > <uint64_t>view.shape[0]:
            raise ValueError(f"section {index} starts outside the image or unaligned")
        if size > <uint64_t>view.shape[0] - start:
            raise ValueError(f"section {index} reaches beyond the image")
    for index in _HASHES:
        if not sections[<int>index].count or sections[<int>index].count & (sections[<int>index].count - 1):
            raise ValueError(f"section {index}: capacity is not a power of two")
    for index, count in (
        (SECTION_NODES, header.node_count),
        (SECTION_CONDUITS, header.conduit_capacity),
        (SECTION_ZONES, header.zone_count),
        (SECTION_PORT_ZONES, header.port_count * VLAN_COUNT),
        (SECTION_SERVICES_TCP, 65536),
        (SECTION_SERVICES_UDP, 65536),
        (SECTION_SERVICES_ETHERTYPE, 65536),
        (SECTION_SERVICES_IP, 256),
        (SECTION_SERVICES_ICMP4, 256),
        (SECTION_SERVICES_ICMP6, 256),
    ):
        if sections[<int>index].count != count:
            raise ValueError(f"section {index} has {sections[<int>index].count} entries, {count} expected")
    return 0


cdef int _validate_entries(const uint8_t[::1] view, const image_header_t *header) except -1:
    """Check every index that the lookups follow without asking."""
    cdef table_t table
    cdef state_header_t state
    cdef uint32_t i
    cdef const section_t *sections = <const section_t *>(&view[0] + sizeof(image_header_t))
    cdef uint32_t limit_count = sections[SECTION_LIMITS].count
    cdef uint32_t profile_count = sections[SECTION_PROFILES].count
    cdef const char *fault
    memset(&state, 0, sizeof(state))
    attach_table(&table, &view[0], <const uint8_t *>&state, NULL)
    for i in range(header.node_count):
        if table.nodes[i].conduit >= header.conduit_capacity:
            raise ValueError(f"node {i} names a conduit out of range")
        if table.nodes[i].next != NO_NODE and table.nodes[i].next >= i:
            raise ValueError(f"node {i} does not lead towards its chain's end")
    for i in range(table.rule_mask + 1):
        if table.rules[i].key and table.rules[i].node >= header.node_count:
            raise ValueError(f"rule {i} names a node out of range")
    for i in range(table.endpoint_mask + 1):
        if table.endpoints[i].zone >= header.zone_count or table.endpoints[i].prefix_length > 128:
            raise ValueError(f"endpoint {i}: zone or prefix length out of range")
    for i in range(table.mac_mask + 1):
        if table.macs[i].zone >= header.zone_count and table.macs[i].zone != MAC_ANYWHERE_ZONE:
            raise ValueError(f"MAC {i}: zone out of range")
    for i in range(<uint32_t>header.port_count * VLAN_COUNT):
        if table.port_zones[i] >= header.zone_count:
            raise ValueError(f"port {i % header.port_count}: zone out of range")
    for i in range(table.prefix_length_count):
        if table.prefix_lengths[i] >= 128 or (i and table.prefix_lengths[i] >= table.prefix_lengths[i - 1]):
            raise ValueError("prefix lengths are not in descending order below 128")
    for i in range(header.conduit_capacity):
        if table.conduits[i].profile > profile_count:
            raise ValueError(f"conduit {i} names a profile out of range")
        if table.conduits[i].limit > limit_count:
            raise ValueError(f"conduit {i} names a limit out of range")
    for i in range(limit_count):
        for interval_ns, burst_ns in (
            (table.limits[i].packet_interval_ns, table.limits[i].packet_burst_ns),
            (table.limits[i].flow_interval_ns, table.limits[i].flow_burst_ns),
            (table.limits[i].source_packet_interval_ns, table.limits[i].source_packet_burst_ns),
            (table.limits[i].source_flow_interval_ns, table.limits[i].source_flow_burst_ns),
        ):
            # Times are added to the clock: far from the end of 64 bits. A burst below one interval lets nothing pass.
            if not interval_ns <= burst_ns <= LONGEST_BURST_NS:
                raise ValueError(f"limit {i}: interval and burst contradict each other")
    for i in range(profile_count):
        fault = profile_fault(
            &table, &table.profiles[i], sections[SECTION_CLAUSES].count, sections[SECTION_RANGES].count
        )
        if fault != NULL:
            raise ValueError(f"profile {i}: {fault.decode()}")
    for i in range(table.service_inspector_count):
        if table.service_inspectors[i] not in _INSPECTORS:
            raise ValueError(f"service class {i}: read by an inspector that this engine does not have")
    return 0


def validate_state(image, state):
    """Check that a state segment belongs to a validated image; raises ValueError."""
    cdef const uint8_t[::1] image_view = image
    cdef const uint8_t[::1] view = state
    cdef const image_header_t *of = <const image_header_t *>&image_view[0]
    cdef const state_header_t *header
    cdef uint64_t size
    if view.shape[0] < <Py_ssize_t>sizeof(state_header_t) or bytes(view[:8]) != abi.STATE_MAGIC:
        raise ValueError("not a state segment")
    header = <const state_header_t *>&view[0]
    size = <uint64_t>view.shape[0]
    if header.abi_version != abi.ABI_VERSION or header.state_bytes > size:
        raise ValueError("state segment of another ABI version, or truncated")
    if header.generation != of.generation or header.zone_count != of.zone_count:
        raise ValueError("state segment of another generation")
    if header.conduit_capacity != of.conduit_capacity:
        raise ValueError("state segment with another number of conduits")
    for start, length in (
        (header.ports_offset, abi.STATE_PORT.size * abi.STATE_PORT_SLOTS),
        (header.pairs_offset, header.zone_count * header.zone_count),
        (header.conduits_offset, header.conduit_capacity),
    ):
        if start > size or length > size - start or start < sizeof(state_header_t):
            raise ValueError("state segment: an array reaches beyond it")
    if header.ports_offset % 8:
        raise ValueError("state segment: the port array is not aligned")


# ---- the offline judge ----------------------------------------------------------------------------------------------


cdef class Judge:
    """One policy, one small flow memory, frames one at a time.

    `state` may be the live segment: stages and openings are then those in force. `flows` is how many conversations it
    remembers, a power of two. Raises ValueError for a bad image or state, or another number.
    """

    cdef table_t table
    cdef flows_t flows
    cdef limiter_t *limiter
    cdef uint8_t *streams
    cdef object kept

    def __cinit__(self, image, state, *, uint32_t flows=JUDGE_FLOWS):
        if not 4 <= flows <= 1 << 24 or flows & (flows - 1):
            raise ValueError("flows must be a power of two, at least 4")
        self.flows.bucket_mask = flows / FLOW_WAYS - 1
        self.flows.entries = <flow_t *>PyMem_Calloc(flows, sizeof(flow_t))
        self.flows.slots = <flow_slot_t *>PyMem_Calloc(flows, sizeof(flow_slot_t))
        self.streams = <uint8_t *>PyMem_Calloc(1, abi.streams_table_bytes(JUDGE_STREAMS, JUDGE_WINDOWS))
        self.limiter = <limiter_t *>PyMem_Calloc(1, sizeof(limiter_t))
        if self.flows.entries == NULL or self.flows.slots == NULL or self.limiter == NULL or self.streams == NULL:
            raise MemoryError
        attach_streams(&self.flows.streams, self.streams, JUDGE_STREAMS, JUDGE_WINDOWS, self.flows.entries, flows)

    def __init__(self, image, state, *, uint32_t flows=JUDGE_FLOWS):
        self.install(image, state)
        self.flows.seed = self.table.seed

    def __dealloc__(self):
        PyMem_Free(self.flows.entries)
        PyMem_Free(self.flows.slots)
        PyMem_Free(self.limiter)
        PyMem_Free(self.streams)

    def install(self, image, state):
        """Judge by another policy from now on, with the conversations remembered.

        Raises ValueError for a bad one; what is in force stays.
        """
        cdef const uint8_t[::1] image_view = image
        cdef const uint8_t[::1] state_view = state
        validate_image(image)
        validate_state(image, state)
        attach_table(&self.table, &image_view[0], &state_view[0], self.limiter)
        self.kept = (image, state)

    def forget_flows(self):
        """Drop every remembered conversation, and what was used up of every limit."""
        cdef uint32_t count = (self.flows.bucket_mask + 1) * FLOW_WAYS
        memset(self.flows.entries, 0, count * sizeof(flow_t))
        memset(self.flows.slots, 0, count * sizeof(flow_slot_t))
        memset(self.limiter, 0, sizeof(limiter_t))
        memset(self.flows.streams.owners, 0, JUDGE_STREAMS * sizeof(uint32_t))
        memset(self.flows.streams.holders, 0, JUDGE_WINDOWS * sizeof(uint32_t))
        attach_streams(&self.flows.streams, self.streams, JUDGE_STREAMS, JUDGE_WINDOWS, self.flows.entries, count)

    def judge(
        self,
        bytes payload,
        *,
        int ethertype,
        int in_ifindex,
        int out_ifindex,
        bytes source_mac,
        destination_mac=None,
        int vlan=0,
        tagged=None,
        length=None,
        uint64_t time_ns=0,
    ):
        """Judge one frame and return its Judgement.

        payload: from the network header on. vlan: 0 to 4095, of the tag taken off; `tagged` defaults to vlan != 0.
        MACs are 6 bytes; destination_mac None where the interception does not see it: an answer then comes from a MAC
        of zeros, where the engine takes the port's. length: bytes on the wire, when the payload was cut.
        time_ns: for idle flows and limits.
        Raises ValueError for numbers out of range.
        """
        cdef frame_t frame
        cdef decision_t decision
        cdef const uint8_t *data = payload
        if not (0 <= ethertype <= 0xFFFF and 0 <= vlan <= 0xFFF and in_ifindex >= 0 and out_ifindex >= 0):
            raise ValueError("EtherType, VLAN or interface index out of range")
        if len(source_mac) != 6 or (destination_mac is not None and len(destination_mac) != 6):
            raise ValueError("a MAC address has 6 bytes")
        if length is not None and not len(payload) <= length <= 0xFFFFFFFF:
            raise ValueError("a frame is no shorter than what is known of it")
        memset(&frame, 0, sizeof(frame_t))
        frame.data = data
        frame.captured = <uint32_t>len(payload)
        frame.length = frame.captured if length is None else length
        frame.ethertype = ethertype
        frame.in_ifindex = in_ifindex
        frame.out_ifindex = out_ifindex
        frame.vlan = vlan
        frame.tagged = vlan != 0 if tagged is None else bool(tagged)
        frame.source_mac = <uint64_t>int.from_bytes(source_mac, "big")
        if destination_mac is not None:
            frame.destination_mac = <uint64_t>int.from_bytes(destination_mac, "big")
            frame.has_destination_mac = 1
        with nogil:
            look_at(&self.table, &frame, &self.flows, &decision)
            self.flows.rewrites = 0
            decide(&self.table, &frame, &self.flows, time_ns, &decision)
        return _judgement(&decision, _answer(&self.table, &frame, &decision))


cdef object _answer(const table_t *table, const frame_t *frame, const decision_t *decision):
    cdef uint8_t answer[ANSWER_BYTES]
    cdef uint8_t port[6]
    if not is_refused(table, frame, decision) or not is_answerable(frame):
        return None
    if is_broadcast(table, frame, decision.destination_zone):
        return None
    memset(port, 0, sizeof(port))
    return answer[:build_answer(answer, frame, port)] or None


cdef object _judgement(const decision_t *decision, answer):
    return Judgement(
        abi.Verdict(decision.verdict),
        abi.Verdict(decision.policy_verdict),
        abi.Reason(decision.reason),
        abi.Stage(decision.stage),
        None if decision.conduit == NO_CONDUIT else decision.conduit,
        decision.source_zone,
        decision.destination_zone,
        None if decision.source.asset == NO_ASSET else decision.source.asset,
        None if decision.destination.asset == NO_ASSET else decision.destination.asset,
        decision.service,
        answer,
    )
