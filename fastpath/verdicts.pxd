# cython: language_level=3
"""A batch's decisions as few verdict messages, in an order that keeps frames in order.

In: packet ids in the order of their arrival, each with the mark it is accepted with, or none for a drop. Out: messages
for one send. The kernel applies a batch verdict to every parked packet up to its id, so whatever stands before it in
the buffer must already have dealt with those that it is not meant for. Accepted packets are never overtaken by later
ones; dropped ones have no order. Called by the worker, once per batch.
"""

from libc.stdint cimport uint8_t, uint16_t, uint32_t

from fastpath.abi cimport MAX_BATCH
from fastpath.batch cimport BATCH_REWRITES, outbox_t
from fastpath.netlink cimport NF_ACCEPT, NF_DROP, NFQNL_MSG_VERDICT, NFQNL_MSG_VERDICT_BATCH, put_payload, put_verdict

cdef struct verdict_t:
    uint32_t id
    uint32_t mark  # 0 = drop

cdef struct change_t:
    uint32_t place  # in verdicts_t.each
    uint32_t count
    const uint8_t *payload  # SAFETY: borrowed from the receive buffer

cdef struct verdicts_t:
    uint32_t count
    uint32_t dropped
    uint32_t changed
    verdict_t each[MAX_BATCH]
    change_t changes[BATCH_REWRITES]


cdef inline void add_verdict(verdicts_t *verdicts, uint32_t id, uint32_t mark) noexcept nogil:
    """Append the verdict of the next packet; at most MAX_BATCH of them."""
    verdicts.each[verdicts.count].id = id
    verdicts.each[verdicts.count].mark = mark
    verdicts.count += 1
    verdicts.dropped += mark == 0


cdef inline void change_last(verdicts_t *verdicts, const uint8_t *payload, uint32_t count) noexcept nogil:
    """Let the packet added last go on as these bytes; at most BATCH_REWRITES a batch."""
    cdef change_t *change = &verdicts.changes[verdicts.changed]
    change.place = verdicts.count - 1
    change.payload = payload
    change.count = count
    verdicts.changed += 1


cdef inline void put_one(outbox_t *outbox, uint16_t queue, const verdict_t *one) noexcept nogil:
    cdef uint32_t kind = NF_ACCEPT if one.mark else NF_DROP
    outbox.used += put_verdict(outbox.data + outbox.used, NFQNL_MSG_VERDICT, 0, queue, one.id, kind, one.mark)


cdef inline void put_all_up_to(outbox_t *outbox, uint16_t queue, const verdict_t *newest) noexcept nogil:
    cdef uint32_t kind = NF_ACCEPT if newest.mark else NF_DROP
    outbox.used += put_verdict(
        outbox.data + outbox.used, NFQNL_MSG_VERDICT_BATCH, 0, queue, newest.id, kind, newest.mark
    )


cdef inline void sweep_drops(outbox_t *outbox, uint16_t queue, const verdicts_t *verdicts) noexcept nogil:
    """Accept the few one by one, then drop the rest at once."""
    cdef uint32_t i
    cdef uint32_t newest = 0
    for i in range(verdicts.count):
        if verdicts.each[i].mark:
            put_one(outbox, queue, &verdicts.each[i])
        else:
            newest = i
    put_all_up_to(outbox, queue, &verdicts.each[newest])


cdef inline void sweep_accepts(outbox_t *outbox, uint16_t queue, const verdicts_t *verdicts) noexcept nogil:
    """Drop the few one by one, then accept the rest: at once as long as the mark stays the same."""
    cdef const verdict_t *newest = NULL
    cdef const verdict_t *one
    cdef uint32_t i
    for i in range(verdicts.count):
        if not verdicts.each[i].mark:
            put_one(outbox, queue, &verdicts.each[i])
    for i in range(verdicts.count):
        one = &verdicts.each[i]
        if not one.mark:
            continue
        if newest != NULL and newest.mark != one.mark:
            put_all_up_to(outbox, queue, newest)
        newest = one
    if newest != NULL:
        put_all_up_to(outbox, queue, newest)


cdef inline void put_each(outbox_t *outbox, uint16_t queue, const verdicts_t *verdicts) noexcept nogil:
    """A verdict for each, in their order: what a batch with changed packets gets, of which there are few."""
    cdef uint32_t changed = 0
    cdef uint32_t i, start
    for i in range(verdicts.count):
        start = outbox.used
        put_one(outbox, queue, &verdicts.each[i])
        if changed < verdicts.changed and verdicts.changes[changed].place == i:
            outbox.used = start + put_payload(
                outbox.data + start, outbox.used - start, verdicts.changes[changed].payload,
                verdicts.changes[changed].count
            )
            changed += 1


cdef inline void put_verdicts(outbox_t *outbox, uint16_t queue, const verdicts_t *verdicts) noexcept nogil:
    """Write the messages: at most one more than there are packets."""
    if verdicts.changed:
        put_each(outbox, queue, verdicts)
    elif verdicts.dropped > verdicts.count / 2:
        sweep_drops(outbox, queue, verdicts)
    elif verdicts.count:
        sweep_accepts(outbox, queue, verdicts)
