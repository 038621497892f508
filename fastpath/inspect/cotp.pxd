# cython: language_level=3
"""COTP TPDUs that open and end a transport connection: connect, confirm, disconnect and its confirmation, error.

In: one whole TPKT, checked by `tpkt`. Out: one access of protocol COTP without an operation, with the references and
the called TSAP, where it has two octets also as S7 CPUs read them: kind of connection, rack and slot. Called by the
modules whose messages travel in COTP.

SPEC: ISO 8073 clauses 13.3 to 13.6 and 13.12; RFC 1006 section 5: class 0, no extended formats.
"""

from libc.stdint cimport uint8_t, uint32_t, uint64_t

from fastpath.abi cimport PROTOCOL_COTP, REASON_MESSAGE_ANSWER, REASON_MESSAGE_MALFORMED, REASON_NONE
from fastpath.cursor cimport be16
from fastpath.inspect.interface cimport access_t, begin_access, set_field, sink_t
from fastpath.inspect.tpkt cimport COTP_CONFIRM, COTP_CONNECT, COTP_DATA, COTP_DISCONNECT, COTP_DISCONNECTED

cdef enum:
    COTP_TYPE = 0  # abi.FIELD_NAMES
    COTP_SOURCE_REFERENCE = 1
    COTP_DESTINATION_REFERENCE = 2
    COTP_DESTINATION_TSAP = 3
    COTP_CONNECTION_TYPE = 4
    COTP_RACK = 5
    COTP_SLOT = 6
    CALLED_TSAP = 0xC2
    S7_TSAP_BYTES = 2
    TSAP_BYTES = 8  # of a TSAP that fits into a field: S7's have two, longer ones are texts


cdef inline uint8_t read_parameters(const uint8_t *at, uint32_t left, access_t *access) noexcept nogil:
    """Read the variable part: each parameter once, exactly to the end."""
    cdef uint64_t seen[4]
    cdef uint64_t tsap = 0
    cdef uint32_t i
    cdef uint8_t code
    seen[0] = seen[1] = seen[2] = seen[3] = 0
    while left:
        if left < 2 or at[1] + 2u > left:
            return REASON_MESSAGE_MALFORMED
        code = at[0]
        if seen[code >> 6] >> (code & 63) & 1:
            return REASON_MESSAGE_MALFORMED  # one end may take the first, the other the last
        seen[code >> 6] |= (<uint64_t>1) << (code & 63)
        if code == CALLED_TSAP and 1 <= at[1] <= TSAP_BYTES:
            for i in range(at[1]):
                tsap = tsap << 8 | at[2 + i]
            set_field(access, COTP_DESTINATION_TSAP, tsap)
            if at[1] == S7_TSAP_BYTES:
                set_field(access, COTP_CONNECTION_TYPE, at[2])
                set_field(access, COTP_RACK, at[3] >> 5)
                set_field(access, COTP_SLOT, at[3] & 0x1F)
        left -= at[1] + 2u
        at += at[1] + 2u
    return REASON_NONE


cdef inline uint8_t read_cotp(
    const uint8_t *message, uint32_t length, int from_opener, sink_t *sink
) noexcept nogil:
    """Read a whole TPDU that carries no user data."""
    cdef access_t access
    cdef uint8_t code = message[5]
    cdef uint8_t reason = REASON_NONE
    cdef uint32_t end = message[4] + 5u  # user data may follow a disconnect
    cdef uint32_t fixed = 9  # TPKT, length indicator, code, one reference, cause: of an error TPDU
    begin_access(&access, PROTOCOL_COTP, 0)
    access.answer = not from_opener
    set_field(&access, COTP_TYPE, code >> 4)
    if code == COTP_CONNECT or code == COTP_CONFIRM or code == COTP_DISCONNECT:
        fixed = 11
    elif code == COTP_DISCONNECTED:
        fixed = 10
    if end < fixed or end > length:
        reason = REASON_MESSAGE_MALFORMED
    else:
        set_field(&access, COTP_DESTINATION_REFERENCE, be16(message + 6))
        if fixed >= 10:
            set_field(&access, COTP_SOURCE_REFERENCE, be16(message + 8))
        if (code == COTP_CONNECT or code == COTP_CONFIRM) and message[10] != 0:
            reason = REASON_MESSAGE_MALFORMED  # another class than 0, or options that class 0 does not have
        else:
            reason = read_parameters(message + fixed, end - fixed, &access)
    if reason == REASON_NONE and code == (COTP_CONFIRM if from_opener else COTP_CONNECT):
        reason = REASON_MESSAGE_ANSWER
    sink.put(sink, &access)
    return reason


cdef inline int is_connect(const access_t *access) noexcept nogil:
    """Tell whether an access asks for a transport connection: the one thing of COTP that a policy may constrain."""
    return access.protocol == PROTOCOL_COTP and access.low[COTP_TYPE] == COTP_CONNECT >> 4


cdef inline void put_empty(int from_opener, sink_t *sink) noexcept nogil:
    """Tell of a data unit without user data: nothing is asked."""
    cdef access_t access
    begin_access(&access, PROTOCOL_COTP, 0)
    access.answer = not from_opener
    set_field(&access, COTP_TYPE, COTP_DATA >> 4)
    sink.put(sink, &access)
