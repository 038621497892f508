# cython: language_level=3
"""The part of nfnetlink_queue's wire format that we speak (linux/netfilter/nfnetlink_queue.h), in and out.

In: datagrams from a queue socket. Out: `frame_t` and packet ids; verdict messages appended to a buffer.
Multi-byte attribute payloads are big-endian (`_be`), netlink headers are native. Never allocates; the kernel is trusted
for lengths no more than a stranger would be.
"""

from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t
from libc.string cimport memcpy, memset

from fastpath.cursor cimport __builtin_bswap32, be16, be32, be48, native16
from fastpath.frame cimport ETHERTYPE_VLAN, TAGGED_SERVICE, frame_t

cdef enum:
    NLMSG_ERROR_TYPE = 2
    NLM_F_REQUEST = 1
    NLM_F_ACK = 4
    NFNL_SUBSYS_QUEUE = 3
    NFQNL_MSG_PACKET = 0
    NFQNL_MSG_VERDICT = 1
    NFQNL_MSG_CONFIG = 2
    NFQNL_MSG_VERDICT_BATCH = 3
    NFQA_PACKET_HDR = 1
    NFQA_VERDICT_HDR = 2
    NFQA_MARK = 3
    NFQA_IFINDEX_INDEV = 5
    NFQA_IFINDEX_OUTDEV = 6
    NFQA_IFINDEX_PHYSINDEV = 7
    NFQA_IFINDEX_PHYSOUTDEV = 8
    NFQA_HWADDR = 9
    NFQA_PAYLOAD = 10
    NFQA_CAP_LEN = 13
    NFQA_VLAN = 19
    NFQA_L2HDR = 20
    NFQA_VLAN_PROTO = 1
    NFQA_VLAN_TCI = 2
    NFQA_CFG_CMD = 1
    NFQA_CFG_PARAMS = 2
    NFQA_CFG_QUEUE_MAXLEN = 3
    NFQA_CFG_MASK = 4
    NFQA_CFG_FLAGS = 5
    NFQA_CFG_F_FAIL_OPEN = 1
    NFQA_CFG_F_GSO = 4
    NF_DROP = 0
    NF_ACCEPT = 1
    NLA_TYPE_MASK = 0x3FFF
    NLMSG_HEADER_BYTES = 16
    NFGEN_BYTES = 4
    VERDICT_BYTES = 32  # header, nfgenmsg, NFQA_VERDICT_HDR
    MARKED_VERDICT_BYTES = 40  # the same with NFQA_MARK

cdef struct packet_t:
    uint32_t id
    uint8_t has_id
    frame_t frame


cdef inline int is_packet(const uint8_t *message, uint32_t length) noexcept nogil:
    return length >= NLMSG_HEADER_BYTES + NFGEN_BYTES and native16(message + 4) == (
        NFNL_SUBSYS_QUEUE << 8 | NFQNL_MSG_PACKET
    )


cdef inline int is_answer(const uint8_t *message, uint32_t length) noexcept nogil:
    """Tell whether it is the kernel's answer to a message of ours: an error, or an acknowledgement."""
    return length >= NLMSG_HEADER_BYTES + 4 and native16(message + 4) == NLMSG_ERROR_TYPE


cdef inline void read_vlan(frame_t *frame, const uint8_t *p, uint32_t left) noexcept nogil:
    """Read the outer tag that the kernel took off (nested attributes)."""
    cdef uint32_t length, kind
    cdef uint16_t protocol = 0
    while left >= 4:
        length = native16(p)
        kind = native16(p + 2) & NLA_TYPE_MASK
        if length < 4 or length > left:
            return
        if kind == NFQA_VLAN_TCI and length >= 6:
            frame.vlan = be16(p + 4) & 0x0FFF
            frame.tagged = 1
        elif kind == NFQA_VLAN_PROTO and length >= 6:
            protocol = be16(p + 4)
        length = (length + 3) & ~<uint32_t>3
        if length >= left:
            break
        p += length
        left -= length
    if frame.tagged and protocol != ETHERTYPE_VLAN:
        frame.tagged = TAGGED_SERVICE


cdef inline void read_attribute(packet_t *packet, uint32_t kind, const uint8_t *p, uint32_t length) noexcept nogil:
    cdef frame_t *frame = &packet.frame
    # One comparison of `kind` a branch, so that the compiler makes a jump of it.
    if kind == NFQA_PACKET_HDR:
        if length >= 7:
            packet.id = be32(p)
            packet.has_id = 1
            frame.ethertype = be16(p + 4)
    elif kind == NFQA_PAYLOAD:
        frame.data = p
        frame.captured = length
        if frame.length < length:
            frame.length = length
    elif kind == NFQA_CAP_LEN:
        if length >= 4:
            frame.length = be32(p)
    elif kind == NFQA_IFINDEX_PHYSINDEV:
        if length >= 4:
            frame.in_ifindex = be32(p)
    elif kind == NFQA_IFINDEX_PHYSOUTDEV:
        if length >= 4:
            frame.out_ifindex = be32(p)
    elif kind == NFQA_HWADDR:
        if length >= 12 and be16(p) >= 6:
            frame.source_mac = be48(p + 4)
    elif kind == NFQA_L2HDR:
        if length >= 14:
            frame.destination_mac = be48(p)
            frame.source_mac = be48(p + 6)
            frame.has_destination_mac = 1
    elif kind == NFQA_VLAN:
        read_vlan(frame, p, length)


cdef inline void clear_packet(packet_t *packet) noexcept nogil:
    """Forget the message before; what `parse` sets anyway is left as it is."""
    packet.id = 0
    packet.has_id = 0
    packet.frame.captured = 0
    packet.frame.length = 0
    packet.frame.in_ifindex = 0
    packet.frame.out_ifindex = 0
    packet.frame.source_mac = 0
    packet.frame.destination_mac = 0
    packet.frame.ethertype = 0
    packet.frame.vlan = 0
    packet.frame.tagged = 0
    packet.frame.has_destination_mac = 0


cdef inline int read_packet(packet_t *packet, const uint8_t *message, uint32_t length) noexcept nogil:
    """Read one NFQNL_MSG_PACKET; `message` starts at its netlink header. False when it carries no packet id.

    The ports are the bridge's (PHYSINDEV, PHYSOUTDEV) in both forms: without them the frame belongs to no zone.
    """
    cdef const uint8_t *p
    cdef uint32_t left, size
    clear_packet(packet)
    if length < NLMSG_HEADER_BYTES + NFGEN_BYTES:
        return 0
    p = message + NLMSG_HEADER_BYTES + NFGEN_BYTES
    packet.frame.data = p
    left = length - NLMSG_HEADER_BYTES - NFGEN_BYTES
    while left >= 4:
        size = native16(p)
        if size < 4 or size > left:
            break
        read_attribute(packet, native16(p + 2) & NLA_TYPE_MASK, p + 4, size - 4)
        size = (size + 3) & ~<uint32_t>3
        if size >= left:
            break
        p += size
        left -= size
    return packet.has_id


cdef inline uint32_t put_verdict(
    uint8_t *to, uint16_t kind, uint16_t flags, uint16_t queue, uint32_t id, uint32_t verdict, uint32_t mark
) noexcept nogil:
    """Write one verdict message and return its size; a mark of 0 leaves the packet's mark alone."""
    cdef uint32_t size = MARKED_VERDICT_BYTES if mark else VERDICT_BYTES
    cdef uint16_t half
    cdef uint32_t word
    memset(to, 0, size)
    memcpy(to, &size, 4)
    half = NFNL_SUBSYS_QUEUE << 8 | kind
    memcpy(to + 4, &half, 2)
    half = NLM_F_REQUEST | flags
    memcpy(to + 6, &half, 2)
    to[18] = queue >> 8
    to[19] = queue & 0xFF
    half = 12
    memcpy(to + 20, &half, 2)
    half = NFQA_VERDICT_HDR
    memcpy(to + 22, &half, 2)
    word = __builtin_bswap32(verdict)
    memcpy(to + 24, &word, 4)
    word = __builtin_bswap32(id)
    memcpy(to + 28, &word, 4)
    if mark:
        half = 8
        memcpy(to + 32, &half, 2)
        half = NFQA_MARK
        memcpy(to + 34, &half, 2)
        word = __builtin_bswap32(mark)
        memcpy(to + 36, &word, 4)
    return size
