# cython: language_level=3
"""A Modbus PDU, the same in Modbus/TCP and in RTU frames: what requests and answers both consist of.

In: function and what follows it, of which the end may not have arrived. Out: fields of an access, or the reason why the
PDU contradicts its clause. Fields are set before they are checked, so that a refused message shows in the log what it
asked for. Clauses are those of MODBUS Application Protocol Specification V1.1b3.
"""

from libc.stdint cimport uint8_t, uint16_t, uint32_t

from fastpath.abi cimport REASON_MESSAGE_MALFORMED, REASON_NONE
from fastpath.cursor cimport be16
from fastpath.inspect.interface cimport access_t, set_field, set_range

# Places in abi.FIELD_NAMES[Protocol.MODBUS].
cdef enum:
    UNIT = 0
    FUNCTION = 1
    EXCEPTION_CODE = 2
    ADDRESS = 3
    COUNT = 4
    TRANSACTION = 5
    SUBFUNCTION = 6
    VALUE = 7
    FILE = 8
    RECORD = 9

cdef enum:
    LONGEST_PDU = 253  # bytes, clause 4.1
    ADDRESSES = 65536  # clause 4.3
    MOST_BITS_READ = 2000  # 6.1, 6.2
    MOST_WORDS_READ = 125  # 6.3, 6.4, 6.17
    MOST_BITS_WRITTEN = 1968  # 6.11
    MOST_WORDS_WRITTEN = 123  # 6.12
    MOST_WORDS_EXCHANGED = 121  # 6.17
    MOST_FIFO_WORDS = 31  # 6.18
    COIL_ON = 0xFF00  # 6.5
    FILE_REFERENCE = 6  # 6.14, 6.15: the only reference type
    FILE_RECORDS = 10000  # 6.14, 6.15: records 0 to 9999
    FILE_GROUP_BYTES = 7

# Borrowed: valid as long as the message. `count` bytes are here, `length` will be.
cdef struct pdu_t:
    const uint8_t *bytes
    uint32_t count
    uint32_t length


cdef inline uint8_t unless(int well_formed) noexcept nogil:
    return REASON_NONE if well_formed else REASON_MESSAGE_MALFORMED


cdef inline uint32_t value_bytes_of(uint32_t count, int bits) noexcept nogil:
    """Return how many bytes so many coils or registers take."""
    return (count + 7) // 8 if bits else 2 * count


cdef inline uint8_t fill_span(const pdu_t *pdu, access_t *access, uint32_t at, uint32_t most) noexcept nogil:
    """Set address and count from the two words at `at`, as far as they are here."""
    cdef uint32_t address
    cdef uint32_t count
    if pdu.count < at + 2:
        return REASON_NONE
    address = be16(pdu.bytes + at)
    set_field(access, ADDRESS, address)
    if pdu.count < at + 4:
        return REASON_NONE
    count = be16(pdu.bytes + at + 2)
    set_field(access, COUNT, count)
    if count:
        set_range(access, ADDRESS, address, address + count - 1)
    return unless(0 < count <= most and address + count <= ADDRESSES)


cdef inline void fill_bits(const pdu_t *pdu, access_t *access, uint32_t at, uint32_t count) noexcept nogil:
    """Set what is written to coils: first one lowest in its byte (6.11)."""
    cdef uint32_t index
    cdef uint32_t ones = 0
    for index in range(count):
        ones += pdu.bytes[at + (index >> 3)] >> (index & 7) & 1
    set_range(access, VALUE, ones == count, ones > 0)
    access.values = pdu.bytes + at
    access.value_count = count
    access.value_bytes = 0


cdef inline void fill_words(const pdu_t *pdu, access_t *access, uint32_t at, uint32_t count) noexcept nogil:
    """Set what is written to registers, or to a file's."""
    cdef uint32_t index
    cdef uint32_t word
    cdef uint32_t low = 0xFFFF
    cdef uint32_t high = 0
    for index in range(count):
        word = be16(pdu.bytes + at + 2 * index)
        low = word if word < low else low
        high = word if word > high else high
    set_range(access, VALUE, low, high)
    access.values = pdu.bytes + at
    access.value_count = count
    access.value_bytes = 2


cdef inline uint8_t fill_single(const pdu_t *pdu, access_t *access, int bit) noexcept nogil:
    """Set what one coil (6.5) or one register (6.6) gets; the answer repeats it."""
    cdef uint32_t word
    if pdu.count >= 3:
        set_field(access, ADDRESS, be16(pdu.bytes + 1))
    if pdu.length != 5:
        return REASON_MESSAGE_MALFORMED
    if pdu.count < 5:
        return REASON_NONE
    if not bit:
        fill_words(pdu, access, 3, 1)
        return REASON_NONE
    word = be16(pdu.bytes + 3)
    fill_bits(pdu, access, 3, 1)  # the lowest bit of 0xFF
    return unless(word == 0 or word == COIL_ON)


cdef inline uint8_t fill_mask(const pdu_t *pdu, access_t *access) noexcept nogil:
    """Set what a masked write (6.16) can make of a register, whose old value is not known; the answer repeats it.

    The result is (old AND and-mask) OR (or-mask AND NOT and-mask): between the bits that are set for certain and those
    together with all that are kept.
    """
    cdef uint32_t kept
    cdef uint32_t forced
    if pdu.count >= 3:
        set_field(access, ADDRESS, be16(pdu.bytes + 1))
    if pdu.count >= 7 and pdu.length == 7:
        kept = be16(pdu.bytes + 3)
        forced = be16(pdu.bytes + 5) & ~kept & 0xFFFF
        set_range(access, VALUE, forced, forced | kept)
    return unless(pdu.length == 7)


cdef inline uint8_t fill_subfunction(const pdu_t *pdu, access_t *access, uint32_t bytes) noexcept nogil:
    """Set the number after the function: two bytes of a diagnostic (6.8), one of a tunnel (6.19)."""
    if pdu.count >= 1 + bytes:
        set_field(access, SUBFUNCTION, be16(pdu.bytes + 1) if bytes == 2 else pdu.bytes[1])
    return unless(pdu.length >= 1 + bytes)


cdef inline uint8_t fill_group(
    const pdu_t *pdu, access_t *access, uint32_t at, int writing, uint32_t *bytes
) noexcept nogil:
    """Set what one group of a file request says (6.14, 6.15), and its bytes; 0: not all of its head is here."""
    cdef const uint8_t *group = pdu.bytes + at
    cdef uint32_t record
    cdef uint32_t words
    bytes[0] = 0
    access.values = NULL
    access.present &= <uint16_t>~(1 << VALUE)  # of the group before
    if pdu.length < at + FILE_GROUP_BYTES:
        return REASON_MESSAGE_MALFORMED
    if pdu.count < at + FILE_GROUP_BYTES:
        return REASON_NONE
    record, words = be16(group + 3), be16(group + 5)
    bytes[0] = FILE_GROUP_BYTES + (2 * words if writing else 0)
    set_field(access, FILE, be16(group + 1))
    set_field(access, COUNT, words)
    set_range(access, RECORD, record, record + words - 1 if words else record)
    if group[0] != FILE_REFERENCE or not be16(group + 1) or not words or record + words > FILE_RECORDS:
        return REASON_MESSAGE_MALFORMED
    if at + bytes[0] > pdu.length:
        return REASON_MESSAGE_MALFORMED
    if writing and at + bytes[0] <= pdu.count:
        fill_words(pdu, access, at + FILE_GROUP_BYTES, words)
    return REASON_NONE
