# cython: language_level=3
"""Batches of datagrams in and out of one queue socket: one system call each way.

In: a queue socket with a receive time-out. Out: up to MAX_BATCH datagrams in preallocated buffers; verdict messages
collected in one buffer and sent at once. Used by the worker and the releaser. Allocates at start only.
"""

from libc.errno cimport EAGAIN, EINTR
from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t
from libc.stdlib cimport calloc, free
from posix.time cimport clock_gettime, timespec


from fastpath.abi cimport MAX_BATCH
from fastpath.netlink cimport MARKED_VERDICT_BYTES

cdef extern from *:
    """
    #ifndef _GNU_SOURCE
    #define _GNU_SOURCE
    #endif
    #include <sys/socket.h>
    #include <time.h>
    #include <string.h>
    #include <linux/netlink.h>

    typedef struct {
        struct mmsghdr messages[64];
        struct iovec vectors[64];
        unsigned char *buffers;
        unsigned stride;
    } cnd_inbox_t;

    static void cnd_inbox_prepare(cnd_inbox_t *inbox) {
        for (int i = 0; i < 64; i++) {
            memset(&inbox->messages[i], 0, sizeof inbox->messages[i]);
            inbox->vectors[i].iov_base = inbox->buffers + (size_t)i * inbox->stride;
            inbox->vectors[i].iov_len = inbox->stride;
            inbox->messages[i].msg_hdr.msg_iov = &inbox->vectors[i];
            inbox->messages[i].msg_hdr.msg_iovlen = 1;
        }
    }
    /* Waits for the first datagram (until the socket's receive time-out), takes the rest without waiting. */
    static int cnd_inbox_receive(int fd, cnd_inbox_t *inbox) {
        return recvmmsg(fd, inbox->messages, 64, MSG_WAITFORONE, 0);
    }
    static int cnd_inbox_look(int fd, cnd_inbox_t *inbox) {
        return recvmmsg(fd, inbox->messages, 64, MSG_DONTWAIT, 0);
    }
    static ssize_t cnd_send_to_kernel(int fd, const void *bytes, size_t count) {
        struct sockaddr_nl kernel;
        memset(&kernel, 0, sizeof kernel);
        kernel.nl_family = AF_NETLINK;
        return sendto(fd, bytes, count, 0, (struct sockaddr *)&kernel, sizeof kernel);
    }
    #define CND_REALTIME CLOCK_REALTIME
    #define CND_MONOTONIC CLOCK_MONOTONIC
    #define CND_MONOTONIC_COARSE CLOCK_MONOTONIC_COARSE
    """
    ctypedef struct inbox_t "cnd_inbox_t":
        uint8_t *buffers
        uint32_t stride
    void inbox_prepare "cnd_inbox_prepare"(inbox_t *inbox) noexcept nogil
    int inbox_receive "cnd_inbox_receive"(int fd, inbox_t *inbox) noexcept nogil
    int inbox_look "cnd_inbox_look"(int fd, inbox_t *inbox) noexcept nogil
    uint32_t datagram_bytes "CND_DATAGRAM_BYTES"(inbox_t *inbox, int index) noexcept nogil
    Py_ssize_t send_to_kernel "cnd_send_to_kernel"(int fd, const void *data, size_t count) noexcept nogil
    int CLOCK_REALTIME "CND_REALTIME"
    int CLOCK_MONOTONIC "CND_MONOTONIC"
    int CLOCK_MONOTONIC_COARSE "CND_MONOTONIC_COARSE"

cdef extern from *:
    """
    #define CND_DATAGRAM_BYTES(inbox, i) \
        ((inbox)->messages[i].msg_len < (inbox)->stride ? (inbox)->messages[i].msg_len : (inbox)->stride)
    """

cdef enum:
    BATCH_REWRITES = 8  # packets changed in one batch; a forbidden message beyond them is reset
    REWRITTEN_BYTES = 2048  # the longest packet that is changed: more than any link's, far less than a joined one

cdef struct outbox_t:
    uint32_t used
    # a verdict for each packet of a batch and one for the rest, and the packets that are changed
    uint8_t data[65 * 40 + BATCH_REWRITES * (REWRITTEN_BYTES + 4)]

cdef enum:
    ATTRIBUTE_ROOM_BYTES = 512  # netlink headers and every attribute but the payload


cdef inline int inbox_open(inbox_t *inbox, uint32_t copy_bytes) noexcept nogil:
    """Allocate the buffers; False when there is no memory."""
    # An odd number of cache lines: the beginnings of a batch's datagrams, which are what is read, share no cache set.
    inbox.stride = (copy_bytes + ATTRIBUTE_ROOM_BYTES + 63) & ~<uint32_t>63 | 64
    inbox.buffers = <uint8_t *>calloc(MAX_BATCH, inbox.stride)
    if inbox.buffers == NULL:
        return 0
    inbox_prepare(inbox)
    return 1


cdef inline void inbox_close(inbox_t *inbox) noexcept nogil:
    free(inbox.buffers)
    inbox.buffers = NULL


cdef inline const uint8_t *datagram(const inbox_t *inbox, int index) noexcept nogil:
    return inbox.buffers + <uint64_t>index * inbox.stride


cdef inline int is_waiting(int error) noexcept nogil:
    """Tell a time-out or a signal from a real receive error."""
    return error == EAGAIN or error == EINTR


cdef inline uint64_t clock_ns(int clock) noexcept nogil:
    cdef timespec now
    clock_gettime(clock, &now)
    return <uint64_t>now.tv_sec * 1000000000ULL + <uint64_t>now.tv_nsec
