# cython: language_level=3
"""A stretch of a message of which the end may not have arrived yet.

In: borrowed bytes, how many are here, how many there will be. Out: smaller stretches, and little-endian numbers of
which `have` said that they are here. Never reads beyond `here`.
"""

from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t
from libc.string cimport memcpy

cdef enum:
    PART_HERE = 0
    PART_LATER = 1  # not arrived yet
    PART_NEVER = 2  # beyond the end that the message itself gives

cdef struct part_t:
    const uint8_t *at  # SAFETY: borrowed, valid during `read` only
    uint32_t here  # bytes that may be read, at most `whole`
    uint32_t whole  # bytes that the stretch has when complete


cdef inline part_t part_of(const uint8_t *at, uint32_t here, uint32_t whole) noexcept nogil:
    cdef part_t part
    part.at = at
    part.here = here if here < whole else whole
    part.whole = whole
    return part


cdef inline int have(const part_t *part, uint32_t count) noexcept nogil:
    """Say whether the first `count` bytes are here, will come, or cannot."""
    if count <= part.here:
        return PART_HERE
    return PART_LATER if count <= part.whole else PART_NEVER


cdef inline part_t inner(const part_t *part, uint32_t start, uint32_t count) noexcept nogil:
    """Return `count` bytes from `start` on; the caller knows that start + count is at most `whole`."""
    if start >= part.here:
        return part_of(part.at, 0, count)
    return part_of(part.at + start, part.here - start, count)


cdef inline part_t after(const part_t *part, uint32_t start) noexcept nogil:
    """Return everything from `start` on; the caller knows that start is at most `whole`."""
    return inner(part, start, part.whole - start)


cdef inline uint16_t le16(const uint8_t *p) noexcept nogil:
    # CIP is little-endian, and so are the image, the segments and every machine this runs on.
    cdef uint16_t value
    memcpy(&value, p, 2)
    return value


cdef inline uint32_t le32(const uint8_t *p) noexcept nogil:
    cdef uint32_t value
    memcpy(&value, p, 4)
    return value


cdef inline uint64_t le_number(const uint8_t *p, uint32_t count) noexcept nogil:
    """Return `count` (at most 8) bytes as an unsigned number, lowest byte first."""
    cdef uint64_t value = 0
    memcpy(&value, p, count)
    return value
