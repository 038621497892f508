# cython: language_level=3
"""The common packet format: the items that an encapsulated message, or a datagram of implicit I/O, consists of.

In: a stretch that begins with the number of items. Out: the connection and the data in it, or a drop reason.
SPEC: CIP Vol. 2, 2-6.

Exactly one address item, then exactly one data item, then nothing but socket addresses; together as long as the
stretch.
"""

from libc.stdint cimport uint8_t, uint32_t

from fastpath.abi cimport REASON_MESSAGE_MALFORMED, REASON_MESSAGE_OPAQUE, REASON_NONE
from fastpath.inspect.part cimport PART_HERE, PART_NEVER, have, inner, le16, le32, part_of, part_t

cdef enum:
    ITEM_NULL = 0x0000
    ITEM_CONNECTED_ADDRESS = 0x00A1
    ITEM_CONNECTED_DATA = 0x00B1
    ITEM_UNCONNECTED_DATA = 0x00B2
    ITEM_SOCKET_FORWARD = 0x8000  # addresses for the two directions of an implicit connection
    ITEM_SOCKET_BACK = 0x8001
    ITEM_SEQUENCED_ADDRESS = 0x8002
    SOCKET_BYTES = 16
    MOST_LISTED = 64


cdef inline uint8_t is_list(const part_t *body, uint32_t status) noexcept nogil:
    """Check the items of an answer to one of the List commands; refusals may be empty."""
    cdef uint32_t at = 2
    cdef uint32_t number, _one
    if not body.whole and status:
        return REASON_NONE
    if have(body, 2) != PART_HERE:
        return REASON_MESSAGE_MALFORMED if have(body, 2) == PART_NEVER else REASON_NONE
    number = le16(body.at)
    if number > MOST_LISTED:
        return REASON_MESSAGE_MALFORMED
    for _one in range(number):
        if have(body, at + 4) != PART_HERE:
            return REASON_MESSAGE_MALFORMED if have(body, at + 4) == PART_NEVER else REASON_NONE
        at += 4 + le16(body.at + at + 2)
    return REASON_NONE if at == body.whole else REASON_MESSAGE_MALFORMED


cdef inline uint8_t _check_sockets(const part_t *body, uint32_t at, uint32_t number) noexcept nogil:
    """Check that nothing but socket addresses follows, up to the end."""
    cdef uint32_t _one, kind
    if at + number * (4 + SOCKET_BYTES) != body.whole:
        return REASON_MESSAGE_MALFORMED
    for _one in range(number):
        if have(body, at + 4) != PART_HERE:
            return REASON_NONE
        kind = le16(body.at + at)
        if (kind != ITEM_SOCKET_FORWARD and kind != ITEM_SOCKET_BACK) or le16(body.at + at + 2) != SOCKET_BYTES:
            return REASON_MESSAGE_MALFORMED
        at += 4 + SOCKET_BYTES
    return REASON_NONE


cdef inline uint8_t find_data(
    const part_t *body, int unit, int *connected, uint32_t *connection, part_t *data
) noexcept nogil:
    """Find what SendRRData (`unit` 0) or SendUnitData (1) carries; `data.here` is 0 while it has not arrived."""
    cdef uint32_t number, address, size
    data[0] = part_of(body.at, 0, 0)
    if body.whole < 8 + 4 + (4 if unit else 0) + 4:
        return REASON_MESSAGE_MALFORMED
    if have(body, 12) != PART_HERE:
        return REASON_NONE
    if le32(body.at):  # an interface that is not CIP
        return REASON_MESSAGE_OPAQUE
    number = le16(body.at + 6)
    address = 4 if unit else 0
    if number < 2 or number > 4:
        return REASON_MESSAGE_MALFORMED
    if le16(body.at + 8) != (ITEM_CONNECTED_ADDRESS if unit else ITEM_NULL) or le16(body.at + 10) != address:
        return REASON_MESSAGE_MALFORMED
    if have(body, 16 + address) != PART_HERE:
        return REASON_NONE
    if unit:
        connected[0] = 1
        connection[0] = le32(body.at + 12)
    if le16(body.at + 12 + address) != (ITEM_CONNECTED_DATA if unit else ITEM_UNCONNECTED_DATA):
        return REASON_MESSAGE_MALFORMED
    size = le16(body.at + 14 + address)
    if not size or 16 + address + size > body.whole:
        return REASON_MESSAGE_MALFORMED
    data[0] = inner(body, 16 + address, size)
    return _check_sockets(body, 16 + address + size, number - 2)
