# cython: language_level=3
"""What was decided about one frame, and why.

Filled by look_at and decide from the top down; read by counters, events and the verdict. Lives with the judging
thread, one for each frame of a batch.
"""

from libc.stdint cimport uint16_t, uint32_t, uint8_t

from fastpath.abi cimport flow_t
from fastpath.flow_index cimport flow_key_t
from fastpath.identity cimport homes_t, party_t
from fastpath.stream cimport finding_t

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
    # Set by look_at; direction and flow by whoever found or opened it
    uint8_t identified  # lines 5 and 6 will look its two ends up, unless its flow is familiar
    uint8_t flowing  # it can belong to a flow, and `key` says to which
    int direction
    flow_key_t key
    homes_t homes
    uint8_t inspected  # `finding` says what was found in it
    finding_t finding
    flow_t *flow  # SAFETY: into the flow table; valid until the next frame is decided, which may evict it
