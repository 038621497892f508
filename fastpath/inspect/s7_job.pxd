# cython: language_level=3
"""S7comm jobs and their acknowledgements: setup, read, write, block transfers, PI services, stop.

In: a PDU of ROSCTR 1, 2 or 3. Out: its accesses, with operations; a reason when it contradicts itself, or when it
answers what nobody asked. Changes `dialog` only for messages that are here whole.

SPEC: Wireshark's packet-s7comm.c (functions, item responses).
"""

from libc.stdint cimport uint8_t, uint32_t

from fastpath.abi cimport (
    OPERATION_NONE, OPERATION_OTHER, OPERATION_PROGRAM, OPERATION_READ, OPERATION_WRITE, REASON_MESSAGE_ANSWER,
    REASON_MESSAGE_MALFORMED, REASON_NONE,
)
from fastpath.cursor cimport be16, be32, cursor_t, take
from fastpath.inspect.interface cimport access_t, recall_field, set_field, sink_t
from fastpath.inspect.s7_block cimport (
    S7_DOWNLOAD_BLOCK, S7_DOWNLOAD_ENDED, S7_END_UPLOAD, S7_PI_SERVICE, S7_PLC_STOP, S7_REQUEST_DOWNLOAD,
    S7_START_UPLOAD, S7_UPLOAD, check_transfer, read_service, read_stop, read_transfer,
)
from fastpath.inspect.s7_dialog cimport (
    find_job, find_place, forgiven, is_told_apart, keep_place, keep_upload, new_job, s7_dialog_t, s7_job_t, s7_place_t,
)
from fastpath.inspect.s7_item cimport DATA_BIT, DATA_INTEGER, SYNTAX_S7ANY, read_items, set_pointer
from fastpath.inspect.s7_pdu cimport (
    S7_ADDRESS, S7_AREA, S7_BLOCK, S7_DB, S7_JOB, begin_s7, missing_parameters, s7_pdu_t, tell,
)

cdef enum:
    S7_READ_VAR = 0x04
    S7_WRITE_VAR = 0x05
    S7_SETUP = 0xF0
    SETUP_BYTES = 8  # function, reserved, jobs each way, PDU length
    ITEM_GOOD = 0xFF


cdef inline uint8_t read_variables(s7_pdu_t *pdu, sink_t *sink) noexcept nogil:
    """Read the items of a read or write job, and what is written."""
    cdef cursor_t items
    cdef cursor_t data
    pdu.operation = OPERATION_WRITE if pdu.function == S7_WRITE_VAR else OPERATION_READ
    if pdu.parameter_here < 2:
        return missing_parameters(pdu)
    items.at = pdu.parameters + 2
    items.left = pdu.parameter_here - 2
    data.at = pdu.data
    data.left = pdu.data_here
    if pdu.function == S7_WRITE_VAR:
        return read_items(pdu, &items, pdu.parameters[1], &data, missing_parameters(pdu), sink)
    if pdu.data_bytes:
        return REASON_MESSAGE_MALFORMED
    return read_items(pdu, &items, pdu.parameters[1], NULL, missing_parameters(pdu), sink)


cdef inline uint8_t read_job(s7_pdu_t *pdu, s7_dialog_t *dialog, sink_t *sink) noexcept nogil:
    """Read a job and remember that it waits for its answer."""
    cdef s7_job_t *job
    cdef uint32_t block = 0
    cdef uint8_t reason = REASON_NONE
    cdef int told_apart
    if not pdu.has_function:
        return missing_parameters(pdu)
    if pdu.function == S7_READ_VAR or pdu.function == S7_WRITE_VAR:
        reason = read_variables(pdu, sink)
    elif S7_REQUEST_DOWNLOAD <= pdu.function <= S7_END_UPLOAD:
        reason = read_transfer(pdu, dialog, &block, sink)
    elif pdu.function == S7_PI_SERVICE:
        pdu.operation = OPERATION_NONE if pdu.partial else OPERATION_OTHER
        reason = read_service(pdu, sink)
    elif pdu.function == S7_PLC_STOP:
        reason = read_stop(pdu)
    elif pdu.function == S7_SETUP:
        if pdu.parameter_bytes != SETUP_BYTES or pdu.data_bytes:
            reason = REASON_MESSAGE_MALFORMED
    else:
        pdu.operation = OPERATION_OTHER
    if reason == REASON_NONE:
        reason = check_transfer(pdu, dialog)
    if reason == REASON_NONE and not pdu.partial:
        if pdu.from_opener and pdu.function == S7_REQUEST_DOWNLOAD:
            dialog.downloading = 1
        told_apart = pdu.from_opener and is_told_apart(dialog, pdu.reference)
        job = new_job(dialog, pdu.from_opener)
        job.reference = pdu.reference
        job.rosctr = S7_JOB
        job.function = pdu.function
        job.operation = pdu.operation
        job.items = pdu.parameters[1] if pdu.parameter_bytes > 1 else 0
        job.block = block
        if pdu.from_opener and pdu.function == S7_READ_VAR:
            job.block = dialog.next_place
            keep_places(pdu, dialog, told_apart)
    return reason


cdef inline void keep_places(const s7_pdu_t *pdu, s7_dialog_t *dialog, int told_apart) noexcept nogil:
    """Remember where the items of a read lie, which was found right: its answer brings only values.

    Not told apart from another job's, it brings none: its places are then nobody's.
    """
    cdef access_t access
    cdef const uint8_t *item = pdu.parameters + 2
    cdef int _item
    for _item in range(pdu.parameters[1]):
        begin_s7(&access, pdu)
        if told_apart and item[2] == SYNTAX_S7ANY:
            set_pointer(&access, item + 2)
        keep_place(dialog, &access)
        item += 2 + item[1] + (item[1] & 1)


cdef inline const uint8_t *next_result(
    cursor_t *data, int last, const uint8_t **value, uint32_t *length
) noexcept nogil:
    """Step over one result of a read; return its return code, kind and length, or NULL when it is not there.

    A result that failed has no data, whatever length it gives (CPUs and servers differ), unless it names a kind.
    """
    cdef const uint8_t *head = take(data, 4)
    if head == NULL:
        return NULL
    length[0] = be16(head + 2)
    if DATA_BIT <= head[1] <= DATA_INTEGER:
        length[0] = (length[0] + 7) >> 3
    if head[0] != ITEM_GOOD and head[1] == 0:
        length[0] = 0
    value[0] = take(data, length[0])
    if value[0] == NULL or (length[0] & 1 and not last and take(data, 1) == NULL):
        return NULL
    return head


cdef inline uint8_t check_results(const s7_pdu_t *pdu) noexcept nogil:
    """Check the data of a read's answer: as many results as the parameters say, exactly to the end."""
    cdef cursor_t data
    cdef const uint8_t *value = NULL
    cdef uint32_t length = 0
    cdef uint32_t i
    data.at = pdu.data
    data.left = pdu.data_here
    for i in range(pdu.parameters[1]):
        if next_result(&data, i + 1 == pdu.parameters[1], &value, &length) == NULL:
            return REASON_MESSAGE_MALFORMED
    return REASON_MESSAGE_MALFORMED if data.left else REASON_NONE


cdef inline void put_results(
    s7_pdu_t *pdu, const s7_dialog_t *dialog, const s7_job_t *job, sink_t *sink
) noexcept nogil:
    """Put the values of a read's answer, which was found right: those of 1, 2 or 4 bytes whose place is remembered."""
    cdef access_t access
    cdef cursor_t data
    cdef const s7_place_t *place
    cdef const uint8_t *head
    cdef const uint8_t *value = NULL
    cdef uint32_t length = 0
    cdef uint32_t i
    data.at = pdu.data
    data.left = pdu.data_here
    for i in range(pdu.parameters[1]):
        head = next_result(&data, i + 1 == pdu.parameters[1], &value, &length)
        place = find_place(dialog, job.block + i)
        if head == NULL or head[0] != ITEM_GOOD or place == NULL or (length != 1 and length != 2 and length != 4):
            continue
        begin_s7(&access, pdu)
        recall_field(&access, S7_AREA, place.area)
        if place.has_db:
            recall_field(&access, S7_DB, place.db)
        recall_field(&access, S7_ADDRESS, place.start)
        access.high[S7_ADDRESS] += length - 1
        access.values = value
        access.value_count = 1
        access.value_bytes = <uint8_t>length
        tell(pdu, &access, sink)


cdef inline uint8_t sent_back(const s7_pdu_t *pdu) noexcept nogil:
    """Return the operation of an acknowledgement that comes from the opener: a CPU fetches blocks, and nothing else."""
    if not pdu.has_function:
        return OPERATION_NONE if pdu.partial else OPERATION_OTHER
    if pdu.function == S7_DOWNLOAD_BLOCK or pdu.function == S7_DOWNLOAD_ENDED:
        return OPERATION_PROGRAM
    return OPERATION_OTHER


cdef inline uint8_t check_acknowledgement(const s7_pdu_t *pdu, const s7_job_t *job) noexcept nogil:
    """Check a whole acknowledgement against itself and against its job, where that is known."""
    if not pdu.has_function or pdu.error:
        return REASON_NONE  # it says why the job was refused, and nothing else
    if job != NULL and job.function != pdu.function:
        return REASON_MESSAGE_ANSWER
    if pdu.function == S7_READ_VAR or pdu.function == S7_WRITE_VAR:
        if pdu.parameter_bytes != 2:
            return REASON_MESSAGE_MALFORMED
        if job != NULL and job.items != pdu.parameters[1]:
            return REASON_MESSAGE_ANSWER
        if pdu.function == S7_READ_VAR:
            return check_results(pdu)
        return REASON_NONE if pdu.data_bytes == pdu.parameters[1] else REASON_MESSAGE_MALFORMED
    if pdu.function == S7_SETUP:
        return REASON_NONE if pdu.parameter_bytes == SETUP_BYTES else REASON_MESSAGE_MALFORMED
    if (pdu.function == S7_DOWNLOAD_BLOCK or pdu.function == S7_UPLOAD) and pdu.data_bytes:
        if pdu.data_bytes < 4 or pdu.data_bytes != 4u + be16(pdu.data):
            return REASON_MESSAGE_MALFORMED
    return REASON_NONE


cdef inline void put_acknowledgement(s7_pdu_t *pdu, const s7_job_t *job, sink_t *sink) noexcept nogil:
    """Put an acknowledgement that brings no values."""
    cdef access_t access
    begin_s7(&access, pdu)
    if job != NULL and job.function != S7_READ_VAR and job.block:
        # A piece of a block that the CPU fetches is judged by the block that the CPU named.
        if pdu.from_opener:
            set_field(&access, S7_BLOCK, job.block)
        else:
            recall_field(&access, S7_BLOCK, job.block)
    tell(pdu, &access, sink)


cdef inline void settle(s7_pdu_t *pdu, s7_dialog_t *dialog, const s7_job_t *job, sink_t *sink) noexcept nogil:
    """Take from a right acknowledgement what it brings: values, the number of an upload, the end of a download."""
    if pdu.error:
        return
    if job.function == S7_READ_VAR and job.rosctr == S7_JOB and pdu.has_function and not pdu.from_opener:
        put_results(pdu, dialog, job, sink)
    elif pdu.has_function and pdu.function == S7_START_UPLOAD and pdu.parameter_bytes >= 8:
        keep_upload(dialog, be32(pdu.parameters + 4), job.block)
    elif pdu.from_opener and job.function == S7_DOWNLOAD_ENDED:
        dialog.downloading = 0


cdef inline uint8_t read_acknowledgement(s7_pdu_t *pdu, s7_dialog_t *dialog, sink_t *sink) noexcept nogil:
    """Read the answer to a job: of the other end, which asked it."""
    cdef s7_job_t *job = find_job(dialog, not pdu.from_opener, pdu.reference, <uint8_t>(0 if pdu.error else S7_JOB))
    cdef uint8_t reason = REASON_NONE
    if job != NULL:
        pdu.operation = job.operation
    elif pdu.from_opener:
        pdu.operation = sent_back(pdu)
    if job == NULL and ((pdu.from_opener and pdu.operation == OPERATION_OTHER) or not forgiven(dialog, pdu.partial)):
        reason = REASON_MESSAGE_ANSWER
    elif not pdu.partial:
        reason = check_acknowledgement(pdu, job)
        if reason == REASON_NONE and job != NULL:
            settle(pdu, dialog, job, sink)
    if pdu.told == 0:
        put_acknowledgement(pdu, job, sink)
    if reason == REASON_NONE and job != NULL and not pdu.partial:
        job.rosctr = 0
    return reason
