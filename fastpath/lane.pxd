# cython: language_level=3
"""Which frames may be followed by others that the engine does not see: the kernel's fast lane.

In: an accepted frame and its flow. Out: yes or no; the verdict then carries the lane's mark, and the chain `static`
enters the frame's addresses, ports and MAC into the lane (docs/decisions/0009). Called by the worker.
"""

from fastpath.abi cimport FAIL_CLOSED, LOG_ALL, REASON_FLOW_ESTABLISHED, flow_t
from fastpath.decision cimport decision_t
from fastpath.frame cimport PROTOCOL_TCP, PROTOCOL_UDP, TCP_ACK, TCP_FIN, TCP_RST, TCP_SYN, frame_t
from fastpath.table cimport table_t

cdef enum:
    LANE_FRAMES = 8  # a flow that is shorter is not worth an entry


cdef inline int may_take_lane(const table_t *table, const frame_t *frame, const decision_t *decision) noexcept nogil:
    """Tell whether nothing but identity and conduit has to be asked about the frames that follow this one."""
    cdef const flow_t *flow = decision.flow
    if decision.reason != REASON_FLOW_ESTABLISHED or flow.opener_frames + flow.responder_frames < LANE_FRAMES:
        return 0
    if frame.tagged:
        return 0
    if frame.protocol == PROTOCOL_TCP:
        if frame.tcp_flags & (TCP_FIN | TCP_SYN | TCP_RST | TCP_ACK) != TCP_ACK:
            return 0
    elif frame.protocol != PROTOCOL_UDP:
        return 0
    # While nobody judges, the lane goes on; `fail: closed` is the promise that nothing of the conduit does.
    if table.conduits[flow.conduit].fail == FAIL_CLOSED:
        return 0
    if table.conduits[flow.conduit].profile or table.conduits[flow.conduit].limit:
        return 0
    return table.conduits[flow.conduit].log != LOG_ALL
