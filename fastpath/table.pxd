# cython: language_level=3
"""A loaded policy: pointers into a validated image and its state segment, and the constant-time lookups.

In: an image that `judge.validate_image` has accepted (every index in it is in range) and the state of the same
generation. Out: endpoints, service classes, conduits, stages. Never writes, allocates or scans a list: a hash lookup
visits at most MAX_PROBE slots, prefixes cost one lookup per distinct length in the policy.
"""

from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t

from fastpath.abi cimport (
    CONDUIT_OPEN,
    CONDUIT_STAGE_MASK,
    ENDPOINT_IN_USE,
    HOST_PREFIX_LENGTH,
    MAX_PROBE,
    NO_CLASS,
    NO_CONDUIT,
    NO_NODE,
    PAIR_REFUSE,
    PAIR_STAGE_MASK,
    STATE_PORT_SLOTS,
    UNKNOWN_ZONE,
    clause_t,
    conduit_t,
    endpoint_t,
    limit_t,
    mac_t,
    mix64,
    node_t,
    profile_t,
    range_t,
    rule_t,
    state_header_t,
    state_port_t,
    zone_t,
)
from fastpath.frame cimport (
    PROTOCOL_ICMP,
    PROTOCOL_ICMPV6,
    PROTOCOL_TCP,
    PROTOCOL_UDP,
    frame_t,
    is_mapped,
    is_opening,
)
from fastpath.pace cimport limiter_t

cdef enum:
    V4_PREFIX_BITS = 96  # IPv4 prefixes are stored below ::ffff:0:0/96

cdef struct table_t:
    # SAFETY: all borrowed from two mappings that outlive the table; the installer unmaps them after every reader left.
    uint64_t generation
    uint64_t seed
    const endpoint_t *endpoints
    const mac_t *macs
    const rule_t *rules
    const node_t *nodes
    const conduit_t *conduits
    const limit_t *limits
    const profile_t *profiles
    const clause_t *clauses
    const range_t *ranges
    const uint8_t *service_inspectors
    const zone_t *zones
    const uint16_t *port_zones
    const uint8_t *prefix_lengths
    const uint16_t *services_tcp
    const uint16_t *services_udp
    const uint16_t *services_ip
    const uint16_t *services_icmp4
    const uint16_t *services_icmp6
    const uint16_t *services_ethertype
    uint32_t endpoint_mask
    uint32_t mac_mask
    uint32_t rule_mask
    uint32_t prefix_length_count
    uint32_t service_inspector_count
    uint32_t zone_count
    uint32_t port_count
    limiter_t *limiter  # the clocks of the limits: the installer's, shared, outlives every table; all else is read only
    # State: single bytes, written by control at any time
    const state_header_t *state
    const state_port_t *ports
    const uint8_t *pair_stages
    const uint8_t *conduit_flags


cdef inline uint16_t zone_of(const table_t *table, uint32_t ifindex, uint16_t vlan) noexcept nogil:
    """Return the zone that owns a bridge port with a VLAN, UNKNOWN_ZONE when none does."""
    cdef uint32_t slot = ifindex & (STATE_PORT_SLOTS - 1)
    cdef uint32_t _tries
    cdef uint32_t port
    if ifindex == 0:
        return UNKNOWN_ZONE
    for _tries in range(STATE_PORT_SLOTS):
        if table.ports[slot].ifindex == ifindex:
            port = table.ports[slot].port
            if port >= table.port_count:
                return UNKNOWN_ZONE
            return table.port_zones[<uint32_t>(vlan & 0x0FFF) * table.port_count + port]
        if table.ports[slot].ifindex == 0:
            return UNKNOWN_ZONE
        slot = (slot + 1) & (STATE_PORT_SLOTS - 1)
    return UNKNOWN_ZONE


cdef inline uint32_t endpoint_home(
    const table_t *table, uint64_t high, uint64_t low, uint16_t space, uint8_t prefix_length
) noexcept nogil:
    cdef uint64_t hashed = mix64(mix64(table.seed ^ high, low), <uint64_t>space << 8 | prefix_length)
    return <uint32_t>hashed & table.endpoint_mask


cdef inline uint32_t mac_home(const table_t *table, uint64_t mac, uint16_t space) noexcept nogil:
    return <uint32_t>mix64(table.seed, mac << 16 | space) & table.mac_mask


cdef inline uint32_t host_home(const table_t *table, const uint64_t *address, uint16_t space) noexcept nogil:
    """Return where the lookup of an address begins: with the address itself."""
    return endpoint_home(table, address[0], address[1], space, HOST_PREFIX_LENGTH)


cdef inline const endpoint_t *find_masked(
    const table_t *table, uint32_t slot, uint64_t high, uint64_t low, uint16_t space, uint8_t prefix_length
) noexcept nogil:
    cdef const endpoint_t *entry
    cdef uint32_t _tries
    for _tries in range(MAX_PROBE):
        entry = &table.endpoints[slot]
        if not entry.flags & ENDPOINT_IN_USE:
            return NULL
        if entry.address[0] == high and entry.address[1] == low:
            if entry.space == space and entry.prefix_length == prefix_length:
                return entry
        slot = (slot + 1) & table.endpoint_mask
    return NULL


cdef extern from *:
    """
    #include <stdint.h>
    /* The first `bits` bits of eight bytes that lie in network order in a little-endian word. */
    static inline uint64_t cnd_prefix_mask(unsigned bits) {
        if (bits == 0) return 0;
        return __builtin_bswap64(~0ULL << (64 - bits));
    }
    """
    uint64_t prefix_mask "cnd_prefix_mask"(unsigned int bits) noexcept nogil


cdef inline const endpoint_t *find_endpoint(
    const table_t *table, uint32_t home, const uint64_t *address, uint16_t space
) noexcept nogil:
    """Return the endpoint of an address: the address itself, else the longest prefix; NULL when unlisted everywhere.

    `home`: the address's `host_home`.
    """
    cdef const endpoint_t *entry = find_masked(table, home, address[0], address[1], space, HOST_PREFIX_LENGTH)
    cdef uint32_t i
    cdef uint8_t length
    cdef uint64_t high, low
    if entry != NULL:
        return entry
    for i in range(table.prefix_length_count):
        length = table.prefix_lengths[i]
        if length < V4_PREFIX_BITS and is_mapped(address):
            return NULL  # only prefixes of IPv4 hold an IPv4 address, ::/0 does not
        if length >= 64:
            high = address[0]
            low = address[1] & prefix_mask(length - 64)
        else:
            high = address[0] & prefix_mask(length)
            low = 0
        entry = find_masked(table, endpoint_home(table, high, low, space, length), high, low, space, length)
        if entry != NULL:
            return entry
    return NULL


cdef inline const mac_t *find_mac(const table_t *table, uint32_t slot, uint64_t mac, uint16_t space) noexcept nogil:
    """Return the entry of a 48-bit MAC whose `mac_home` is `slot`, NULL when it is no asset's and no listed group."""
    cdef uint64_t key = mac << 16 | space
    cdef uint32_t _tries
    if key == 0:
        return NULL
    for _tries in range(MAX_PROBE):
        if table.macs[slot].address_space == key:
            return &table.macs[slot]
        if table.macs[slot].address_space == 0:
            return NULL
        slot = (slot + 1) & table.mac_mask
    return NULL


cdef inline uint32_t find_rule(
    const table_t *table, uint16_t source, uint16_t destination, uint16_t service
) noexcept nogil:
    """Return the first node of the conduits that permit a triple of classes, NO_NODE when none does."""
    cdef uint64_t key = <uint64_t>source << 32 | <uint64_t>destination << 16 | service
    cdef uint32_t slot
    cdef uint32_t _tries
    if source == NO_CLASS or destination == NO_CLASS or service == NO_CLASS:
        return NO_NODE
    slot = <uint32_t>mix64(table.seed, key) & table.rule_mask
    for _tries in range(MAX_PROBE):
        if table.rules[slot].key == key:
            return table.rules[slot].node
        if table.rules[slot].key == 0:
            return NO_NODE
        slot = (slot + 1) & table.rule_mask
    return NO_NODE


cdef inline int is_open(const table_t *table, uint32_t conduit) noexcept nogil:
    return table.conduit_flags[conduit] & CONDUIT_OPEN


cdef inline uint32_t first_open(const table_t *table, uint32_t node) noexcept nogil:
    """Return the first open conduit of a chain, NO_CONDUIT when all are closed. Chains end: next < node (validated)."""
    while node != NO_NODE:
        if is_open(table, table.nodes[node].conduit):
            return table.nodes[node].conduit
        node = table.nodes[node].next
    return NO_CONDUIT


cdef inline int is_inspected(const table_t *table, uint32_t node) noexcept nogil:
    """Tell whether any of a chain's conduits, open or closed, looks inside."""
    while node != NO_NODE:
        if table.conduits[table.nodes[node].conduit].profile:
            return 1
        node = table.nodes[node].next
    return 0


cdef inline uint32_t answered_rule(
    const table_t *table, const frame_t *frame, uint16_t source, uint16_t destination
) noexcept nogil:
    """Return the conduits by which a frame of two classes may be an answer; NO_NODE for all but TCP in mid-stream."""
    if frame.protocol != PROTOCOL_TCP or is_opening(frame):
        return NO_NODE
    return find_rule(table, destination, source, table.services_tcp[frame.source_port])


cdef inline uint16_t service_at(const table_t *table, const frame_t *frame, uint16_t port) noexcept nogil:
    """Return the service class of an IP frame, taking `port` as the server's port."""
    if frame.protocol == PROTOCOL_TCP:
        return table.services_tcp[port]
    if frame.protocol == PROTOCOL_UDP:
        return table.services_udp[port]
    if frame.protocol == PROTOCOL_ICMP:
        return table.services_icmp4[frame.icmp_type] if frame.version == 4 else NO_CLASS
    if frame.protocol == PROTOCOL_ICMPV6:
        return table.services_icmp6[frame.icmp_type] if frame.version == 6 else NO_CLASS
    return table.services_ip[frame.protocol]


cdef inline uint8_t pair_stage(const table_t *table, uint16_t source_zone, uint16_t destination_zone) noexcept nogil:
    return table.pair_stages[<uint32_t>source_zone * table.zone_count + destination_zone] & PAIR_STAGE_MASK


cdef inline int pair_refuses(const table_t *table, uint16_t source_zone, uint16_t destination_zone) noexcept nogil:
    """Tell whether what is dropped between two zones is answered."""
    return table.pair_stages[<uint32_t>source_zone * table.zone_count + destination_zone] & PAIR_REFUSE


cdef inline uint8_t conduit_stage(const table_t *table, uint32_t conduit) noexcept nogil:
    return table.conduit_flags[conduit] & CONDUIT_STAGE_MASK
