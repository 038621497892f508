# cython: language_level=3
"""How much of what all inspected conversations share one opener may have, so that the others always find some.

In: who opened a conversation, and how much is left. Out: whether it may have one more. Nobody who has something loses
it for another: whoever holds much is refused more while there is still some left. One opener may hold three times what
it leaves, so that alone it gets three quarters. Whoever invents addresses has as many openers as it likes: therefore
all addresses of a zone that are no asset's together leave a sixteenth. Counts belong to this process; the
places of openers come from memory that outlived an engine, so that none is trusted as an index.
"""

from libc.stdint cimport uint16_t, uint32_t, uint64_t

cdef enum:
    OPENER_TIMES = 3
    CROWD_TIMES = 15
    SHARES = 8192  # the lower half: openers by hash, those that meet share one; the upper half: crowds by zone
    NO_CROWD = 0  # of an asset

cdef struct share_t:
    uint16_t streams
    uint16_t windows


cdef inline uint16_t opener_share(uint64_t hashed) noexcept nogil:
    """Return the place of an opener, by the hash of its address."""
    return <uint16_t>(hashed & (SHARES // 2 - 1))


cdef inline uint16_t crowd_share(uint16_t zone) noexcept nogil:
    """Return the place of all openers of a zone that are no assets."""
    return <uint16_t>(SHARES // 2 | zone & (SHARES // 2 - 1))


cdef inline int may_have(uint32_t held, uint32_t left, uint32_t times) noexcept nogil:
    return held < times * left


cdef inline int may_have_stream(
    const share_t *shares, uint16_t opener, uint16_t crowd, uint32_t left
) noexcept nogil:
    """Tell whether an opener may have one more stream, of so many that nobody has."""
    if crowd != NO_CROWD and not may_have(shares[crowd & (SHARES - 1)].streams, left, CROWD_TIMES):
        return 0
    return may_have(shares[opener & (SHARES - 1)].streams, left, OPENER_TIMES)


cdef inline int may_have_window(
    const share_t *shares, uint16_t opener, uint16_t crowd, uint32_t left
) noexcept nogil:
    """Tell whether an opener may have one more large window."""
    if crowd != NO_CROWD and not may_have(shares[crowd & (SHARES - 1)].windows, left, CROWD_TIMES):
        return 0
    return may_have(shares[opener & (SHARES - 1)].windows, left, OPENER_TIMES)


cdef inline void count_stream(share_t *shares, uint16_t opener, uint16_t crowd, int change) noexcept nogil:
    """Count a stream that an opener takes (1) or gives back (-1)."""
    shares[opener & (SHARES - 1)].streams += <uint16_t>change
    if crowd != NO_CROWD:
        shares[crowd & (SHARES - 1)].streams += <uint16_t>change


cdef inline void count_window(share_t *shares, uint16_t opener, uint16_t crowd, int change) noexcept nogil:
    """Count a large window."""
    shares[opener & (SHARES - 1)].windows += <uint16_t>change
    if crowd != NO_CROWD:
        shares[crowd & (SHARES - 1)].windows += <uint16_t>change
