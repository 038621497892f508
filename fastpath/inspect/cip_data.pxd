# cython: language_level=3
"""What the data of a CIP request says beyond its path: attributes, elements of tags, values written, PCCC commands.

In: a request's access and its data, complete. Out: more of its fields and further accesses, or a drop reason.
SPEC: CIP Vol. 1, A-4 (common services), C-6 (data types); Rockwell 1756-PM020 (tags), 1770-6.5.16 (PCCC).
"""

from libc.stdint cimport uint8_t, uint32_t, uint64_t

from fastpath.abi cimport REASON_MESSAGE_BUDGET, REASON_MESSAGE_MALFORMED, REASON_NONE
from fastpath.inspect.cip_access cimport (
    CIP_ATTRIBUTE,
    CIP_COUNT,
    CIP_OFFSET,
    CIP_TYPE,
    CIP_VALUE,
    put_further,
    reading_t,
)
from fastpath.inspect.cip_path cimport step_t
from fastpath.inspect.cip_services cimport (
    SERVICE_GET_ATTRIBUTE_LIST,
    SERVICE_MODIFY_TAG,
    SERVICE_READ_TAG,
    SERVICE_READ_TAG_FRAGMENTED,
    SERVICE_RESET,
    SERVICE_SET_ATTRIBUTE_LIST,
    SERVICE_SET_ATTRIBUTE_SINGLE,
    SERVICE_WRITE_TAG,
    SERVICE_WRITE_TAG_FRAGMENTED,
)
from fastpath.inspect.interface cimport access_t, set_field, set_range
from fastpath.inspect.part cimport le16, le32, le_number
from fastpath.inspect.pccc cimport pccc_has_function, pccc_operation

cdef enum:
    MOST_ATTRIBUTES = 128  # of one list; more are refused, so that no message costs thousands of decisions
    TYPE_REAL = 0xCA
    TYPE_LREAL = 0xCB
    TYPE_STRUCTURE = 0x02A0

cdef extern from *:
    """
    /* A float or double as the whole numbers that enclose it: [0, 2^64) where it cannot be enclosed. */
    static CYTHON_INLINE int cnd_enclose(const unsigned char *p, unsigned bytes, uint64_t *low, uint64_t *high) {
        float single; double value;
        if (bytes == 4) { __builtin_memcpy(&single, p, 4); value = single; } else __builtin_memcpy(&value, p, 8);
        if (!(value >= 0.0 && value < 9007199254740992.0)) return 0;
        *low = (uint64_t)value;
        *high = *low + ((double)*low < value);
        return 1;
    }
    """
    int enclose "cnd_enclose"(const uint8_t *p, uint32_t count, uint64_t *low, uint64_t *high) noexcept nogil


cdef inline uint32_t type_bytes(uint32_t kind) noexcept nogil:
    """Return the size of an elementary type's value: C-6.1; 0 for strings, structures and what is unknown."""
    if kind in (0xC1, 0xC2, 0xC6, 0xD1):
        return 1
    if kind in (0xC3, 0xC7, 0xD2, 0xCD):
        return 2
    if kind in (0xC4, 0xC8, 0xD3, 0xCA, 0xCC, 0xCE, 0xD6):
        return 4
    return 8 if kind in (0xC5, 0xC9, 0xD4, 0xCB, 0xCF, 0xD7) else 0


cdef inline void set_values(
    access_t *access, uint32_t kind, const uint8_t *at, uint32_t count, uint32_t size
) noexcept nogil:
    """Set the band of what is written; `size` 1, 2, 4 or 8 bytes each."""
    cdef uint64_t low = 0xFFFFFFFFFFFFFFFFULL
    cdef uint64_t high = 0
    cdef uint64_t below = 0
    cdef uint64_t above = 0
    cdef uint32_t one
    for one in range(count):
        if kind == TYPE_REAL or kind == TYPE_LREAL:
            if not enclose(at + one * size, size, &below, &above):
                below = 0
                above = 0xFFFFFFFFFFFFFFFFULL
        else:
            below = le_number(at + one * size, size)
            above = below
        low = below if below < low else low
        high = above if above > high else high
    if count:
        set_range(access, CIP_VALUE, low, high)
    if kind != TYPE_REAL and kind != TYPE_LREAL:
        access.values = at
        access.value_count = count
        access.value_bytes = <uint8_t>size


cdef inline void _set_elements(access_t *access, const step_t *step, uint32_t count) noexcept nogil:
    """Set which elements of a tag are meant, counted from its first one."""
    cdef uint64_t first = step.subscript[0] if step.subscripts == 1 else 0
    set_field(access, CIP_COUNT, count)
    set_range(access, CIP_OFFSET, first, first + count - 1 if count else first)


cdef inline uint8_t read_tag_write(
    access_t *access, const step_t *step, uint8_t service, const uint8_t *at, uint32_t count
) noexcept nogil:
    """Take type, count, byte offset and values of Write Tag and Write Tag Fragmented."""
    cdef uint32_t head = 2
    cdef uint32_t offset = 0
    cdef uint32_t kind, elements, size
    if count < 4:
        return REASON_MESSAGE_MALFORMED
    kind = le16(at)
    if kind & 0xFF == 0xA0:  # an abbreviated structure: its handle follows
        head = 4
    if count < head + 2 + (4 if service == SERVICE_WRITE_TAG_FRAGMENTED else 0):
        return REASON_MESSAGE_MALFORMED
    elements = le16(at + head)
    head += 2
    if service == SERVICE_WRITE_TAG_FRAGMENTED:
        offset = le32(at + head)
        head += 4
    set_field(access, CIP_TYPE, kind)
    _set_elements(access, step, elements)
    size = type_bytes(kind)
    if not size:
        return REASON_NONE
    if service == SERVICE_WRITE_TAG:
        if count - head != elements * size:
            return REASON_MESSAGE_MALFORMED
    elif (count - head) % size or offset % size or <uint64_t>offset + (count - head) > <uint64_t>elements * size:
        return REASON_MESSAGE_MALFORMED
    set_values(access, kind, at + head, (count - head) // size, size)
    return REASON_NONE


cdef inline uint8_t read_tag_data(
    access_t *access, const step_t *step, uint8_t service, const uint8_t *at, uint32_t count
) noexcept nogil:
    """Take the data of a tag service: how many elements, and for writes which values."""
    if service == SERVICE_WRITE_TAG or service == SERVICE_WRITE_TAG_FRAGMENTED:
        return read_tag_write(access, step, service, at, count)
    if service == SERVICE_READ_TAG or service == SERVICE_READ_TAG_FRAGMENTED:
        if count != (2 if service == SERVICE_READ_TAG else 6):
            return REASON_MESSAGE_MALFORMED
        _set_elements(access, step, le16(at))
    elif service == SERVICE_MODIFY_TAG and (count < 2 or count != 2 + 2 * <uint32_t>le16(at)):
        return REASON_MESSAGE_MALFORMED
    return REASON_NONE


cdef inline uint8_t read_attributes(
    access_t *access, uint8_t service, const uint8_t *at, uint32_t count
) noexcept nogil:
    """Take the first attribute of a list, and check the list; `put_attributes` puts the others."""
    cdef uint32_t number
    if count < 2 or access.present >> CIP_ATTRIBUTE & 1:  # the path names one beside the list
        return REASON_MESSAGE_MALFORMED
    number = le16(at)
    if number > MOST_ATTRIBUTES:
        return REASON_MESSAGE_BUDGET
    if service == SERVICE_GET_ATTRIBUTE_LIST and count != 2 + 2 * number:
        return REASON_MESSAGE_MALFORMED
    if count < 2 + 2 * number:
        return REASON_MESSAGE_MALFORMED
    if number:
        set_field(access, CIP_ATTRIBUTE, le16(at + 2))
    if number == 1 and service == SERVICE_SET_ATTRIBUTE_LIST and (count - 4) in (1, 2, 4, 8):
        set_values(access, 0, at + 4, 1, count - 4)
    return REASON_NONE


cdef inline void put_attributes(
    const reading_t *reading, access_t *access, uint8_t service, const uint8_t *at
) noexcept nogil:
    """Put one access for each further attribute of a list that `read_attributes` took.

    In a Set_Attribute_List each attribute's size is known to the device only: what follows the first one is put once,
    without an attribute, and so matches no clause that names attributes.
    """
    cdef uint32_t number = le16(at)
    cdef uint32_t one
    if number > 1 and service == SERVICE_SET_ATTRIBUTE_LIST:
        access.present &= <int>~(1 << CIP_ATTRIBUTE | 1 << CIP_VALUE)
        put_further(reading, access)
        return
    for one in range(1, number):
        set_field(access, CIP_ATTRIBUTE, le16(at + 2 + 2 * one))
        put_further(reading, access)


cdef inline uint8_t read_pccc(access_t *access, const uint8_t *at, uint32_t count) noexcept nogil:
    """Take requestor id, command and function of Execute PCCC; `type` is command << 8 | function."""
    cdef uint32_t head = at[0] if count else 0
    cdef uint8_t function = 0
    if not head or count < head + 4:
        return REASON_MESSAGE_MALFORMED
    if pccc_has_function(at[head]):
        if count < head + 5:
            return REASON_MESSAGE_MALFORMED
        function = at[head + 4]
    if at[head] & 0x40:  # an answer
        return REASON_MESSAGE_MALFORMED
    access.operation = pccc_operation(at[head], function)
    set_field(access, CIP_TYPE, <uint64_t>at[head] << 8 | function)
    return REASON_NONE


cdef inline void read_plain(access_t *access, uint8_t service, const uint8_t *at, uint32_t count) noexcept nogil:
    """Take what a Set_Attribute_Single writes, or the kind of a Reset, where it is as long as a number."""
    if service == SERVICE_RESET and count == 1:
        set_field(access, CIP_VALUE, at[0])
    elif service == SERVICE_SET_ATTRIBUTE_SINGLE and count in (1, 2, 4, 8):
        set_values(access, 0, at, 1, count)
