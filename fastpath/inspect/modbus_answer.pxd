# cython: language_level=3
"""What a Modbus answer says, and which request it answers.

In: a PDU of the responder, an access that already has unit, function and transaction, the requests that wait. Out: one
put, with what the request asked for recalled, and the reason why the answer contradicts its clause of MODBUS
Application Protocol Specification V1.1b3 or its request, or that nobody asked.
"""

from libc.stdint cimport uint8_t, uint16_t, uint32_t

from fastpath.abi cimport OPERATION_NONE, OPERATION_OTHER, REASON_MESSAGE_ANSWER, REASON_MESSAGE_MALFORMED, REASON_NONE
from fastpath.cursor cimport be16
from fastpath.inspect.interface cimport EDIT_NEEDED, access_t, dialog_t, offer_edit, recall_field, set_field, sink_t
from fastpath.inspect.modbus_dialog cimport (
    FUNCTION_PLACE, asked_t, forget, is_asked, is_told_apart, may_stray, waiting_of, waiting_t,
)
from fastpath.inspect.modbus_functions cimport *
from fastpath.inspect.modbus_pdu cimport *


cdef inline uint8_t answer_values(const pdu_t *pdu, uint32_t least, uint32_t most, int words) noexcept nogil:
    """6.1 to 6.4, 6.10, 6.13, 6.14, 6.17: a byte count, and so many bytes."""
    if not 2 + least <= pdu.length <= 2 + most:
        return REASON_MESSAGE_MALFORMED
    if pdu.count < 2:
        return REASON_NONE
    return unless(2 + <uint32_t>pdu.bytes[1] == pdu.length and not (words and pdu.bytes[1] & 1))


cdef inline uint8_t answer_fifo(const pdu_t *pdu, access_t *access) noexcept nogil:
    """6.18: byte count and count of words, both in two bytes."""
    cdef uint32_t words
    if pdu.count < 5:
        return unless(pdu.length >= 5)
    words = be16(pdu.bytes + 3)
    set_field(access, COUNT, words)
    return unless(words <= MOST_FIFO_WORDS and be16(pdu.bytes + 1) == 2 + 2 * words and pdu.length == 5 + 2 * words)


cdef inline uint8_t answer_tunnel(const pdu_t *pdu, access_t *access) noexcept nogil:
    """6.21: objects of a device's identification, each with its length."""
    cdef uint8_t reason = fill_subfunction(pdu, access, 1)
    cdef uint32_t at = 7
    cdef uint32_t _object
    if reason != REASON_NONE or pdu.count < 2 or pdu.bytes[1] != MEI_DEVICE_IDENTIFICATION:
        return reason
    if pdu.length < 7:
        return REASON_MESSAGE_MALFORMED
    if pdu.count < pdu.length:
        return REASON_NONE
    for _object in range(<uint32_t>pdu.bytes[6]):
        if at + 2 > pdu.length:
            return REASON_MESSAGE_MALFORMED
        at += 2 + pdu.bytes[at + 1]
    return unless(at == pdu.length)


cdef inline uint8_t answer_groups(const pdu_t *pdu, access_t *access) noexcept nogil:
    """6.15: the request's groups again; the first one is shown."""
    cdef uint32_t bytes = 0
    cdef uint8_t reason = answer_values(pdu, 9, 0xFB, 0)
    return fill_group(pdu, access, 2, 1, &bytes) if reason == REASON_NONE else reason


cdef inline uint8_t answer_span(const pdu_t *pdu, access_t *access, uint32_t most) noexcept nogil:
    """6.11, 6.12: address and count of what was written."""
    cdef uint8_t reason = fill_span(pdu, access, 1, most)
    return reason if pdu.length == 5 else REASON_MESSAGE_MALFORMED


cdef inline uint8_t fill_answer(const pdu_t *pdu, access_t *access, uint8_t function) noexcept nogil:
    """Set what an answer says itself."""
    if function == READ_COILS or function == READ_DISCRETE_INPUTS:
        return answer_values(pdu, 1, 250, 0)
    if function in (READ_HOLDING_REGISTERS, READ_INPUT_REGISTERS, READ_WRITE_MULTIPLE_REGISTERS):
        return answer_values(pdu, 2, 250, 1)
    if function == WRITE_SINGLE_COIL or function == WRITE_SINGLE_REGISTER:
        return fill_single(pdu, access, function == WRITE_SINGLE_COIL)
    if function == WRITE_MULTIPLE_COILS:
        return answer_span(pdu, access, MOST_BITS_WRITTEN)
    if function == WRITE_MULTIPLE_REGISTERS:
        return answer_span(pdu, access, MOST_WORDS_WRITTEN)
    if function == MASK_WRITE_REGISTER:
        return fill_mask(pdu, access)
    if function == READ_EXCEPTION_STATUS:
        return unless(pdu.length == 2)
    if function == DIAGNOSTICS:
        return fill_subfunction(pdu, access, 2)
    if function == GET_COMM_EVENT_COUNTER:
        return unless(pdu.length == 5)
    if function == GET_COMM_EVENT_LOG:
        return answer_values(pdu, 6, 70, 0)
    if function == REPORT_SERVER_ID:
        return answer_values(pdu, 1, 251, 0)
    if function == READ_FILE_RECORD:
        return answer_values(pdu, 4, 0xF5, 0)
    if function == WRITE_FILE_RECORD:
        return answer_groups(pdu, access)
    if function == READ_FIFO_QUEUE:
        return answer_fifo(pdu, access)
    if function == ENCAPSULATED_INTERFACE:
        return answer_tunnel(pdu, access)
    return unless(function != 0)


cdef inline int fits(const asked_t *asked, const pdu_t *pdu) noexcept nogil:
    """Tell whether a whole, well-formed answer has the shape that its request demands."""
    cdef uint8_t function = pdu.bytes[0]
    if asked.length == 0 or function & EXCEPTION:
        return 1
    if function == READ_COILS or function == READ_DISCRETE_INPUTS:
        return pdu.bytes[1] == value_bytes_of(asked.count, 1)
    if function in (READ_HOLDING_REGISTERS, READ_INPUT_REGISTERS, READ_WRITE_MULTIPLE_REGISTERS):
        return pdu.bytes[1] == value_bytes_of(asked.count, 0)
    if function in (
        WRITE_SINGLE_COIL, WRITE_SINGLE_REGISTER, WRITE_MULTIPLE_COILS, WRITE_MULTIPLE_REGISTERS, MASK_WRITE_REGISTER
    ):
        return be16(pdu.bytes + 1) == asked.address and be16(pdu.bytes + 3) == asked.count
    if function == DIAGNOSTICS:
        if be16(pdu.bytes + 1) != asked.subfunction:
            return 0
        return pdu.length == asked.length or diagnostic_operation(asked.subfunction) == OPERATION_OTHER
    if function == ENCAPSULATED_INTERFACE:
        return pdu.bytes[1] == asked.subfunction
    return function != WRITE_FILE_RECORD or pdu.length == asked.length


cdef inline uint32_t find_asked(
    const waiting_t *waiting, const pdu_t *pdu, uint16_t transaction, uint8_t unit, uint32_t *similar
) noexcept nogil:
    """Return which request an answer belongs to, the oldest that it fits, or how many wait where it fits none.

    `similar`: how many have its transaction, unit and function. What is not whole yet fits the oldest of these.
    """
    cdef uint32_t index
    similar[0] = 0
    if pdu.bytes[0] == EXCEPTION:  # of function 0: whoever's request was changed has it coming
        for index in range(waiting.count):
            if is_asked(&waiting.asked[index], transaction, unit, 0) and waiting.asked[index].changed:
                return index
    for index in range(waiting.count):
        if is_asked(&waiting.asked[index], transaction, unit, pdu.bytes[0] & ~EXCEPTION):
            similar[0] += 1
            if pdu.count < pdu.length or fits(&waiting.asked[index], pdu):
                return index
    return waiting.count


cdef inline void recall(access_t *access, const asked_t *asked) noexcept nogil:
    """Say of an answer what its request asked for."""
    cdef uint8_t function = asked.function
    access.operation = operation_of(function, asked.subfunction)
    if asked.changed:
        set_field(access, FUNCTION, function)
        return  # it was never asked for what it asked for
    if has_subfunction(function):
        recall_field(access, SUBFUNCTION, asked.subfunction)
    elif asked.length:
        if function <= WRITE_SINGLE_REGISTER or function in (
            WRITE_MULTIPLE_COILS, WRITE_MULTIPLE_REGISTERS, MASK_WRITE_REGISTER, READ_FIFO_QUEUE
        ):
            recall_field(access, ADDRESS, asked.address)
        if function <= READ_INPUT_REGISTERS or function in (WRITE_MULTIPLE_COILS, WRITE_MULTIPLE_REGISTERS):
            recall_field(access, COUNT, asked.count)


cdef inline void show_values(const pdu_t *pdu, access_t *access) noexcept nogil:
    """Say what whole, matched registers hold: largest steps go by what was read last, too."""
    if pdu.bytes[0] == READ_HOLDING_REGISTERS or pdu.bytes[0] == READ_INPUT_REGISTERS:
        access.values = pdu.bytes + 2
        access.value_count = pdu.bytes[1] // 2
        access.value_bytes = 2


cdef inline uint8_t put_answer(
    const pdu_t *pdu, access_t *access, sink_t *sink, dialog_t *dialog, uint16_t transaction, uint8_t unit
) noexcept nogil:
    """Put an answer whose function is here; return why it is refused."""
    cdef waiting_t *waiting = waiting_of(dialog)
    cdef uint8_t function = pdu.bytes[0] & ~EXCEPTION
    cdef uint8_t reason
    cdef uint32_t similar = 0
    cdef uint32_t index
    access.answer = 1
    access.operation = OPERATION_NONE if has_subfunction(function) else operation_of(function, NO_SUBFUNCTION)
    if pdu.bytes[0] & EXCEPTION:
        if pdu.count >= 2:
            set_field(access, EXCEPTION_CODE, pdu.bytes[1])
        reason = unless(pdu.length == 2)  # clause 7
    else:
        reason = fill_answer(pdu, access, function)
        if access.present >> SUBFUNCTION & 1:
            access.operation = operation_of(function, <uint32_t>access.low[SUBFUNCTION])
    index = find_asked(waiting, pdu, transaction, unit, &similar) if reason == REASON_NONE else waiting.count
    if index < waiting.count:
        recall(access, &waiting.asked[index])
        if waiting.asked[index].changed:
            offer_edit(sink, EDIT_NEEDED, FUNCTION_PLACE, waiting.asked[index].function | EXCEPTION)
        if not access.partial:
            if is_told_apart(waiting, &waiting.asked[index]):
                show_values(pdu, access)
            forget(waiting, index)
    elif reason == REASON_NONE and similar:
        reason = REASON_MESSAGE_MALFORMED
    elif reason == REASON_NONE and not may_stray(dialog, waiting):
        reason = REASON_MESSAGE_ANSWER
    elif reason == REASON_NONE and not access.partial:
        waiting.strays += 1
    sink.put(sink, access)
    return reason
