# cython: language_level=3
"""Turns two mapped buffers into a `table_t`.

In: an image that judge.validate_image accepted, and its state. Out: pointers into both; copies nothing.
"""

from libc.stdint cimport uint8_t, uint16_t, uint64_t

from fastpath.abi cimport (
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
    clause_t,
    conduit_t,
    endpoint_t,
    image_header_t,
    limit_t,
    mac_t,
    node_t,
    profile_t,
    range_t,
    rule_t,
    section_t,
    state_header_t,
    state_port_t,
    zone_t,
)
from fastpath.pace cimport limiter_t
from fastpath.table cimport table_t


cdef inline const uint8_t *section_at(const uint8_t *image, const section_t *sections, int index) noexcept nogil:
    return image + sections[index].offset_bytes


cdef inline void attach_table(
    table_t *table, const uint8_t *image, const uint8_t *state, limiter_t *limiter
) noexcept nogil:
    """Point a table into a validated image and state, and at the clocks of its limits; all must outlive it."""
    cdef const image_header_t *header = <const image_header_t *>image
    cdef const section_t *sections = <const section_t *>(image + sizeof(image_header_t))
    table.generation = header.generation
    table.seed = header.hash_seed
    table.endpoints = <const endpoint_t *>section_at(image, sections, SECTION_ENDPOINTS)
    table.macs = <const mac_t *>section_at(image, sections, SECTION_MACS)
    table.rules = <const rule_t *>section_at(image, sections, SECTION_RULES)
    table.nodes = <const node_t *>section_at(image, sections, SECTION_NODES)
    table.conduits = <const conduit_t *>section_at(image, sections, SECTION_CONDUITS)
    table.limits = <const limit_t *>section_at(image, sections, SECTION_LIMITS)
    table.profiles = <const profile_t *>section_at(image, sections, SECTION_PROFILES)
    table.clauses = <const clause_t *>section_at(image, sections, SECTION_CLAUSES)
    table.ranges = <const range_t *>section_at(image, sections, SECTION_RANGES)
    table.service_inspectors = section_at(image, sections, SECTION_SERVICE_INSPECTORS)
    table.limiter = limiter
    table.zones = <const zone_t *>section_at(image, sections, SECTION_ZONES)
    table.port_zones = <const uint16_t *>section_at(image, sections, SECTION_PORT_ZONES)
    table.prefix_lengths = section_at(image, sections, SECTION_PREFIX_LENGTHS)
    table.services_tcp = <const uint16_t *>section_at(image, sections, SECTION_SERVICES_TCP)
    table.services_udp = <const uint16_t *>section_at(image, sections, SECTION_SERVICES_UDP)
    table.services_ip = <const uint16_t *>section_at(image, sections, SECTION_SERVICES_IP)
    table.services_icmp4 = <const uint16_t *>section_at(image, sections, SECTION_SERVICES_ICMP4)
    table.services_icmp6 = <const uint16_t *>section_at(image, sections, SECTION_SERVICES_ICMP6)
    table.services_ethertype = <const uint16_t *>section_at(image, sections, SECTION_SERVICES_ETHERTYPE)
    table.endpoint_mask = sections[SECTION_ENDPOINTS].count - 1
    table.mac_mask = sections[SECTION_MACS].count - 1
    table.rule_mask = sections[SECTION_RULES].count - 1
    table.service_inspector_count = sections[SECTION_SERVICE_INSPECTORS].count
    table.prefix_length_count = sections[SECTION_PREFIX_LENGTHS].count
    table.zone_count = header.zone_count
    table.port_count = header.port_count
    table.state = <const state_header_t *>state
    table.ports = <const state_port_t *>(state + table.state.ports_offset)
    table.pair_stages = state + table.state.pairs_offset
    table.conduit_flags = state + table.state.conduits_offset
