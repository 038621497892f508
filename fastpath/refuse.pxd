# cython: language_level=3
"""Answers to what was dropped, so that nobody hangs: a TCP reset, or ICMP "administratively prohibited".

In: a dropped frame between two zones that the policy wants answered (`refuse: reset`). Out: one frame, to the port that
it came in by and to nobody else. The sender has passed every identity check, so a spoofed address is never answered;
nor are groups, fragments, resets, ICMP errors and existing connections that are only too fast. Built in buffers of the
worker's own, rate-limited, sent without waiting and after the batch's verdicts: a drop costs no more than an accept.
"""

from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t
from libc.string cimport memcpy, memset

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
    queue_counters_t,
)
from fastpath.cursor cimport be16, be32, put_be48
from fastpath.decision cimport decision_t
from fastpath.frame cimport (
    ETHERTYPE_VLAN,
    KIND_IP,
    PROTOCOL_ICMP,
    PROTOCOL_ICMPV6,
    PROTOCOL_TCP,
    TCP_ACK,
    TCP_FIN,
    TCP_RST,
    TCP_SYN,
    frame_t,
    is_opening,
)
from fastpath.pace cimport take_turn
from fastpath.table cimport find_endpoint, pair_refuses, prefix_mask, table_t

cdef enum:
    ETHERNET_BYTES = 14
    TAG_BYTES = 4
    IPV4_BYTES = 20
    IPV6_BYTES = 40
    TCP_BYTES = 20
    ICMP_BYTES = 8
    HOPS = 64  # IANA "IP option numbers", default TTL
    TOS_ERROR = 0xC0  # SPEC: RFC 1812 section 4.3.2.5, precedence of ICMP errors
    ERROR_V4_BYTES = 576  # SPEC: RFC 1812 section 4.3.2.3
    ERROR_V6_BYTES = 1280  # SPEC: RFC 4443 section 2.4 (c)
    BATCH_ANSWERS = 8
    ANSWER_BYTES = 1344  # the longest answer with its Ethernet header and tag, in whole cache lines
    PROHIBITED_V4 = 3 << 8 | 13  # SPEC: RFC 1812 section 5.2.7.1, communication administratively prohibited
    PROHIBITED_V6 = 1 << 8 | 1  # SPEC: RFC 4443 section 3.1

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
    cdef const endpoint_t *endpoint = find_endpoint(table, frame.destination, table.zones[zone].space)
    cdef uint64_t host_bits
    if endpoint == NULL or endpoint.flags & ENDPOINT_ANYWHERE:
        return 1
    if frame.version != 4 or endpoint.prefix_length >= HOST_PREFIX_LENGTH - 1:
        return 0
    host_bits = ~prefix_mask(endpoint.prefix_length - 64 if endpoint.prefix_length > 64 else 0)
    return (frame.destination[1] & host_bits) == host_bits


# ---- what ---------------------------------------------------------------------------------------------------------


cdef inline void put_be16(uint8_t *to, uint32_t value) noexcept nogil:
    to[0] = value >> 8 & 0xFF
    to[1] = value & 0xFF


cdef inline void put_be32(uint8_t *to, uint32_t value) noexcept nogil:
    put_be16(to, value >> 16)
    put_be16(to + 2, value)


cdef inline uint32_t sum_words(const uint8_t *p, uint32_t count, uint32_t so_far) noexcept nogil:
    """Add 16-bit words, an odd byte as if a zero followed. SPEC: RFC 1071. At most 1.3 kB: no carry is lost."""
    while count > 1:
        so_far += be16(p)
        p += 2
        count -= 2
    return so_far + (p[0] << 8 if count else 0)


cdef inline uint16_t checksum(uint32_t words) noexcept nogil:
    words = (words & 0xFFFF) + (words >> 16)
    words = (words & 0xFFFF) + (words >> 16)
    return <uint16_t>~words


cdef inline uint32_t put_ethernet(uint8_t *to, const frame_t *frame, const uint8_t *port) noexcept nogil:
    """Write the link header of an answer: back to the sender, from whom it had addressed.

    Where interception does not see that MAC, from the ingress port's own. Neither tells a switch anything new: both
    live behind the very port that the answer leaves by, seen from the sender.
    """
    cdef uint32_t at = 12
    put_be48(to, frame.source_mac)
    if frame.has_destination_mac:
        put_be48(to + 6, frame.destination_mac)
    else:
        memcpy(to + 6, port, 6)
    if frame.tagged:
        put_be16(to + 12, ETHERTYPE_VLAN)
        put_be16(to + 14, frame.vlan)
        at = 16
    put_be16(to + at, frame.ethertype)
    return at + 2


cdef inline uint32_t put_ip(
    uint8_t *to, const frame_t *frame, uint8_t protocol, uint8_t tos, uint32_t body_bytes
) noexcept nogil:
    """Write the IP header of an answer from whom the frame was for, and return its length."""
    if frame.version == 4:
        memset(to, 0, IPV4_BYTES)
        to[0] = 0x45
        to[1] = tos
        put_be16(to + 2, IPV4_BYTES + body_bytes)
        put_be16(to + 6, 0x4000)  # never to be fragmented: then the identification may be zero (RFC 6864 section 4.1)
        to[8] = HOPS
        to[9] = protocol
        memcpy(to + 12, frame.data + 16, 4)
        memcpy(to + 16, frame.data + 12, 4)
        put_be16(to + 10, checksum(sum_words(to, IPV4_BYTES, 0)))
        return IPV4_BYTES
    memset(to, 0, IPV6_BYTES)
    to[0] = 0x60
    put_be16(to + 4, body_bytes)
    to[6] = protocol
    to[7] = HOPS
    memcpy(to + 8, frame.data + 24, 16)
    memcpy(to + 24, frame.data + 8, 16)
    return IPV6_BYTES


cdef inline uint32_t pseudo_header(const uint8_t *ip, uint8_t protocol, uint32_t body_bytes) noexcept nogil:
    """Add up what a checksum covers besides the body: both addresses, protocol, length."""
    if ip[0] >> 4 == 4:
        return sum_words(ip + 12, 8, protocol + body_bytes)
    return sum_words(ip + 8, 32, protocol + body_bytes)


cdef inline uint32_t put_reset(uint8_t *ip, const frame_t *frame) noexcept nogil:
    """Write IP header and segment of a reset. SPEC: RFC 9293 section 3.5.2, group 1."""
    cdef uint32_t skip = (frame.data[0] & 0x0F) * 4 if frame.version == 4 else IPV6_BYTES
    cdef uint32_t wire_bytes = be16(frame.data + 2) if frame.version == 4 else be16(frame.data + 4) + IPV6_BYTES
    cdef const uint8_t *theirs = frame.data + skip
    cdef uint8_t *segment
    cdef uint32_t taken_up
    if frame.captured < skip + TCP_BYTES:
        return 0
    segment = ip + put_ip(ip, frame, PROTOCOL_TCP, 0, TCP_BYTES)
    memset(segment, 0, TCP_BYTES)
    memcpy(segment, theirs + 2, 2)
    memcpy(segment + 2, theirs, 2)
    segment[12] = 5 << 4
    if frame.tcp_flags & TCP_ACK:
        memcpy(segment + 4, theirs + 8, 4)
        segment[13] = TCP_RST
    else:
        taken_up = wire_bytes - skip - (theirs[12] >> 4) * 4
        taken_up += (frame.tcp_flags & TCP_SYN != 0) + (frame.tcp_flags & TCP_FIN != 0)
        put_be32(segment + 8, be32(theirs + 4) + taken_up)
        segment[13] = TCP_RST | TCP_ACK
    put_be16(segment + 16, checksum(sum_words(segment, TCP_BYTES, pseudo_header(ip, PROTOCOL_TCP, TCP_BYTES))))
    return <uint32_t>(segment - ip) + TCP_BYTES


cdef inline uint32_t put_prohibited(uint8_t *ip, const frame_t *frame) noexcept nogil:
    """Write IP header and message of "administratively prohibited", quoting the frame without its padding."""
    cdef uint32_t quoted = be16(frame.data + 2) if frame.version == 4 else be16(frame.data + 4) + IPV6_BYTES
    cdef uint32_t room = (
        ERROR_V4_BYTES - IPV4_BYTES - ICMP_BYTES if frame.version == 4 else ERROR_V6_BYTES - IPV6_BYTES - ICMP_BYTES
    )
    cdef uint8_t protocol = PROTOCOL_ICMP if frame.version == 4 else PROTOCOL_ICMPV6
    cdef uint8_t *message
    cdef uint32_t so_far = 0
    if quoted > frame.captured:
        quoted = frame.captured
    if quoted > room:
        quoted = room
    message = ip + put_ip(ip, frame, protocol, TOS_ERROR, ICMP_BYTES + quoted)
    memset(message, 0, ICMP_BYTES)
    put_be16(message, PROHIBITED_V4 if frame.version == 4 else PROHIBITED_V6)
    memcpy(message + ICMP_BYTES, frame.data, quoted)
    if frame.version == 6:
        so_far = pseudo_header(ip, protocol, ICMP_BYTES + quoted)
    put_be16(message + 2, checksum(sum_words(message, ICMP_BYTES + quoted, so_far)))
    return <uint32_t>(message - ip) + ICMP_BYTES + quoted


cdef inline uint32_t build_answer(uint8_t *to, const frame_t *frame, const uint8_t *port) noexcept nogil:
    """Write the answer to an answerable frame into ANSWER_BYTES of room; returns its length, 0 for none.

    `port`: the MAC of the ingress port, read only when the frame's destination MAC was not seen.
    """
    cdef uint32_t head = put_ethernet(to, frame, port)
    cdef uint32_t rest
    if frame.protocol == PROTOCOL_TCP:
        rest = put_reset(to + head, frame)
    else:
        rest = put_prohibited(to + head, frame)
    return head + rest if rest else 0


# ---- when ---------------------------------------------------------------------------------------------------------


cdef inline void prepare_answer(
    refuser_t *refuser, const table_t *table, const frame_t *frame, const decision_t *decision, uint64_t now_ns
) noexcept nogil:
    """Build the answer to a frame that `is_refused`, to be sent after the batch's verdicts; rate and room permitting."""
    cdef answer_t *answer = &refuser.answers[refuser.count]
    cdef uint8_t unseen[6]
    if refuser.fd < 0 or refuser.count == BATCH_ANSWERS or not is_answerable(frame):
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
