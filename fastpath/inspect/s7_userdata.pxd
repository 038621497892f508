# cython: language_level=3
"""S7comm userdata: services of the programming device and the HMI beside the jobs, by group and subfunction.

In: a PDU of ROSCTR 7. Out: its accesses, with operations. A request has the operation of its group and subfunction,
whatever it calls itself: some servers do not look. FAIL-CLOSED: a group or subfunction that no table knows is OTHER.

SPEC: Wireshark's packet-s7comm.c (userdata groups and subfunctions).
"""

from libc.stdint cimport uint8_t, uint32_t

from fastpath.abi cimport (
    OPERATION_ADMIN, OPERATION_CONTROL, OPERATION_DIAGNOSE, OPERATION_NONE, OPERATION_OTHER, OPERATION_PROGRAM,
    OPERATION_READ, OPERATION_WRITE, REASON_MESSAGE_ANSWER, REASON_MESSAGE_MALFORMED, REASON_NONE,
)
from fastpath.cursor cimport be16, cursor_t
from fastpath.inspect.interface cimport access_t, set_field, set_range, sink_t
from fastpath.inspect.s7_block cimport BLOCKS_OF_A_TYPE, block_of, hexadecimal
from fastpath.inspect.s7_dialog cimport find_job, forgiven, new_job, s7_dialog_t, s7_job_t
from fastpath.inspect.s7_item cimport read_items
from fastpath.inspect.s7_pdu cimport (
    S7_BLOCK, S7_USERDATA, begin_s7, missing_data, missing_parameters, s7_pdu_t, tell,
)

cdef enum:
    GROUP_PROGRAMMER = 1
    GROUP_CYCLIC = 2
    GROUP_BLOCKS = 3
    GROUP_CPU = 4
    GROUP_SECURITY = 5
    GROUP_PBC = 6
    GROUP_TIME = 7
    GROUP_NC_PROGRAM = 15
    TYPE_RESPONSE = 8  # 11 of a Sinumerik; the other types ask or push
    TYPE_NC_RESPONSE = 11
    ENABLE_JOB = 14
    LIST_BLOCKS_OF_TYPE = 2
    BLOCK_INFO = 3


cdef inline uint8_t programmer_operation(uint8_t subfunction) noexcept nogil:
    """Test and installation functions: see docs/reference/protocols/s7comm.md."""
    if subfunction == 8:
        return OPERATION_WRITE  # modify variables
    if subfunction == 9 or subfunction == 10 or subfunction == 11 or subfunction == 18:
        return OPERATION_CONTROL  # force, breakpoint, leave HOLD, replace a job
    if subfunction == 12:
        return OPERATION_PROGRAM  # memory reset: the program is gone
    if 1 <= subfunction <= 7 or subfunction == 13 or 15 <= subfunction <= 17 or subfunction == 19 or subfunction == 22:
        return OPERATION_DIAGNOSE
    return OPERATION_OTHER


cdef inline uint8_t cpu_operation(uint8_t subfunction) noexcept nogil:
    if subfunction == 1 or subfunction == 2 or subfunction == 19:
        return OPERATION_DIAGNOSE  # system status list, message service, alarm query
    if subfunction == 7 or subfunction == 8 or subfunction == 11:
        return OPERATION_CONTROL  # lock, unlock, acknowledge alarms
    return OPERATION_OTHER  # the others are indications of the CPU


cdef inline uint8_t userdata_operation(uint8_t group, uint8_t subfunction) noexcept nogil:
    """Return what a userdata request asks for; of job control (enable) what `enabled` says."""
    if group == GROUP_PROGRAMMER:
        return programmer_operation(subfunction)
    if group == GROUP_CYCLIC:
        if subfunction == 1 or subfunction == 4 or subfunction == 5 or subfunction == 7 or subfunction == 8:
            return OPERATION_READ  # subscribe, end it, by change, RDREC
    elif group == GROUP_BLOCKS:
        if 1 <= subfunction <= 3:
            return OPERATION_DIAGNOSE
    elif group == GROUP_CPU:
        return cpu_operation(subfunction)
    elif group == GROUP_SECURITY:
        return OPERATION_ADMIN
    elif group == GROUP_PBC:
        return OPERATION_WRITE  # BSEND: data for the partner's BRECV
    elif group == GROUP_TIME:
        if subfunction == 1 or subfunction == 3:
            return OPERATION_READ
        if subfunction == 2 or subfunction == 4:
            return OPERATION_ADMIN
    elif group == GROUP_NC_PROGRAM:
        return OPERATION_PROGRAM
    return OPERATION_OTHER


cdef inline uint8_t enabled(const s7_pdu_t *pdu) noexcept nogil:
    """Return the operation of the test job that is enabled: the last two octets are its subfunction and number.

    Anything but one job in the usual form counts as control.
    """
    cdef const uint8_t *form = pdu.data + 4  # two lengths, a header, the job
    cdef uint8_t operation
    if pdu.data_here < 10 or pdu.data_here < pdu.data_bytes or be16(form + 2) != 2 \
            or pdu.data_bytes != 8u + be16(form) + 2:
        return OPERATION_CONTROL
    operation = programmer_operation(pdu.data[pdu.data_bytes - 2])
    return OPERATION_CONTROL if operation == OPERATION_OTHER else operation


cdef inline uint8_t read_subscription(s7_pdu_t *pdu, sink_t *sink) noexcept nogil:
    """Read the items of a cyclic or change-driven request: count, time base, factor, then as in a read job."""
    cdef cursor_t items
    if pdu.data_here < 8:
        return missing_data(pdu)
    items.at = pdu.data + 8
    items.left = pdu.data_here - 8
    return read_items(pdu, &items, pdu.data[5], NULL, missing_data(pdu), sink)


cdef inline void set_block(access_t *access, const s7_pdu_t *pdu) noexcept nogil:
    """Set which block a block function is about, where it says so and all of it is here."""
    cdef const uint8_t *text = pdu.data + 4
    cdef uint32_t kind
    if pdu.data_here < pdu.data_bytes:
        return
    if pdu.subfunction == BLOCK_INFO and pdu.data_bytes == 12 and block_of(text):
        set_field(access, S7_BLOCK, block_of(text))
    elif pdu.subfunction == LIST_BLOCKS_OF_TYPE and pdu.data_bytes == 6 \
            and hexadecimal(text[0]) < 16 and hexadecimal(text[1]) < 16:
        kind = hexadecimal(text[0]) << 4 | hexadecimal(text[1])
        set_range(access, S7_BLOCK, kind * BLOCKS_OF_A_TYPE, (kind + 1) * BLOCKS_OF_A_TYPE - 1)


cdef inline uint8_t read_request(s7_pdu_t *pdu, s7_dialog_t *dialog, sink_t *sink) noexcept nogil:
    """Read a request of the opener, and what it subscribes to; remember that it waits."""
    cdef access_t access
    cdef s7_job_t *job
    cdef uint8_t reason = REASON_NONE
    pdu.operation = userdata_operation(pdu.group, pdu.subfunction)
    if pdu.group == GROUP_PROGRAMMER and pdu.subfunction == ENABLE_JOB:
        pdu.operation = OPERATION_NONE if pdu.partial else enabled(pdu)
    if pdu.group == GROUP_CYCLIC and (pdu.subfunction == 1 or pdu.subfunction == 5 or pdu.subfunction == 7):
        reason = read_subscription(pdu, sink)
    if pdu.told == 0:
        begin_s7(&access, pdu)
        if pdu.group == GROUP_BLOCKS:
            set_block(&access, pdu)
        tell(pdu, &access, sink)
    if reason == REASON_NONE and not pdu.partial:
        job = new_job(dialog, 1)
        job.reference = pdu.reference
        job.rosctr = S7_USERDATA
        job.function = pdu.group
        job.operation = pdu.operation
        job.items = 0
        job.block = 0
    return reason


cdef inline uint8_t read_response(s7_pdu_t *pdu, s7_dialog_t *dialog, sink_t *sink) noexcept nogil:
    """Read what the responder sends: an answer to a request, or something pushed."""
    cdef access_t access
    cdef uint8_t kind = pdu.parameters[5] >> 4
    cdef s7_job_t *job = NULL
    if kind == TYPE_RESPONSE or kind == TYPE_NC_RESPONSE:
        job = find_job(dialog, 1, pdu.reference, S7_USERDATA)
        if job != NULL and job.function == pdu.group:
            pdu.operation = job.operation
    begin_s7(&access, pdu)
    tell(pdu, &access, sink)
    if job != NULL and job.function == pdu.group:
        if not pdu.partial:
            job.rosctr = 0
        return REASON_NONE
    if kind != TYPE_RESPONSE and kind != TYPE_NC_RESPONSE:
        return REASON_NONE  # pushed: cyclic data, alarms, results of test jobs; no answer to one request
    return REASON_NONE if forgiven(dialog, pdu.partial) else REASON_MESSAGE_ANSWER


cdef inline uint8_t check_form(const s7_pdu_t *pdu) noexcept nogil:
    """Check lengths: 00 01 12, what follows; of the data a return code, a kind and its length."""
    cdef uint32_t length
    if pdu.parameters[0] != 0 or pdu.parameters[1] != 1 or pdu.parameters[2] != 0x12 \
            or pdu.parameter_bytes != 4u + pdu.parameters[3] or (pdu.parameters[3] != 4 and pdu.parameters[3] != 8):
        return REASON_MESSAGE_MALFORMED
    if pdu.data_bytes == 0 or pdu.data_here < 4:
        return missing_data(pdu)
    length = be16(pdu.data + 2)
    if 3 <= pdu.data[1] <= 5:
        length = (length + 7) >> 3
    return REASON_NONE if pdu.data_bytes == 4 + length else REASON_MESSAGE_MALFORMED


cdef inline uint8_t read_userdata(s7_pdu_t *pdu, s7_dialog_t *dialog, sink_t *sink) noexcept nogil:
    """Read userdata of either direction."""
    cdef uint8_t reason
    if pdu.parameter_here < 8:
        return missing_parameters(pdu)
    if pdu.parameter_here >= 12:
        pdu.error = be16(pdu.parameters + 10)
        pdu.has_error = 1
    reason = check_form(pdu)
    if reason != REASON_NONE:
        return reason
    return read_request(pdu, dialog, sink) if pdu.from_opener else read_response(pdu, dialog, sink)
