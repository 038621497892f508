# cython: language_level=3
"""One frame: what the kernel said about it, and what its headers say.

In: bytes from the network header on, with the EtherType, VLAN and MACs that the kernel kept apart. Out: `frame_t` with
addresses, ports and `error` = NONE or the FRAME_ reason of line 3 in docs/reference/semantics.md.
Called once per frame by decide. Never allocates, trusts a length or looks at checksums (with GSO they are unset).
"""

from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t

from fastpath.abi cimport (
    REASON_FRAME_EXTENSION,
    REASON_FRAME_FRAGMENT,
    REASON_FRAME_LLC,
    REASON_FRAME_MALFORMED,
    REASON_FRAME_TCP_FLAGS,
    REASON_FRAME_TRUNCATED,
    REASON_FRAME_VLAN_STACKED,
    REASON_NONE,
)
from fastpath.cursor cimport be16, be48, cursor_t, keep, native32, raw64, take

cdef enum:
    KIND_L2 = 0  # judged by MAC and EtherType
    KIND_IP = 1
    KIND_ARP = 2
    KIND_ND = 3  # neighbour solicitation or advertisement

cdef enum:
    ETHERTYPE_IPV4 = 0x0800
    ETHERTYPE_ARP = 0x0806
    ETHERTYPE_VLAN = 0x8100
    ETHERTYPE_IPV6 = 0x86DD
    ETHERTYPE_QINQ = 0x88A8
    ETHERTYPE_QINQ_OLD = 0x9100
    ETHERTYPE_MIN = 0x0600  # IEEE 802.3 clause 3.2.6: below is a length
    PROTOCOL_ICMP = 1
    PROTOCOL_TCP = 6
    PROTOCOL_UDP = 17
    PROTOCOL_ICMPV6 = 58
    TCP_FIN = 0x01
    TCP_SYN = 0x02
    TCP_RST = 0x04
    TCP_ACK = 0x10
    ICMP_ECHO_REPLY = 0
    ICMP_ECHO_REQUEST = 8
    ICMPV6_ECHO_REQUEST = 128
    ICMPV6_ECHO_REPLY = 129
    ND_SOLICITATION = 135
    ND_ADVERTISEMENT = 136
    TAGGED_SERVICE = 2  # the tag taken off was no customer tag (802.1ad, 802.1QinQ)

cdef extern from *:
    """
    /* ::ffff:0:0/96 as the upper word's companion: bytes 8..11 of a mapped address, in memory order */
    #define CND_V4_MAPPED 0x00000000FFFF0000ULL
    """
    const uint64_t V4_MAPPED "CND_V4_MAPPED"

cdef struct frame_t:
    # From the kernel
    const uint8_t *data  # SAFETY: borrowed; network header on
    uint32_t captured  # bytes at data
    uint32_t length  # bytes on the wire from the network header; more than captured when the copy range cut it
    uint32_t in_ifindex
    uint32_t out_ifindex
    uint64_t source_mac  # 48 bits
    uint64_t destination_mac
    uint16_t ethertype
    uint16_t vlan  # 0 = untagged
    uint8_t tagged  # 0, 1 = the kernel took a tag off, or TAGGED_SERVICE
    uint8_t has_destination_mac
    # From the headers
    uint8_t kind
    uint8_t error
    uint8_t version  # 4, 6, or 0 without IP
    uint8_t protocol
    uint8_t tcp_flags
    uint8_t reserved
    uint16_t source_port  # ICMP echo: identifier
    uint16_t destination_port
    uint8_t icmp_type
    uint8_t icmp_code
    uint64_t source[2]  # as endpoint_t.address; ARP: sender, ND: see nd fields
    uint64_t destination[2]  # ARP: target
    uint64_t nd_target[2]
    uint64_t arp_sender_mac
    const uint8_t *transport  # SAFETY: borrowed; its whole header was captured where kind is IP and error is NONE
    cursor_t payload  # behind the transport's first 8 bytes (ICMP), else behind its header


cdef inline void address_v4(uint64_t *address, const uint8_t *p) noexcept nogil:
    """Store an IPv4 address as ::ffff:a.b.c.d in memory order."""
    address[0] = 0
    address[1] = V4_MAPPED | <uint64_t>native32(p) << 32


cdef inline void address_v6(uint64_t *address, const uint8_t *p) noexcept nogil:
    address[0] = raw64(p)
    address[1] = raw64(p + 8)


cdef inline int is_mapped(const uint64_t *address) noexcept nogil:
    """Tell whether the 16 bytes are ::ffff:a.b.c.d: an IPv4 address, and no address at all in an IPv6 header."""
    return address[0] == 0 and (address[1] & 0xFFFFFFFFULL) == V4_MAPPED


cdef inline int is_group_v6(const uint64_t *address) noexcept nogil:
    return (address[0] & 0xFF) == 0xFF


cdef inline int is_opening(const frame_t *frame) noexcept nogil:
    """Tell whether this TCP segment asks for a new connection."""
    return (frame.tcp_flags & (TCP_SYN | TCP_ACK)) == TCP_SYN


cdef inline uint8_t read_tcp(frame_t *frame, cursor_t *cursor, uint32_t segment_bytes) noexcept nogil:
    cdef const uint8_t *p = take(cursor, 20)
    cdef uint32_t header_bytes
    cdef uint8_t flags
    if p == NULL:
        return REASON_FRAME_TRUNCATED
    frame.source_port = be16(p)
    frame.destination_port = be16(p + 2)
    header_bytes = (p[12] >> 4) * 4
    if header_bytes < 20 or header_bytes > segment_bytes:
        return REASON_FRAME_MALFORMED
    if take(cursor, header_bytes - 20) == NULL:
        return REASON_FRAME_TRUNCATED
    flags = p[13]
    frame.tcp_flags = flags
    if (flags & TCP_SYN) and (flags & (TCP_FIN | TCP_RST)):
        return REASON_FRAME_TCP_FLAGS
    if not flags & (TCP_SYN | TCP_ACK | TCP_FIN | TCP_RST):
        return REASON_FRAME_TCP_FLAGS
    return REASON_NONE


cdef inline uint8_t read_udp(frame_t *frame, cursor_t *cursor, uint32_t datagram_bytes) noexcept nogil:
    cdef const uint8_t *p = take(cursor, 8)
    cdef uint32_t length
    if p == NULL:
        return REASON_FRAME_TRUNCATED
    frame.source_port = be16(p)
    frame.destination_port = be16(p + 2)
    length = be16(p + 4)
    if length < 8 or length > datagram_bytes:
        return REASON_FRAME_MALFORMED
    keep(cursor, length - 8)
    return REASON_NONE


cdef inline uint8_t read_icmp(frame_t *frame, cursor_t *cursor) noexcept nogil:
    cdef const uint8_t *p = take(cursor, 8)
    if p == NULL:
        return REASON_FRAME_TRUNCATED
    frame.icmp_type = p[0]
    frame.icmp_code = p[1]
    if frame.version == 4:
        if p[0] == ICMP_ECHO_REQUEST or p[0] == ICMP_ECHO_REPLY:
            frame.source_port = be16(p + 4)
    elif p[0] == ICMPV6_ECHO_REQUEST or p[0] == ICMPV6_ECHO_REPLY:
        frame.source_port = be16(p + 4)
    elif p[0] == ND_SOLICITATION or p[0] == ND_ADVERTISEMENT:
        frame.kind = KIND_ND
        p = take(cursor, 16)
        if p == NULL:
            return REASON_FRAME_MALFORMED
        address_v6(frame.nd_target, p)
    return REASON_NONE


cdef inline uint8_t read_transport(frame_t *frame, cursor_t *cursor, uint32_t body_bytes) noexcept nogil:
    """Read the transport header. `body_bytes` is its length on the wire; the copy behind `cursor` may be shorter."""
    cdef uint8_t error = REASON_NONE
    frame.transport = cursor.at
    if frame.protocol == PROTOCOL_TCP:
        error = read_tcp(frame, cursor, body_bytes)
    elif frame.protocol == PROTOCOL_UDP:
        error = read_udp(frame, cursor, body_bytes)
    elif frame.protocol == (PROTOCOL_ICMP if frame.version == 4 else PROTOCOL_ICMPV6):
        error = read_icmp(frame, cursor)
        if frame.kind == KIND_ND and frame.captured < frame.length:
            error = REASON_FRAME_TRUNCATED
    frame.payload = cursor[0]
    return error


cdef inline uint8_t read_ipv4(frame_t *frame, cursor_t *cursor, uint32_t wire_bytes) noexcept nogil:
    cdef const uint8_t *p = take(cursor, 20)
    cdef uint32_t header_bytes, total_bytes, body_bytes
    if p == NULL:
        return REASON_FRAME_TRUNCATED
    frame.version = 4
    frame.kind = KIND_IP
    frame.protocol = p[9]
    address_v4(frame.source, p + 12)
    address_v4(frame.destination, p + 16)
    header_bytes = (p[0] & 0x0F) * 4
    if (p[0] >> 4) != 4 or header_bytes < 20:
        return REASON_FRAME_MALFORMED
    if take(cursor, header_bytes - 20) == NULL:
        return REASON_FRAME_TRUNCATED
    total_bytes = be16(p + 2)
    if total_bytes < header_bytes:
        return REASON_FRAME_MALFORMED
    if total_bytes > wire_bytes:
        return REASON_FRAME_TRUNCATED
    if be16(p + 6) & 0x3FFF:
        return REASON_FRAME_FRAGMENT
    body_bytes = total_bytes - header_bytes
    keep(cursor, body_bytes)
    return read_transport(frame, cursor, body_bytes)


cdef inline int is_extension(uint8_t next_header) noexcept nogil:
    # SPEC: RFC 8200 section 4, IANA "IPv6 Extension Header Types" without ESP and AH, which are services of their own.
    if next_header == 0 or next_header == 43 or next_header == 60:  # hop-by-hop, routing, destination options
        return 1
    return next_header == 135 or next_header == 139 or next_header == 140  # mobility, HIP, shim6


cdef inline uint8_t read_ipv6(frame_t *frame, cursor_t *cursor, uint32_t wire_bytes) noexcept nogil:
    cdef const uint8_t *p = take(cursor, 40)
    cdef uint32_t body_bytes
    cdef uint8_t next_header
    if p == NULL:
        return REASON_FRAME_TRUNCATED
    frame.version = 6
    frame.kind = KIND_IP
    next_header = p[6]
    frame.protocol = next_header
    address_v6(frame.source, p + 8)
    address_v6(frame.destination, p + 24)
    if (p[0] >> 4) != 6:
        return REASON_FRAME_MALFORMED
    body_bytes = be16(p + 4)
    if body_bytes + 40 > wire_bytes:
        return REASON_FRAME_TRUNCATED
    if next_header == 44:
        return REASON_FRAME_FRAGMENT
    if is_extension(next_header):
        return REASON_FRAME_EXTENSION
    keep(cursor, body_bytes)
    return read_transport(frame, cursor, body_bytes)


cdef inline uint8_t read_arp(frame_t *frame, cursor_t *cursor) noexcept nogil:
    # SPEC: RFC 826; hardware type 1, protocol type IPv4, lengths 6 and 4.
    cdef const uint8_t *p = take(cursor, 28)
    if p == NULL:
        return REASON_FRAME_TRUNCATED
    frame.kind = KIND_ARP
    if be16(p) != 1 or be16(p + 2) != ETHERTYPE_IPV4 or p[4] != 6 or p[5] != 4:
        return REASON_FRAME_MALFORMED
    frame.arp_sender_mac = be48(p + 8)
    address_v4(frame.source, p + 14)
    address_v4(frame.destination, p + 24)
    return REASON_NONE


cdef inline int is_tag(uint16_t ethertype) noexcept nogil:
    return ethertype == ETHERTYPE_VLAN or ethertype == ETHERTYPE_QINQ or ethertype == ETHERTYPE_QINQ_OLD


cdef inline void unwrap_tag(frame_t *frame) noexcept nogil:
    """Take a single 802.1Q tag off the payload where the kernel left it there; sets vlan, ethertype or error."""
    frame.error = REASON_NONE
    if frame.ethertype == ETHERTYPE_VLAN and not frame.tagged:
        if frame.captured < 4 or frame.length < 4:
            frame.error = REASON_FRAME_TRUNCATED
            return
        frame.tagged = 1
        frame.vlan = be16(frame.data) & 0x0FFF
        frame.ethertype = be16(frame.data + 2)
        frame.data += 4
        frame.captured -= 4
        frame.length -= 4
    if frame.tagged == TAGGED_SERVICE or is_tag(frame.ethertype):
        frame.error = REASON_FRAME_VLAN_STACKED


cdef inline void parse(frame_t *frame) noexcept nogil:
    """Fill the header fields of an unwrapped frame; `error` says why that failed, NONE that it didn't."""
    cdef cursor_t cursor
    frame.kind = KIND_L2
    frame.version = 0
    frame.protocol = 0
    frame.tcp_flags = 0
    frame.source_port = 0
    frame.destination_port = 0
    frame.icmp_type = 0
    frame.icmp_code = 0
    frame.source[0] = 0
    frame.source[1] = 0
    frame.destination[0] = 0
    frame.destination[1] = 0
    frame.payload.at = frame.data
    frame.payload.left = 0
    if frame.error != REASON_NONE:
        return
    cursor.at = frame.data
    cursor.left = frame.captured
    if frame.ethertype == ETHERTYPE_IPV4:
        frame.error = read_ipv4(frame, &cursor, frame.length)
    elif frame.ethertype == ETHERTYPE_IPV6:
        frame.error = read_ipv6(frame, &cursor, frame.length)
    elif frame.ethertype == ETHERTYPE_ARP:
        frame.error = read_arp(frame, &cursor)
    elif frame.ethertype < ETHERTYPE_MIN:
        frame.error = REASON_FRAME_LLC
