# cython: language_level=3
"""What an S7comm job reads or writes: addresses of variables, and the values written to them.

In: the items of a read, write or cyclic request. Out: one access for each, with area, DB, the bytes it touches and what
it writes there. An item whose address cannot be read is of operation OTHER, which no conduit permits.

`address` is a range of bytes in DBs, flags and process images, of numbers for timers and counters. `count` is the bytes
touched (timers and counters: how many), absent for a single bit. `value` is the one number of 1, 2 or 4 bytes, or the
bit, that is written: big-endian, however the client calls its type. Written as two bytes or as one word it is the same
number, so a band of values cannot be evaded by another type. Of a REAL it is the four bytes; longer writes have none.

SPEC: Wireshark's packet-s7comm.c (variable specification, transport sizes).
"""

from libc.stdint cimport uint8_t, uint32_t, uint64_t

from fastpath.abi cimport OPERATION_OTHER, REASON_MESSAGE_MALFORMED, REASON_NONE
from fastpath.cursor cimport be16, be32, cursor_t, take
from fastpath.inspect.interface cimport access_t, set_field, set_range, sink_t
from fastpath.inspect.s7_pdu cimport (
    S7_ADDRESS, S7_AREA, S7_COUNT, S7_DB, S7_VALUE, begin_s7, missing_data, missing_parameters, s7_pdu_t, tell,
)

cdef enum:
    SYNTAX_S7ANY = 0x10
    SYNTAX_NCK = 0x82  # to 0x84: by units
    SYNTAX_DRIVE = 0xA2
    SYNTAX_DBREAD = 0xB0
    SYNTAX_SYMBOL = 0xB2
    AREA_COUNTER = 28
    AREA_TIMER = 29
    AREA_IEC_TIMER = 31  # of the 200 family, with its counters (30)
    AREA_DB = 0x84
    AREA_DI = 0x85
    SIZE_BIT = 1
    SIZE_REAL = 8
    SIZE_DATE_AND_TIME = 15
    DATA_BIT = 3  # transport sizes of data: lengths of 3 to 5 are in bits
    DATA_INTEGER = 5
    UNKNOWN_BYTES = 0xFFFFFFFF  # of an item whose written length cannot be told


cdef inline uint32_t element_bytes(uint8_t size) noexcept nogil:
    """Return the bytes of one element of a transport size; 0: unknown. A bit travels in a byte of its own.

    Timers and counters are numbered, not addressed: as a type of another area servers disagree where it lies.
    """
    if size <= 3:
        return 1 if size else 0  # bit, byte, char
    if size == 4 or size == 5 or size == 9 or size == 12:
        return 2  # word, int, date, S5time
    if size <= SIZE_REAL or size == 10 or size == 11:
        return 4  # dword, dint, real, time of day, time
    return 8 if size == SIZE_DATE_AND_TIME else 0


cdef inline uint32_t set_pointer(access_t *access, const uint8_t *spec) noexcept nogil:
    """Set the fields of an S7-Any pointer (10 bytes); return the bytes that a write to it carries."""
    cdef uint32_t element = element_bytes(spec[1])
    cdef uint32_t elements = be16(spec + 2)
    cdef uint8_t area = spec[6]
    cdef uint64_t start = be32(spec + 6) & 0xFFFFFF
    cdef uint64_t bits = elements if spec[1] == SIZE_BIT else <uint64_t>elements * element * 8
    set_field(access, S7_AREA, area)
    if AREA_COUNTER <= area <= AREA_IEC_TIMER:
        if spec[1] != area:
            access.operation = OPERATION_OTHER  # numbered things under another type: not to be told what is meant
        set_range(access, S7_ADDRESS, start, start + elements - 1)
        set_field(access, S7_COUNT, elements)
        return elements * 2 if area <= AREA_TIMER else UNKNOWN_BYTES
    if area == AREA_DB or area == AREA_DI:
        set_field(access, S7_DB, be16(spec + 4))
    if element == 0:
        access.operation = OPERATION_OTHER
        return UNKNOWN_BYTES
    # A byte address whose bit number is not 0 may be rounded down or up: both bytes count as touched.
    set_range(access, S7_ADDRESS, start >> 3, (start + bits - 1) >> 3)
    if spec[1] != SIZE_BIT:
        set_field(access, S7_COUNT, elements * element)
    return elements * element


cdef inline void set_value(access_t *access, uint8_t size, const uint8_t *value, uint32_t count) noexcept nogil:
    """Set what is written, where it is one number."""
    if count != 1 and count != 2 and count != 4:
        return
    access.values = value
    access.value_count = 1
    access.value_bytes = 0 if size == SIZE_BIT else <uint8_t>count
    set_field(access, S7_VALUE, value[0] if count == 1 else be16(value) if count == 2 else be32(value))


cdef inline uint8_t take_data(
    cursor_t *data, int last, int bits_only, const uint8_t **value, uint32_t *count
) noexcept nogil:
    """Step over one data item: return code, transport size, length, bytes, a filler unless it is the last one.

    Return 0 when it is not complete, 1 when it is, 2 when its length contradicts its kind.
    """
    cdef const uint8_t *head = take(data, 4)
    cdef uint32_t length
    if head == NULL:
        return 0
    length = be16(head + 2)
    if DATA_BIT <= head[1] <= DATA_INTEGER:
        if head[1] != DATA_BIT and length & 7:
            return 2
        length = (length + 7) >> 3
    elif head[1] > 9 and head[1] != 17 and head[1] != 18:
        return 2
    if bits_only and head[1] != DATA_BIT:
        return 2
    count[0] = length
    value[0] = take(data, length)
    if value[0] == NULL or (length & 1 and not last and take(data, 1) == NULL):
        return 0
    return 1


cdef inline uint8_t put_item(
    s7_pdu_t *pdu, access_t *access, uint8_t size, uint32_t expected, cursor_t *data, int last, sink_t *sink
) noexcept nogil:
    """Put the access of one item; of a write with what it writes, which must be as long as the item says."""
    cdef const uint8_t *value = NULL
    cdef uint32_t count = 0
    cdef uint8_t found
    if data != NULL:
        found = take_data(data, last, size == SIZE_BIT, &value, &count)
        if found == 0:
            data.left = 0  # what follows is not at an item's start
            tell(pdu, access, sink)
            return missing_data(pdu)
        if found == 2 or (expected != UNKNOWN_BYTES and count != expected):
            tell(pdu, access, sink)
            return REASON_MESSAGE_MALFORMED
        if size:
            set_value(access, size, value, count)
    tell(pdu, access, sink)
    return REASON_NONE


cdef inline uint8_t put_db_reads(
    s7_pdu_t *pdu, access_t *access, const uint8_t *spec, uint32_t length, int writes, sink_t *sink
) noexcept nogil:
    """Put one access for each piece of a DB-read item: bytes, DB, start."""
    cdef uint32_t pieces = spec[1]
    cdef uint32_t i
    if pieces == 0 or length != 2 + 5 * pieces:
        return REASON_MESSAGE_MALFORMED
    for i in range(pieces):
        spec += 5 if i else 2
        begin_s7(access, pdu)
        if writes or spec[0] == 0:
            access.operation = OPERATION_OTHER  # seen only in reads: how a write would lay out its data is not known
        set_field(access, S7_AREA, AREA_DB)
        set_field(access, S7_DB, be16(spec + 1))
        set_range(access, S7_ADDRESS, be16(spec + 3), be16(spec + 3) + <uint64_t>spec[0] - (1 if spec[0] else 0))
        set_field(access, S7_COUNT, spec[0])
        tell(pdu, access, sink)
    return REASON_NONE


cdef inline uint8_t read_items(
    s7_pdu_t *pdu, cursor_t *items, uint32_t number, cursor_t *data, uint8_t missing, sink_t *sink
) noexcept nogil:
    """Put an access for each of `number` items; `data` is NULL unless they are written.

    `missing` is the reason where the items end too early. Nothing may be left over of either.
    """
    cdef access_t access
    cdef const uint8_t *head
    cdef const uint8_t *spec
    cdef uint32_t i
    cdef uint32_t expected
    cdef uint8_t size
    cdef uint8_t reason
    if number == 0:
        return REASON_MESSAGE_MALFORMED
    for i in range(number):
        head = take(items, 2)
        if head == NULL:
            return missing
        if head[0] != 0x12 or head[1] == 0:
            return REASON_MESSAGE_MALFORMED
        spec = take(items, head[1])
        if spec == NULL or (head[1] & 1 and i + 1 < number and take(items, 1) == NULL):
            return missing
        begin_s7(&access, pdu)
        size = 0
        expected = UNKNOWN_BYTES
        if spec[0] == SYNTAX_S7ANY:
            if head[1] != 10 or be16(spec + 2) == 0:
                return REASON_MESSAGE_MALFORMED
            size = spec[1]
            if size == SIZE_BIT and data != NULL and be16(spec + 2) != 1:
                return REASON_MESSAGE_MALFORMED  # CPUs write one bit an item; several would be packed or not
            expected = set_pointer(&access, spec)
        elif spec[0] == SYNTAX_DBREAD:
            reason = put_db_reads(pdu, &access, spec, head[1], data != NULL, sink) if head[1] >= 2 else \
                <uint8_t>REASON_MESSAGE_MALFORMED
            if reason != REASON_NONE or data != NULL:
                return reason
            continue
        elif (SYNTAX_NCK <= spec[0] <= SYNTAX_NCK + 2 and head[1] == 8) or (spec[0] == SYNTAX_DRIVE and head[1] == 10) \
                or (spec[0] == SYNTAX_SYMBOL and head[1] >= 4):
            pass  # read or written is known, where is not: no field of an address
        else:
            access.operation = OPERATION_OTHER
        reason = put_item(pdu, &access, size, expected, data, i + 1 == number, sink)
        if reason != REASON_NONE:
            return reason
    if items.left or (data != NULL and data.left):
        return REASON_MESSAGE_MALFORMED
    return REASON_NONE
