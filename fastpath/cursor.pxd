# cython: language_level=3
"""The only way untrusted bytes are read: a pointer and what is left behind it.

In: borrowed bytes. Out: numbers, or a flag that says "not enough". Every read checks the remaining length first and
moves nothing when it fails. Never raises, never reads past the end, never owns memory.
"""

from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t
from libc.string cimport memcpy

cdef extern from *:
    """
    /* The empty statement is volatile: without it gcc takes a function that only prefetches for one without effect, and
       leaves its calls out. */
    #define CND_PREFETCH(p) do { __builtin_prefetch(p); __asm__ volatile (""); } while (0)
    """
    void prefetch "CND_PREFETCH"(const void *p) noexcept nogil  # a hint: any address is safe

cdef extern from *:
    uint16_t __builtin_bswap16(uint16_t value) noexcept nogil
    uint32_t __builtin_bswap32(uint32_t value) noexcept nogil
    uint64_t __builtin_bswap64(uint64_t value) noexcept nogil

cdef struct cursor_t:
    const uint8_t *at  # SAFETY: borrowed from the receive buffer, valid until its verdict is sent
    uint32_t left  # bytes


cdef inline const uint8_t *take(cursor_t *cursor, uint32_t count) noexcept nogil:
    """Return `count` bytes and step over them, or NULL when fewer are left."""
    cdef const uint8_t *start = cursor.at
    if cursor.left < count:
        return NULL
    cursor.at = start + count
    cursor.left -= count
    return start


cdef inline void keep(cursor_t *cursor, uint32_t count) noexcept nogil:
    """Forget everything behind the next `count` bytes: padding, or what lies beyond a length field."""
    if count < cursor.left:
        cursor.left = count


cdef inline uint16_t native16(const uint8_t *p) noexcept nogil:
    cdef uint16_t value
    memcpy(&value, p, 2)
    return value


cdef inline uint32_t native32(const uint8_t *p) noexcept nogil:
    cdef uint32_t value
    memcpy(&value, p, 4)
    return value


cdef inline uint16_t be16(const uint8_t *p) noexcept nogil:
    return __builtin_bswap16(native16(p))


cdef inline uint32_t be32(const uint8_t *p) noexcept nogil:
    return __builtin_bswap32(native32(p))


cdef inline uint64_t be48(const uint8_t *p) noexcept nogil:
    return (<uint64_t>be16(p) << 32) | be32(p + 2)


cdef inline uint64_t raw64(const uint8_t *p) noexcept nogil:
    """Return eight bytes as they lie in memory."""
    cdef uint64_t word
    memcpy(&word, p, 8)
    return word


cdef inline uint64_t be48_of_8(const uint8_t *p) noexcept nogil:
    """Return the first six of eight readable bytes as a number."""
    return __builtin_bswap64(raw64(p)) >> 16


cdef inline void put_be48(uint8_t *to, uint64_t value) noexcept nogil:
    value = __builtin_bswap64(value << 16)
    memcpy(to, &value, 6)
