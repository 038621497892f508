# cython: language_level=3
"""What a CIP path (EPATH) leads to: steps of class, instance and attribute, or of tag names.

In: the bytes of a padded path and what may stand in it. Out: its steps, hops, connection points and data, or a drop
reason.
SPEC: CIP Vol. 1, Appendix C-1 (segments), 3-5.5 (connection paths); Rockwell 1756-PM020 (symbols and members).

The name of a tag is its symbols in lower case, joined by dots, with the subscripts between them:
`program:main.motor[3].speed`. Controllers do not tell upper from lower case. A single subscript at the end is not
part of the name, but a number of its own (`index`); two or three at the end are: `matrix[1,2]`. Symbols behind a
class begin with a dot. `tag_number` in rules/protocols/cip.py is the same function.
"""

from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t
from libc.string cimport memset

from fastpath.abi cimport REASON_MESSAGE_BUDGET, REASON_MESSAGE_MALFORMED, REASON_MESSAGE_OPAQUE, REASON_NONE, mix64
from fastpath.inspect.part cimport le16, le32

cdef enum:
    PATH_REQUEST = 0  # what a service is asked of: logical and symbolic segments
    PATH_ROUTE = 1  # the way of an Unconnected Send: port segments
    PATH_CONNECTION = 2  # both, with keys, network and data segments and connection points
    PATH_STEPS = 4
    PATH_POINTS = 8
    PATH_SUBSCRIPTS = 3
    STEP_CLASS = 1
    STEP_INSTANCE = 2
    STEP_ATTRIBUTE = 4
    STEP_POINT = 8

cdef struct step_t:
    uint8_t present  # STEP_...
    uint8_t subscripts  # not yet part of the name
    uint16_t named  # characters of the name so far
    uint32_t klass
    uint32_t instance
    uint32_t attribute
    uint32_t subscript[PATH_SUBSCRIPTS]
    uint64_t word  # the name's last characters, fewer than eight
    uint64_t name

cdef struct path_t:
    step_t steps[PATH_STEPS]  # the last one is what the service is asked of
    uint32_t point_class[PATH_POINTS]  # instances and connection points in their order
    uint32_t points[PATH_POINTS]
    uint32_t data_bytes  # of data segments
    uint8_t step_count  # at least 1
    uint8_t point_count
    uint8_t hops  # port segments
    uint8_t far  # 1: a hop has an address of several bytes, so it leaves the chassis


cdef inline void spell(step_t *step, uint8_t character) noexcept nogil:
    """Add one character to a name."""
    if character >= 0x41 and character <= 0x5A:
        character += 0x20
    step.word |= <uint64_t>character << (8 * (step.named & 7))
    step.named += 1
    if step.named & 7 == 0:
        step.name = mix64(step.name, step.word)
        step.word = 0


cdef inline void spell_number(step_t *step, uint32_t number) noexcept nogil:
    cdef uint32_t unit = 1
    while number // unit >= 10:
        unit *= 10
    while unit:
        spell(step, <uint8_t>(0x30 + number // unit % 10))
        unit //= 10


cdef inline void spell_subscripts(step_t *step) noexcept nogil:
    cdef int at
    if not step.subscripts:
        return
    spell(step, 0x5B)
    for at in range(step.subscripts):
        if at:
            spell(step, 0x2C)
        spell_number(step, step.subscript[at])
    spell(step, 0x5D)
    step.subscripts = 0


cdef inline uint64_t tag_of(const step_t *step) noexcept nogil:
    """Return the number of a name that is complete."""
    return mix64(mix64(step.name, step.word) if step.named & 7 else step.name, step.named)


cdef inline uint8_t _symbol(step_t *step, const uint8_t *text, uint32_t count) noexcept nogil:
    cdef uint32_t at
    if not count:
        return REASON_MESSAGE_MALFORMED
    spell_subscripts(step)
    if step.named or step.present:
        spell(step, 0x2E)
    for at in range(count):
        if text[at] < 0x21 or text[at] > 0x7E:
            return REASON_MESSAGE_MALFORMED
        spell(step, text[at])
    return REASON_NONE


cdef inline uint8_t _logical(path_t *path, int kind, uint32_t value, int mode) noexcept nogil:
    """Take one logical segment: 0 class, 1 instance, 2 member, 3 connection point, 4 attribute."""
    cdef step_t *step = &path.steps[path.step_count - 1]
    if kind == 0:
        if step.present or step.named:
            if path.step_count == PATH_STEPS:
                return REASON_MESSAGE_BUDGET
            path.step_count += 1
            step += 1
        elif step.subscripts:
            return REASON_MESSAGE_MALFORMED
        step.present = STEP_CLASS
        step.klass = value
    elif kind == 2:
        if step.subscripts == PATH_SUBSCRIPTS or not (step.present or step.named):
            return REASON_MESSAGE_MALFORMED
        step.subscript[step.subscripts] = value
        step.subscripts += 1
    elif not step.present or step.named or step.subscripts:
        return REASON_MESSAGE_MALFORMED
    elif kind == 4:
        if step.present & STEP_ATTRIBUTE:
            return REASON_MESSAGE_MALFORMED
        step.present |= STEP_ATTRIBUTE
        step.attribute = value
    else:
        if step.present & (STEP_INSTANCE | STEP_POINT | STEP_ATTRIBUTE) and mode == PATH_REQUEST:
            return REASON_MESSAGE_MALFORMED
        if path.point_count == PATH_POINTS:
            return REASON_MESSAGE_BUDGET
        path.point_class[path.point_count] = step.klass
        path.points[path.point_count] = value
        path.point_count += 1
        if kind == 3:
            step.present |= STEP_POINT
        elif not step.present & STEP_INSTANCE:
            step.present |= STEP_INSTANCE
            step.instance = value
    return REASON_NONE


cdef inline uint8_t _port(path_t *path, const uint8_t *at, uint32_t left, uint32_t *size) noexcept nogil:
    """Take one port segment: C-1.4.1."""
    cdef uint32_t used = 1
    cdef uint32_t address = 1
    if at[0] & 0x10:
        if left < 2:
            return REASON_MESSAGE_MALFORMED
        address = at[1]
        used = 2
        path.far = 1
    if at[0] & 0x0F == 0x0F:
        used += 2
    elif at[0] & 0x0F == 0:
        return REASON_MESSAGE_MALFORMED
    used += address
    size[0] = used + (used & 1)
    if path.hops == 255:
        return REASON_MESSAGE_BUDGET
    path.hops += 1
    return REASON_NONE


cdef inline uint8_t _segment(path_t *path, const uint8_t *at, uint32_t left, int mode, uint32_t *size) noexcept nogil:
    """Take the segment at `at`, of at least two bytes; set its size, which may be more than is left."""
    cdef int kind = at[0] >> 2 & 7
    cdef int form = at[0] & 3
    cdef uint32_t value
    if at[0] >> 5 == 0:
        return REASON_MESSAGE_MALFORMED if mode == PATH_REQUEST else _port(path, at, left, size)
    if mode == PATH_ROUTE:
        return REASON_MESSAGE_MALFORMED
    if at[0] == 0x34:  # electronic key; formats 4 and 5 are all there are (C-1.4.2.5.2)
        size[0] = 10 if at[1] == 4 else 12
        return REASON_NONE if at[1] == 4 or at[1] == 5 else REASON_MESSAGE_MALFORMED
    if at[0] >> 5 == 1:
        if kind > 4 or form == 3:
            return REASON_MESSAGE_MALFORMED
        size[0] = 2 if form == 0 else 2 + 2 * form
        if size[0] > left:
            return REASON_MESSAGE_MALFORMED
        value = at[1] if form == 0 else le16(at + 2) if form == 1 else le32(at + 2)
        return _logical(path, kind, value, mode)
    if at[0] == 0x91:
        size[0] = 2 + at[1] + (at[1] & 1)
        if size[0] > left:
            return REASON_MESSAGE_MALFORMED
        return _symbol(&path.steps[path.step_count - 1], at + 2, at[1])
    if at[0] >> 5 == 3:  # symbols of the older kind: length in the segment itself, extended ones are not text
        if at[0] & 0x1F == 0:
            return REASON_MESSAGE_OPAQUE
        size[0] = 1 + (at[0] & 0x1F) + (~at[0] & 1)
        if size[0] > left:
            return REASON_MESSAGE_MALFORMED
        return _symbol(&path.steps[path.step_count - 1], at + 1, at[0] & 0x1F)
    if mode == PATH_REQUEST:
        return REASON_MESSAGE_MALFORMED
    if at[0] == 0x80:
        size[0] = 2 + 2 * <uint32_t>at[1]
        path.data_bytes += 2 * <uint32_t>at[1]
        return REASON_NONE
    if at[0] >> 5 == 2:
        size[0] = 2 + 2 * <uint32_t>at[1] if at[0] & 0x10 else 2
        return REASON_NONE
    return REASON_MESSAGE_MALFORMED


cdef inline uint8_t read_path(path_t *path, const uint8_t *at, uint32_t count, int mode) noexcept nogil:
    """Take a whole path of `count` bytes, all of them here."""
    cdef uint32_t size
    cdef uint8_t reason
    cdef step_t *step
    memset(path, 0, sizeof(path_t))
    path.step_count = 1
    while count:
        if count < 2:
            return REASON_MESSAGE_MALFORMED
        size = 0
        reason = _segment(path, at, count, mode, &size)
        if reason != REASON_NONE:
            return reason
        if size > count:
            return REASON_MESSAGE_MALFORMED
        at += size
        count -= size
    for size in range(path.step_count):
        step = &path.steps[size]
        if step.subscripts > 1 or size + 1 < path.step_count:
            spell_subscripts(step)
    return REASON_NONE
