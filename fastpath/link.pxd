# cython: language_level=3
"""The link header of a captured frame, taken off: what the kernel would have told the engine about it.

In: a `captured_t` of any link type. Out: a `frame_t` from the network header on, with MACs and EtherType as far as the
link has them, or why there is none to judge. A tag stays where it is: the engine itself takes it off.
SPEC: link types by their numbers in the tcpdump project's registry.
"""

from libc.stdint cimport uint8_t, uint16_t, uint32_t
from libc.string cimport memset

from fastpath.capture cimport captured_t
from fastpath.cursor cimport be16, be32, be48, cursor_t, native32, take
from fastpath.frame cimport ETHERTYPE_IPV4, ETHERTYPE_IPV6, frame_t

cdef extern from *:
    uint32_t __builtin_bswap32(uint32_t value) noexcept nogil

cdef enum:
    LINK_NULL = 0
    LINK_ETHERNET = 1
    LINK_RAW_BSD = 12  # DLT_RAW as some systems wrote it into files
    LINK_RAW_OPENBSD = 14
    LINK_RAW = 101
    LINK_LOOP = 108
    LINK_LINUX_SLL = 113
    LINK_IPV4 = 228
    LINK_IPV6 = 229
    LINK_LINUX_SLL2 = 276

cdef enum:
    UNJUDGED_NOT = 0
    UNJUDGED_LINK_TYPE = 1  # frames of this link type, or of this family on it, are not read
    UNJUDGED_LINK_CUT = 2  # cut within the link header

cdef enum:
    ARPHRD_ETHER = 1
    ARPHRD_LOOPBACK = 772
    ARPHRD_NONE = 0xFFFE  # tunnels and the like: no link address
    ARPHRD_PPP = 512


cdef inline uint16_t ethertype_of_family(uint32_t family) noexcept nogil:
    """Return the EtherType of a BSD address family, 0 for one that is not IP. Systems number IPv6 differently."""
    if family == 2:
        return ETHERTYPE_IPV4
    if family == 10 or family == 23 or family == 24 or family == 28 or family == 30:
        return ETHERTYPE_IPV6
    return 0


cdef inline uint16_t ethertype_of_packet(const cursor_t *rest) noexcept nogil:
    """Return the EtherType of a bare packet by its version, 0 where that is neither 4 nor 6."""
    if rest.left == 0:
        return 0
    if rest.at[0] >> 4 == 4:
        return ETHERTYPE_IPV4
    return ETHERTYPE_IPV6 if rest.at[0] >> 4 == 6 else 0


cdef inline int has_ethertype(uint16_t hardware) noexcept nogil:
    """Tell whether a cooked frame of this ARP hardware type carries an EtherType."""
    return (
        hardware == ARPHRD_ETHER or hardware == ARPHRD_LOOPBACK or hardware == ARPHRD_NONE or hardware == ARPHRD_PPP
    )


cdef inline uint8_t read_ethernet(cursor_t *rest, frame_t *frame) noexcept nogil:
    cdef const uint8_t *p = take(rest, 14)
    if p == NULL:
        return UNJUDGED_LINK_CUT
    frame.destination_mac = be48(p)
    frame.has_destination_mac = 1
    frame.source_mac = be48(p + 6)
    frame.ethertype = be16(p + 12)
    return UNJUDGED_NOT


cdef inline uint8_t read_null(cursor_t *rest, frame_t *frame) noexcept nogil:
    """A family in the byte order of whoever captured it."""
    cdef const uint8_t *p = take(rest, 4)
    cdef uint32_t family
    if p == NULL:
        return UNJUDGED_LINK_CUT
    family = native32(p)
    frame.ethertype = ethertype_of_family(family if family <= 0xFFFF else __builtin_bswap32(family))
    return UNJUDGED_NOT if frame.ethertype else UNJUDGED_LINK_TYPE


cdef inline uint8_t read_loop(cursor_t *rest, frame_t *frame) noexcept nogil:
    cdef const uint8_t *p = take(rest, 4)
    if p == NULL:
        return UNJUDGED_LINK_CUT
    frame.ethertype = ethertype_of_family(be32(p))
    return UNJUDGED_NOT if frame.ethertype else UNJUDGED_LINK_TYPE


cdef inline uint8_t read_bare(cursor_t *rest, frame_t *frame) noexcept nogil:
    if rest.left == 0:
        return UNJUDGED_LINK_CUT
    frame.ethertype = ethertype_of_packet(rest)
    return UNJUDGED_NOT if frame.ethertype else UNJUDGED_LINK_TYPE


cdef inline uint8_t read_cooked(cursor_t *rest, frame_t *frame) noexcept nogil:
    """Linux "any" captures: the sender's address, never the addressee's."""
    cdef const uint8_t *p = take(rest, 16)
    if p == NULL:
        return UNJUDGED_LINK_CUT
    if not has_ethertype(be16(p + 2)):
        return UNJUDGED_LINK_TYPE
    if be16(p + 4) == 6:
        frame.source_mac = be48(p + 6)
    frame.ethertype = be16(p + 14)
    return UNJUDGED_NOT


cdef inline uint8_t read_cooked2(cursor_t *rest, frame_t *frame) noexcept nogil:
    cdef const uint8_t *p = take(rest, 20)
    if p == NULL:
        return UNJUDGED_LINK_CUT
    if not has_ethertype(be16(p + 8)):
        return UNJUDGED_LINK_TYPE
    if p[11] == 6:
        frame.source_mac = be48(p + 12)
    frame.ethertype = be16(p)
    return UNJUDGED_NOT


cdef inline uint8_t read_header(uint32_t link_type, cursor_t *rest, frame_t *frame) noexcept nogil:
    if link_type == LINK_ETHERNET:
        return read_ethernet(rest, frame)
    if link_type == LINK_NULL:
        return read_null(rest, frame)
    if link_type == LINK_LOOP:
        return read_loop(rest, frame)
    if link_type == LINK_LINUX_SLL:
        return read_cooked(rest, frame)
    if link_type == LINK_LINUX_SLL2:
        return read_cooked2(rest, frame)
    if link_type == LINK_RAW or link_type == LINK_RAW_BSD or link_type == LINK_RAW_OPENBSD:
        return read_bare(rest, frame)
    if link_type == LINK_IPV4 or link_type == LINK_IPV6:
        frame.ethertype = ETHERTYPE_IPV4 if link_type == LINK_IPV4 else ETHERTYPE_IPV6
        return UNJUDGED_NOT
    return UNJUDGED_LINK_TYPE


cdef inline uint8_t read_link(const captured_t *captured, frame_t *frame) noexcept nogil:
    """Make the frame that the queue would have delivered; says UNJUDGED_ why there is none."""
    cdef cursor_t rest
    cdef uint8_t unjudged
    memset(frame, 0, sizeof(frame_t))
    rest.at = captured.bytes
    rest.left = captured.captured
    unjudged = read_header(captured.link_type, &rest, frame)
    frame.data = rest.at
    frame.captured = rest.left
    frame.length = captured.length - (captured.captured - rest.left)
    return unjudged
