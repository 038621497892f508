# cython: language_level=3
"""What was decided about one frame, and why.

Filled by look_ahead and decide from the top down; read by counters, events and the verdict. Lives with the judging
thread, one for each frame of a batch.
"""

from libc.stdint cimport uint16_t, uint32_t, uint8_t

from fastpath.abi cimport flow_t
from fastpath.flow cimport flow_key_t
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
    # Set by look_ahead for a frame that can belong to a flow, and by whoever found or opened it
    uint8_t flowing
    int direction
    flow_key_t key
    flow_t *flow  # SAFETY: into the flow table; valid until the next frame is decided, which may evict it
