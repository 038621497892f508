# cython: language_level=3
"""The part of nfnetlink_queue's wire format that we speak (linux/netfilter/nfnetlink_queue.h), but for packets.

In: datagrams from a queue socket. Out: of which kind they are; verdict messages. What stands in a packet's message is
read by `message`. Attribute payloads of several bytes are big-endian, netlink headers are native. Never allocates.
"""

from libc.stdint cimport uint8_t, uint16_t, uint32_t
from libc.string cimport memcpy, memset

from fastpath.cursor cimport __builtin_bswap32, native16

cdef enum:
    NLMSG_ERROR_TYPE = 2
    NLM_F_REQUEST = 1
    NLM_F_ACK = 4
    NFNL_SUBSYS_QUEUE = 3
    NFQNL_MSG_PACKET = 0
    NFQNL_MSG_VERDICT = 1
    NFQNL_MSG_CONFIG = 2
    NFQNL_MSG_VERDICT_BATCH = 3
    NFQA_VERDICT_HDR = 2
    NFQA_MARK = 3
    NFQA_VERDICT_PAYLOAD = 10
    NFQA_CFG_CMD = 1
    NFQA_CFG_PARAMS = 2
    NFQA_CFG_QUEUE_MAXLEN = 3
    NFQA_CFG_MASK = 4
    NFQA_CFG_FLAGS = 5
    NFQA_CFG_F_FAIL_OPEN = 1
    NFQA_CFG_F_GSO = 4
    NF_DROP = 0
    NF_ACCEPT = 1
    NLMSG_HEADER_BYTES = 16
    NFGEN_BYTES = 4
    VERDICT_BYTES = 32  # header, nfgenmsg, NFQA_VERDICT_HDR
    MARKED_VERDICT_BYTES = 40  # the same with NFQA_MARK

cdef inline int is_packet(const uint8_t *message, uint32_t length) noexcept nogil:
    return length >= NLMSG_HEADER_BYTES + NFGEN_BYTES and native16(message + 4) == (
        NFNL_SUBSYS_QUEUE << 8 | NFQNL_MSG_PACKET
    )


cdef inline int is_answer(const uint8_t *message, uint32_t length) noexcept nogil:
    """Tell whether it is the kernel's answer to a message of ours: an error, or an acknowledgement."""
    return length >= NLMSG_HEADER_BYTES + 4 and native16(message + 4) == NLMSG_ERROR_TYPE


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


cdef inline uint32_t put_payload(
    uint8_t *message, uint32_t size, const uint8_t *payload, uint32_t count
) noexcept nogil:
    """Append to a verdict of `size` bytes what the packet is to be from now on; returns the new size.

    `count` <= REWRITTEN_BYTES: the attribute's length has 16 bits, and the outbox its room.
    """
    cdef uint16_t half = <uint16_t>(4 + count)
    cdef uint32_t padded = (count + 3) & ~<uint32_t>3
    memcpy(message + size, &half, 2)
    half = NFQA_VERDICT_PAYLOAD
    memcpy(message + size + 2, &half, 2)
    memcpy(message + size + 4, payload, count)
    memset(message + size + 4 + count, 0, padded - count)
    size += 4 + padded
    memcpy(message, &size, 4)
    return size
