# cython: language_level=3
"""Which module reads which service: the only place that names them all.

In: an inspector's number (`abi.Inspector`) and bytes. Out: what the module says. FAIL-CLOSED: a number that nobody
answers to reads nothing and refuses everything.
"""

from libc.stdint cimport uint8_t, uint32_t

from fastpath.abi cimport REASON_MESSAGE_PROTOCOL
from fastpath.inspect.interface cimport dialog_t, sink_t


cdef inline uint8_t measure(
    uint8_t inspector, const uint8_t *bytes, uint32_t count, int from_opener, uint32_t *length
) noexcept nogil:
    """Say how long the message at `bytes` is: see `interface`."""
    length[0] = 0
    return REASON_MESSAGE_PROTOCOL


cdef inline uint8_t read(
    uint8_t inspector, const uint8_t *message, uint32_t count, uint32_t length, int from_opener, dialog_t *dialog,
    sink_t *sink
) noexcept nogil:
    """Say what a message means: see `interface`."""
    return REASON_MESSAGE_PROTOCOL
