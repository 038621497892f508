# cython: language_level=3
"""Jobs that move, start or delete programs: downloads, uploads, program invocations (PI services), PLC stop.

In: the parameters of a job from 0x1A to 0x29. Out: accesses with their operation, and in `block` which block: the
number of its type times 100,000 plus its own (DB 17: 10 x 100,000 + 17), as five decimal digits travel. FAIL-CLOSED: a
PI service that no table knows is of operation OTHER.

SPEC: Wireshark's packet-s7comm.c (block control, PI service, PLC stop).
"""

from libc.stdint cimport uint8_t, uint32_t
from libc.string cimport memcmp

from fastpath.abi cimport (
    OPERATION_ADMIN, OPERATION_CONTROL, OPERATION_OTHER, OPERATION_PROGRAM, REASON_MESSAGE_ANSWER,
    REASON_MESSAGE_MALFORMED, REASON_NONE,
)
from fastpath.cursor cimport be32, cursor_t, take
from fastpath.inspect.interface cimport access_t, set_field, sink_t
from fastpath.inspect.s7_dialog cimport find_upload, s7_dialog_t
from fastpath.inspect.s7_pdu cimport S7_BLOCK, begin_s7, missing_parameters, s7_pdu_t, tell

cdef enum:
    S7_REQUEST_DOWNLOAD = 0x1A
    S7_DOWNLOAD_BLOCK = 0x1B
    S7_DOWNLOAD_ENDED = 0x1C
    S7_START_UPLOAD = 0x1D
    S7_UPLOAD = 0x1E
    S7_END_UPLOAD = 0x1F
    S7_PI_SERVICE = 0x28
    S7_PLC_STOP = 0x29
    BLOCKS_OF_A_TYPE = 100000


cdef inline uint32_t hexadecimal(uint8_t digit) noexcept nogil:
    """Return the value of an upper case hexadecimal digit; 16: it is none."""
    if 48 <= digit <= 57:
        return digit - 48
    return digit - 55 if 65 <= digit <= 70 else 16


cdef inline uint32_t block_of(const uint8_t *text) noexcept nogil:
    """Return what `block` says of seven characters, type and number; 0: they name no block."""
    cdef uint32_t kind
    cdef uint32_t number = 0
    cdef int i
    if hexadecimal(text[0]) > 15 or hexadecimal(text[1]) > 15:
        return 0
    kind = hexadecimal(text[0]) << 4 | hexadecimal(text[1])
    for i in range(2, 7):
        if not 48 <= text[i] <= 57:
            return 0
        number = number * 10 + text[i] - 48
    return kind * BLOCKS_OF_A_TYPE + number


cdef inline int names(const uint8_t *text, uint32_t length, const char *name, uint32_t name_bytes) noexcept nogil:
    return length == name_bytes and memcmp(text, name, name_bytes) == 0


cdef inline uint8_t service_operation(const uint8_t *name, uint32_t length) noexcept nogil:
    """Return what a PI service asks for."""
    if names(name, length, b"P_PROGRAM", 9):
        return OPERATION_CONTROL  # warm or cold restart
    if names(name, length, b"_INSE", 5) or names(name, length, b"_INS2", 5) or names(name, length, b"_DELE", 5) \
            or names(name, length, b"_MODU", 5) or names(name, length, b"_GARB", 5):
        return OPERATION_PROGRAM  # insert, delete, copy RAM to ROM, compress
    if names(name, length, b"_N_LOGIN_", 9) or names(name, length, b"_N_LOGOUT", 9):
        return OPERATION_ADMIN
    if length > 5 and memcmp(name, b"_N_F_", 5) == 0:
        return OPERATION_PROGRAM  # files of a Sinumerik: copy, delete, rename, protect
    return OPERATION_OTHER


cdef inline int take_counted(cursor_t *parameters, const uint8_t **text, uint32_t *count) noexcept nogil:
    """Step over a length and as many bytes; 0: they are not there."""
    cdef const uint8_t *length = take(parameters, 1)
    if length == NULL:
        return 0
    count[0] = length[0]
    text[0] = take(parameters, count[0])
    return text[0] != NULL


cdef inline uint8_t read_transfer(s7_pdu_t *pdu, s7_dialog_t *dialog, uint32_t *block, sink_t *sink) noexcept nogil:
    """Read a job of a download or an upload; `block` is what it is about, 0 where that is not known."""
    cdef access_t access
    cdef cursor_t parameters
    cdef const uint8_t *fixed
    cdef const uint8_t *name = NULL
    cdef uint32_t count = 0
    cdef int whole
    parameters.at = pdu.parameters
    parameters.left = pdu.parameter_here
    fixed = take(&parameters, 8)  # function, status, two unknown bytes, number of the transfer
    whole = fixed != NULL
    if whole and (pdu.function == S7_UPLOAD or pdu.function == S7_END_UPLOAD):
        block[0] = find_upload(dialog, be32(fixed + 4))
    elif whole:
        whole = take_counted(&parameters, &name, &count)
        if whole and count == 9 and name[0] == 95:  # '_', type, number, file system
            block[0] = block_of(name + 1)
        if whole and pdu.function == S7_REQUEST_DOWNLOAD and parameters.left:  # lengths in load and work memory
            whole = take_counted(&parameters, &name, &count)
    pdu.operation = OPERATION_PROGRAM
    begin_s7(&access, pdu)
    if block[0]:
        set_field(&access, S7_BLOCK, block[0])
    tell(pdu, &access, sink)
    if pdu.partial:
        return REASON_NONE
    if whole and not parameters.left and not pdu.data_bytes:
        return REASON_NONE
    return REASON_MESSAGE_MALFORMED


cdef inline uint8_t check_transfer(const s7_pdu_t *pdu, const s7_dialog_t *dialog) noexcept nogil:
    """Say whether this job may come from where it came: a CPU fetches what the opener offered, and asks nothing else."""
    if pdu.from_opener:
        return REASON_NONE
    if pdu.function != S7_DOWNLOAD_BLOCK and pdu.function != S7_DOWNLOAD_ENDED:
        return REASON_MESSAGE_ANSWER
    return REASON_NONE if dialog.downloading or not dialog.begun else REASON_MESSAGE_ANSWER


cdef inline uint8_t read_service(s7_pdu_t *pdu, sink_t *sink) noexcept nogil:
    """Read a PI service: seven unknown bytes, counted arguments, counted name; an access for each block it names."""
    cdef access_t access
    cdef cursor_t parameters
    cdef const uint8_t *arguments = NULL
    cdef const uint8_t *name
    cdef uint32_t count
    cdef uint32_t i
    parameters.at = pdu.parameters
    parameters.left = pdu.parameter_here
    name = take(&parameters, 10)
    if name == NULL:
        return missing_parameters(pdu)
    count = <uint32_t>name[8] << 8 | name[9]
    arguments = take(&parameters, count)
    name = take(&parameters, 1)
    if arguments == NULL or name == NULL:
        return missing_parameters(pdu)
    i = name[0]
    name = take(&parameters, i)
    if name == NULL:
        return missing_parameters(pdu)
    pdu.operation = service_operation(name, i)
    if parameters.left or pdu.data_bytes:
        return REASON_MESSAGE_MALFORMED
    if names(name, i, b"P_PROGRAM", 9) or names(name, i, b"_MODU", 5) or names(name, i, b"_GARB", 5):
        # Nothing, "C " for a cold restart, "EP": where more stands, a server might find another service's name.
        return REASON_NONE if count <= 2 else REASON_MESSAGE_MALFORMED
    if names(name, i, b"_INSE", 5) or names(name, i, b"_INS2", 5) or names(name, i, b"_DELE", 5):
        # How many, a zero byte, eight characters each: type, number, file system.
        if count < 2 or arguments[0] == 0 or count != 2 + 8u * arguments[0]:
            return REASON_MESSAGE_MALFORMED
        for i in range(arguments[0]):
            begin_s7(&access, pdu)
            if block_of(arguments + 2 + 8 * i):
                set_field(&access, S7_BLOCK, block_of(arguments + 2 + 8 * i))
            tell(pdu, &access, sink)
    return REASON_NONE


cdef inline uint8_t read_stop(s7_pdu_t *pdu) noexcept nogil:
    """Read a PLC stop: five unknown bytes, the counted name of what is stopped."""
    pdu.operation = OPERATION_CONTROL
    if pdu.parameter_here < 7:
        return missing_parameters(pdu)
    if pdu.parameter_bytes != 7u + pdu.parameters[6] or pdu.data_bytes:
        return REASON_MESSAGE_MALFORMED
    return REASON_NONE
