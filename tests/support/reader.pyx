# cython: language_level=3, boundscheck=False, wraparound=False, initializedcheck=False, cdivision=True
# cython: autotestdict=False, auto_pickle=False, binding=True
"""fastpath.message for tests: one queue's memory of shapes, messages one by one.

In: messages as bytes. Out: what the engine reads from each, as plain values. Every message is copied to memory of
exactly its size, so that a sanitizer sees a read beyond it. Compiled by tests/support/reading.py.
"""

from libc.stdint cimport uint8_t, uint32_t
from libc.stdlib cimport free, malloc
from libc.string cimport memcpy

from fastpath.frame cimport frame_t
from fastpath.message cimport packet_t, read_packet, shapes_t


cdef class Reader:
    """Reads messages as one queue's worker does."""

    cdef shapes_t shapes

    def read(self, bytes message):
        """Return (id, values of the frame), None for a message without a packet id."""
        cdef uint32_t length = <uint32_t>len(message)
        cdef uint8_t *copy = <uint8_t *>malloc(length if length else 1)
        cdef packet_t packet
        cdef frame_t *frame = &packet.frame
        if copy == NULL:
            raise MemoryError
        try:
            memcpy(copy, <const uint8_t *>message, length)
            if not read_packet(&packet, &self.shapes, copy, length):
                return None
            return packet.id, {
                "payload": frame.data[:frame.captured],
                "length": frame.length,
                "in_ifindex": frame.in_ifindex,
                "out_ifindex": frame.out_ifindex,
                "source_mac": frame.source_mac,
                "destination_mac": frame.destination_mac if frame.has_destination_mac else None,
                "ethertype": frame.ethertype,
                "vlan": frame.vlan,
                "tagged": frame.tagged,
            }
        finally:
            free(copy)
