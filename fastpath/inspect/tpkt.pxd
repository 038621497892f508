# cython: language_level=3
"""ISO transport over TCP: where a message ends, and the user data that its fragments carry.

In: bytes of one direction in stream order. Out: the length of the message that begins there, and its user data in one
piece. A message is one TPKT, or the run of TPKTs up to the end of a data unit that COTP split. Protocol modules above
(S7comm here) call both; nothing else does. Never trusts a length, never copies an unsplit message.

SPEC: RFC 1006 section 6 (TPKT) and section 5 (class 0 only), ISO 8073 clause 13 (TPDU formats).
"""

from libc.stdint cimport uint8_t, uint32_t
from libc.string cimport memcpy

from fastpath.abi cimport REASON_MESSAGE_BUDGET, REASON_MESSAGE_MALFORMED, REASON_MESSAGE_PROTOCOL, REASON_NONE
from fastpath.cursor cimport be16
from fastpath.inspect.interface cimport MESSAGE_BYTES

cdef enum:
    TPKT_BYTES = 4
    COTP_DATA_BYTES = 7  # TPKT header, length indicator 2, code, end-of-unit octet
    COTP_ERROR = 0x70
    COTP_DISCONNECT = 0x80
    COTP_DISCONNECTED = 0xC0  # confirms a disconnect: not of class 0, but servers send it
    COTP_CONFIRM = 0xD0
    COTP_CONNECT = 0xE0
    COTP_DATA = 0xF0
    COTP_LAST = 0x80  # EOT of a data TPDU; the number below it is 0 in class 0
    DISCONNECT_BYTES = 64  # of user data behind a disconnect: ISO 8073, 13.5.5
    # A data unit that is split: what its fragments carry together, and how many there may be. The longest PDU that an
    # S7 CPU negotiates is 960 bytes, S7comm-plus sends 1 KiB at a time; STEP 7 puts one empty fragment before each.
    SPLIT_BYTES = 8192
    SPLIT_FRAGMENTS = 64


cdef inline uint8_t check_tpkt(const uint8_t *at, uint32_t left, uint32_t *size) noexcept nogil:
    """Check what is there of one TPKT; `size` is its length, 0 while its COTP header is not complete."""
    cdef uint32_t length
    size[0] = 0
    if left >= 1 and at[0] != 3:
        return REASON_MESSAGE_PROTOCOL  # among others TLS, whose records begin with 20 to 23
    if left >= 2 and at[1] != 0:
        return REASON_MESSAGE_MALFORMED
    if left < TPKT_BYTES:
        return REASON_NONE
    length = be16(at + 2)
    if length < COTP_DATA_BYTES:
        return REASON_MESSAGE_MALFORMED
    if left >= 5 and (at[4] < 2 or at[4] + 5u > length):
        return REASON_MESSAGE_MALFORMED
    if left < 6:
        return REASON_NONE
    if at[5] == COTP_DATA:
        if at[4] != 2:
            return REASON_MESSAGE_MALFORMED
        if left < COTP_DATA_BYTES:
            return REASON_NONE
        if at[6] & ~COTP_LAST:
            return REASON_MESSAGE_MALFORMED
    elif at[5] == COTP_CONNECT or at[5] == COTP_CONFIRM or at[5] == COTP_DISCONNECT or at[5] == COTP_DISCONNECTED \
            or at[5] == COTP_ERROR:
        # No user data in class 0: a server may read on where this ends. After a disconnect none does; clients send some.
        if at[4] + 5u + (DISCONNECT_BYTES if at[5] == COTP_DISCONNECT else 0) < length:
            return REASON_MESSAGE_MALFORMED
        if left < COTP_DATA_BYTES:
            return REASON_NONE
    else:
        return REASON_MESSAGE_MALFORMED  # TPDUs of other classes
    size[0] = length
    return REASON_NONE


cdef inline uint8_t measure_tpkt(const uint8_t *bytes, uint32_t count, uint32_t *length) noexcept nogil:
    """Say how long the message at `bytes` is: see `interface`."""
    cdef uint32_t at = 0
    cdef uint32_t size = 0
    cdef uint32_t carried = 0
    cdef int fragments = 0
    cdef uint8_t reason
    length[0] = 0
    while at <= count:
        reason = check_tpkt(bytes + at, count - at, &size)
        if reason != REASON_NONE:
            return reason if at == 0 else REASON_MESSAGE_MALFORMED
        if size == 0:
            return REASON_NONE
        if bytes[at + 5] != COTP_DATA:
            if at:
                return REASON_MESSAGE_MALFORMED  # within a split data unit
            length[0] = size
            return REASON_NONE
        if bytes[at + 6] & COTP_LAST:
            if at and carried + size - COTP_DATA_BYTES > SPLIT_BYTES:
                return REASON_MESSAGE_BUDGET
            length[0] = at + size
            return REASON_NONE
        carried += size - COTP_DATA_BYTES
        fragments += 1
        at += size
        if carried > SPLIT_BYTES or fragments > SPLIT_FRAGMENTS or at >= MESSAGE_BYTES:
            return REASON_MESSAGE_BUDGET
    return REASON_NONE


cdef inline const uint8_t *gather(
    const uint8_t *message, uint32_t count, uint8_t *scratch, uint32_t *here, uint32_t *whole
) noexcept nogil:
    """Return the user data of a measured message of data TPDUs: `here` bytes of `whole`, or NULL.

    `scratch` holds SPLIT_BYTES and is written only when the data unit is split.
    """
    cdef uint32_t at = 0
    cdef uint32_t size = 0
    cdef uint32_t part
    here[0] = 0
    whole[0] = 0
    while at < count:
        if check_tpkt(message + at, count - at, &size) != REASON_NONE or size == 0 or message[at + 5] != COTP_DATA:
            return NULL
        part = size - COTP_DATA_BYTES
        if message[at + 6] & COTP_LAST and at == 0:
            whole[0] = part
            here[0] = part if count >= size else count - COTP_DATA_BYTES
            return message + COTP_DATA_BYTES
        if whole[0] + part > SPLIT_BYTES:
            return NULL
        whole[0] += part
        if at + size > count:
            part = count - at - COTP_DATA_BYTES
        memcpy(scratch + here[0], message + at + COTP_DATA_BYTES, part)
        here[0] += part
        if message[at + 6] & COTP_LAST:
            return scratch
        at += size
    return NULL
