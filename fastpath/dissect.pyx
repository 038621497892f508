# cython: language_level=3, boundscheck=False, wraparound=False, initializedcheck=False, cdivision=True
# cython: autotestdict=False, auto_pickle=False, binding=True
"""One conversation's bytes, read by the inspectors of the data path: for tests, fuzzing and experiments.

In: the number of an inspector, and bytes of either direction in stream order. Out: plain values, message by message.
Holds no stream logic of its own: `decoding` and the engine meet TCP, this does not.
"""

from libc.stdint cimport uint8_t, uint32_t
from libc.string cimport memset

from fastpath.abi cimport ACCESS_FIELDS, REASON_NONE
from fastpath.inspect.inspectors cimport measure, read
from fastpath.inspect.interface cimport access_t, dialog_t, sink_t

from fastpath import abi


cdef void keep_access(sink_t *sink, const access_t *access) noexcept nogil:
    with gil:
        (<list>sink.context).append(_plain(access))


cdef dict _plain(const access_t *access):
    """Return an access as a dict; fields that are not there are missing, ranges are pairs."""
    names = abi.FIELD_NAMES[abi.Protocol(access.protocol)]
    fields = {}
    cdef int at
    for at in range(ACCESS_FIELDS):
        if access.present >> at & 1:
            fields[names[at]] = access.low[at]
            if access.low[at] != access.high[at]:
                fields[names[at]] = (access.low[at], access.high[at])
    return {
        "protocol": abi.Protocol(access.protocol),
        "operation": abi.Operation(access.operation),
        "answer": bool(access.answer),
        "depth": access.depth,
        "further": bool(access.further),
        "partial": bool(access.partial),
        "fields": fields,
    }


cdef class Dissection:
    """A conversation as one inspector sees it; the opener's bytes and the responder's are measured apart."""

    cdef uint8_t inspector
    cdef dialog_t dialog

    def __init__(self, inspector):
        self.inspector = abi.Inspector(inspector)
        memset(&self.dialog, 0, sizeof(self.dialog))

    def measure(self, const uint8_t[::1] data not None, bint from_opener):
        """Return (reason, length) of the message that begins at `data`; length 0: too little to tell."""
        cdef uint32_t length = 0
        cdef const uint8_t *start = &data[0] if data.shape[0] else NULL
        cdef uint8_t reason
        with nogil:
            reason = measure(self.inspector, start, <uint32_t>data.shape[0], from_opener, &length)
        return abi.Reason(reason), length

    def read(self, const uint8_t[::1] data not None, bint from_opener, length=None):
        """Return (reason, accesses) of one message, or of its beginning when `length` says that it is longer."""
        cdef sink_t sink
        cdef list found = []
        cdef uint32_t whole = <uint32_t>data.shape[0] if length is None else length
        cdef const uint8_t *start = &data[0] if data.shape[0] else NULL
        cdef uint8_t reason
        sink.put = keep_access
        sink.reason = REASON_NONE
        sink.context = <void *>found
        with nogil:
            reason = read(
                self.inspector, start, <uint32_t>data.shape[0], whole, from_opener, &self.dialog, &sink
            )
        return abi.Reason(reason if reason != REASON_NONE else sink.reason), found

    def messages(self, data, bint from_opener):
        """Return (messages, left): for each whole message (start, length, reason, accesses); stops at what is none."""
        view = memoryview(data)
        found = []
        at = 0
        while at < len(view):
            reason, length = self.measure(view[at:], from_opener)
            if reason is not abi.Reason.NONE:
                found.append((at, 0, reason, []))
                return found, view[at:].tobytes()
            if not length or at + length > len(view):
                break
            reason, accesses = self.read(view[at : at + length], from_opener)
            found.append((at, length, reason, accesses))
            at += length
        return found, view[at:].tobytes()
