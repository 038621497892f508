# cython: language_level=3
"""What a segment would count or change, held back until it is known that it passes: values, and uses of clauses.

In: accesses that carry values, clauses that have a rate. Out: why a step or a rate refuses them; and what passes, kept
in the memory of the guards. A message of the segment can be taken back. Bounded by the HELD_ numbers; no allocation.
Used by `profile`.
"""

from libc.stdint cimport uint8_t, uint32_t, uint64_t

from fastpath.abi cimport (
    REASON_MESSAGE_BUDGET,
    REASON_NONE,
    REASON_PROCESS_RATE,
    REASON_PROCESS_STEP,
    clause_t,
)
from fastpath.inspect.clause cimport MARKED_VALUES, marks_t
from fastpath.inspect.guard cimport clause_clock, forget_value, has_turns, keep_value, last_value
from fastpath.inspect.interface cimport access_t
from fastpath.inspect.place cimport has_values, place_tag, value_at
from fastpath.pace cimport limiter_t, take_turn

cdef enum:
    HELD_VALUES = MARKED_VALUES  # guarded values of one segment: two of the longest Modbus writes
    HELD_TURNS = 32  # clauses with a rate that one segment uses

cdef struct held_value_t:
    uint64_t tag
    uint64_t value
    uint64_t unknown  # 1: whatever was known of the place no longer is

cdef struct held_turn_t:
    const clause_t *clause
    uint32_t count
    uint32_t message  # the last one that used it
    uint32_t before  # of `count`, those of messages before that one

# Owner: a judge's context; emptied for every segment.
cdef struct held_t:
    limiter_t *limiter
    uint64_t now_ns  # CLOCK_REALTIME
    uint64_t device  # names the responder: its values are remembered, whoever writes or reads them
    uint32_t conduit
    uint32_t message  # the number of the one in hand
    uint32_t value_count
    uint32_t value_mark  # of these, those of messages before the one in hand
    uint32_t turn_count
    uint32_t overflow  # 1: more guarded values are written than can be held
    held_value_t values[HELD_VALUES]
    held_turn_t turns[HELD_TURNS]

# How far the values of an access lie from those known of their places: asked once, however many clauses want to know.
cdef struct change_t:
    uint64_t widest
    uint8_t asked
    uint8_t reason  # not NONE: no step may be that wide


cdef inline void hold_nothing(held_t *held) noexcept nogil:
    held.message = 0
    held.value_count = 0
    held.value_mark = 0
    held.turn_count = 0
    held.overflow = 0


cdef inline void hold_message(held_t *held) noexcept nogil:
    """Begin another message of the segment."""
    held.message += 1
    held.value_mark = held.value_count


cdef inline void revoke_held(held_t *held) noexcept nogil:
    """Hold nothing of the message in hand: it goes on, but is never carried out."""
    cdef uint32_t at
    held.value_count = held.value_mark
    for at in range(held.turn_count):
        if held.turns[at].message == held.message:
            held.turns[at].count = held.turns[at].before


# ---- values ---------------------------------------------------------------------------------------------------------


cdef inline int known_value(const held_t *held, uint64_t tag, uint64_t *value) noexcept nogil:
    """Set the value that a place has once the messages before this one have passed; False when nobody knows."""
    cdef uint32_t at = held.value_count
    while at:
        at -= 1
        if held.values[at].tag == tag:
            value[0] = held.values[at].value
            return not held.values[at].unknown
    return last_value(held.limiter, tag, value)


cdef inline uint8_t find_change(const held_t *held, const access_t *access, uint64_t *widest) noexcept nogil:
    """Compare every value written with the last one at its place; `widest` is 0 at first.

    FAIL-CLOSED: one that nobody knows is no step.
    """
    cdef uint64_t last = 0
    cdef uint64_t value, away
    cdef uint32_t index
    if not has_values(access):
        return REASON_PROCESS_STEP
    if access.value_count > HELD_VALUES - held.value_count:
        return REASON_MESSAGE_BUDGET
    for index in range(access.value_count):
        value = value_at(access, index)
        if not known_value(held, place_tag(held.device, access, index), &last):
            return REASON_PROCESS_STEP
        away = value - last if value > last else last - value
        if away > widest[0]:
            widest[0] = away
    return REASON_NONE


cdef inline uint8_t step_reason(
    const held_t *held, const clause_t *clause, const access_t *access, change_t *change
) noexcept nogil:
    """Say why an access goes further than a clause's step."""
    if not change.asked:
        change.asked = 1
        change.reason = find_change(held, access, &change.widest)
    if change.reason != REASON_NONE:
        return change.reason
    return REASON_PROCESS_STEP if change.widest > clause.step else <uint8_t>REASON_NONE


cdef inline void hold_marked(
    held_t *held, const access_t *access, uint32_t count, int refused, const marks_t *marks
) noexcept nogil:
    """Hold the marked ones of an access's values; what a device refused to write leaves its places unknown.

    Of an answer as many as there is room for; a write is held whole or is too much.
    """
    cdef held_value_t *place
    cdef uint32_t marked = min(count, <uint32_t>MARKED_VALUES)
    cdef uint32_t index
    for index in range(marked):
        if not marks.words[index >> 6] >> (index & 63) & 1:
            continue
        if held.value_count == HELD_VALUES or (count > MARKED_VALUES and not access.answer):
            held.overflow = not access.answer
            return
        place = &held.values[held.value_count]
        place.tag = place_tag(held.device, access, index)
        place.value = 0 if refused else value_at(access, index)
        place.unknown = refused
        held.value_count += 1


cdef inline void keep_held(held_t *held) noexcept nogil:
    """Remember what a segment that passes says of values."""
    cdef uint32_t at
    for at in range(held.value_count):
        if held.values[at].unknown:
            forget_value(held.limiter, held.values[at].tag)
        else:
            keep_value(held.limiter, held.values[at].tag, held.values[at].value, held.now_ns)


# ---- turns ----------------------------------------------------------------------------------------------------------


cdef inline held_turn_t *held_turn(held_t *held, const clause_t *clause) noexcept nogil:
    """Return how often a segment has used a clause; NULL when it uses more of them than are held."""
    cdef held_turn_t *turn
    cdef uint32_t at
    for at in range(held.turn_count):
        if held.turns[at].clause == clause:
            return &held.turns[at]
    if held.turn_count == HELD_TURNS:
        return NULL
    turn = &held.turns[held.turn_count]
    turn.clause = clause
    turn.count = 0
    turn.message = held.message
    turn.before = 0
    held.turn_count += 1
    return turn


cdef inline uint8_t rate_reason(held_t *held, const clause_t *clause) noexcept nogil:
    """Hold one more use of a clause, unless it would be too many."""
    cdef uint64_t *clock = clause_clock(held.limiter, held.conduit, clause.identity)
    cdef held_turn_t *turn = held_turn(held, clause)
    if turn == NULL:
        return REASON_MESSAGE_BUDGET
    if clock == NULL or not has_turns(
        clock, clause.rate_interval_ns, clause.rate_burst_ns, held.now_ns, turn.count + 1
    ):
        return REASON_PROCESS_RATE
    if turn.message != held.message:
        turn.message = held.message
        turn.before = turn.count
    turn.count += 1
    return REASON_NONE


cdef inline uint8_t take_held_turns(const held_t *held) noexcept nogil:
    """Count every use of a clause for good; PROCESS_RATE where another worker took one since."""
    cdef const held_turn_t *turn
    cdef uint64_t *clock
    cdef uint32_t at, _count
    cdef uint8_t reason = REASON_NONE
    for at in range(held.turn_count):
        turn = &held.turns[at]
        clock = clause_clock(held.limiter, held.conduit, turn.clause.identity)
        for _count in range(turn.count):
            if clock == NULL or not take_turn(
                clock, turn.clause.rate_interval_ns, turn.clause.rate_burst_ns, held.now_ns
            ):
                reason = REASON_PROCESS_RATE
                break
    return reason
