# cython: language_level=3
"""A queue's packet messages (NFQNL_MSG_PACKET) taken apart.

In: a message of a queue socket. Out: `packet_t`, with the packet's id and what the kernel says of its frame. Which
attributes a message has, where and how long, hardly ever changes from one to the next: their `shape_t` is remembered
and only compared, and the message surveyed anew where it differs. Both ways read the same values from the same places.
Never allocates; the kernel is trusted for lengths no more than a stranger would be. Used by worker and releaser.
"""

from libc.stdint cimport uint8_t, uint16_t, uint32_t
from libc.string cimport memset

from fastpath.cursor cimport be16, be32, be48_of_8, native16, native32
from fastpath.frame cimport ETHERTYPE_VLAN, TAGGED_SERVICE, frame_t

cdef enum:
    NFQA_PACKET_HDR = 1
    NFQA_IFINDEX_PHYSINDEV = 7
    NFQA_IFINDEX_PHYSOUTDEV = 8
    NFQA_HWADDR = 9
    NFQA_PAYLOAD = 10
    NFQA_CAP_LEN = 13
    NFQA_SKB_INFO = 14
    NFQA_SKB_GSO = 2
    NFQA_VLAN = 19
    NFQA_L2HDR = 20
    NFQA_VLAN_PROTO = 1
    NFQA_VLAN_TCI = 2
    NLA_TYPE_MASK = 0x3FFF
    FIRST_ATTRIBUTE = 20  # behind nlmsghdr and nfgenmsg
    SHAPE_HEADS = 16  # the kernel knows no more kinds than that which a bridged packet can have
    SHAPES = 4  # with and without a tag, cut and whole

cdef struct packet_t:
    uint32_t id
    frame_t frame

cdef struct head_t:
    uint32_t at
    uint32_t raw  # length and type, as they lie in memory

# Owner: whoever reads a queue, zeros at first. Places are bytes from the start of the message; 0: there is none.
cdef struct shape_t:
    uint32_t heads  # attributes in front of the payload; 0: not to be met again
    uint32_t end  # where the payload's attribute begins
    head_t head[SHAPE_HEADS]
    uint32_t packet_header
    uint32_t in_port
    uint32_t out_port
    uint32_t hardware_address
    uint32_t link_header
    uint32_t vlan
    uint32_t vlan_bytes
    uint32_t whole_length
    uint32_t skb_info
    uint32_t payload

cdef struct shapes_t:
    uint32_t latest
    shape_t each[SHAPES]


# ---- places -------------------------------------------------------------------------------------------------------


cdef inline void note_place(shape_t *shape, uint32_t kind, uint32_t at, uint32_t length) noexcept nogil:
    """Note where a value stands; one that is too short is none, of two the last counts."""
    if kind == NFQA_PACKET_HDR:
        if length >= 7:
            shape.packet_header = at
    elif kind == NFQA_PAYLOAD:
        shape.payload = at
    elif kind == NFQA_CAP_LEN:
        if length >= 4:
            shape.whole_length = at
    elif kind == NFQA_SKB_INFO:
        if length >= 4:
            shape.skb_info = at
    elif kind == NFQA_IFINDEX_PHYSINDEV:
        if length >= 4:
            shape.in_port = at
    elif kind == NFQA_IFINDEX_PHYSOUTDEV:
        if length >= 4:
            shape.out_port = at
    elif kind == NFQA_HWADDR:
        if length >= 12:
            shape.hardware_address = at
    elif kind == NFQA_L2HDR:
        if length >= 14:
            shape.link_header = at
    elif kind == NFQA_VLAN:
        shape.vlan = at
        shape.vlan_bytes = length


cdef inline void survey(shape_t *shape, const uint8_t *message, uint32_t length) noexcept nogil:
    """Walk through the attributes of a message and note where everything is."""
    cdef uint32_t at = FIRST_ATTRIBUTE
    cdef uint32_t heads = 0
    cdef uint32_t kind = 0
    cdef uint32_t size
    memset(shape, 0, sizeof(shape_t))
    while at + 4 <= length:
        size = native16(message + at)
        if size < 4 or size > length - at:
            return
        kind = native16(message + at + 2) & NLA_TYPE_MASK
        note_place(shape, kind, at + 4, size - 4)
        if heads < SHAPE_HEADS:
            shape.head[heads].at = at
            shape.head[heads].raw = native32(message + at)
        heads += 1
        shape.end = at
        at += (size + 3) & ~<uint32_t>3
    # To be met again it must end with its payload, the only attribute whose length is the packet's.
    if kind == NFQA_PAYLOAD and heads <= SHAPE_HEADS:
        shape.heads = heads - 1


cdef inline int fits(const shape_t *shape, const uint8_t *message, uint32_t length) noexcept nogil:
    """Tell whether `survey` would find this shape."""
    cdef const head_t *head = shape.head
    cdef const head_t *behind = head + shape.heads
    cdef uint32_t size
    if head == behind or length < shape.end + 4:
        return 0
    while head != behind:
        if native32(message + head.at) != head.raw:
            return 0
        head += 1
    size = native16(message + shape.end)
    if native16(message + shape.end + 2) & NLA_TYPE_MASK != NFQA_PAYLOAD or size < 4:
        return 0
    length -= shape.end
    return size <= length and size + 4 > length


# ---- values -------------------------------------------------------------------------------------------------------


cdef inline void read_vlan(frame_t *frame, const uint8_t *p, uint32_t left) noexcept nogil:
    """Read the outer tag that the kernel took off (nested attributes)."""
    cdef uint32_t length, kind
    cdef uint16_t protocol = 0
    while left >= 4:
        length = native16(p)
        kind = native16(p + 2) & NLA_TYPE_MASK
        if length < 4 or length > left:
            break
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


cdef inline void read_macs(frame_t *frame, const shape_t *shape, const uint8_t *message) noexcept nogil:
    """Read the addresses from the link header; where interception does not see it, the sender's from the kernel."""
    cdef const uint8_t *p
    frame.has_destination_mac = 0
    frame.destination_mac = 0
    frame.source_mac = 0
    if shape.link_header:
        p = message + shape.link_header
        frame.destination_mac = be48_of_8(p)
        frame.source_mac = be48_of_8(p + 6)
        frame.has_destination_mac = 1
    elif shape.hardware_address:
        p = message + shape.hardware_address
        if be16(p) >= 6:
            frame.source_mac = be48_of_8(p + 4)


cdef inline void read_values(packet_t *packet, const shape_t *shape, const uint8_t *message) noexcept nogil:
    cdef frame_t *frame = &packet.frame
    cdef uint32_t whole = be32(message + shape.whole_length) if shape.whole_length else 0
    packet.id = be32(message + shape.packet_header)
    frame.ethertype = be16(message + shape.packet_header + 4)
    # The bridge's ports in both forms of interception: without them the frame belongs to no zone.
    frame.in_ifindex = be32(message + shape.in_port) if shape.in_port else 0
    frame.out_ifindex = be32(message + shape.out_port) if shape.out_port else 0
    frame.data = message + shape.payload
    frame.captured = native16(message + shape.payload - 4) - 4 if shape.payload else 0
    frame.length = whole if whole > frame.captured else frame.captured
    frame.joined = shape.skb_info != 0 and be32(message + shape.skb_info) & NFQA_SKB_GSO != 0
    frame.vlan = 0
    frame.tagged = 0
    if shape.vlan:
        read_vlan(frame, message + shape.vlan, shape.vlan_bytes)
    read_macs(frame, shape, message)


cdef inline int read_packet(
    packet_t *packet, shapes_t *shapes, const uint8_t *message, uint32_t length
) noexcept nogil:
    """Read one NFQNL_MSG_PACKET; `message` starts at its netlink header. False when it carries no packet id.

    `packet` borrows the payload from the message.
    """
    cdef uint32_t at = shapes.latest
    cdef shape_t *shape = &shapes.each[at]
    cdef uint32_t _tries
    if not fits(shape, message, length):
        for _tries in range(SHAPES - 1):
            at = (at + 1) & (SHAPES - 1)
            shape = &shapes.each[at]
            if fits(shape, message, length):
                break
        else:
            survey(shape, message, length)
        shapes.latest = at
    if not shape.packet_header:
        return 0
    read_values(packet, shape, message)
    return 1
