# cython: language_level=3, boundscheck=False, wraparound=False, initializedcheck=False, cdivision=True
# cython: autotestdict=False, auto_pickle=False, binding=True
"""Profiles without streams: the engine's own verdict on accesses that somebody else supplies.

In: image and state bytes, accesses as `dissect` describes them. Out: the reason. For tests and experiments; holds no
judgement of its own.
"""

from cpython.mem cimport PyMem_Calloc, PyMem_Free
from libc.stdint cimport uint8_t, uint32_t, uint64_t
from libc.string cimport memcpy

from fastpath.abi cimport REASON_NONE
from fastpath.attach cimport attach_table
from fastpath.inspect.interface cimport access_t, begin_access, recall_field, set_range, sink_t
from fastpath.inspect.profile cimport (
    begin_judging,
    inspector_of,
    judge_access,
    judge_context_t,
    settle_messages,
)
from fastpath.pace cimport limiter_t
from fastpath.table cimport table_t

from fastpath import abi
from fastpath.judge import validate_image, validate_state


cdef class ProfileJudge:
    """One policy's profiles and what its guards remember. Raises ValueError for a bad image or state."""

    cdef table_t table
    cdef limiter_t *limiter
    cdef judge_context_t context
    cdef object kept

    def __cinit__(self, image, state):
        self.limiter = <limiter_t *>PyMem_Calloc(1, sizeof(limiter_t))
        if self.limiter == NULL:
            raise MemoryError

    def __init__(self, image, state):
        self.install(image, state)

    def __dealloc__(self):
        PyMem_Free(self.limiter)

    def install(self, image, state):
        """Judge by another policy from now on, with everything remembered."""
        cdef const uint8_t[::1] image_view = image
        cdef const uint8_t[::1] state_view = state
        validate_image(image)
        validate_state(image, state)
        attach_table(&self.table, &image_view[0], &state_view[0], self.limiter)
        self.kept = (image, state)

    def inspector(self, uint32_t conduit, uint32_t service_class):
        """Return what reads a service's messages on a conduit."""
        self._known(conduit)
        return abi.Inspector(inspector_of(&self.table, conduit, service_class))

    def judge(self, uint32_t conduit, accesses, *, bytes responder, uint32_t space=0, uint64_t now_ns=0, enforced=True):
        """Judge the accesses of one segment, in order, and settle it: return the first reason.

        accesses: dicts like `dissect`'s, with `values` (bytes) and `value_bytes` where there are any.
        responder: 16 bytes.
        """
        cdef sink_t sink
        cdef access_t access
        cdef uint64_t address[2]
        cdef const uint8_t *values
        self._known(conduit)
        if len(responder) != 16:
            raise ValueError("a responder's address has 16 bytes")
        memcpy(address, <const uint8_t *>responder, 16)
        begin_judging(&self.context, &self.table, conduit, address, space, now_ns, bool(enforced))
        sink.put = judge_access
        sink.reason = REASON_NONE
        sink.context = &self.context
        for given in accesses:
            names = abi.FIELD_NAMES[given["protocol"]]
            begin_access(&access, given["protocol"], given.get("partial", False))
            access.operation = given["operation"]
            access.answer = given.get("answer", False)
            for name, value in given["fields"].items():
                low, high = value if isinstance(value, tuple) else (value, value)
                set_range(&access, names.index(name), low, high)
            for name, value in given.get("recalled", {}).items():
                recall_field(&access, names.index(name), value)
            written = given.get("values")
            if written is not None:
                values = written
                access.values = values
                access.value_bytes = given["value_bytes"]
                access.value_count = len(written) // given["value_bytes"] if given["value_bytes"] else 8 * len(written)
            judge_access(&sink, &access)
        return abi.Reason(settle_messages(&self.context, sink.reason, bool(enforced)))

    @property
    def compared(self):
        """Return what the last segment has cost: semantics.md, "What it may cost"."""
        return self.context.compared

    def _known(self, conduit):
        capacity = abi.IMAGE_HEADER.unpack_from(self.kept[0])["conduit_capacity"]
        if conduit >= capacity:
            raise ValueError(f"no conduit {conduit}")
