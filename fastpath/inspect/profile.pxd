# cython: language_level=3
"""What a conduit permits inside: one access after the other against its profile (semantics.md, "Inspection").

In: accesses of messages, as `judge_access` is the sink's `put`. Out: the first reason why one is refused.
What a message would count or change (clauses used, values written or read) is held back until `settle_messages` is told
that the segment passes. Bounded by MAX_CLAUSES, MAX_RANGES and the HELD_ numbers; no allocation.
"""

from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t

from fastpath.abi cimport (
    INSPECTOR_NONE,
    MESSAGES_FULL,
    MESSAGES_NONE,
    OPERATION_NONE,
    OPERATION_READ,
    OPERATION_WRITE,
    PROTOCOL_MODBUS,
    REASON_MESSAGE_BUDGET,
    REASON_MESSAGE_CONSTRAINT,
    REASON_MESSAGE_OPERATION,
    REASON_NONE,
    REASON_PROCESS_RATE,
    REASON_PROCESS_STEP,
    REASON_PROCESS_VALUE,
    clause_t,
    mix64,
    profile_t,
    range_t,
)
from fastpath.finding cimport FRAME_MESSAGES, finding_t, note_message
from fastpath.inspect.guard cimport clause_clock, forget_value, has_turns, keep_value, last_value
from fastpath.inspect.interface cimport access_t, refuse_message, sink_t
from fastpath.inspect.place cimport (
    MODBUS_ADDRESS,
    MODBUS_RECORD,
    has_values,
    is_refusal,
    place_fields,
    place_tag,
    refused_count,
    told_fields,
    value_at,
)
from fastpath.pace cimport limiter_t, take_turn
from fastpath.table cimport table_t

cdef enum:
    HELD_VALUES = 256  # guarded values of one segment: two of the longest Modbus writes
    HELD_TURNS = 32  # clauses with a rate that one segment uses

cdef struct held_value_t:
    uint64_t tag
    uint64_t value
    uint64_t unknown  # 1: whatever was known of the place no longer is

cdef struct held_turn_t:
    const clause_t *clause
    uint32_t count

# Owner: a worker, or one offline judge; reused for every segment. `sink_t.context` points to it.
cdef struct judge_context_t:
    const table_t *table
    const profile_t *profile  # NULL: not inspected
    uint32_t conduit
    uint32_t value_count
    uint32_t value_mark  # of these, those of messages before the one in hand
    uint32_t turn_count
    uint32_t overflow  # 1: more guarded values are written than can be held
    uint32_t passed_by  # messages seen since one was sampled
    uint16_t index  # of the next message in the segment
    finding_t *finding  # what is noted of them; NULL: nothing
    uint64_t now_ns  # CLOCK_REALTIME
    uint64_t device  # names the responder: its values are remembered, whoever writes or reads them
    held_value_t values[HELD_VALUES]
    held_turn_t turns[HELD_TURNS]


cdef inline uint8_t inspector_of(const table_t *table, uint32_t conduit, uint16_t service_class) noexcept nogil:
    """Return what reads the messages of a service on a conduit; INSPECTOR_NONE: nobody does."""
    cdef uint16_t profile = table.conduits[conduit].profile
    cdef uint8_t inspector
    if profile == 0 or service_class >= table.service_inspector_count:
        return INSPECTOR_NONE
    inspector = table.service_inspectors[service_class]
    return inspector if table.profiles[profile - 1].inspectors >> inspector & 1 else <uint8_t>INSPECTOR_NONE


cdef inline void begin_judging(
    judge_context_t *context, const table_t *table, uint32_t conduit, const uint64_t *responder, uint16_t space,
    uint64_t now_ns
) noexcept nogil:
    """Prepare for the messages of one segment. `responder`: the address that the opener talks to, in its space."""
    cdef uint16_t profile = table.conduits[conduit].profile
    context.table = table
    context.profile = &table.profiles[profile - 1] if profile else NULL
    context.conduit = conduit
    context.value_count = 0
    context.turn_count = 0
    context.overflow = 0
    context.index = 0
    context.finding = NULL
    context.now_ns = now_ns
    context.device = mix64(mix64(table.limiter.seed ^ responder[0], responder[1]), space)


cdef inline int lies_within(
    const table_t *table, const clause_t *clause, int field, uint64_t low, uint64_t high
) noexcept nogil:
    """Tell whether one of a clause's ranges of a field holds all of low to high; also when it has none of the field."""
    cdef const range_t *spans = table.ranges + clause.first_range
    cdef uint32_t at
    cdef int named = 0
    for at in range(clause.range_count):
        if spans[at].field != field:
            continue
        if spans[at].low <= low and high <= spans[at].high:
            return 1
        named = 1
    return not named


cdef inline uint8_t fields_reason(const table_t *table, const clause_t *clause, const access_t *access) noexcept nogil:
    """Compare every field that a clause names: NONE, PROCESS_VALUE when only the value is outside, or CONSTRAINT."""
    cdef const range_t *spans = table.ranges + clause.first_range
    cdef uint8_t reason = REASON_NONE
    cdef uint32_t at
    cdef int field = -1
    for at in range(clause.range_count):
        if spans[at].field == field:
            continue
        field = spans[at].field
        if not access.present >> field & 1:
            if access.partial:
                continue  # it may come yet
            return REASON_MESSAGE_CONSTRAINT
        if lies_within(table, clause, field, access.low[field], access.high[field]):
            continue
        if field != clause.value_field:
            return REASON_MESSAGE_CONSTRAINT
        reason = REASON_PROCESS_VALUE
    return reason


cdef inline int known_value(const judge_context_t *context, uint64_t tag, uint64_t *value) noexcept nogil:
    """Set the value that a place has once the messages before this one have passed; False when nobody knows."""
    cdef uint32_t at = context.value_count
    while at:
        at -= 1
        if context.values[at].tag == tag:
            value[0] = context.values[at].value
            return not context.values[at].unknown
    return last_value(context.table.limiter, tag, value)


cdef inline uint8_t step_reason(
    const judge_context_t *context, const clause_t *clause, const access_t *access
) noexcept nogil:
    """Compare every value written with the last one at its place. FAIL-CLOSED: one that nobody knows is no step."""
    cdef uint64_t last = 0
    cdef uint64_t value
    cdef uint32_t index
    if not has_values(access):
        return REASON_PROCESS_STEP
    if access.value_count > HELD_VALUES - context.value_count:
        return REASON_MESSAGE_BUDGET
    for index in range(access.value_count):
        value = value_at(access, index)
        if not known_value(context, place_tag(context.device, access, index), &last):
            return REASON_PROCESS_STEP
        if (value - last if value > last else last - value) > clause.step:
            return REASON_PROCESS_STEP
    return REASON_NONE


cdef inline held_turn_t *held_turn(judge_context_t *context, const clause_t *clause) noexcept nogil:
    """Return how often a segment has used a clause; NULL when it uses more of them than are held."""
    cdef uint32_t at
    for at in range(context.turn_count):
        if context.turns[at].clause == clause:
            return &context.turns[at]
    if context.turn_count == HELD_TURNS:
        return NULL
    context.turns[context.turn_count].clause = clause
    context.turns[context.turn_count].count = 0
    context.turn_count += 1
    return &context.turns[context.turn_count - 1]


cdef inline uint8_t rate_reason(judge_context_t *context, const clause_t *clause) noexcept nogil:
    """Hold one more use of a clause, unless it would be too many."""
    cdef uint64_t *clock = clause_clock(context.table.limiter, context.conduit, clause.identity)
    cdef held_turn_t *turn = held_turn(context, clause)
    if turn == NULL:
        return REASON_MESSAGE_BUDGET
    if clock == NULL or not has_turns(
        clock, clause.rate_interval_ns, clause.rate_burst_ns, context.now_ns, turn.count + 1
    ):
        return REASON_PROCESS_RATE
    turn.count += 1
    return REASON_NONE


cdef inline uint8_t clause_reason(
    judge_context_t *context, const clause_t *clause, const access_t *access
) noexcept nogil:
    """Say why an access does not match a clause. What is not complete is compared with fields alone."""
    cdef uint8_t reason
    if clause.protocol != access.protocol or not clause.operations >> access.operation & 1:
        return REASON_MESSAGE_CONSTRAINT
    reason = fields_reason(context.table, clause, access)
    if reason != REASON_NONE or access.partial:
        return reason
    if clause.step:
        reason = step_reason(context, clause, access)
    if reason == REASON_NONE and clause.rate_interval_ns:
        reason = rate_reason(context, clause)
    return reason


cdef inline uint8_t clauses_reason(judge_context_t *context, const access_t *access) noexcept nogil:
    """Return NONE when any clause matches; else why the one that came closest first does not."""
    cdef const clause_t *clause = context.table.clauses + context.profile.first_clause
    cdef uint8_t worst = REASON_MESSAGE_CONSTRAINT
    cdef uint8_t reason
    cdef uint32_t at
    for at in range(context.profile.clause_count):
        reason = clause_reason(context, clause + at, access)
        if reason == REASON_NONE:
            return REASON_NONE
        if worst == REASON_MESSAGE_CONSTRAINT:
            worst = reason
    return worst


cdef inline int is_guarded(
    const judge_context_t *context, const clause_t *clause, const access_t *access, uint32_t index
) noexcept nogil:
    """Tell whether the place of one value is a place that a clause's step is about."""
    cdef uint16_t fields = place_fields(access.protocol) & told_fields(access)
    cdef uint64_t address
    cdef int field = 0
    while fields >> field:
        if fields >> field & 1:
            if access.protocol == PROTOCOL_MODBUS and (field == MODBUS_ADDRESS or field == MODBUS_RECORD):
                address = access.low[field] + index
                if not lies_within(context.table, clause, field, address, address):
                    return 0
            elif not lies_within(context.table, clause, field, access.low[field], access.high[field]):
                return 0
        field += 1
    return 1


cdef inline void hold_values(judge_context_t *context, const access_t *access) noexcept nogil:
    """Hold what an access says of places that some step is about, until the segment passes.

    A write that the device refuses leaves its places unknown: what they hold is then to be read again.
    """
    cdef const clause_t *clauses = context.table.clauses + context.profile.first_clause
    cdef uint32_t count = access.value_count
    cdef uint32_t at, index
    cdef int refused = is_refusal(access)
    if not context.profile.guarded or access.partial:
        return
    if refused:
        count = refused_count(access)
    elif not has_values(access):
        return
    for index in range(count):
        for at in range(context.profile.clause_count):
            if not clauses[at].step or clauses[at].protocol != access.protocol:
                continue
            if not is_guarded(context, clauses + at, access, index):
                continue
            if context.value_count == HELD_VALUES:
                context.overflow = not access.answer
                return
            context.values[context.value_count].tag = place_tag(context.device, access, index)
            context.values[context.value_count].value = 0 if refused else value_at(access, index)
            context.values[context.value_count].unknown = refused
            context.value_count += 1
            break


cdef inline uint8_t access_reason(judge_context_t *context, const access_t *access) noexcept nogil:
    if access.operation == OPERATION_NONE or access.answer:
        return REASON_NONE
    if not context.profile.operations >> access.operation & 1:
        return REASON_MESSAGE_OPERATION
    return clauses_reason(context, access) if context.profile.constrained else <uint8_t>REASON_NONE


cdef inline int is_logged(judge_context_t *context, const access_t *access) noexcept nogil:
    """Tell whether a message goes into the log whatever is said of it."""
    if access.further or access.partial or context.profile.messages == MESSAGES_NONE:
        return 0
    if context.profile.messages == MESSAGES_FULL:
        return 1
    context.passed_by += 1
    if context.passed_by < context.profile.every:
        return 0
    context.passed_by = 0
    return 1


cdef inline void note_access(judge_context_t *context, const access_t *access, int refused) noexcept nogil:
    """Note a message for the log, and the first thing that is refused."""
    cdef finding_t *finding = context.finding
    if not access.further:
        context.index += 1
    if finding == NULL:
        return
    if is_logged(context, access) or refused:
        if refused and finding.count == FRAME_MESSAGES:
            finding.count -= 1
        note_message(finding, access, context.index - 1)
        if refused:
            finding.refused = finding.count - 1


cdef inline void judge_access(sink_t *sink, const access_t *access) noexcept nogil:
    """Judge one thing that a message asks for. Answers are judged by whether they were asked for, not here."""
    cdef judge_context_t *context = <judge_context_t *>sink.context
    cdef uint8_t reason
    if context.profile == NULL:
        return
    if not access.further and not access.depth:
        context.value_mark = context.value_count
    reason = access_reason(context, access)
    note_access(context, access, reason != REASON_NONE and sink.reason == REASON_NONE)
    if reason != REASON_NONE:
        refuse_message(sink, reason)
    if access.operation == OPERATION_READ if access.answer else access.operation == OPERATION_WRITE:
        hold_values(context, access)
    elif access.answer and is_refusal(access):
        hold_values(context, access)


cdef inline void revoke_message(judge_context_t *context) noexcept nogil:
    """Hold nothing of what the message put last writes: it goes on, but is never carried out."""
    context.value_count = context.value_mark


cdef inline uint8_t settle_messages(judge_context_t *context, uint8_t reason, int enforced) noexcept nogil:
    """End a segment whose messages were judged: `reason` is the first one found. Return the reason that it has now.

    `enforced`: a segment with a reason does not pass. What passes counts, and what it says of values is remembered.
    """
    cdef limiter_t *limiter = context.table.limiter
    cdef held_turn_t *turn
    cdef uint64_t *clock
    cdef uint32_t at, _count
    if reason == REASON_NONE and context.overflow:
        reason = REASON_MESSAGE_BUDGET
    if reason == REASON_NONE:
        for at in range(context.turn_count):
            turn = &context.turns[at]
            clock = clause_clock(limiter, context.conduit, turn.clause.identity)
            for _count in range(turn.count):
                if clock == NULL or not take_turn(
                    clock, turn.clause.rate_interval_ns, turn.clause.rate_burst_ns, context.now_ns
                ):
                    reason = REASON_PROCESS_RATE  # another worker took it since
                    break
    if reason == REASON_NONE or not enforced:
        for at in range(context.value_count):
            if context.values[at].unknown:
                forget_value(limiter, context.values[at].tag)
            else:
                keep_value(limiter, context.values[at].tag, context.values[at].value, context.now_ns)
    context.value_count = 0
    context.turn_count = 0
    context.overflow = 0
    return reason
