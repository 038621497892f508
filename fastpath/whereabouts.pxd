# cython: language_level=3
"""Where a captured frame would have come in and gone out: a capture knows no bridge ports.

In: a frame behind its link header, the policy's table. Out: the frame with ports (a port's number stands for its
ifindex), VLAN and, where the link has no addresses, the MAC that its source must carry. An end is where the policy
says that its MAC is, else its IP; an end that the policy knows nowhere is behind no port. The rules stand in
docs/how-to/simulate.md, "Where frames are placed". Decides nothing: the engine judges what is placed.
"""

from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t

from fastpath.abi cimport (
    ENDPOINT_ANYWHERE,
    MAC_ANYWHERE_ZONE,
    NO_ASSET,
    REASON_NONE,
    UNKNOWN_ZONE,
    endpoint_t,
    mac_t,
)
from fastpath.frame cimport KIND_ARP, KIND_L2, KIND_ND, ND_SOLICITATION, frame_t, is_group_v6, is_mapped
from fastpath.places cimport first_zone_of, places_t, port_beyond, port_of
from fastpath.table cimport find_endpoint, find_mac, host_home, mac_home, table_t

cdef extern from *:
    uint64_t __builtin_bswap64(uint64_t value) noexcept nogil

cdef struct end_t:
    uint16_t zone
    uint32_t asset


cdef inline const mac_t *listed_mac(
    const places_t *places, const table_t *table, uint64_t mac, uint16_t vlan
) noexcept nogil:
    """Return whose MAC it is: in an address space whose zone has the VLAN, else in the first that knows it."""
    cdef const mac_t *found = NULL
    cdef const mac_t *one
    cdef uint32_t i
    for i in range(places.space_count):
        one = find_mac(table, mac_home(table, mac, places.spaces[i]), mac, places.spaces[i])
        if one == NULL or one.zone == MAC_ANYWHERE_ZONE:
            continue
        if port_of(places, one.zone, vlan):
            return one
        if found == NULL:
            found = one
    return found


cdef inline int is_nowhere(const frame_t *frame, const uint64_t *address) noexcept nogil:
    """Tell whether nobody has this address: unspecified, or a mapped one in an IPv6 header."""
    if address[0] == 0 and address[1] == 0:
        return 1
    return is_mapped(address) and (frame.version == 6 or not address[1] >> 32)


cdef inline const endpoint_t *listed_address(
    const places_t *places, const table_t *table, const frame_t *frame, const uint64_t *address
) noexcept nogil:
    """Return whose address it is: where the zone has the frame's VLAN, then the longest prefix, then the first."""
    cdef const endpoint_t *found = NULL
    cdef const endpoint_t *one
    cdef uint32_t score, best = 0
    cdef uint32_t i
    if frame.kind == KIND_L2 or is_nowhere(frame, address):
        return NULL
    for i in range(places.space_count):
        one = find_endpoint(table, host_home(table, address, places.spaces[i]), address, places.spaces[i])
        if one == NULL:
            continue
        score = 1 + one.prefix_length
        if one.flags & ENDPOINT_ANYWHERE or port_of(places, one.zone, frame.vlan):
            score += 256
        if score > best:
            best = score
            found = one
    return found


cdef inline int carries(const table_t *table, const endpoint_t *endpoint, uint64_t mac) noexcept nogil:
    """Tell whether a MAC is one that frames of an address must carry: the asset's own, or its router's."""
    cdef const mac_t *found = NULL
    if endpoint.mac_asset != NO_ASSET:
        found = find_mac(table, mac_home(table, mac, endpoint.space), mac, endpoint.space)
    return found != NULL and found.asset == endpoint.mac_asset


cdef inline void settle(
    const places_t *places, const table_t *table, uint64_t mac, uint16_t vlan, const endpoint_t *endpoint, end_t *end
) noexcept nogil:
    """Say where an end is: where its address is, unless its MAC (0: unseen) is that of an asset somewhere else."""
    cdef const mac_t *device = NULL
    cdef int by_address = endpoint != NULL and not endpoint.flags & ENDPOINT_ANYWHERE
    end.zone = UNKNOWN_ZONE
    end.asset = NO_ASSET
    if by_address:
        end.zone = endpoint.zone
        end.asset = endpoint.asset
        if mac and carries(table, endpoint, mac):
            return
    if mac:
        device = listed_mac(places, table, mac, vlan)
    if device != NULL:
        end.zone = device.zone
        if not by_address:
            end.asset = device.asset


cdef inline int is_group_address(const frame_t *frame, const uint64_t *address) noexcept nogil:
    """Tell whether an address is multicast or 255.255.255.255, for links that have no MAC to show it."""
    cdef uint32_t v4
    if frame.version == 6:
        return is_group_v6(address)
    v4 = <uint32_t>__builtin_bswap64(address[1])
    return v4 >> 28 == 0xE or v4 == <uint32_t>0xFFFFFFFF


cdef inline int is_announcement(const frame_t *frame) noexcept nogil:
    """Tell whether an ARP frame is for everybody."""
    return (
        frame.kind == KIND_ARP
        and frame.source[0] == frame.destination[0]
        and frame.source[1] == frame.destination[1]
    )


cdef inline void place_source(const places_t *places, const table_t *table, frame_t *frame, end_t *end) noexcept nogil:
    cdef const endpoint_t *endpoint = listed_address(places, table, frame, frame.source)
    settle(places, table, frame.source_mac, frame.vlan, endpoint, end)
    if frame.source_mac == 0 and endpoint != NULL and endpoint.mac_asset < places.carrier_count:
        frame.source_mac = places.carriers[endpoint.mac_asset]  # nobody has seen it: what can't be wrong, isn't


cdef inline int place_destination(
    const places_t *places, const table_t *table, const frame_t *frame, end_t *end
) noexcept nogil:
    """Say where the other end is; True when it is everybody."""
    cdef const uint64_t *address = frame.destination
    cdef const endpoint_t *endpoint
    cdef int group = frame.has_destination_mac and (frame.destination_mac >> 40) & 1
    if frame.kind == KIND_ND and frame.icmp_type == ND_SOLICITATION and frame.error == REASON_NONE:
        address = frame.nd_target
    endpoint = listed_address(places, table, frame, address)
    settle(places, table, 0 if group else frame.destination_mac, frame.vlan, endpoint, end)
    if end.zone != UNKNOWN_ZONE:
        return group and is_announcement(frame)
    if endpoint != NULL or group:  # a listed group, or a flooded frame
        return 1
    return not frame.has_destination_mac and frame.kind != KIND_L2 and is_group_address(frame, address)


cdef inline uint16_t lost_tag(const places_t *places, const end_t *source, const end_t *destination) noexcept nogil:
    """Return the VLAN of an untagged frame from a zone that has tagged ports only: the capture lost its tag.

    Of the source's VLANs the first that the destination has too: a bridge keeps the tag.
    """
    cdef uint16_t zone = source.zone if source.zone != UNKNOWN_ZONE else destination.zone
    cdef uint32_t i
    if zone == UNKNOWN_ZONE or port_of(places, zone, 0):
        return 0
    for i in range(places.first[zone], places.first[zone + 1]):
        if destination.zone == UNKNOWN_ZONE or port_of(places, destination.zone, places.ways[i].vlan):
            return places.ways[i].vlan
    return places.ways[places.first[zone]].vlan if places.first[zone] < places.first[zone + 1] else 0


cdef inline uint16_t zone_of_ingress(const places_t *places, const table_t *table, const frame_t *frame) noexcept nogil:
    """Return the zone that the frames are known to come in from."""
    cdef uint16_t zone
    if places.ingress_zone:
        return places.ingress_zone
    zone = table.port_zones[<uint32_t>frame.vlan * table.port_count + places.ingress_port]
    if zone == UNKNOWN_ZONE and not frame.tagged:
        return first_zone_of(table, places.ingress_port)  # a port of tagged zones only: the capture lost the tag
    return zone


cdef inline void place(
    const places_t *places, const table_t *table, frame_t *frame, end_t *source, end_t *destination
) noexcept nogil:
    """Give a parsed frame its ports; says where its ends are."""
    cdef int to_everybody
    cdef uint16_t vlan
    place_source(places, table, frame, source)
    to_everybody = place_destination(places, table, frame, destination)
    if places.ingress_port or places.ingress_zone:
        source.zone = zone_of_ingress(places, table, frame)
    if to_everybody:
        destination.zone = UNKNOWN_ZONE
    if not frame.tagged:
        vlan = lost_tag(places, source, destination)
        if vlan:
            frame.vlan = vlan
            frame.tagged = 1
    frame.in_ifindex = 0 if source.zone == UNKNOWN_ZONE else port_of(places, source.zone, frame.vlan)
    if places.ingress_port:
        frame.in_ifindex = places.ingress_port
    if to_everybody:
        frame.out_ifindex = port_beyond(table, source.zone, frame.vlan)
    else:
        frame.out_ifindex = 0 if destination.zone == UNKNOWN_ZONE else port_of(places, destination.zone, frame.vlan)
