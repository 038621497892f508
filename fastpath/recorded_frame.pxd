# cython: language_level=3
"""A recorded frame as the bridge would have handed it over: what only captures have is taken off before it is parsed.

In: a frame whose link header is off. Out: the same frame from its IP header on, with lengths that agree with what is
there; whether some of the packet was not captured. All tags go, as does a SNAP header; a length of 0, which a card
fills in that cuts large segments up, is filled in; what stands behind the packet (padding, checksum) goes; IPv6
extension headers go. Nothing here is ever asked about a frame that can still be refused.
SPEC: IEEE 802.1Q clause 9.4 (tags), RFC 1042 (SNAP), RFC 8200 section 4 (extension headers).
"""

from libc.stdint cimport uint8_t, uint16_t, uint32_t
from libc.string cimport memcpy

from fastpath.cursor cimport be16, be32
from fastpath.frame cimport ETHERTYPE_IPV4, ETHERTYPE_IPV6, frame_t, is_extension, is_tag

cdef enum:
    PACKET_BYTES = 65535  # no length in an IPv4 header says more
    ETHERTYPE_LEAST = 1536  # below, it is a length: IEEE 802.3 clause 3.2.6
    SNAP = 0xAAAA0300
    IPV4_LEAST = 20
    IPV6_HEADER = 40
    FRAGMENT = 44


cdef inline void skip(frame_t *frame, uint32_t count) noexcept nogil:
    frame.data += count
    frame.captured -= count
    frame.length -= count


cdef inline void unwrap(frame_t *frame) noexcept nogil:
    """Take off tags, however many, and a SNAP header."""
    while is_tag(frame.ethertype) and frame.captured >= 4:
        frame.ethertype = be16(frame.data + 2)
        skip(frame, 4)
    if frame.ethertype < ETHERTYPE_LEAST and frame.captured >= 8 and be32(frame.data) == SNAP and not frame.data[4]:
        frame.ethertype = be16(frame.data + 6)
        skip(frame, 8)


cdef inline uint32_t extension_bytes(const frame_t *frame, uint8_t *following) noexcept nogil:
    """Return how long the extension headers of a packet are, and what follows them."""
    cdef uint32_t at = IPV6_HEADER
    following[0] = frame.data[6]
    while at + 8 <= frame.captured:
        if is_extension(following[0]):
            following[0] = frame.data[at]
            at += 8 + 8 * frame.data[at + 1]
        elif following[0] == FRAGMENT and not be16(frame.data + at + 2) & 0xFFF9:  # RFC 6946: the whole packet
            following[0] = frame.data[at]
            at += 8
        else:
            break
    return at - IPV6_HEADER


cdef inline int is_fragment(const frame_t *frame) noexcept nogil:
    """Tell whether a packet is a piece of another: RFC 791 section 3.1, RFC 8200 section 4.5."""
    cdef uint8_t following = 0
    if frame.ethertype == ETHERTYPE_IPV4 and frame.captured >= IPV4_LEAST:
        return be16(frame.data + 6) & 0x3FFF != 0
    if frame.ethertype != ETHERTYPE_IPV6 or frame.captured < IPV6_HEADER:
        return 0
    extension_bytes(frame, &following)
    return following == FRAGMENT


cdef inline int settle(frame_t *frame, uint8_t *buffer) noexcept nogil:
    """Make lengths agree; says whether the packet's end is missing. `buffer`: PACKET_BYTES for what must change."""
    cdef uint32_t total, extensions
    cdef uint8_t following
    if frame.ethertype == ETHERTYPE_IPV4 and frame.captured >= IPV4_LEAST:
        total = be16(frame.data + 2)
        if not total and frame.captured <= PACKET_BYTES:
            total = frame.captured
            memcpy(buffer, frame.data, total)
            buffer[2] = <uint8_t>(total >> 8)
            buffer[3] = <uint8_t>total
            frame.data = buffer
    elif frame.ethertype == ETHERTYPE_IPV6 and IPV6_HEADER <= frame.captured <= PACKET_BYTES:
        total = IPV6_HEADER + be16(frame.data + 4)
        if total == IPV6_HEADER:
            total = frame.captured
        extensions = extension_bytes(frame, &following)
        if extensions > frame.captured - IPV6_HEADER or extensions > total - IPV6_HEADER:
            return 0
        memcpy(buffer, frame.data, IPV6_HEADER)
        memcpy(
            buffer + IPV6_HEADER, frame.data + IPV6_HEADER + extensions, frame.captured - IPV6_HEADER - extensions
        )
        total -= extensions
        frame.captured -= extensions
        frame.data = buffer
        buffer[4] = <uint8_t>((total - IPV6_HEADER) >> 8)
        buffer[5] = <uint8_t>(total - IPV6_HEADER)
        buffer[6] = following
    else:
        return 0
    frame.length = total
    if frame.captured > total:
        frame.captured = total
    return frame.captured < total
