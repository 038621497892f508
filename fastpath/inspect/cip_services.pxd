# cython: language_level=3
"""What a CIP service asks of the equipment, by service and class.

In: a service, and the class it is asked of. Out: an operation; OTHER for what no table knows.
SPEC: CIP Vol. 1, Appendix A (common services), chapter 5 (objects); Vol. 2, chapter 5 (TCP/IP, Ethernet Link, DLR,
QoS); Vol. 8 (security objects); Rockwell 1756-PM020 (tags). Classes and services that Rockwell never published are as
engineering tools use them. The table in docs/reference/protocols/enip.md and rules/protocols/cip.py say the same.
"""

from libc.stdint cimport uint8_t, uint32_t

from fastpath.abi cimport (
    OPERATION_ADMIN,
    OPERATION_CONTROL,
    OPERATION_DIAGNOSE,
    OPERATION_NONE,
    OPERATION_OTHER,
    OPERATION_PROGRAM,
    OPERATION_READ,
    OPERATION_WRITE,
)

cdef enum:
    SERVICE_GET_ATTRIBUTE_LIST = 0x03
    SERVICE_SET_ATTRIBUTE_LIST = 0x04
    SERVICE_RESET = 0x05
    SERVICE_MULTIPLE = 0x0A
    SERVICE_SET_ATTRIBUTE_SINGLE = 0x10
    SERVICE_EXECUTE_PCCC = 0x4B
    SERVICE_READ_TAG = 0x4C
    SERVICE_WRITE_TAG = 0x4D
    SERVICE_MODIFY_TAG = 0x4E
    SERVICE_FORWARD_CLOSE = 0x4E
    SERVICE_READ_TAG_FRAGMENTED = 0x52
    SERVICE_UNCONNECTED_SEND = 0x52
    SERVICE_WRITE_TAG_FRAGMENTED = 0x53
    SERVICE_FORWARD_OPEN = 0x54
    SERVICE_LIST_INSTANCES = 0x55
    SERVICE_LARGE_FORWARD_OPEN = 0x5B
    # SPEC: CIP Vol. 1, table 4-9.6: 0x64 to 0x7F are nobody's, neither an object's nor a vendor's; B-1: what a device
    # does not have it answers with general status 8. Not 0, which stands for an empty entry in some devices' tables.
    SERVICE_RESERVED = 0x7F
    CLASS_IDENTITY = 0x01
    CLASS_ROUTER = 0x02
    CLASS_CONNECTION_MANAGER = 0x06
    CLASS_FILE = 0x37
    CLASS_MODBUS = 0x44
    CLASS_PCCC = 0x67
    CLASS_SYMBOL = 0x6B
    CLASS_TEMPLATE = 0x6C
    CLASS_ADDRESSES = 0x72
    CLASS_FIRMWARE = 0xA1
    CLASS_NONE = 0xFFFFFFFE  # the path names none; a path that does name this number is treated as if it did not


cdef inline int is_settings(uint32_t klass) noexcept nogil:
    """Say whether a class is how the device itself is set up, rather than what it does to the process."""
    if klass == 0x8B:  # Rockwell: wall clock
        return 1
    if klass <= 0x06:  # identity, router, DeviceNet, connection manager; but not assemblies and connections' data
        return klass != 0x04
    if klass >= 0xF0 and klass <= 0xF6:  # ControlNet, CompoNet, ports, TCP/IP, Ethernet link
        return 1
    if klass >= 0x5D and klass <= 0x60:  # CIP security, EtherNet/IP security, certificates, authority
        return 1
    return klass == 0x43 or (klass >= 0x45 and klass <= 0x48)  # time sync, Modbus serial link, SNMP, DLR, QoS


cdef inline int is_program(uint32_t klass) noexcept nogil:
    """Say whether a class is part of a Rockwell controller's project: programs, data, routines, tasks, modes."""
    if klass >= 0x64 and klass <= 0x71:
        return klass != CLASS_PCCC
    return (klass >= 0x8C and klass <= 0x8E) or klass == 0xAC


cdef inline uint8_t _common(uint8_t service, uint32_t klass) noexcept nogil:
    """Appendix A-3: services that mean the same in every class that has them."""
    if service in (0x01, 0x03, 0x0E, 0x11, 0x18, 0x1D):  # get attributes, find instance, get member
        return OPERATION_READ
    if service in (0x02, 0x04, 0x0D, 0x10, 0x19):  # set attributes, apply them, set member
        if is_settings(klass):
            return OPERATION_ADMIN
        return OPERATION_PROGRAM if is_program(klass) or klass == CLASS_FIRMWARE else OPERATION_WRITE
    if service == 0x05 or service == 0x06 or service == 0x07:  # reset, start, stop
        return OPERATION_CONTROL
    if service in (0x08, 0x09, 0x1A, 0x1B):  # create, delete; insert and remove a member
        return OPERATION_PROGRAM
    if service == 0x15 or service == 0x16:  # restore, save
        return OPERATION_ADMIN
    if service == 0x0A:
        return OPERATION_NONE if klass == CLASS_ROUTER else OPERATION_OTHER
    if service == 0x17:
        return OPERATION_NONE
    return OPERATION_ADMIN if service == 0x1C else OPERATION_OTHER  # group synchronisation of clocks


cdef inline uint8_t _tag(uint8_t service) noexcept nogil:
    """1756-PM020: services of a tag, by name or by instance of the symbol class."""
    if service in (0x4C, 0x52, 0x55):
        return OPERATION_READ
    return OPERATION_WRITE if service in (0x4D, 0x4E, 0x53) else OPERATION_OTHER


cdef inline uint8_t _manager(uint8_t service) noexcept nogil:
    """3-5.5: services of the connection manager; Forward Open is told apart by what it opens."""
    if service in (0x4E, 0x52, 0x54, 0x5B):
        return OPERATION_NONE
    return OPERATION_DIAGNOSE if service in (0x56, 0x57, 0x5A) else OPERATION_OTHER


cdef inline uint8_t _modbus(uint8_t service) noexcept nogil:
    """Vol. 7, chapter 5: services of the Modbus object; 0x51 passes on any function and is not looked into."""
    if service >= 0x4B and service <= 0x4E:
        return OPERATION_READ
    return OPERATION_WRITE if service == 0x4F or service == 0x50 else OPERATION_OTHER


cdef inline uint8_t cip_operation(uint8_t service, uint32_t klass, int tag) noexcept nogil:
    """Say what a service asks; `klass` is CLASS_NONE where the path names none, `tag`: it names a tag."""
    if service < 0x32:
        return _common(service, klass)
    if klass == CLASS_SYMBOL or (klass == CLASS_NONE and tag):
        if _tag(service) != OPERATION_OTHER or klass == CLASS_NONE:
            return _tag(service)
    if klass == CLASS_CONNECTION_MANAGER:
        return _manager(service)
    if klass == CLASS_IDENTITY:
        return OPERATION_DIAGNOSE if service == 0x4B else OPERATION_OTHER  # flash the LEDs
    if klass == CLASS_ROUTER:
        return OPERATION_READ if service == 0x4B else OPERATION_OTHER  # symbolic translation
    if klass == 0xF6:
        return OPERATION_DIAGNOSE if service == 0x4C else OPERATION_OTHER  # get and clear a counter
    if klass == 0x47:  # DLR: verify a fault's place, clear faults, sign on anew, clear the gateway's count
        return OPERATION_ADMIN if service >= 0x4B and service <= 0x4E else OPERATION_OTHER
    if klass == CLASS_FILE:
        return OPERATION_PROGRAM if service >= 0x4B and service <= 0x51 else OPERATION_OTHER
    if klass == CLASS_MODBUS:
        return _modbus(service)
    if klass == CLASS_TEMPLATE or klass == CLASS_ADDRESSES:
        if service == SERVICE_READ_TAG:
            return OPERATION_READ
    if (is_program(klass) or klass == CLASS_FIRMWARE) and service >= 0x4B and service <= 0x63:
        return OPERATION_PROGRAM
    return OPERATION_OTHER
