# cython: language_level=3
"""Where a value lives in a device, and what it is: the memory of `step` goes by this.

In: an access that carries values. Out: a tag for each value's place, and the value as an unsigned number.
A place is a device's address, the protocol's own address in it, and the width: the same bytes read or written with
another width are another place, whose last value is then unknown. Never reads beyond the access. Used by `profile`.
"""

from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t

from fastpath.abi cimport (
    ACCESS_FIELDS,
    PROTOCOL_CIP,
    PROTOCOL_MODBUS,
    PROTOCOL_S7COMM,
    mix64,
)
from fastpath.inspect.interface cimport access_t

cdef enum:  # places of names in abi.FIELD_NAMES; tests/unit/test_profile_fields.py compares
    MODBUS_FUNCTION = 1
    MODBUS_ADDRESS = 3
    MODBUS_RECORD = 9
    MODBUS_PLACE = 1 << 0 | 1 << 3 | 1 << 8 | 1 << 9  # unit, address, file, record
    S7COMM_PLACE = 1 << 4 | 1 << 5 | 1 << 6  # area, db, address
    CIP_PLACE = 1 << 2 | 1 << 3 | 1 << 4 | 1 << 7 | 1 << 9  # class, instance, attribute, tag, offset


cdef inline uint16_t place_fields(uint8_t protocol) noexcept nogil:
    """Return which fields say where a value lives, by bit; 0: the protocol has no such places."""
    if protocol == PROTOCOL_MODBUS:
        return MODBUS_PLACE
    if protocol == PROTOCOL_S7COMM:
        return S7COMM_PLACE
    return CIP_PLACE if protocol == PROTOCOL_CIP else 0


cdef inline uint64_t modbus_table(uint64_t function) noexcept nogil:
    """Return which of a device's tables a function is about (Modbus application protocol V1.1b3, 4.3 and 6)."""
    if function == 5 or function == 15:
        return 1
    if function == 6 or function == 16 or function == 22 or function == 23:
        return 3
    return function


cdef inline int has_values(const access_t *access) noexcept nogil:
    """Tell whether each value of an access can be told. Single bits have no step."""
    return access.values != NULL and 1 <= access.value_bytes <= 8 and place_fields(access.protocol) != 0


cdef inline uint64_t value_at(const access_t *access, uint32_t index) noexcept nogil:
    """Return one value of an access: Modbus and S7 send the high byte first, CIP the low one."""
    cdef const uint8_t *bytes = access.values + <uint64_t>index * access.value_bytes
    cdef uint64_t value = 0
    cdef uint32_t at
    for at in range(access.value_bytes):
        if access.protocol == PROTOCOL_CIP:
            value |= <uint64_t>bytes[at] << (8 * at)
        else:
            value = value << 8 | bytes[at]
    return value


cdef inline uint64_t place_tag(uint64_t device, const access_t *access, uint32_t index) noexcept nogil:
    """Name the place of one value. Only Modbus counts its addresses by values; elsewhere the index is part of it."""
    cdef uint64_t tag = mix64(device, <uint64_t>access.protocol << 8 | access.value_bytes)
    cdef uint16_t fields = place_fields(access.protocol)
    cdef int field
    for field in range(ACCESS_FIELDS):
        if not fields >> field & 1 or not (access.present | access.recalled) >> field & 1:
            continue
        tag = mix64(tag, <uint64_t>field)
        if access.protocol == PROTOCOL_MODBUS and (field == MODBUS_ADDRESS or field == MODBUS_RECORD):
            tag = mix64(tag, access.low[field] + index)
        else:
            tag = mix64(tag, access.low[field])
    if access.protocol == PROTOCOL_MODBUS:
        tag = mix64(tag, modbus_table(access.low[MODBUS_FUNCTION]))
    else:
        tag = mix64(tag, index)
    return tag if tag else 1
