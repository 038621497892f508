# cython: language_level=3
"""Modbus function codes, and what each asks of the equipment: MODBUS Application Protocol Specification V1.1b3.

In: a function and its sub-function. Out: an operation. The same table for people stands in
docs/reference/protocols/modbus.md, the names for policies in rules/protocols/modbus.py.
"""

from libc.stdint cimport uint8_t

from fastpath.abi cimport (
    OPERATION_ADMIN, OPERATION_CONTROL, OPERATION_DIAGNOSE, OPERATION_OTHER, OPERATION_PROGRAM, OPERATION_READ,
    OPERATION_WRITE,
)

# SPEC: V1.1b3 clause 6.1 to 6.21
cdef enum:
    READ_COILS = 1
    READ_DISCRETE_INPUTS = 2
    READ_HOLDING_REGISTERS = 3
    READ_INPUT_REGISTERS = 4
    WRITE_SINGLE_COIL = 5
    WRITE_SINGLE_REGISTER = 6
    READ_EXCEPTION_STATUS = 7
    DIAGNOSTICS = 8
    GET_COMM_EVENT_COUNTER = 11
    GET_COMM_EVENT_LOG = 12
    WRITE_MULTIPLE_COILS = 15
    WRITE_MULTIPLE_REGISTERS = 16
    REPORT_SERVER_ID = 17
    READ_FILE_RECORD = 20
    WRITE_FILE_RECORD = 21
    MASK_WRITE_REGISTER = 22
    READ_WRITE_MULTIPLE_REGISTERS = 23
    READ_FIFO_QUEUE = 24
    ENCAPSULATED_INTERFACE = 43
    UMAS = 90  # Schneider Electric's programming protocol: reserved by annex A, not described there
    EXCEPTION = 0x80  # added to the function of an exception response: clause 7

# SPEC: V1.1b3 clause 6.8.1
cdef enum:
    RETURN_QUERY_DATA = 0
    RESTART_COMMUNICATIONS = 1
    RETURN_DIAGNOSTIC_REGISTER = 2
    CHANGE_ASCII_DELIMITER = 3
    FORCE_LISTEN_ONLY = 4
    CLEAR_COUNTERS = 10
    RETURN_BUS_MESSAGE_COUNT = 11
    RETURN_BUS_OVERRUN_COUNT = 18
    CLEAR_OVERRUN_COUNTER = 20

# SPEC: V1.1b3 clause 6.19 to 6.21, MEI types
cdef enum:
    MEI_CANOPEN = 13
    MEI_DEVICE_IDENTIFICATION = 14
    NO_SUBFUNCTION = 0xFFFFFFFF


cdef inline int has_subfunction(uint8_t function) noexcept nogil:
    return function == DIAGNOSTICS or function == ENCAPSULATED_INTERFACE


cdef inline uint8_t diagnostic_operation(unsigned int subfunction) noexcept nogil:
    """Say what a diagnostic sub-function does: it looks, it takes the device off the line, or it wipes and sets."""
    if subfunction == RESTART_COMMUNICATIONS or subfunction == FORCE_LISTEN_ONLY:
        return OPERATION_CONTROL
    if subfunction in (CHANGE_ASCII_DELIMITER, CLEAR_COUNTERS, CLEAR_OVERRUN_COUNTER):
        return OPERATION_ADMIN
    if subfunction == RETURN_QUERY_DATA or subfunction == RETURN_DIAGNOSTIC_REGISTER:
        return OPERATION_DIAGNOSE
    if RETURN_BUS_MESSAGE_COUNT <= subfunction <= RETURN_BUS_OVERRUN_COUNT:
        return OPERATION_DIAGNOSE
    return OPERATION_OTHER  # reserved by the clause


cdef inline uint8_t operation_of(uint8_t function, unsigned int subfunction) noexcept nogil:
    """Return the operation of a request; user-defined and reserved functions are OTHER."""
    if READ_COILS <= function <= READ_INPUT_REGISTERS or function == READ_FILE_RECORD or function == READ_FIFO_QUEUE:
        return OPERATION_READ
    if function in (
        WRITE_SINGLE_COIL, WRITE_SINGLE_REGISTER, WRITE_MULTIPLE_COILS, WRITE_MULTIPLE_REGISTERS, WRITE_FILE_RECORD,
        MASK_WRITE_REGISTER, READ_WRITE_MULTIPLE_REGISTERS,
    ):
        return OPERATION_WRITE
    if function in (READ_EXCEPTION_STATUS, GET_COMM_EVENT_COUNTER, GET_COMM_EVENT_LOG, REPORT_SERVER_ID):
        return OPERATION_DIAGNOSE
    if function == DIAGNOSTICS:
        return diagnostic_operation(subfunction)
    if function == ENCAPSULATED_INTERFACE and subfunction == MEI_DEVICE_IDENTIFICATION:
        return OPERATION_DIAGNOSE
    if function == UMAS:
        return OPERATION_PROGRAM
    return OPERATION_OTHER  # also a CANopen request: what it does to which object can't be told by any clause here
