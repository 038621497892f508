# cython: language_level=3, boundscheck=False, wraparound=False, initializedcheck=False, cdivision=True
# cython: autotestdict=False, auto_pickle=False, binding=True
"""The inspectors' promises, held against them message by message: one conversation, in C, for the fuzzer.

In: an inspector, bytes of either direction, and a policy to judge them by. Out: what it says, and the first promise of
`fastpath.inspect.interface`, or of semantics.md on what judging may cost, that was broken. Every beginning of a message lies in memory of exactly its size, so that a sanitizer sees a read beyond
it. Compiled by tests/support/examining.py.
"""

from cpython.mem cimport PyMem_Calloc, PyMem_Free
from libc.stdint cimport uint8_t, uint32_t, uint64_t
from libc.stdlib cimport free, malloc
from libc.string cimport memcmp, memcpy, memset

from posix.time cimport CLOCK_THREAD_CPUTIME_ID, clock_gettime, timespec

from fastpath.abi cimport ACCESS_FIELDS, MAX_RANGES, OPERATION_NONE, REASON_NONE
from fastpath.attach cimport attach_table
from fastpath.inspect.inspectors cimport measure, read
from fastpath.inspect.interface cimport MESSAGE_BYTES, access_t, dialog_t, sink_t
from fastpath.inspect.profile cimport (
    MOST_COMPARISONS,
    RATE_COMPARISONS,
    begin_judging,
    judge_access,
    judge_context_t,
    settle_messages,
)
from fastpath.pace cimport limiter_t
from fastpath.table cimport table_t

from fastpath.judge import validate_image, validate_state

cdef uint64_t NEVER_NS = 0xFFFFFFFFFFFFFFFF

cdef enum:
    KEPT = 512  # accesses of one message that are compared
    MOST_TRIES = 5
    LONG_NS = 500_000  # a call that takes so long is made again
    # Asked before each clause: the one in hand is compared to its end.
    MOST_COMPARED = MOST_COMPARISONS + 1 + MAX_RANGES + RATE_COMPARISONS

cdef struct kept_t:
    uint32_t count
    uint32_t unsound
    uint32_t outermost  # bit i: a message of abi.Protocol i came at depth 0
    uint64_t sum  # of the written bytes: they must be readable
    access_t accesses[KEPT]


cdef void keep_access(sink_t *sink, const access_t *access) noexcept nogil:
    cdef kept_t *kept = <kept_t *>sink.context
    cdef uint32_t at, size
    if kept.count < KEPT:
        kept.accesses[kept.count] = access[0]
    if not access.further and not access.depth:
        if kept.outermost >> access.protocol & 1:
            kept.unsound = 1  # a second message where one was asked for; what carries it is of another protocol
        kept.outermost |= <uint32_t>1 << access.protocol
    kept.count += 1
    if access.present & access.recalled:
        kept.unsound = 2
    for at in range(ACCESS_FIELDS):
        if (access.present | access.recalled) >> at & 1 and access.low[at] > access.high[at]:
            kept.unsound = 3
    if access.values != NULL:
        size = access.value_count * access.value_bytes if access.value_bytes else (access.value_count + 7) // 8
        for at in range(size):
            kept.sum += access.values[at]


UNSOUND = {1: "puts a second message", 2: "a field both present and recalled", 3: "a range that ends before it begins"}


cdef class Examiner:
    """A conversation on conduit 0 of a policy; `worst_ns` is the longest that one call took, in processor time.

    Nothing is enforced: then every access is judged.
    """

    cdef uint8_t inspector
    cdef dialog_t dialog
    cdef kept_t whole
    cdef kept_t partial
    cdef readonly uint64_t worst_ns
    cdef timespec began
    cdef uint32_t tries
    cdef readonly uint32_t most_compared  # of one message
    cdef table_t table
    cdef limiter_t *limiter
    cdef judge_context_t judged
    cdef object kept

    def __cinit__(self, inspector, image, state):
        self.limiter = <limiter_t *>PyMem_Calloc(1, sizeof(limiter_t))
        if self.limiter == NULL:
            raise MemoryError

    def __init__(self, inspector, image, state):
        cdef const uint8_t[::1] image_view = image
        cdef const uint8_t[::1] state_view = state
        validate_image(image)
        validate_state(image, state)
        attach_table(&self.table, &image_view[0], &state_view[0], self.limiter)
        self.kept = image, state
        self.inspector = inspector
        self.restart()

    def __dealloc__(self):
        PyMem_Free(self.limiter)

    def restart(self):
        """Begin a new conversation."""
        memset(&self.dialog, 0, sizeof(self.dialog))

    def examine(self, bytes data, bint from_opener, uint32_t least, cuts):
        """Measure and read what `data` begins with; return (reason, length, broken promise or None).

        `least`: no message is shorter. `cuts`: how many bytes of the message have arrived at first, one after the other.
        """
        cdef uint32_t count = <uint32_t>len(data)
        cdef uint32_t length = 0
        cdef uint32_t early = 0
        cdef uint32_t cut
        cdef uint8_t reason = self._measure(data, count, from_opener, &length)
        cdef uint8_t said
        if reason != REASON_NONE and length:
            return reason, length, "refused, but has a length"
        if length and (length < least or length > MESSAGE_BYTES):
            return reason, length, f"{length} bytes is no length"
        for cut in cuts:
            if cut > count:
                continue
            said = self._measure(data, cut, from_opener, &early)
            if said != REASON_NONE and reason == REASON_NONE:
                return reason, length, f"measure refuses the first {cut} bytes, but not the whole"
            if early and reason == REASON_NONE and early != length:
                return reason, length, f"{early} bytes long by its first {cut} bytes, {length} by all"
        if reason != REASON_NONE or not length or length > count:
            return reason, length, None
        return self._whole(data, length, from_opener, cuts)

    cdef object _whole(self, bytes data, uint32_t length, bint from_opener, cuts):
        cdef dialog_t before = self.dialog
        cdef uint8_t early
        cdef uint8_t reason
        said = []
        for cut in cuts:
            if 0 < cut < length:
                early = self._read(data, cut, length, from_opener, &self.partial)
                if memcmp(&before, &self.dialog, sizeof(before)):
                    return early, length, f"a beginning of {cut} bytes changed the conversation"
                said.append((cut, early, self._contradicted(length, from_opener, data)))
                if memcmp(&before, &self.dialog, sizeof(before)):
                    return early, length, "the fuzzer itself changed the conversation"
        if self._judged(data, length, from_opener) > MOST_COMPARED:
            return REASON_NONE, length, f"took {self.judged.compared} comparisons"
        self.dialog = before
        reason = self._read(data, length, length, from_opener, &self.whole)
        if self.whole.unsound:
            return reason, length, UNSOUND[self.whole.unsound]
        if reason == REASON_NONE:
            for cut, early, contradiction in said:
                if early != REASON_NONE:
                    return reason, length, f"read refuses the first {cut} bytes, but not the whole"
                if contradiction:
                    return reason, length, f"the first {cut} bytes said {contradiction}"
            if not self.whole.count:
                return reason, length, "accepted without a word"
        return reason, length, None

    cdef object _contradicted(self, uint32_t length, bint from_opener, bytes data):
        """Say what a beginning claims that the whole does not bear out: a refusal for it would be wrong."""
        cdef dialog_t before = self.dialog
        cdef uint32_t at
        cdef int field
        cdef access_t *a
        cdef access_t *b
        cdef uint8_t reason = self._read(data, length, length, from_opener, &self.whole)
        self.dialog = before
        if reason != REASON_NONE:
            return None
        for at in range(min(self.partial.count, KEPT)):
            if at >= self.whole.count:
                return f"access {at}, which the whole has not"
            a, b = &self.partial.accesses[at], &self.whole.accesses[at]
            if not a.partial or b.partial:
                return f"access {at} partial {a.partial}, in the whole {b.partial}"
            if a.protocol != b.protocol or (a.operation != OPERATION_NONE and a.operation != b.operation):
                return f"access {at} is {a.protocol}/{a.operation}, in the whole {b.protocol}/{b.operation}"
            for field in range(ACCESS_FIELDS):
                if not a.present >> field & 1:
                    continue
                if not b.present >> field & 1 or a.low[field] < b.low[field] or a.high[field] > b.high[field]:
                    return f"access {at} field {field} from {a.low[field]} to {a.high[field]}"
        return None

    cdef uint8_t _measure(self, bytes data, uint32_t count, bint from_opener, uint32_t *length) except? 255:
        cdef uint8_t *copy = exact(data, count)
        cdef uint64_t least = NEVER_NS
        cdef uint8_t reason = REASON_NONE
        while least >= LONG_NS and self._again(least):
            self._begin()
            reason = measure(self.inspector, copy, count, from_opener, length)
            least = min(least, self._took())
        self._note(least)
        free(copy)
        return reason

    cdef uint8_t _read(self, bytes data, uint32_t count, uint32_t length, bint from_opener, kept_t *kept) except? 255:
        cdef uint8_t *copy = exact(data, count)
        cdef dialog_t before = self.dialog
        cdef uint64_t least = NEVER_NS
        cdef sink_t sink
        cdef uint8_t reason = REASON_NONE
        sink.put = keep_access
        sink.context = kept
        while least >= LONG_NS and self._again(least):
            self.dialog = before
            kept.count = 0
            kept.unsound = 0
            kept.outermost = 0
            sink.reason = REASON_NONE
            self._begin()
            reason = read(self.inspector, copy, count, length, from_opener, &self.dialog, &sink)
            least = min(least, self._took())
        self._note(least)
        free(copy)
        return reason

    cdef uint32_t _judged(self, bytes data, uint32_t length, bint from_opener) except? 0xFFFFFFFF:
        """Judge a whole message as a segment of its own; return how many comparisons it took."""
        cdef uint64_t responder[2]
        cdef uint8_t *copy = exact(data, length)
        cdef dialog_t before = self.dialog
        cdef uint64_t least = NEVER_NS
        cdef sink_t sink
        memset(responder, 0, sizeof(responder))
        sink.put = judge_access
        sink.context = &self.judged
        while least >= LONG_NS and self._again(least):
            self.dialog = before
            sink.reason = REASON_NONE
            self._begin()
            begin_judging(&self.judged, &self.table, 0, responder, 0, 1, 0)
            read(self.inspector, copy, length, length, from_opener, &self.dialog, &sink)
            settle_messages(&self.judged, sink.reason, 0)
            least = min(least, self._took())
        self._note(least)
        free(copy)
        self.most_compared = max(self.most_compared, self.judged.compared)
        return self.judged.compared

    cdef bint _again(self, uint64_t least) noexcept:
        """Tell whether a call is made once more: one that was interrupted seems long, and its shortest time counts."""
        self.tries = 0 if least == NEVER_NS else self.tries + 1
        return self.tries < MOST_TRIES

    cdef void _begin(self) noexcept:
        clock_gettime(CLOCK_THREAD_CPUTIME_ID, &self.began)

    cdef uint64_t _took(self) noexcept:
        cdef timespec ended
        clock_gettime(CLOCK_THREAD_CPUTIME_ID, &ended)
        return <uint64_t>((ended.tv_sec - self.began.tv_sec) * 1_000_000_000 + ended.tv_nsec - self.began.tv_nsec)

    cdef void _note(self, uint64_t took) noexcept:
        self.worst_ns = max(self.worst_ns, took)


cdef uint8_t *exact(bytes data, uint32_t count) except NULL:
    """Return a copy of the first bytes in memory of exactly that size."""
    cdef uint8_t *copy = <uint8_t *>malloc(count if count else 1)
    if copy == NULL:
        raise MemoryError
    memcpy(copy, <const uint8_t *>data, count)
    return copy
