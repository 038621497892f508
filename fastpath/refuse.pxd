# cython: language_level=3
"""Answers to what was dropped, so that nobody hangs: TCP resets, or ICMP "administratively prohibited".

In: a dropped frame that the policy wants answered (`refuse: reset` of a site, pair of zones or inspected conduit). Out:
one frame, to the port that it came in by; of a conversation in which a message was refused also a reset to whom the
frame was for, who may hold the beginning of that message. Nobody else hears of it. The sender has passed every identity
check, so a spoofed address is never answered; nor are groups, fragments, resets, ICMP errors and existing connections
that are only too fast. Built in buffers of the worker's own, rate-limited, sent without waiting and after the batch's
verdicts: a drop costs no more than an accept.
"""

from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t
from libc.string cimport memset

from fastpath.abi cimport (
    ENDPOINT_ANYWHERE,
    HOST_PREFIX_LENGTH,
    REASON_LIMIT_FLOWS,
    REASON_LIMIT_PACKETS,
    REASON_LIMIT_SOURCE,
    REASON_POLICY_CONDUIT_CLOSED,
    REASON_POLICY_NO_CONDUIT,
    VERDICT_DROP,
    endpoint_t,
    flow_t,
    queue_counters_t,
)
from fastpath.answer cimport ANSWER_BYTES, IPV4_BYTES, IPV6_BYTES, build_answer, build_far_reset
from fastpath.cursor cimport be16, be32, be48_of_8
from fastpath.decision cimport decision_t
from fastpath.finding cimport REFUSAL_RESET
from fastpath.flow cimport FLOW_FORWARD
from fastpath.frame cimport (
    KIND_IP,
    PROTOCOL_ICMP,
    PROTOCOL_ICMPV6,
    PROTOCOL_TCP,
    TCP_RST,
    frame_t,
    is_opening,
)
from fastpath.pace cimport take_turn
from fastpath.table cimport find_endpoint, host_home, pair_refuses, prefix_mask, table_t

cdef enum:
    BATCH_ANSWERS = 16

cdef extern from *:
    """
    #include <net/if.h>
    #include <netpacket/packet.h>
    #include <string.h>
    #include <sys/ioctl.h>
    #include <sys/socket.h>

    /* 100 answers a second for each queue, 100 at once: enough for people and programs, useless as a reflector. */
    #define CND_ANSWER_INTERVAL_NS 10000000ULL
    #define CND_ANSWER_BURST_NS 1000000000ULL

    static int cnd_send_answer(int fd, unsigned ifindex, const void *frame, size_t count) {
        struct sockaddr_ll to;
        memset(&to, 0, sizeof to);
        to.sll_family = AF_PACKET;
        to.sll_ifindex = (int)ifindex;
        memcpy(&to.sll_protocol, (const char *)frame + 12, 2);
        return sendto(fd, frame, count, MSG_DONTWAIT, (struct sockaddr *)&to, sizeof to) == (ssize_t)count;
    }
    static int cnd_port_mac(int fd, unsigned ifindex, unsigned char *mac) {
        struct ifreq port;
        memset(&port, 0, sizeof port);
        port.ifr_ifindex = (int)ifindex;
        if (ioctl(fd, SIOCGIFNAME, &port) || ioctl(fd, SIOCGIFHWADDR, &port)) return 0;
        memcpy(mac, port.ifr_hwaddr.sa_data, 6);
        return 1;
    }
    """
    int send_answer "cnd_send_answer"(int fd, uint32_t ifindex, const uint8_t *frame, size_t count) noexcept nogil
    int port_mac "cnd_port_mac"(int fd, uint32_t ifindex, uint8_t *mac) noexcept nogil
    const uint64_t ANSWER_INTERVAL_NS "CND_ANSWER_INTERVAL_NS"
    const uint64_t ANSWER_BURST_NS "CND_ANSWER_BURST_NS"

# Owner: one worker. The frames are copied into their answers: the next group of the batch takes their place.
cdef struct answer_t:
    uint32_t ifindex
    uint32_t length
    uint8_t from_port  # its source MAC is still to be asked for
    uint8_t frame[ANSWER_BYTES]

cdef struct refuser_t:
    int fd  # a packet socket that receives nothing, the keeper's; -1 = never answer
    uint32_t count
    uint64_t clock
    answer_t answers[BATCH_ANSWERS]


# ---- whether ------------------------------------------------------------------------------------------------------


cdef inline int is_refused(const table_t *table, const frame_t *frame, const decision_t *decision) noexcept nogil:
    """Tell whether the policy wants this frame answered. Each of these reasons stands behind the identity checks."""
    if decision.verdict != VERDICT_DROP:
        return 0
    if decision.inspected:
        return decision.finding.refusal == REFUSAL_RESET
    if decision.reason == REASON_LIMIT_PACKETS or decision.reason == REASON_LIMIT_FLOWS or (
        decision.reason == REASON_LIMIT_SOURCE
    ):
        # A connection that is only too fast slows down by itself: it is not reset.
        if frame.protocol == PROTOCOL_TCP and not is_opening(frame):
            return 0
    elif decision.reason != REASON_POLICY_NO_CONDUIT and decision.reason != REASON_POLICY_CONDUIT_CLOSED:
        return 0
    return pair_refuses(table, decision.source_zone, decision.destination_zone)


cdef inline int is_one_device(uint64_t mac) noexcept nogil:
    return mac != 0 and not mac >> 40 & 1


cdef inline int is_host_v4(const uint8_t *address) noexcept nogil:
    """Tell whether an IPv4 address can be a single host's: not 0/8, loopback, multicast, reserved or broadcast."""
    return address[0] != 0 and address[0] != 127 and address[0] < 224


cdef inline int is_host_v6(const uint8_t *address) noexcept nogil:
    return address[0] != 0xFF and (be32(address) | be32(address + 4) | be32(address + 8) | be32(address + 12)) != 0


cdef inline int is_answerable(const frame_t *frame) noexcept nogil:
    """Tell whether the standards permit an answer. SPEC: RFC 1812 section 4.3.2.7, RFC 4443 section 2.4 (e)."""
    cdef const uint8_t *ip = frame.data
    if frame.kind != KIND_IP or frame.error or not is_one_device(frame.source_mac):
        return 0
    if frame.has_destination_mac and not is_one_device(frame.destination_mac):
        return 0
    if frame.version == 4:
        if frame.captured < IPV4_BYTES or be16(ip + 6) & 0x3FFF or not is_host_v4(ip + 12) or not is_host_v4(ip + 16):
            return 0
        if frame.protocol == PROTOCOL_ICMP:
            # destination unreachable, source quench, redirect, time exceeded, parameter problem
            return frame.icmp_type not in (3, 4, 5, 11, 12)
    else:
        if frame.captured < IPV6_BYTES or not is_host_v6(ip + 8) or not is_host_v6(ip + 24):
            return 0
        if frame.protocol == PROTOCOL_ICMPV6:
            return frame.icmp_type >= 128 and frame.icmp_type != 137  # errors; redirect
    return frame.protocol != PROTOCOL_TCP or not frame.tcp_flags & TCP_RST


cdef inline int is_broadcast(const table_t *table, const frame_t *frame, uint16_t zone) noexcept nogil:
    """Tell whether the destination is a group, or the last address of the prefix that it lies in."""
    cdef uint16_t space = table.zones[zone].space
    cdef uint32_t home = host_home(table, frame.destination, space)
    cdef const endpoint_t *endpoint = find_endpoint(table, home, frame.destination, space)
    cdef uint64_t host_bits
    if endpoint == NULL or endpoint.flags & ENDPOINT_ANYWHERE:
        return 1
    if frame.version != 4 or endpoint.prefix_length >= HOST_PREFIX_LENGTH - 1:
        return 0
    host_bits = ~prefix_mask(endpoint.prefix_length - 64 if endpoint.prefix_length > 64 else 0)
    return (frame.destination[1] & host_bits) == host_bits


# ---- when ---------------------------------------------------------------------------------------------------------


cdef inline uint64_t far_mac(const frame_t *frame, const decision_t *decision) noexcept nogil:
    """Return the MAC that a frame was for; 0 where interception does not see it and its flow hasn't learnt it yet.

    What a flow has learnt under an older policy will do: it tells where to send, not who may.
    """
    cdef const flow_t *flow = decision.flow
    if frame.has_destination_mac:
        return frame.destination_mac
    if flow == NULL:
        return 0
    if decision.direction == FLOW_FORWARD:
        return be48_of_8(flow.responder_mac)
    return be48_of_8(flow.opener_mac)


cdef inline void prepare_far_reset(refuser_t *refuser, const frame_t *frame, const decision_t *decision) noexcept nogil:
    """Build the reset for whom a refused TCP frame was meant."""
    cdef answer_t *answer = &refuser.answers[refuser.count]
    cdef uint64_t mac = far_mac(frame, decision)
    if refuser.count == BATCH_ANSWERS or not is_one_device(mac):
        return
    answer.ifindex = frame.out_ifindex
    answer.from_port = 0
    answer.length = build_far_reset(answer.frame, frame, mac, decision.finding.sequence)
    refuser.count += answer.length != 0


cdef inline void prepare_answer(
    refuser_t *refuser, const table_t *table, const frame_t *frame, const decision_t *decision, uint64_t now_ns
) noexcept nogil:
    """Build the answer to a frame that `is_refused`, to be sent after the batch's verdicts, if rate and room permit."""
    cdef answer_t *answer = &refuser.answers[refuser.count]
    cdef uint8_t unseen[6]
    cdef int both = decision.inspected and frame.protocol == PROTOCOL_TCP
    # Both ends or none: who is not told now repeats what was dropped, and is told then.
    if refuser.fd < 0 or refuser.count + 1 + both > BATCH_ANSWERS or not is_answerable(frame):
        return
    if is_broadcast(table, frame, decision.destination_zone):
        return
    if not take_turn(&refuser.clock, ANSWER_INTERVAL_NS, ANSWER_BURST_NS, now_ns):
        return
    memset(unseen, 0, 6)
    answer.ifindex = frame.in_ifindex
    answer.from_port = not frame.has_destination_mac
    answer.length = build_answer(answer.frame, frame, unseen)
    refuser.count += answer.length != 0
    if both:
        prepare_far_reset(refuser, frame, decision)


cdef inline void send_answers(refuser_t *refuser, queue_counters_t *counters) noexcept nogil:
    """Send what the batch has prepared; what can't be sent at once is given up and counted."""
    cdef answer_t *answer
    cdef uint32_t i
    for i in range(refuser.count):
        answer = &refuser.answers[i]
        if answer.from_port and not port_mac(refuser.fd, answer.ifindex, answer.frame + 6):
            counters.receive_errors += 1
        elif send_answer(refuser.fd, answer.ifindex, answer.frame, answer.length):
            counters.refused += 1
        else:
            counters.receive_errors += 1
    refuser.count = 0
