# cython: language_level=3
"""A policy's geography, for frames that come without a port: ports of zones, address spaces, MACs of assets.

In: a table. Out: indexes of its own making, freed by their owner. Called by `replay` and `whereabouts`.
"""

from libc.stdint cimport uint16_t, uint32_t, uint64_t
from libc.stdlib cimport calloc, free

from fastpath.abi cimport MAC_ANYWHERE_ZONE, UNKNOWN_ZONE, VLAN_COUNT
from fastpath.table cimport table_t

cdef enum:
    MOST_CARRIERS = 1 << 22  # assets with a number beyond have none: no policy has so many

cdef struct way_t:
    uint16_t vlan
    uint16_t port

# Owner: a Replay, for one policy.
cdef struct places_t:
    way_t *ways  # every owned (port, VLAN), by zone, then VLAN, then port
    uint32_t *first  # of a zone, in `ways`; one more behind the last zone
    uint16_t *spaces  # the address spaces of the zones, each once
    uint32_t space_count
    uint64_t *carriers  # by asset: its lowest MAC, 0 for none
    uint32_t carrier_count
    uint16_t ingress_port  # every frame came in by this port; 0 = by where its source is
    uint16_t ingress_zone  # or by a port of this zone; 0 = by where its source is


cdef inline uint16_t port_of(const places_t *places, uint16_t zone, uint16_t vlan) noexcept nogil:
    """Return the first port by which a zone has a VLAN, 0 for none."""
    cdef uint32_t i
    for i in range(places.first[zone], places.first[zone + 1]):
        if places.ways[i].vlan == vlan:
            return places.ways[i].port
    return 0


cdef inline uint16_t port_beyond(const table_t *table, uint16_t zone, uint16_t vlan) noexcept nogil:
    """Return the first port that has a VLAN for another zone: where a copy of a flooded frame leaves; 0 for none."""
    cdef const uint16_t *zones = table.port_zones + <uint32_t>vlan * table.port_count
    cdef uint32_t port
    for port in range(1, table.port_count):
        if zones[port] != UNKNOWN_ZONE and zones[port] != zone:
            return <uint16_t>port
    return 0


cdef inline uint16_t first_zone_of(const table_t *table, uint16_t port) noexcept nogil:
    """Return the zone of a port's lowest VLAN, untagged being 0; the unknown zone when it has none."""
    cdef uint32_t tag
    for tag in range(VLAN_COUNT):
        if table.port_zones[tag * table.port_count + port] != UNKNOWN_ZONE:
            return table.port_zones[tag * table.port_count + port]
    return UNKNOWN_ZONE


cdef inline int index_ways(places_t *places, const table_t *table) noexcept nogil:
    """Sort the owned (port, VLAN) pairs by zone; `first` counts a zone's pairs, then moves while they are put."""
    cdef uint32_t entries = <uint32_t>VLAN_COUNT * table.port_count
    cdef uint32_t i, zone
    cdef way_t *way
    places.first = <uint32_t *>calloc(<size_t>table.zone_count + 2, sizeof(uint32_t))
    if places.first == NULL:
        return 0
    for i in range(entries):
        if table.port_zones[i] != UNKNOWN_ZONE:
            places.first[table.port_zones[i] + 2] += 1  # two on: the last shift is made by putting them
    for zone in range(2, <uint32_t>table.zone_count + 2):
        places.first[zone] += places.first[zone - 1]
    places.ways = <way_t *>calloc(<size_t>places.first[table.zone_count + 1] + 1, sizeof(way_t))
    if places.ways == NULL:
        return 0
    for i in range(entries):
        if table.port_zones[i] != UNKNOWN_ZONE:
            way = &places.ways[places.first[table.port_zones[i] + 1]]
            way.vlan = <uint16_t>(i / table.port_count)
            way.port = <uint16_t>(i % table.port_count)
            places.first[table.port_zones[i] + 1] += 1
    return 1


cdef inline int index_spaces(places_t *places, const table_t *table) noexcept nogil:
    cdef uint32_t zone, i
    places.spaces = <uint16_t *>calloc(<size_t>table.zone_count + 1, sizeof(uint16_t))
    if places.spaces == NULL:
        return 0
    for zone in range(1, table.zone_count):
        i = 0
        while i < places.space_count and places.spaces[i] != table.zones[zone].space:
            i += 1
        if i == places.space_count:
            places.spaces[i] = table.zones[zone].space
            places.space_count += 1
    return 1


cdef inline int index_carriers(places_t *places, const table_t *table) noexcept nogil:
    cdef uint32_t i, asset
    cdef uint64_t mac
    for i in range(table.mac_mask + 1):
        asset = table.macs[i].asset
        if table.macs[i].address_space and table.macs[i].zone != MAC_ANYWHERE_ZONE and asset < MOST_CARRIERS:
            places.carrier_count = max(places.carrier_count, asset + 1)
    places.carriers = <uint64_t *>calloc(<size_t>places.carrier_count + 1, sizeof(uint64_t))
    if places.carriers == NULL:
        return 0
    for i in range(table.mac_mask + 1):
        asset = table.macs[i].asset
        if table.macs[i].address_space and table.macs[i].zone != MAC_ANYWHERE_ZONE and asset < MOST_CARRIERS:
            mac = table.macs[i].address_space >> 16
            if places.carriers[asset] == 0 or mac < places.carriers[asset]:
                places.carriers[asset] = mac
    return 1


cdef inline int open_places(places_t *places, const table_t *table) noexcept nogil:
    """Make the indexes; False when there is no memory (what was made is freed by close_places)."""
    return index_ways(places, table) and index_spaces(places, table) and index_carriers(places, table)


cdef inline void close_places(places_t *places) noexcept nogil:
    free(places.ways)
    free(places.first)
    free(places.spaces)
    free(places.carriers)
