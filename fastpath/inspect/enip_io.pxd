# cython: language_level=3
"""Implicit I/O: the data that a connection opened by Forward Open carries cyclically, on UDP port 2222.

In: one datagram. Out: one access of EtherNet/IP with the connection's number. What the opener of the conversation
sends is written to the other end (WRITE), what comes back is read (READ), and a datum without content is a heartbeat
(NONE).
SPEC: CIP Vol. 2, 3-2 (class 0 and 1 connections), 2-6 (items); CIP Vol. 1, 3-4.4.3 (transport classes).

Which Forward Open opened a connection is not known here: it came by another conversation, and was judged there.
"""

from libc.stdint cimport uint8_t, uint32_t

from fastpath.abi cimport (
    OPERATION_READ,
    OPERATION_WRITE,
    PROTOCOL_ENIP,
    REASON_MESSAGE_MALFORMED,
    REASON_MESSAGE_PROTOCOL,
    REASON_NONE,
)
from fastpath.inspect.enip cimport ENIP_CONNECTION
from fastpath.inspect.enip_items cimport ITEM_CONNECTED_ADDRESS, ITEM_CONNECTED_DATA, ITEM_SEQUENCED_ADDRESS
from fastpath.inspect.interface cimport access_t, begin_access, dialog_t, set_field, sink_t
from fastpath.inspect.part cimport le16, le32

cdef enum:
    HEARTBEAT_BYTES = 2  # a sequence count (class 1) or nothing (class 0)


cdef inline uint8_t measure_enip_io(
    const uint8_t *bytes, uint32_t count, int from_opener, uint32_t *length
) noexcept nogil:
    """Say how long the message at `bytes` is: see `interface`."""
    cdef uint32_t address
    length[0] = 0
    if count >= 2 and le16(bytes) != 2:
        return REASON_MESSAGE_PROTOCOL
    if count < 6:
        return REASON_NONE
    address = le16(bytes + 4)
    if not (
        (le16(bytes + 2) == ITEM_SEQUENCED_ADDRESS and address == 8)
        or (le16(bytes + 2) == ITEM_CONNECTED_ADDRESS and address == 4)
    ):
        return REASON_MESSAGE_PROTOCOL
    if count < 10 + address:
        return REASON_NONE
    if le16(bytes + 6 + address) != ITEM_CONNECTED_DATA:
        return REASON_MESSAGE_MALFORMED
    length[0] = 10 + address + le16(bytes + 8 + address)
    return REASON_NONE


cdef inline uint8_t read_enip_io(
    const uint8_t *message, uint32_t count, uint32_t length, int from_opener, dialog_t *dialog, sink_t *sink
) noexcept nogil:
    """Say what a message means: see `interface`."""
    cdef access_t access
    if count < 10 or count < 10 + <uint32_t>le16(message + 4):
        return REASON_NONE if count < length else REASON_MESSAGE_MALFORMED
    begin_access(&access, PROTOCOL_ENIP, count < length)
    access.answer = not from_opener
    set_field(&access, ENIP_CONNECTION, le32(message + 6))
    if length - 10 - le16(message + 4) > HEARTBEAT_BYTES:
        access.operation = OPERATION_WRITE if from_opener else OPERATION_READ
    sink.put(sink, &access)
    return REASON_NONE
