# cython: language_level=3
"""What a conduit permits inside: one access after the other against its profile (semantics.md, "Inspection").

In: accesses of messages, as `judge_access` is the sink's `put`. Out: the first reason why one is refused, and in
`finding_t` what the message log wants. What a message would count or change is held back until `settle_messages` knows
that the segment passes. However many accesses it has, it costs no more than MOST_COMPARISONS; no allocation.
"""

from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t

from fastpath.abi cimport (
    INSPECTOR_NONE,
    MESSAGES_FULL,
    MESSAGES_NONE,
    OPERATION_NONE,
    OPERATION_READ,
    OPERATION_WRITE,
    PROTOCOL_COTP,
    REASON_MESSAGE_BUDGET,
    REASON_MESSAGE_CONSTRAINT,
    REASON_MESSAGE_OPERATION,
    REASON_NONE,
    clause_t,
    mix64,
    profile_t,
)
from fastpath.finding cimport FRAME_MESSAGES, finding_t, note_message
from fastpath.inspect.clause cimport MARK_WORDS, MARKED_VALUES, fields_reason, mark_guarded, marks_t, names_access
from fastpath.inspect.held cimport (
    change_t,
    held_t,
    hold_marked,
    hold_message,
    hold_nothing,
    keep_held,
    rate_reason,
    revoke_held,
    step_reason,
    take_held_turns,
)
from fastpath.inspect.interface cimport access_t, refuse_message, sink_t
from fastpath.inspect.cotp cimport is_connect
from fastpath.inspect.place cimport has_values, is_refusal, refused_count
from fastpath.table cimport table_t

cdef enum:
    # Of one segment. A clause beside an access is one, each of its ranges one more if it is about such accesses, its
    # rate RATE_COMPARISONS. See semantics.md: "What it may cost".
    MOST_COMPARISONS = 1 << 19
    RATE_COMPARISONS = 32

# Owner: a worker, or one offline judge; reused for every segment. `sink_t.context` points to it.
cdef struct judge_context_t:
    const table_t *table
    const profile_t *profile  # NULL: not inspected
    uint32_t enforced  # 1: a segment with a reason does not pass, but for messages that go on changed
    uint32_t compared  # so far in the segment
    uint32_t passed_by  # messages seen since one was sampled
    uint16_t index  # of the next message in the segment
    finding_t *finding  # what is noted of them; NULL: nothing
    held_t held


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
    uint64_t now_ns, int enforced
) noexcept nogil:
    """Prepare for the messages of one segment. `responder`: the address that the opener talks to, in its space."""
    cdef uint16_t profile = table.conduits[conduit].profile
    context.table = table
    context.profile = &table.profiles[profile - 1] if profile else NULL
    context.enforced = enforced
    context.compared = 0
    context.index = 0
    context.finding = NULL
    context.held.limiter = table.limiter
    context.held.conduit = conduit
    context.held.now_ns = now_ns
    context.held.device = mix64(mix64(table.limiter.seed ^ responder[0], responder[1]), space)
    hold_nothing(&context.held)


# ---- permitted or not -----------------------------------------------------------------------------------------------


cdef inline uint8_t clause_reason(
    judge_context_t *context, const clause_t *clause, const access_t *access, change_t *change
) noexcept nogil:
    """Say why an access does not match a clause. What is not complete is compared with fields alone."""
    cdef uint8_t reason
    context.compared += 1
    if not names_access(clause, access):
        return REASON_MESSAGE_CONSTRAINT
    context.compared += clause.range_count
    reason = fields_reason(context.table, clause, access)
    if reason != REASON_NONE or access.partial:
        return reason
    if clause.step:
        reason = step_reason(&context.held, clause, access, change)
    if reason == REASON_NONE and clause.rate_interval_ns:
        context.compared += RATE_COMPARISONS
        reason = rate_reason(&context.held, clause)
    return reason


cdef inline uint8_t clauses_reason(judge_context_t *context, const access_t *access) noexcept nogil:
    """Return NONE when any clause matches; else why the one that came closest first does not."""
    cdef const clause_t *clause = context.table.clauses + context.profile.first_clause
    cdef uint8_t worst = REASON_MESSAGE_CONSTRAINT
    cdef change_t change
    cdef uint8_t reason
    cdef uint32_t at
    change.asked = 0
    change.widest = 0
    change.reason = REASON_NONE
    for at in range(context.profile.clause_count):
        if context.compared >= MOST_COMPARISONS:
            return REASON_MESSAGE_BUDGET
        reason = clause_reason(context, clause + at, access, &change)
        if reason == REASON_NONE:
            return REASON_NONE
        if worst == REASON_MESSAGE_CONSTRAINT:
            worst = reason
    return worst


cdef inline uint8_t connect_reason(judge_context_t *context, const access_t *access) noexcept nogil:
    """A connect is asked for what it connects to where clauses are about that; it has no operation."""
    cdef const clause_t *clauses = context.table.clauses + context.profile.first_clause
    cdef uint32_t at
    for at in range(context.profile.clause_count):
        if clauses[at].protocol == PROTOCOL_COTP:
            return clauses_reason(context, access)
    return REASON_NONE


cdef inline uint8_t access_reason(judge_context_t *context, const access_t *access) noexcept nogil:
    if access.answer:
        return REASON_NONE
    if access.operation == OPERATION_NONE:
        return connect_reason(context, access) if is_connect(access) else <uint8_t>REASON_NONE
    if not context.profile.operations >> access.operation & 1:
        return REASON_MESSAGE_OPERATION
    return clauses_reason(context, access) if context.profile.constrained else <uint8_t>REASON_NONE


# ---- what is known of values ----------------------------------------------------------------------------------------


cdef inline int says_values(const access_t *access) noexcept nogil:
    """Tell whether an access says what places hold: written, read by an answer, or refused by one."""
    if access.partial:
        return 0
    if access.operation == OPERATION_READ if access.answer else access.operation == OPERATION_WRITE:
        return has_values(access)
    return access.answer and is_refusal(access)


cdef inline void hold_values(judge_context_t *context, const access_t *access) noexcept nogil:
    """Hold what an access says of places that some step is about, until the segment passes."""
    cdef const clause_t *clauses = context.table.clauses + context.profile.first_clause
    cdef int refused = is_refusal(access)
    cdef uint32_t count = refused_count(access) if refused else access.value_count
    cdef uint32_t at
    cdef marks_t marks
    if not count:
        return
    for at in range(MARK_WORDS):
        marks.words[at] = 0
    for at in range(context.profile.clause_count):
        if context.compared >= MOST_COMPARISONS:
            context.held.overflow = not access.answer
            return
        context.compared += 1
        if clauses[at].step and clauses[at].protocol == access.protocol:
            context.compared += clauses[at].range_count
            mark_guarded(context.table, clauses + at, access, min(count, <uint32_t>MARKED_VALUES), &marks)
    hold_marked(&context.held, access, count, refused, &marks)


# ---- the message log ------------------------------------------------------------------------------------------------


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


# ---- for whoever reads the messages ---------------------------------------------------------------------------------


cdef inline void judge_access(sink_t *sink, const access_t *access) noexcept nogil:
    """Judge one thing that a message asks for. Answers are judged by whether they were asked for, not here."""
    cdef judge_context_t *context = <judge_context_t *>sink.context
    cdef uint8_t reason
    if context.profile == NULL:
        return
    if not access.further and not access.depth:
        hold_message(&context.held)
    if context.enforced and sink.reason != REASON_NONE:
        note_access(context, access, 0)  # the message is refused: what else it asks for is only logged
        return
    reason = access_reason(context, access)
    note_access(context, access, reason != REASON_NONE and sink.reason == REASON_NONE)
    if reason != REASON_NONE:
        refuse_message(sink, reason)
    if context.profile.guarded and says_values(access):
        hold_values(context, access)


cdef inline void revoke_message(judge_context_t *context) noexcept nogil:
    """Hold nothing of the message put last: it goes on, but is never carried out."""
    revoke_held(&context.held)


cdef inline uint8_t settle_messages(judge_context_t *context, uint8_t reason, int enforced) noexcept nogil:
    """End a segment whose messages were judged: `reason` is the first one found. Return the reason that it has now.

    `enforced`: a segment with a reason does not pass. What passes counts, and what it says of values is remembered.
    """
    if reason == REASON_NONE and context.held.overflow:
        reason = REASON_MESSAGE_BUDGET
    if reason == REASON_NONE:
        reason = take_held_turns(&context.held)
    if reason == REASON_NONE or not enforced:
        keep_held(&context.held)
    hold_nothing(&context.held)
    return reason
