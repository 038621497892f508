# cython: language_level=3
"""Bytes of a conversation that go on changed: what the other end has of them is what it gets again and again.

In: a byte that inspection wants changed, segments that pass, acknowledgements. Out: in `finding_t`, the bytes of the
segment in hand to change. The window holds what their sender sent, for that is what it repeats. One rule: **a change is
forgotten only when the other end has acknowledged the byte**; until then every segment that carries the byte's place is
changed, or dropped. Called by `reading` and `inspecting`.
"""

from libc.stdint cimport uint8_t, uint32_t

from fastpath.abi cimport WAY_EDITS, WAY_HOLE, stream_way_t
from fastpath.finding cimport finding_t, note_edit
from fastpath.stream cimport distance, segment_t


cdef inline int remember_edit(stream_way_t *way, uint32_t place, uint8_t to) noexcept nogil:
    """Have a byte that has not passed yet go on changed; False where that can't be.

    Behind a hole nobody knows what has passed.
    """
    if way.edit_count == WAY_EDITS or way.flags & WAY_HOLE or distance(place, way.next) < 0:
        return 0
    way.edit_at[way.edit_count] = place
    way.edit_to[way.edit_count] = to
    way.edit_count += 1
    return 1


cdef inline void forget_edits(stream_way_t *way) noexcept nogil:
    """Let go of the bytes that the other end has acknowledged."""
    cdef uint8_t kept = 0
    cdef uint8_t at
    for at in range(way.edit_count):
        if distance(way.edit_at[at], way.acked) >= 0:
            way.edit_at[kept] = way.edit_at[at]
            way.edit_to[kept] = way.edit_to[at]
            kept += 1
    way.edit_count = kept


cdef inline int carries(const segment_t *segment, uint32_t place) noexcept nogil:
    return distance(place, segment.sequence) >= 0 and distance(segment.end, place) > 0


cdef inline int needs_edits(const stream_way_t *way, const segment_t *segment) noexcept nogil:
    """Tell whether a segment carries places that have passed changed."""
    cdef uint8_t at
    for at in range(way.edit_count):
        if carries(segment, way.edit_at[at]):
            return 1
    return 0


cdef inline void note_edits(const stream_way_t *way, const segment_t *segment, finding_t *finding) noexcept nogil:
    """Have every place of a segment changed that is to be; FRAME_EDITS has room for WAY_EDITS."""
    cdef uint8_t at
    for at in range(way.edit_count):
        if carries(segment, way.edit_at[at]):
            note_edit(finding, way.edit_at[at] - segment.sequence, way.edit_to[at])
