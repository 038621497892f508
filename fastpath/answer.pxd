# cython: language_level=3
"""The answer to a frame, byte by byte: a TCP reset, or ICMP "administratively prohibited".

In: a parsed IP frame that may be answered (`refuse.is_answerable`). Out: a whole Ethernet frame for its sender, in a
buffer of ANSWER_BYTES. Trusts no length in the frame beyond what was captured. Called by `refuse`, and by the judge.
"""

from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t
from libc.string cimport memcpy, memset

from fastpath.cursor cimport be16, be32, put_be48
from fastpath.frame cimport (
    ETHERTYPE_VLAN,
    PROTOCOL_ICMP,
    PROTOCOL_ICMPV6,
    PROTOCOL_TCP,
    TCP_ACK,
    TCP_FIN,
    TCP_RST,
    TCP_SYN,
    frame_t,
)

cdef enum:
    IPV4_BYTES = 20
    IPV6_BYTES = 40
    TCP_BYTES = 20
    ICMP_BYTES = 8
    HOPS = 64  # IANA "IP option numbers", default TTL
    TOS_ERROR = 0xC0  # SPEC: RFC 1812 section 4.3.2.5, precedence of ICMP errors
    ERROR_V4_BYTES = 576  # SPEC: RFC 1812 section 4.3.2.3
    ERROR_V6_BYTES = 1280  # SPEC: RFC 4443 section 2.4 (c)
    ANSWER_BYTES = 1344  # the longest answer with its Ethernet header and tag, in whole cache lines
    PROHIBITED_V4 = 3 << 8 | 13  # SPEC: RFC 1812 section 5.2.7.1, communication administratively prohibited
    PROHIBITED_V6 = 1 << 8 | 1  # SPEC: RFC 4443 section 3.1


cdef inline void put_be16(uint8_t *to, uint32_t value) noexcept nogil:
    to[0] = value >> 8 & 0xFF
    to[1] = value & 0xFF


cdef inline void put_be32(uint8_t *to, uint32_t value) noexcept nogil:
    put_be16(to, value >> 16)
    put_be16(to + 2, value)


cdef inline uint32_t sum_words(const uint8_t *p, uint32_t count, uint32_t so_far) noexcept nogil:
    """Add 16-bit words, an odd byte as if a zero followed. SPEC: RFC 1071. At most 1.3 kB: no carry is lost."""
    while count > 1:
        so_far += be16(p)
        p += 2
        count -= 2
    return so_far + (p[0] << 8 if count else 0)


cdef inline uint16_t checksum(uint32_t words) noexcept nogil:
    words = (words & 0xFFFF) + (words >> 16)
    words = (words & 0xFFFF) + (words >> 16)
    return <uint16_t>~words


cdef inline uint32_t put_ethernet(uint8_t *to, const frame_t *frame, const uint8_t *port) noexcept nogil:
    """Write the link header of an answer: back to the sender, from whom it had addressed.

    Where interception does not see that MAC, from the ingress port's own. Neither tells a switch anything new: both
    live behind the very port that the answer leaves by, seen from the sender.
    """
    cdef uint32_t at = 12
    put_be48(to, frame.source_mac)
    if frame.has_destination_mac:
        put_be48(to + 6, frame.destination_mac)
    else:
        memcpy(to + 6, port, 6)
    if frame.tagged:
        put_be16(to + 12, ETHERTYPE_VLAN)
        put_be16(to + 14, frame.vlan)
        at = 16
    put_be16(to + at, frame.ethertype)
    return at + 2


cdef inline uint32_t put_ip(
    uint8_t *to, const frame_t *frame, uint8_t protocol, uint8_t tos, uint32_t body_bytes
) noexcept nogil:
    """Write the IP header of an answer from whom the frame was for, and return its length."""
    if frame.version == 4:
        memset(to, 0, IPV4_BYTES)
        to[0] = 0x45
        to[1] = tos
        put_be16(to + 2, IPV4_BYTES + body_bytes)
        put_be16(to + 6, 0x4000)  # never to be fragmented: then the identification may be zero (RFC 6864 section 4.1)
        to[8] = HOPS
        to[9] = protocol
        memcpy(to + 12, frame.data + 16, 4)
        memcpy(to + 16, frame.data + 12, 4)
        put_be16(to + 10, checksum(sum_words(to, IPV4_BYTES, 0)))
        return IPV4_BYTES
    memset(to, 0, IPV6_BYTES)
    to[0] = 0x60
    put_be16(to + 4, body_bytes)
    to[6] = protocol
    to[7] = HOPS
    memcpy(to + 8, frame.data + 24, 16)
    memcpy(to + 24, frame.data + 8, 16)
    return IPV6_BYTES


cdef inline uint32_t pseudo_header(const uint8_t *ip, uint8_t protocol, uint32_t body_bytes) noexcept nogil:
    """Add up what a checksum covers besides the body: both addresses, protocol, length."""
    if ip[0] >> 4 == 4:
        return sum_words(ip + 12, 8, protocol + body_bytes)
    return sum_words(ip + 8, 32, protocol + body_bytes)


cdef inline uint32_t put_reset(uint8_t *ip, const frame_t *frame) noexcept nogil:
    """Write IP header and segment of a reset. SPEC: RFC 9293 section 3.5.2, group 1."""
    cdef uint32_t skip = (frame.data[0] & 0x0F) * 4 if frame.version == 4 else IPV6_BYTES
    cdef uint32_t wire_bytes = be16(frame.data + 2) if frame.version == 4 else be16(frame.data + 4) + IPV6_BYTES
    cdef const uint8_t *theirs = frame.data + skip
    cdef uint8_t *segment
    cdef uint32_t taken_up
    if frame.captured < skip + TCP_BYTES:
        return 0
    segment = ip + put_ip(ip, frame, PROTOCOL_TCP, 0, TCP_BYTES)
    memset(segment, 0, TCP_BYTES)
    memcpy(segment, theirs + 2, 2)
    memcpy(segment + 2, theirs, 2)
    segment[12] = 5 << 4
    if frame.tcp_flags & TCP_ACK:
        memcpy(segment + 4, theirs + 8, 4)
        segment[13] = TCP_RST
    else:
        taken_up = wire_bytes - skip - (theirs[12] >> 4) * 4
        taken_up += (frame.tcp_flags & TCP_SYN != 0) + (frame.tcp_flags & TCP_FIN != 0)
        put_be32(segment + 8, be32(theirs + 4) + taken_up)
        segment[13] = TCP_RST | TCP_ACK
    put_be16(segment + 16, checksum(sum_words(segment, TCP_BYTES, pseudo_header(ip, PROTOCOL_TCP, TCP_BYTES))))
    return <uint32_t>(segment - ip) + TCP_BYTES


cdef inline uint32_t build_far_reset(
    uint8_t *to, const frame_t *frame, uint64_t mac, uint32_t sequence
) noexcept nogil:
    """Write the reset for whom a TCP frame was meant, as from its sender; returns its length, 0 for none.

    `mac` is the receiver's; `sequence` is the number that it expects next: any other would only be challenged (RFC 9293
    section 3.10.7.4).
    """
    cdef uint32_t head = 12
    cdef uint32_t skip = (frame.data[0] & 0x0F) * 4 if frame.version == 4 else IPV6_BYTES
    cdef const uint8_t *theirs = frame.data + skip
    cdef uint32_t addresses = 12 if frame.version == 4 else 8
    cdef uint32_t address_bytes = 8 if frame.version == 4 else 32
    cdef uint8_t *ip
    cdef uint8_t *segment
    if frame.captured < skip + TCP_BYTES:
        return 0
    put_be48(to, mac)
    put_be48(to + 6, frame.source_mac)
    if frame.tagged:
        put_be16(to + 12, ETHERTYPE_VLAN)
        put_be16(to + 14, frame.vlan)
        head = 16
    put_be16(to + head, frame.ethertype)
    ip = to + head + 2
    segment = ip + put_ip(ip, frame, PROTOCOL_TCP, 0, TCP_BYTES)
    # As from the sender: the addresses stay where they were. Their sum, and so the header's, is the same either way.
    memcpy(ip + addresses, frame.data + addresses, address_bytes)
    memset(segment, 0, TCP_BYTES)
    memcpy(segment, theirs, 4)
    put_be32(segment + 4, sequence)
    memcpy(segment + 8, theirs + 8, 4)
    segment[12] = 5 << 4
    segment[13] = TCP_RST | TCP_ACK
    put_be16(segment + 16, checksum(sum_words(segment, TCP_BYTES, pseudo_header(ip, PROTOCOL_TCP, TCP_BYTES))))
    return <uint32_t>(segment - to) + TCP_BYTES


cdef inline uint32_t put_prohibited(uint8_t *ip, const frame_t *frame) noexcept nogil:
    """Write IP header and message of "administratively prohibited", quoting the frame without its padding."""
    cdef uint32_t quoted = be16(frame.data + 2) if frame.version == 4 else be16(frame.data + 4) + IPV6_BYTES
    cdef uint32_t room = (
        ERROR_V4_BYTES - IPV4_BYTES - ICMP_BYTES if frame.version == 4 else ERROR_V6_BYTES - IPV6_BYTES - ICMP_BYTES
    )
    cdef uint8_t protocol = PROTOCOL_ICMP if frame.version == 4 else PROTOCOL_ICMPV6
    cdef uint8_t *message
    cdef uint32_t so_far = 0
    if quoted > frame.captured:
        quoted = frame.captured
    if quoted > room:
        quoted = room
    message = ip + put_ip(ip, frame, protocol, TOS_ERROR, ICMP_BYTES + quoted)
    memset(message, 0, ICMP_BYTES)
    put_be16(message, PROHIBITED_V4 if frame.version == 4 else PROHIBITED_V6)
    memcpy(message + ICMP_BYTES, frame.data, quoted)
    if frame.version == 6:
        so_far = pseudo_header(ip, protocol, ICMP_BYTES + quoted)
    put_be16(message + 2, checksum(sum_words(message, ICMP_BYTES + quoted, so_far)))
    return <uint32_t>(message - ip) + ICMP_BYTES + quoted


cdef inline uint32_t build_answer(uint8_t *to, const frame_t *frame, const uint8_t *port) noexcept nogil:
    """Write the answer to an answerable frame into ANSWER_BYTES of room; returns its length, 0 for none.

    `port`: the MAC of the ingress port, read only when the frame's destination MAC was not seen.
    """
    cdef uint32_t head = put_ethernet(to, frame, port)
    cdef uint32_t rest
    if frame.protocol == PROTOCOL_TCP:
        rest = put_reset(to + head, frame)
    else:
        rest = put_prohibited(to + head, frame)
    return head + rest if rest else 0
