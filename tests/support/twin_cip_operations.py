"""What CIP services and PCCC commands ask, as tables: the twin of fastpath/inspect/cip_services.pxd and pccc.pxd.

In: a service and its class, or a command and its function. Out: the operation.
"""

from __future__ import annotations

from typing import Final

from fastpath.abi import Operation

READ, WRITE, CONTROL = Operation.READ, Operation.WRITE, Operation.CONTROL
PROGRAM, ADMIN, DIAGNOSE = Operation.PROGRAM, Operation.ADMIN, Operation.DIAGNOSE
NONE, OTHER = Operation.NONE, Operation.OTHER

SETTINGS: Final = {1, 2, 3, 5, 6, 0x43, 0x45, 0x46, 0x47, 0x48, *range(0x5D, 0x61), 0x8B, *range(0xF0, 0xF7), 0}
PROJECT: Final = {*range(0x64, 0x72), 0x8C, 0x8D, 0x8E, 0xAC} - {0x67}
COMMON: Final = {
    **dict.fromkeys((0x01, 0x03, 0x0E, 0x11, 0x18, 0x1D), READ),
    **dict.fromkeys((0x02, 0x04, 0x0D, 0x10, 0x19), WRITE),
    **dict.fromkeys((5, 6, 7), CONTROL),
    **dict.fromkeys((8, 9, 0x1A, 0x1B), PROGRAM),
    **dict.fromkeys((0x15, 0x16, 0x1C), ADMIN),
    0x17: NONE,
}
TAGS: Final = {0x4C: READ, 0x52: READ, 0x55: READ, 0x4D: WRITE, 0x4E: WRITE, 0x53: WRITE}
SPECIFIC: Final[dict[int, dict[int, Operation]]] = {
    0x01: {0x4B: DIAGNOSE},
    0x02: {0x4B: READ},
    0x06: {0x4E: NONE, 0x52: NONE, 0x54: NONE, 0x5B: NONE, 0x56: DIAGNOSE, 0x57: DIAGNOSE, 0x5A: DIAGNOSE},
    0x37: dict.fromkeys(range(0x4B, 0x52), PROGRAM),
    0x44: {**dict.fromkeys(range(0x4B, 0x4F), READ), 0x4F: WRITE, 0x50: WRITE},
    0x47: dict.fromkeys(range(0x4B, 0x4F), ADMIN),
    0x6B: TAGS,
    0x6C: {0x4C: READ},
    0x72: {0x4C: READ},
    0xF6: {0x4C: DIAGNOSE},
}


def operation(service: int, klass: int | None, *, named: bool) -> Operation:
    """Look up what a service asks of a class, or of a tag where there is no class."""
    if service == 0x0A:
        return NONE if klass == 2 else OTHER
    if service < 0x32:
        found = COMMON.get(service, OTHER)
        if found is WRITE and klass in SETTINGS:
            return ADMIN
        return PROGRAM if found is WRITE and (klass in PROJECT or klass == 0xA1) else found
    if klass is None:
        return TAGS.get(service, OTHER) if named else OTHER
    if service in SPECIFIC.get(klass, {}):
        return SPECIFIC[klass][service]
    return PROGRAM if (klass in PROJECT or klass == 0xA1) and 0x4B <= service <= 0x63 else OTHER


def pccc(command: int, function: int) -> Operation:
    """Look up what a PCCC command asks: Rockwell 1770-6.5.16, chapter 7."""
    plain = {0: WRITE, 1: READ, 2: WRITE, 5: WRITE, 8: WRITE}
    diagnostic = {**dict.fromkeys((0, 1, 3, 9), DIAGNOSE), **dict.fromkeys((2, 4, 5, 6, 7, 8, 10), ADMIN)}
    extended = {
        **dict.fromkeys((1, 4, 0x17, 0x29, 0x68, 0xA1, 0xA2, 0xA7), READ),
        **dict.fromkeys((0, 2, 3, 0x18, 0x26, 0x5E, 0x67, 0x79, 0xA9, 0xAA, 0xAB, 0xAF), WRITE),
        **dict.fromkeys((7, 0x3A, 0x41, 0x80), CONTROL),
        **dict.fromkeys((0x11, 0x12, 0x50, 0x52, 0x53, 0x55, 0x57, 0x81, 0x82), PROGRAM),
        **dict.fromkeys((0x8F, 0x90), ADMIN),
    }
    if command in (6, 15):
        return (diagnostic if command == 6 else extended).get(function, OTHER)
    return plain.get(command, OTHER)
