# cython: language_level=3
"""What was decided about one frame, and why.

Filled by decide from the top down; read by counters, events and the verdict. Lives on the judging thread's stack.
"""

from libc.stdint cimport uint16_t, uint32_t, uint8_t

from fastpath.identity cimport party_t

cdef struct decision_t:
    uint8_t verdict
    uint8_t policy_verdict
    uint8_t reason
    uint8_t stage  # effective
    uint8_t write_event
    uint32_t conduit
    uint16_t source_zone
    uint16_t destination_zone
    uint16_t service
    party_t source
    party_t destination
