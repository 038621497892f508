# cython: language_level=3
"""Who a frame claims to be, and whether port, MAC and address agree: lines 5 and 6 of docs/reference/semantics.md.

In: a parsed frame and its zones. Out: a `party_t` (asset, endpoint class, whether a MAC was checked) and NONE or an
IDENTITY_ reason. A contradiction is a spoof; there is no "probably".
"""

from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t

from fastpath.abi cimport (
    ENDPOINT_ANYWHERE,
    MAC_ANYWHERE_ZONE,
    NO_ASSET,
    NO_CLASS,
    REASON_IDENTITY_DESTINATION_UNKNOWN,
    REASON_IDENTITY_DESTINATION_ZONE,
    REASON_IDENTITY_SOURCE_MAC,
    REASON_IDENTITY_SOURCE_UNKNOWN,
    REASON_IDENTITY_SOURCE_ZONE,
    REASON_NONE,
    endpoint_t,
    mac_t,
)
from fastpath.cursor cimport prefetch
from fastpath.frame cimport KIND_L2, frame_t, is_mapped
from fastpath.table cimport find_endpoint, find_mac, host_home, mac_home, table_t

cdef struct party_t:
    uint32_t asset
    uint16_t klass
    uint8_t mac_checked

# Where the lookups of a frame's two ends begin, so that each is hashed once. Lives with the frame's decision.
cdef struct homes_t:
    uint32_t source
    uint32_t source_mac
    uint32_t destination  # among the endpoints, of a frame without IP among the MACs
    uint8_t known


cdef inline void nobody(party_t *party) noexcept nogil:
    party.asset = NO_ASSET
    party.klass = NO_CLASS
    party.mac_checked = 0


cdef inline void find_homes(
    const table_t *table, const frame_t *frame, uint16_t source_zone, uint16_t destination_zone, homes_t *homes
) noexcept nogil:
    """Say where looking up both ends of a frame will begin, and ask for those cache lines."""
    cdef uint16_t space = table.zones[source_zone].space
    cdef uint16_t far_space = table.zones[destination_zone].space
    homes.known = 1
    homes.source_mac = mac_home(table, frame.source_mac, space)
    prefetch(&table.macs[homes.source_mac])
    if frame.kind == KIND_L2:
        homes.destination = mac_home(table, frame.destination_mac, far_space)
        prefetch(&table.macs[homes.destination])
        return
    homes.source = host_home(table, frame.source, space)
    prefetch(&table.endpoints[homes.source])
    homes.destination = host_home(table, frame.destination, far_space)
    prefetch(&table.endpoints[homes.destination])


cdef inline uint8_t source_by_address(
    const table_t *table, const frame_t *frame, const uint64_t *address, const homes_t *homes, uint16_t zone,
    party_t *party
) noexcept nogil:
    """Identify the sender of an IP, ARP or ND frame: the address, its zone, then the MAC it must carry."""
    cdef uint16_t space = table.zones[zone].space
    cdef const endpoint_t *endpoint = NULL
    cdef const mac_t *mac
    if not (frame.version == 6 and is_mapped(address)):
        endpoint = find_endpoint(table, homes.source, address, space)
    if endpoint == NULL or endpoint.flags & ENDPOINT_ANYWHERE:
        return REASON_IDENTITY_SOURCE_UNKNOWN
    party.asset = endpoint.asset
    party.klass = endpoint.klass
    if endpoint.zone != zone:
        return REASON_IDENTITY_SOURCE_ZONE
    if endpoint.mac_asset != NO_ASSET:
        mac = find_mac(table, homes.source_mac, frame.source_mac, space)
        if mac == NULL or mac.asset != endpoint.mac_asset:
            return REASON_IDENTITY_SOURCE_MAC
        party.mac_checked = 1
    return REASON_NONE


cdef inline uint8_t destination_by_address(
    const table_t *table, const frame_t *frame, const uint64_t *address, uint32_t home, uint16_t zone, party_t *party
) noexcept nogil:
    """Identify the addressee of an IP, ARP or ND frame and whether it lives behind the egress port."""
    cdef const endpoint_t *endpoint = NULL
    if not (frame.version == 6 and is_mapped(address)):
        endpoint = find_endpoint(table, home, address, table.zones[zone].space)
    if endpoint == NULL:
        return REASON_IDENTITY_DESTINATION_UNKNOWN
    party.asset = endpoint.asset
    party.klass = endpoint.klass
    if endpoint.zone != zone and not endpoint.flags & ENDPOINT_ANYWHERE:
        return REASON_IDENTITY_DESTINATION_ZONE
    return REASON_NONE


cdef inline uint8_t source_by_mac(
    const table_t *table, const frame_t *frame, const homes_t *homes, uint16_t zone, party_t *party
) noexcept nogil:
    """Identify the sender of a frame without IP."""
    cdef const mac_t *mac = find_mac(table, homes.source_mac, frame.source_mac, table.zones[zone].space)
    if mac == NULL or mac.zone == MAC_ANYWHERE_ZONE:
        return REASON_IDENTITY_SOURCE_UNKNOWN
    party.asset = mac.asset
    party.klass = mac.klass
    if mac.zone != zone:
        return REASON_IDENTITY_SOURCE_ZONE
    party.mac_checked = 1
    return REASON_NONE


cdef inline uint8_t destination_by_mac(
    const table_t *table, const frame_t *frame, const homes_t *homes, uint16_t zone, party_t *party
) noexcept nogil:
    """Identify the addressee of a frame without IP."""
    cdef const mac_t *mac
    if not frame.has_destination_mac:
        return REASON_IDENTITY_DESTINATION_UNKNOWN
    mac = find_mac(table, homes.destination, frame.destination_mac, table.zones[zone].space)
    if mac == NULL:
        return REASON_IDENTITY_DESTINATION_UNKNOWN
    party.asset = mac.asset
    party.klass = mac.klass
    if mac.zone != zone and mac.zone != MAC_ANYWHERE_ZONE:
        return REASON_IDENTITY_DESTINATION_ZONE
    return REASON_NONE
