# cython: language_level=3
"""C side of abi.py: the same numbers and layouts, compared with it byte for byte by tests/contract/test_abi.py.

Owner, lifetime and byte order of every struct stand in abi.py; all are little-endian and naturally aligned.
One long file on purpose, as abi.py: every layout in the same order beside its neighbours.
"""

from libc.stdint cimport int32_t, uint8_t, uint16_t, uint32_t, uint64_t

cdef enum:
    C_ABI_VERSION = 3

cdef enum:
    STAGE_MONITOR = 1
    STAGE_ALERT = 2
    STAGE_ENFORCE = 3

cdef enum:
    VERDICT_ACCEPT = 1
    VERDICT_DROP = 2

cdef enum:
    FAIL_STATIC = 0
    FAIL_CLOSED = 1
    FAIL_OPEN = 2

cdef enum:
    LOG_NONE = 0
    LOG_FLOW = 1
    LOG_ALL = 2

cdef enum:
    REASON_NONE = 0
    REASON_POLICY_CONDUIT = 1
    REASON_FLOW_ESTABLISHED = 2
    REASON_FLOW_PICKUP = 3
    REASON_FLOW_RELATED = 4
    REASON_NEIGHBOUR_RESOLUTION = 5
    REASON_ZONE_INTERNAL = 6
    REASON_FRAME_TRUNCATED = 32
    REASON_FRAME_MALFORMED = 33
    REASON_FRAME_FRAGMENT = 34
    REASON_FRAME_TCP_FLAGS = 35
    REASON_FRAME_EXTENSION = 36
    REASON_FRAME_VLAN_STACKED = 37
    REASON_FRAME_LLC = 38
    REASON_IDENTITY_PORT_UNKNOWN = 48
    REASON_IDENTITY_SOURCE_UNKNOWN = 49
    REASON_IDENTITY_SOURCE_ZONE = 50
    REASON_IDENTITY_SOURCE_MAC = 51
    REASON_IDENTITY_DESTINATION_UNKNOWN = 52
    REASON_IDENTITY_DESTINATION_ZONE = 53
    REASON_IDENTITY_NEIGHBOUR = 54
    REASON_POLICY_NO_CONDUIT = 64
    REASON_POLICY_CONDUIT_CLOSED = 65
    REASON_NEIGHBOUR_NO_CONDUIT = 66
    REASON_GUARD_QUARANTINE = 80
    REASON_LIMIT_PACKETS = 96
    REASON_LIMIT_FLOWS = 97
    REASON_LIMIT_SOURCE = 98
    REASON_STREAM_SHARE = 103
    REASON_STREAM_AHEAD = 104
    REASON_STREAM_CONFLICT = 105
    REASON_STREAM_SEQUENCE = 106
    REASON_STREAM_URGENT = 107
    REASON_STREAM_OPENING_DATA = 108
    REASON_STREAM_PICKUP = 109
    REASON_STREAM_BUDGET = 110
    REASON_STREAM_REFUSED = 111
    REASON_MESSAGE_PROTOCOL = 112
    REASON_MESSAGE_MALFORMED = 113
    REASON_MESSAGE_OPAQUE = 114
    REASON_MESSAGE_ANSWER = 115
    REASON_MESSAGE_OPERATION = 116
    REASON_MESSAGE_CONSTRAINT = 117
    REASON_MESSAGE_BUDGET = 118
    REASON_PROCESS_VALUE = 120
    REASON_PROCESS_STEP = 121
    REASON_PROCESS_RATE = 122

cdef enum:
    INSPECTOR_NONE = 0
    INSPECTOR_MODBUS = 1
    INSPECTOR_MODBUS_RTU = 2
    INSPECTOR_S7COMM = 3
    INSPECTOR_ENIP = 4
    INSPECTOR_ENIP_IO = 5

cdef enum:
    PROTOCOL_NONE = 0
    PROTOCOL_MODBUS = 1
    PROTOCOL_S7COMM = 2
    PROTOCOL_S7COMM_PLUS = 3
    PROTOCOL_ENIP = 4
    PROTOCOL_CIP = 5
    PROTOCOL_COTP = 6

cdef enum:
    OPERATION_NONE = 0
    OPERATION_READ = 1
    OPERATION_WRITE = 2
    OPERATION_CONTROL = 3
    OPERATION_PROGRAM = 4
    OPERATION_ADMIN = 5
    OPERATION_DIAGNOSE = 6
    OPERATION_OTHER = 7

cdef enum:
    ACCESS_FIELDS = 12

cdef enum:
    MESSAGES_NONE = 0
    MESSAGES_SAMPLED = 1
    MESSAGES_FULL = 2

cdef enum:
    REFUSE_SILENT = 0
    REFUSE_RESET = 1
    REFUSE_ANSWER = 2

cdef enum:
    FIRST_DROP_REASON = 32
    REASON_COUNT = 128
    MAX_PROBE = 16
    NO_CLASS = 0
    SERVICE_NEIGHBOUR = 1
    UNKNOWN_ZONE = 0
    VLAN_COUNT = 4096
    HOST_PREFIX_LENGTH = 128
    ENDPOINT_ANYWHERE = 0x01
    ENDPOINT_IN_USE = 0x80
    MAC_ANYWHERE_ZONE = 0xFFFF
    SECTION_COUNT = 24
    MAX_PROFILES = 65535
    MAX_CLAUSES = 256
    MAX_RANGES = 1024
    NO_FIELD = 0xFF
    STATE_PORT_SLOTS = 1024
    CONDUIT_STAGE_MASK = 0x03
    CONDUIT_OPEN = 0x04
    PAIR_STAGE_MASK = 0x03
    PAIR_REFUSE = 0x04
    MAX_CONDUITS = 131072
    MAX_BATCH = 64
    PAGE_BYTES = 4096
    COUNTERS_HEADER_BYTES = 4096
    QUEUE_COUNTERS_STRIDE = 4096 + 131072 * 16
    EVENTS_HEADER_BYTES = 4096
    EVENTS_PER_RING = 65536
    RING_BYTES = 4096 + 65536 * 128
    EVENT_TCP_OPENING = 0x01
    EVENT_MESSAGE = 0x04
    EVENT_REWRITTEN = 0x08
    FLOW_WAYS = 4
    FLOWS_HEADER_BYTES = 4096
    FLOW_CLOSED = 0x01
    FLOW_FIN_OPENER = 0x02
    FLOW_FIN_RESPONDER = 0x04
    FLOW_KNOWN_OPENER = 0x08
    FLOW_KNOWN_RESPONDER = 0x10
    FLOW_PLAIN = 0x20
    STREAMS_PER_TABLE = 16384
    STREAM_WINDOWS = 128
    STREAM_SMALL_BYTES = 1024
    STREAM_LARGE_BYTES = 131072
    STREAM_LOOSE = 0x01
    STREAM_SHUT = 0x02
    STREAM_ENDED = 0x04
    STREAM_GREETED = 0x08
    WAY_FIN = 0x01
    WAY_LOST = 0x02
    WAY_HOLE = 0x04
    WAY_EDITS = 3
    STREAMS_HEADER_BYTES = 4096
    MARK_JUDGED = 0x00C00001
    MARK_LANE = 0x00D00000
    LANE_GENERATIONS = 0x000FFFFF

cdef extern from *:
    """
    #define CND_NONE 0xFFFFFFFFu
    #define CND_MARK_LANE_MASK 0xFFF00000u
    """
    const uint32_t MARK_LANE_MASK "CND_MARK_LANE_MASK"
    const uint32_t NO_ASSET "CND_NONE"
    const uint32_t NO_CONDUIT "CND_NONE"
    const uint32_t NO_NODE "CND_NONE"

cdef enum:
    SECTION_ENDPOINTS = 0
    SECTION_MACS = 1
    SECTION_RULES = 2
    SECTION_NODES = 3
    SECTION_CONDUITS = 4
    SECTION_ZONES = 5
    SECTION_PORT_ZONES = 6
    SECTION_PREFIX_LENGTHS = 7
    SECTION_SERVICES_TCP = 8
    SECTION_SERVICES_UDP = 9
    SECTION_SERVICES_IP = 10
    SECTION_SERVICES_ICMP4 = 11
    SECTION_SERVICES_ICMP6 = 12
    SECTION_SERVICES_ETHERTYPE = 13
    SECTION_LIMITS = 14
    SECTION_PROFILES = 15
    SECTION_CLAUSES = 16
    SECTION_RANGES = 17
    SECTION_SERVICE_INSPECTORS = 18

cdef struct section_t:
    uint64_t offset_bytes
    uint32_t count
    uint32_t reserved

cdef struct image_header_t:
    uint8_t magic[8]
    uint32_t abi_version
    uint32_t header_bytes
    uint64_t generation
    uint64_t image_bytes
    uint8_t policy_digest[32]
    uint8_t image_sha256[32]
    uint64_t hash_seed
    uint16_t zone_count
    uint16_t port_count
    uint32_t conduit_capacity
    uint32_t node_count
    uint32_t reserved
    uint64_t reserved2

cdef struct endpoint_t:
    uint64_t address[2]
    uint32_t asset
    uint32_t mac_asset
    uint16_t space
    uint16_t zone
    uint16_t klass
    uint8_t prefix_length
    uint8_t flags

cdef struct mac_t:
    uint64_t address_space
    uint32_t asset
    uint16_t zone
    uint16_t klass

cdef struct rule_t:
    uint64_t key
    uint32_t node
    uint32_t reserved

cdef struct node_t:
    uint32_t conduit
    uint32_t next

cdef struct conduit_t:
    uint8_t fail
    uint8_t log
    uint16_t profile
    uint32_t limit
    uint64_t reserved2

cdef struct limit_t:
    uint64_t packet_interval_ns
    uint64_t packet_burst_ns
    uint64_t flow_interval_ns
    uint64_t flow_burst_ns
    uint64_t source_packet_interval_ns
    uint64_t source_packet_burst_ns
    uint64_t source_flow_interval_ns
    uint64_t source_flow_burst_ns

cdef struct profile_t:
    uint32_t first_clause
    uint32_t clause_count
    uint32_t inspectors
    uint32_t every
    uint16_t operations
    uint8_t constrained
    uint8_t messages
    uint8_t refuse
    uint8_t guarded
    uint8_t reserved[10]

cdef struct clause_t:
    uint64_t identity
    uint64_t step
    uint64_t rate_interval_ns
    uint64_t rate_burst_ns
    uint32_t first_range
    uint16_t range_count
    uint16_t operations
    uint8_t protocol
    uint8_t value_field
    uint8_t reserved[6]

cdef struct range_t:
    uint8_t field
    uint8_t reserved[7]
    uint64_t low
    uint64_t high

cdef struct zone_t:
    uint16_t space
    uint16_t reserved
    uint32_t reserved2

cdef struct state_header_t:
    uint8_t magic[8]
    uint32_t abi_version
    uint32_t header_bytes
    uint64_t state_bytes
    uint64_t generation
    uint8_t ceiling
    uint8_t reserved
    uint16_t zone_count
    uint32_t conduit_capacity
    uint64_t ports_offset
    uint64_t pairs_offset
    uint64_t conduits_offset
    uint32_t lane_mark
    uint8_t reserved2[60]

cdef struct state_port_t:
    uint32_t ifindex
    uint16_t port
    uint16_t reserved

cdef struct counters_header_t:
    uint8_t magic[8]
    uint32_t abi_version
    uint32_t queue_count
    uint64_t queue_bytes
    uint64_t lost_before
    uint8_t reserved[32]

cdef struct tally_entry_t:
    uint32_t conduit
    uint8_t reason
    uint8_t verdict
    uint16_t flags

cdef struct queue_counters_t:
    uint64_t heartbeat_ns
    uint64_t generation
    uint64_t received
    uint64_t accepted
    uint64_t dropped
    uint64_t would_drop
    uint64_t released
    uint64_t batches
    uint64_t receive_errors
    uint64_t verdict_errors
    uint64_t flows_created
    uint64_t flows_evicted
    uint32_t last_id
    uint32_t pending
    uint32_t queue_number
    uint32_t reserved
    uint64_t refused
    uint64_t laned
    tally_entry_t tally[64]
    uint64_t by_reason[256]
    uint64_t rewritten

cdef struct conduit_counters_t:
    uint64_t accepted
    uint64_t dropped

cdef struct event_t:
    uint64_t time_ns
    uint64_t generation
    uint64_t source[2]
    uint64_t destination[2]
    uint8_t source_mac[6]
    uint8_t destination_mac[6]
    uint32_t source_asset
    uint32_t destination_asset
    uint32_t conduit
    uint32_t in_ifindex
    uint32_t out_ifindex
    uint32_t length
    uint16_t source_zone
    uint16_t destination_zone
    uint16_t ethertype
    uint16_t vlan
    uint16_t source_port
    uint16_t destination_port
    uint16_t service
    uint8_t protocol
    uint8_t reason
    uint8_t verdict
    uint8_t policy_verdict
    uint8_t stage
    uint8_t queue
    uint32_t flags
    uint32_t reserved
    uint64_t sequence
    uint8_t reserved2[8]

cdef struct message_t:
    uint8_t protocol
    uint8_t operation
    uint8_t answer
    uint8_t depth
    uint16_t index
    uint16_t present
    uint8_t wide[2]
    uint8_t reserved[6]
    uint64_t low[12]
    uint64_t high[2]

cdef struct ring_header_t:
    uint64_t head
    uint64_t lost
    uint8_t reserved[48]
    uint64_t tail
    uint8_t reserved2[56]
    uint8_t reserved3[64]

cdef struct events_header_t:
    uint8_t magic[8]
    uint32_t abi_version
    uint32_t ring_count
    uint32_t events_per_ring
    uint32_t ring_bytes
    uint8_t reserved[40]

cdef struct flows_header_t:
    uint8_t magic[8]
    uint32_t abi_version
    uint32_t table_count
    uint32_t flows_per_table
    uint32_t reserved
    uint64_t seed
    uint8_t reserved2[32]

cdef struct flow_t:
    uint64_t opener[2]
    uint64_t responder[2]
    uint16_t opener_port
    uint16_t responder_port
    uint16_t opener_zone
    uint16_t responder_zone
    uint8_t protocol
    uint8_t in_use
    uint16_t flags
    uint32_t conduit
    uint32_t opener_asset
    uint32_t responder_asset
    uint64_t generation
    uint8_t opener_mac[6]
    uint8_t responder_mac[6]
    uint16_t service
    uint16_t stream
    uint64_t first_seen_ns
    uint64_t last_seen_ns
    uint64_t opener_frames
    uint64_t responder_frames
    uint64_t opener_bytes
    uint64_t responder_bytes

cdef struct streams_header_t:
    uint8_t magic[8]
    uint32_t abi_version
    uint32_t table_count
    uint32_t streams_per_table
    uint32_t windows_per_table
    uint8_t reserved[40]

cdef struct stream_way_t:
    uint32_t next
    uint32_t acked
    uint32_t first
    uint32_t base
    uint32_t message
    uint32_t needed
    uint32_t tried
    uint32_t at
    uint32_t hole_end
    uint32_t ahead_end
    uint16_t window
    uint16_t flags
    uint32_t edit_at[3]
    uint8_t edit_to[3]
    uint8_t edit_count
    uint8_t reserved[4]

cdef struct stream_t:
    uint8_t changing
    uint8_t flags
    uint8_t inspector
    uint8_t reserved[1]
    uint16_t opener_share
    uint16_t crowd_share
    uint32_t next_unused
    uint8_t reserved2[52]
    stream_way_t ways[2]
    uint8_t dialog[512]
    uint8_t small[2048]


cdef inline uint64_t mix64(uint64_t a, uint64_t b) noexcept nogil:
    cdef uint64_t h = (a ^ 0xC2B2AE3D27D4EB4FULL) * 0x9E3779B97F4A7C15ULL
    h ^= h >> 32
    h = (h ^ b) * 0xC2B2AE3D27D4EB4FULL
    h ^= h >> 29
    h = h * 0x9E3779B97F4A7C15ULL
    return h ^ (h >> 32)
