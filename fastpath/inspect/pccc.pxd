# cython: language_level=3
"""What a PCCC command asks of a controller: the older Allen-Bradley language, carried by CIP's Execute PCCC.

In: command and function. Out: an operation; OTHER for what the table does not know.
SPEC: Rockwell 1770-6.5.16, chapters 6 and 7 (DF1 protocol and command set).
"""

from libc.stdint cimport uint8_t

from fastpath.abi cimport (
    OPERATION_ADMIN,
    OPERATION_CONTROL,
    OPERATION_DIAGNOSE,
    OPERATION_OTHER,
    OPERATION_PROGRAM,
    OPERATION_READ,
    OPERATION_WRITE,
)


cdef inline int pccc_has_function(uint8_t command) noexcept nogil:
    """Say whether a function byte follows the transaction number."""
    return command == 0x06 or command == 0x07 or command == 0x0F


cdef inline uint8_t _diagnostic(uint8_t function) noexcept nogil:
    """Command 06: echo, read counters and status; the others set the link's variables and clear its counters."""
    if function in (0x00, 0x01, 0x03, 0x09):
        return OPERATION_DIAGNOSE
    if function in (0x02, 0x04, 0x05, 0x06, 0x07, 0x08, 0x0A):
        return OPERATION_ADMIN
    return OPERATION_OTHER


cdef inline uint8_t _extended(uint8_t function) noexcept nogil:
    """Command 0F."""
    if function in (0x01, 0x04, 0x17, 0x29, 0x68, 0xA1, 0xA2, 0xA7):  # word range, bytes, section size, typed, logical
        return OPERATION_READ
    # and bits, read-modify-write
    if function in (0x00, 0x02, 0x03, 0x18, 0x26, 0x5E, 0x67, 0x79, 0xA9, 0xAA, 0xAB, 0xAF):
        return OPERATION_WRITE
    if function in (0x07, 0x3A, 0x41, 0x80):  # mode, forces
        return OPERATION_CONTROL
    # edit resource, download, upload, memory, files
    if function in (0x11, 0x12, 0x50, 0x52, 0x53, 0x55, 0x57, 0x81, 0x82):
        return OPERATION_PROGRAM
    return OPERATION_ADMIN if function == 0x8F or function == 0x90 else OPERATION_OTHER  # port configuration


cdef inline uint8_t pccc_operation(uint8_t command, uint8_t function) noexcept nogil:
    """Say what a command asks; `function` counts where `pccc_has_function` says so."""
    if command == 0x01:  # unprotected read
        return OPERATION_READ
    if command in (0x00, 0x02, 0x05, 0x08):  # protected and unprotected writes of words and bits
        return OPERATION_WRITE
    if command == 0x06:
        return _diagnostic(function)
    if command == 0x0F:
        return _extended(function)
    return OPERATION_OTHER
