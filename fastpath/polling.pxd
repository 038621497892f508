# cython: language_level=3
"""How long a worker looks for the next packet before it sleeps: waking a sleeper is most of the latency of a queue.

In: when packets came. Out: a time to spin. `adaptive` spins while traffic is near: a packet that arrives within the
limit after the one before opens the window, a longer silence closes it until packets come close together again (the
kernel's halt polling of virtual machines works alike). One clock reading per empty look, none per packet.
"""

from libc.stdint cimport uint64_t

cdef enum:
    POLL_OFF = 0
    POLL_ADAPTIVE = 1
    POLL_ALWAYS = 2

cdef struct polling_t:
    int mode
    uint64_t limit_ns  # the longest that `adaptive` spins
    uint64_t window_ns  # how long it spins now
    uint64_t since_ns  # when the last batch had been dealt with


cdef inline int keep_spinning(const polling_t *polling, uint64_t now_ns) noexcept nogil:
    """Tell whether to look again instead of sleeping."""
    if polling.mode == POLL_ALWAYS:
        return 1
    return now_ns - polling.since_ns < polling.window_ns


cdef inline void learn_silence(polling_t *polling, uint64_t now_ns) noexcept nogil:
    """Note, after a sleep, how long the silence was: spinning through it would have paid, or not."""
    polling.window_ns = polling.limit_ns if now_ns - polling.since_ns < polling.limit_ns else 0
