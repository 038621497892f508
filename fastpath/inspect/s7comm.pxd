# cython: language_level=3
"""S7comm in COTP in TPKT, the way S7 CPUs, programming devices and HMIs speak on TCP port 102.

In: bytes of one direction in stream order. Out: how long the message is, and what it asks for or answers: accesses of
protocols S7COMM, S7COMM_PLUS or COTP. Registered in `inspectors`; which message is which operation, and why, stands in
docs/reference/protocols/s7comm.md. Refuses what it cannot tell; never allocates, raises or reads beyond `count`.

SPEC: RFC 1006, ISO 8073 class 0; S7comm itself has no public standard: Wireshark's packet-s7comm.c.
"""

from libc.stdint cimport uint8_t, uint32_t

from fastpath.abi cimport (
    OPERATION_OTHER, REASON_MESSAGE_MALFORMED, REASON_MESSAGE_OPAQUE, REASON_MESSAGE_PROTOCOL,
    REASON_NONE,
)
from fastpath.inspect.cotp cimport put_empty, read_cotp
from fastpath.inspect.interface cimport access_t, dialog_t, sink_t
from fastpath.inspect.s7_dialog cimport s7_dialog, s7_dialog_t
from fastpath.inspect.s7_job cimport read_acknowledgement, read_job
from fastpath.inspect.s7_pdu cimport (
    S7_ACK, S7_ACK_DATA, S7_JOB, S7_USERDATA, begin_s7, read_header, s7_pdu_t, tell,
)
from fastpath.inspect.s7_plus cimport read_plus
from fastpath.inspect.s7_userdata cimport read_userdata
from fastpath.inspect.tpkt cimport COTP_DATA, SPLIT_BYTES, gather, measure_tpkt

cdef enum:
    S7_PROTOCOL = 0x32
    PLUS_PROTOCOL = 0x72
    TLS_FIRST = 20  # record types, RFC 8446 section 5.1
    TLS_LAST = 23


cdef inline uint8_t measure_s7comm(
    const uint8_t *bytes, uint32_t count, int from_opener, uint32_t *length
) noexcept nogil:
    """Say how long the message at `bytes` is: see `interface`."""
    return measure_tpkt(bytes, count, length)


cdef inline uint8_t read_pdu(
    const uint8_t *user, uint32_t here, uint32_t whole, int from_opener, s7_dialog_t *dialog, sink_t *sink
) noexcept nogil:
    """Read an S7comm PDU; the message itself is always told of once its kind is here."""
    cdef s7_pdu_t pdu
    cdef access_t access
    cdef uint8_t reason = read_header(&pdu, user, here, whole, from_opener)
    if pdu.parameters == NULL:
        return reason
    if reason != REASON_NONE:
        pdu.operation = OPERATION_OTHER  # its lengths contradict each other: only its head is told
    elif pdu.rosctr == S7_JOB:
        reason = read_job(&pdu, dialog, sink)
    elif pdu.rosctr == S7_ACK or pdu.rosctr == S7_ACK_DATA:
        reason = read_acknowledgement(&pdu, dialog, sink)
    elif pdu.rosctr == S7_USERDATA:
        reason = read_userdata(&pdu, dialog, sink)
    else:
        pdu.operation = OPERATION_OTHER
    if pdu.told == 0:
        begin_s7(&access, &pdu)
        tell(&pdu, &access, sink)
    return reason


cdef inline uint8_t read_s7comm(
    const uint8_t *message, uint32_t count, uint32_t length, int from_opener, dialog_t *dialog, sink_t *sink
) noexcept nogil:
    """Say what a message means: see `interface`."""
    cdef uint8_t scratch[SPLIT_BYTES]
    cdef const uint8_t *user
    cdef uint32_t here = 0
    cdef uint32_t whole = 0
    if count < 7:
        return REASON_NONE if count < length else REASON_MESSAGE_MALFORMED
    if message[5] != COTP_DATA:
        if count < length:
            return REASON_NONE
        return read_cotp(message, length, from_opener, sink)
    user = gather(message, count, scratch, &here, &whole)
    if user == NULL:
        return REASON_NONE if count < length else REASON_MESSAGE_MALFORMED
    if whole == 0:
        put_empty(from_opener, sink)
        return REASON_NONE
    if here == 0:
        return REASON_NONE
    if user[0] == S7_PROTOCOL:
        return read_pdu(user, here, whole, from_opener, s7_dialog(dialog), sink)
    if user[0] == PLUS_PROTOCOL:
        return read_plus(user, here, whole, from_opener, s7_dialog(dialog), sink)
    if TLS_FIRST <= user[0] <= TLS_LAST and (here < 2 or user[1] == 3):
        return REASON_MESSAGE_OPAQUE  # TLS inside COTP, as S7comm-plus of newer CPUs
    return REASON_MESSAGE_PROTOCOL  # among others the session layer of MMS
