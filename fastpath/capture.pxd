# cython: language_level=3
"""Frames out of a capture file: pcap and pcapng, as they lie in memory.

In: the bytes of a file, mapped or not. Out: one `captured_t` after another, or what is wrong with the file and at which
byte. Captures come from strangers: every read is bounded by the file, every length is doubted, and what stands before
the damage counts. Never allocates but for the interfaces of a pcapng file, never raises. Called by `replay`.
SPEC: pcap and pcapng, IETF drafts draft-ietf-opsawg-pcap and draft-ietf-opsawg-pcapng.
"""

from libc.stdint cimport int64_t, uint8_t, uint16_t, uint32_t, uint64_t
from libc.string cimport memcpy

from fastpath.cursor cimport cursor_t, keep, native16, native32, take

cdef extern from *:
    """
    #include <stdint.h>
    #include <string.h>
    /* Later than this is taken for this: the year 2116. Limits add their burst to a time, in 64 bits. */
    #define CND_LATEST_NS (1ULL << 62)

    /* pcapng section 4.2, if_tsresol: a tick is 10^-exponent or 2^-exponent seconds; if_tsoffset in seconds. */
    static inline uint64_t cnd_ticks_ns(uint64_t ticks, int binary, unsigned exponent, int64_t offset_s) {
        unsigned __int128 ns = ticks;
        __int128 shifted;
        if (binary) {
            ns = ns * 1000000000u >> (exponent & 127);
        } else {
            for (; exponent < 9; exponent++) ns *= 10;
            for (; exponent > 9 && ns; exponent--) ns /= 10;
        }
        shifted = (__int128)ns + (__int128)offset_s * 1000000000;
        if (shifted < 0) return 0;
        return shifted > (__int128)CND_LATEST_NS ? CND_LATEST_NS : (uint64_t)shifted;
    }
    """
    uint64_t ticks_ns "cnd_ticks_ns"(uint64_t ticks, int binary, unsigned int exponent, int64_t offset_s) noexcept nogil
    uint32_t __builtin_bswap32(uint32_t value) noexcept nogil
    uint16_t __builtin_bswap16(uint16_t value) noexcept nogil
    uint64_t __builtin_bswap64(uint64_t value) noexcept nogil

cdef extern from *:
    """
    #define CND_PCAP_US 0xA1B2C3D4u
    #define CND_PCAP_NS 0xA1B23C4Du
    #define CND_PCAP_MODIFIED 0xA1B2CD34u /* Kuznetzov's: 8 more bytes in each record's header */
    #define CND_PCAPNG 0x0A0D0D0Au
    """
    const uint32_t PCAP_US "CND_PCAP_US"
    const uint32_t PCAP_NS "CND_PCAP_NS"
    const uint32_t PCAP_MODIFIED "CND_PCAP_MODIFIED"
    const uint32_t PCAPNG "CND_PCAPNG"

cdef enum:
    FORMAT_NONE = 0
    FORMAT_PCAP = 1
    FORMAT_PCAPNG = 2

cdef enum:
    DAMAGE_NONE = 0
    DAMAGE_CUT = 1  # the file ends within a frame, a block or its own header
    DAMAGE_LENGTH = 2  # a length contradicts what it lies in, or itself
    DAMAGE_VERSION = 3
    DAMAGE_BYTE_ORDER = 4
    DAMAGE_INTERFACE = 5  # a frame of an interface that nothing described, or too many of them

cdef enum:
    PCAP_HEADER_BYTES = 24
    BLOCK_SECTION = 0x0A0D0D0A
    BLOCK_INTERFACE = 1
    BLOCK_OLD_PACKET = 2
    BLOCK_SIMPLE_PACKET = 3
    BLOCK_PACKET = 6
    BYTE_ORDER_MAGIC = 0x1A2B3C4D
    BYTE_ORDER_SWAPPED = 0x4D3C2B1A
    OPTION_TIME_UNIT = 9
    OPTION_TIME_OFFSET = 14
    MICROSECONDS = 6  # pcapng section 4.2: the unit where if_tsresol is absent, as an exponent
    MOST_INTERFACES = 4096  # of one section
    MOST_FRAME_BYTES = 1 << 27  # more than any tool writes (USB captures: 128 MiB); beyond it is damage

cdef struct interface_t:
    uint32_t link_type
    uint32_t snap_bytes  # 0 = no limit
    int64_t offset_s
    uint8_t binary
    uint8_t exponent

cdef struct capture_t:
    const uint8_t *start  # SAFETY: borrowed, for the life of the Capture that holds the buffer
    uint64_t size
    uint64_t at  # of the next record or block; at the end: size, or where the damage begins
    uint64_t last_ns  # simple packets have no time of their own
    uint8_t format
    uint8_t swapped  # the file was written big-endian
    uint8_t damage
    uint8_t in_nanoseconds  # pcap
    uint32_t record_bytes  # pcap: of a record's header
    uint32_t interface_count
    interface_t *interfaces  # pcapng: MOST_INTERFACES of them; pcap: one

cdef struct captured_t:
    const uint8_t *bytes  # SAFETY: borrowed, as `start`
    uint32_t captured
    uint32_t length  # on the wire
    uint64_t time_ns
    uint32_t link_type


cdef inline uint16_t number16(const capture_t *capture, const uint8_t *p) noexcept nogil:
    return __builtin_bswap16(native16(p)) if capture.swapped else native16(p)


cdef inline uint32_t number32(const capture_t *capture, const uint8_t *p) noexcept nogil:
    return __builtin_bswap32(native32(p)) if capture.swapped else native32(p)


cdef inline uint64_t number64(const capture_t *capture, const uint8_t *p) noexcept nogil:
    cdef uint64_t value
    memcpy(&value, p, 8)
    return __builtin_bswap64(value) if capture.swapped else value


cdef inline int damaged(capture_t *capture, uint8_t damage) noexcept nogil:
    """Note that the record or block at `at` can't be read; nothing behind it will be."""
    capture.damage = damage
    return 0


cdef inline void rest_of(const capture_t *capture, cursor_t *cursor) noexcept nogil:
    """Point a cursor at what is left; more than 4 GiB of it is nobody's single record."""
    cdef uint64_t left = capture.size - capture.at
    cursor.at = capture.start + capture.at
    cursor.left = <uint32_t>min(left, <uint64_t>0xFFFFFFFF)


cdef inline void begin(capture_t *capture) noexcept nogil:
    """Find out what kind of file it is and read a pcap file's header. `start`, `size` and `interfaces` are set."""
    cdef cursor_t cursor
    cdef const uint8_t *p
    cdef uint32_t magic
    rest_of(capture, &cursor)
    p = take(&cursor, 4)
    if p == NULL:
        return
    magic = native32(p)
    if magic == PCAPNG:
        capture.format = FORMAT_PCAPNG
        return
    if magic != PCAP_US and magic != PCAP_NS and magic != PCAP_MODIFIED:
        magic = __builtin_bswap32(magic)
        capture.swapped = 1
    if magic != PCAP_US and magic != PCAP_NS and magic != PCAP_MODIFIED:
        return
    capture.format = FORMAT_PCAP
    capture.in_nanoseconds = magic == PCAP_NS
    capture.record_bytes = 24 if magic == PCAP_MODIFIED else 16
    p = take(&cursor, PCAP_HEADER_BYTES - 4)
    if p == NULL:
        damaged(capture, DAMAGE_CUT)
    elif number16(capture, p) != 2:
        damaged(capture, DAMAGE_VERSION)
    else:
        capture.interface_count = 1
        capture.interfaces[0].link_type = number32(capture, p + 16) & 0x03FFFFFF  # above: length of the FCS
        capture.at = PCAP_HEADER_BYTES


cdef inline int next_record(capture_t *capture, captured_t *frame) noexcept nogil:
    """Read a pcap record."""
    cdef cursor_t cursor
    cdef const uint8_t *head
    cdef uint64_t fraction
    rest_of(capture, &cursor)
    if cursor.left == 0:
        return 0
    head = take(&cursor, capture.record_bytes)
    if head == NULL:
        return damaged(capture, DAMAGE_CUT)
    frame.captured = number32(capture, head + 8)
    frame.length = max(number32(capture, head + 12), frame.captured)
    if frame.captured > MOST_FRAME_BYTES:
        return damaged(capture, DAMAGE_LENGTH)
    frame.bytes = take(&cursor, frame.captured)
    if frame.bytes == NULL:
        return damaged(capture, DAMAGE_CUT)
    fraction = number32(capture, head + 4)
    frame.time_ns = number32(capture, head) * <uint64_t>1000000000 + fraction * (1 if capture.in_nanoseconds else 1000)
    frame.link_type = capture.interfaces[0].link_type
    capture.at += <uint64_t>capture.record_bytes + frame.captured
    return 1


cdef inline int read_section(capture_t *capture, const cursor_t *rest) noexcept nogil:
    """Read a section header's byte order and version; False when they can't be."""
    cdef cursor_t cursor = rest[0]
    cdef const uint8_t *p = take(&cursor, 16)
    if p == NULL:
        return damaged(capture, DAMAGE_CUT)
    if native32(p + 8) != BYTE_ORDER_MAGIC and native32(p + 8) != BYTE_ORDER_SWAPPED:
        return damaged(capture, DAMAGE_BYTE_ORDER)
    capture.swapped = native32(p + 8) == BYTE_ORDER_SWAPPED
    capture.interface_count = 0
    if number16(capture, p + 12) != 1:
        return damaged(capture, DAMAGE_VERSION)
    return 1


cdef inline int read_options(capture_t *capture, cursor_t *body, interface_t *interface) noexcept nogil:
    """Read what an interface says of its clock."""
    cdef const uint8_t *p
    cdef uint32_t code, size
    while body.left:
        p = take(body, 4)
        if p == NULL:
            return damaged(capture, DAMAGE_LENGTH)
        code = number16(capture, p)
        size = number16(capture, p + 2)
        if code == 0:
            return 1
        p = take(body, (size + 3) & ~<uint32_t>3)
        if p == NULL:
            return damaged(capture, DAMAGE_LENGTH)
        if code == OPTION_TIME_UNIT and size >= 1:
            interface.binary = p[0] >> 7
            interface.exponent = p[0] & 0x7F
        elif code == OPTION_TIME_OFFSET and size >= 8:
            interface.offset_s = <int64_t>number64(capture, p)
    return 1


cdef inline int read_interface(capture_t *capture, cursor_t *body) noexcept nogil:
    cdef const uint8_t *p = take(body, 8)
    cdef interface_t *interface
    if p == NULL:
        return damaged(capture, DAMAGE_LENGTH)
    if capture.interface_count == MOST_INTERFACES:
        return damaged(capture, DAMAGE_INTERFACE)
    interface = &capture.interfaces[capture.interface_count]
    interface.link_type = number16(capture, p)
    interface.snap_bytes = number32(capture, p + 4)
    interface.offset_s = 0
    interface.binary = 0
    interface.exponent = MICROSECONDS
    capture.interface_count += 1
    return read_options(capture, body, interface)


cdef inline int read_packet_block(
    capture_t *capture, uint32_t kind, cursor_t *body, captured_t *frame
) noexcept nogil:
    """Read an enhanced or an old packet block: they differ in how they name the interface."""
    cdef const uint8_t *p = take(body, 20)
    cdef const interface_t *interface
    cdef uint32_t index
    if p == NULL:
        return damaged(capture, DAMAGE_LENGTH)
    index = number32(capture, p) if kind == BLOCK_PACKET else number16(capture, p)
    if index >= capture.interface_count:
        return damaged(capture, DAMAGE_INTERFACE)
    interface = &capture.interfaces[index]
    frame.captured = number32(capture, p + 12)
    frame.length = max(number32(capture, p + 16), frame.captured)
    frame.bytes = take(body, frame.captured)
    if frame.bytes == NULL:
        return damaged(capture, DAMAGE_LENGTH)
    frame.link_type = interface.link_type
    frame.time_ns = ticks_ns(
        <uint64_t>number32(capture, p + 4) << 32 | number32(capture, p + 8),
        interface.binary, interface.exponent, interface.offset_s,
    )
    capture.last_ns = frame.time_ns
    return 1


cdef inline int read_simple_packet(capture_t *capture, cursor_t *body, captured_t *frame) noexcept nogil:
    """Read a packet that has a length and nothing else; its time is that of the packet before it."""
    cdef const uint8_t *p = take(body, 4)
    if p == NULL:
        return damaged(capture, DAMAGE_LENGTH)
    if capture.interface_count == 0:
        return damaged(capture, DAMAGE_INTERFACE)
    frame.length = number32(capture, p)
    keep(body, frame.length)
    if capture.interfaces[0].snap_bytes:
        keep(body, capture.interfaces[0].snap_bytes)
    frame.captured = body.left
    frame.bytes = body.at
    frame.link_type = capture.interfaces[0].link_type
    frame.time_ns = capture.last_ns
    return 1


cdef inline int read_block(capture_t *capture, uint32_t kind, cursor_t *body, captured_t *frame) noexcept nogil:
    """Read a block's content; True when it was a frame. Blocks of other kinds say nothing about frames."""
    if kind == BLOCK_INTERFACE:
        read_interface(capture, body)
        return 0
    if kind == BLOCK_PACKET or kind == BLOCK_OLD_PACKET:
        return read_packet_block(capture, kind, body, frame)
    if kind == BLOCK_SIMPLE_PACKET:
        return read_simple_packet(capture, body, frame)
    return 0


cdef inline int next_in_blocks(capture_t *capture, captured_t *frame) noexcept nogil:
    """Read pcapng blocks up to and including the next one that is a frame."""
    cdef cursor_t cursor, body
    cdef const uint8_t *p
    cdef uint32_t kind, block_bytes
    cdef int found = 0
    while not found:
        rest_of(capture, &cursor)
        if cursor.left == 0:
            return 0
        body = cursor
        p = take(&body, 8)
        if p == NULL:
            return damaged(capture, DAMAGE_CUT)
        kind = native32(p)  # the section header's reads the same in both byte orders
        if kind == PCAPNG and not read_section(capture, &cursor):
            return 0
        kind = number32(capture, p)
        block_bytes = number32(capture, p + 4)
        if block_bytes < 12 or block_bytes & 3:
            return damaged(capture, DAMAGE_LENGTH)
        if take(&cursor, block_bytes) == NULL:
            return damaged(capture, DAMAGE_CUT)
        if number32(capture, p + block_bytes - 4) != block_bytes:
            return damaged(capture, DAMAGE_LENGTH)
        keep(&body, block_bytes - 12)
        found = read_block(capture, kind, &body, frame)
        if capture.damage != DAMAGE_NONE:
            return 0
        capture.at += block_bytes
    return found


cdef inline int next_frame(capture_t *capture, captured_t *frame) noexcept nogil:
    """Read the next frame; False at the end of the file or at its damage."""
    if capture.damage != DAMAGE_NONE:
        return 0
    if capture.format == FORMAT_PCAP:
        return next_record(capture, frame)
    if capture.format == FORMAT_PCAPNG:
        return next_in_blocks(capture, frame)
    return 0
