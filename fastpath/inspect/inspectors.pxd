# cython: language_level=3
"""Which module reads which service: the only place that names them all.

In: an inspector's number (`abi.Inspector`) and bytes. Out: what the module says. FAIL-CLOSED: a number that nobody
answers to reads nothing and refuses everything.
"""

from libc.stdint cimport uint8_t, uint32_t

from fastpath.abi cimport (
    INSPECTOR_ENIP,
    INSPECTOR_ENIP_IO,
    INSPECTOR_MODBUS,
    INSPECTOR_MODBUS_RTU,
    INSPECTOR_S7COMM,
    REASON_MESSAGE_PROTOCOL,
)
from fastpath.inspect.enip cimport measure_enip, note_changed_enip, read_enip
from fastpath.inspect.enip_io cimport measure_enip_io, read_enip_io
from fastpath.inspect.interface cimport dialog_t, sink_t
from fastpath.inspect.modbus cimport measure_modbus, note_changed_modbus, read_modbus
from fastpath.inspect.modbus_dialog cimport waiting_bytes
from fastpath.inspect.modbus_rtu cimport measure_modbus_rtu, read_modbus_rtu
from fastpath.inspect.s7comm cimport measure_s7comm, read_s7comm


cdef inline uint8_t measure(
    uint8_t inspector, const uint8_t *bytes, uint32_t count, int from_opener, uint32_t *length
) noexcept nogil:
    """Say how long the message at `bytes` is: see `interface`."""
    if inspector == INSPECTOR_MODBUS:
        return measure_modbus(bytes, count, from_opener, length)
    if inspector == INSPECTOR_MODBUS_RTU:
        return measure_modbus_rtu(bytes, count, from_opener, length)
    if inspector == INSPECTOR_S7COMM:
        return measure_s7comm(bytes, count, from_opener, length)
    if inspector == INSPECTOR_ENIP:
        return measure_enip(bytes, count, from_opener, length)
    if inspector == INSPECTOR_ENIP_IO:
        return measure_enip_io(bytes, count, from_opener, length)
    length[0] = 0
    return REASON_MESSAGE_PROTOCOL


cdef inline uint8_t read(
    uint8_t inspector, const uint8_t *message, uint32_t count, uint32_t length, int from_opener, dialog_t *dialog,
    sink_t *sink
) noexcept nogil:
    """Say what a message means: see `interface`."""
    if inspector == INSPECTOR_MODBUS:
        return read_modbus(message, count, length, from_opener, dialog, sink)
    if inspector == INSPECTOR_MODBUS_RTU:
        return read_modbus_rtu(message, count, length, from_opener, dialog, sink)
    if inspector == INSPECTOR_S7COMM:
        return read_s7comm(message, count, length, from_opener, dialog, sink)
    if inspector == INSPECTOR_ENIP:
        return read_enip(message, count, length, from_opener, dialog, sink)
    if inspector == INSPECTOR_ENIP_IO:
        return read_enip_io(message, count, length, from_opener, dialog, sink)
    return REASON_MESSAGE_PROTOCOL


cdef inline void note_changed(uint8_t inspector, dialog_t *dialog) noexcept nogil:
    """Tell the module that the request read last goes on with the byte changed that it offered."""
    if inspector == INSPECTOR_ENIP:
        note_changed_enip(dialog)
    if inspector == INSPECTOR_MODBUS:
        note_changed_modbus(dialog)


cdef inline uint32_t remembered_bytes(uint8_t inspector, const dialog_t *dialog) noexcept nogil:
    """Return how much of a dialog has to be kept aside to undo what its module notes from here on.

    Most modules fill nearly all of it, in rings.
    """
    if inspector == INSPECTOR_MODBUS or inspector == INSPECTOR_MODBUS_RTU:
        return waiting_bytes(dialog)
    return sizeof(dialog_t)
