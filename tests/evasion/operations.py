"""What is asked of the devices: five Modbus writes, S7 write and stop, CIP set, write tag and reset; and readings.

In: the number of a case, which is also the cell that a forbidden one would change. Out: the requests that open a
conversation, the message itself, and what shows at the server (forbidden) or to the client (permitted) that it was
carried out. Pure bytes: must never touch a socket.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from tests.evasion.servers import (
    ATTRIBUTE_CLASS,
    ATTRIBUTES,
    CELL_REGISTERS,
    CELLS,
    CIP_RESET,
    PATTERN_AT,
    PATTERN_DB,
    PATTERN_REGISTERS,
    PATTERN_TAG,
    TAG,
    WRITTEN_DB,
)

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable

MARK: Final = 0x5A5A  # what is written
MODBUS, S7COMM, CIP = "modbus", "s7comm", "cip"
WRITTEN, STOPPED, RESET = "changed", "stopped", "reset"  # by which word of the server's state a deed is seen
S7_CONNECT: Final = bytes.fromhex("0300001611e00000000100c0010ac1020100c2020102")
S7_SETUP: Final = bytes.fromhex("0300001902f08032010000040000080000f0000001000101e0")
ENIP_REGISTER: Final = struct.pack("<HHII8sIHH", 0x65, 4, 0, 0, b"evasion.", 0, 1, 0)


@dataclass(frozen=True, slots=True)
class Operation:
    """One kind of message. `message(number, session)`; `session` is what the last answer of the opening was."""

    name: str
    protocol: str
    forbidden: bool
    message: Callable[[int, bytes], bytes]
    seen: str = WRITTEN
    cells: int = CELLS  # how many cases can be told apart
    answer: Callable[[int, bytes], bool] = lambda _number, _answer: True

    @property
    def opening(self) -> tuple[bytes, ...]:
        """Return the requests before it, each of which is answered."""
        return OPENINGS[self.protocol]


OPENINGS: Final[dict[str, tuple[bytes, ...]]] = {
    MODBUS: (),
    S7COMM: (S7_CONNECT, S7_SETUP),
    CIP: (ENIP_REGISTER,),
}


def message_bytes(protocol: str, stream: bytes) -> int | None:
    """Return how long the first message of a stream is, None while that cannot be told."""
    if protocol == MODBUS:
        return 6 + int.from_bytes(stream[4:6], "big") if len(stream) >= 6 else None
    if protocol == S7COMM:
        return int.from_bytes(stream[2:4], "big") if len(stream) >= 4 else None
    return 24 + int.from_bytes(stream[2:4], "little") if len(stream) >= 4 else None


def messages(protocol: str, stream: bytes) -> list[bytes]:
    """Return the whole messages at the beginning of a stream."""
    found: list[bytes] = []
    while (size := message_bytes(protocol, stream)) is not None and 0 < size <= len(stream):
        found.append(stream[:size])
        stream = stream[size:]
    return found


def next_message(link: socket.socket, protocol: str) -> bytes:
    """Return the next whole message of a connection. Raises OSError when there is none."""
    said = b""
    while not messages(protocol, said):
        more = link.recv(4096)
        if not more:
            raise ConnectionError("the device closed the connection")
        said += more
    return messages(protocol, said)[0]


# ---- Modbus/TCP (Modbus application protocol V1.1b3, clause 6) ----


def _adu(number: int, pdu: bytes) -> bytes:
    return struct.pack(">HHHB", number & 0xFFFF, 0, len(pdu) + 1, 1) + pdu


def _cell(number: int) -> int:
    return number % CELLS * CELL_REGISTERS


def _write_coil(number: int, _session: bytes) -> bytes:
    return _adu(number, struct.pack(">BHH", 5, _cell(number), 0xFF00))


def _write_register(number: int, _session: bytes) -> bytes:
    return _adu(number, struct.pack(">BHH", 6, _cell(number), MARK))


def _write_coils(number: int, _session: bytes) -> bytes:
    return _adu(number, struct.pack(">BHHBB", 15, _cell(number), 8, 1, 0xFF))


def _write_registers(number: int, _session: bytes) -> bytes:
    return _adu(number, struct.pack(">BHHBHH", 16, _cell(number), 2, 4, MARK, MARK))


def _read_write(number: int, _session: bytes) -> bytes:
    return _adu(number, struct.pack(">BHHHHBH", 23, PATTERN_AT, 1, _cell(number), 1, 2, MARK))


def _pattern(number: int) -> int:
    return PATTERN_AT + number % (PATTERN_REGISTERS - 1)


def _read(function: int) -> Callable[[int, bytes], bytes]:
    return lambda number, _session: _adu(number, struct.pack(">BHH", function, _pattern(number), 2))


def _read_answer(function: int) -> Callable[[int, bytes], bool]:
    def right(number: int, answer: bytes) -> bool:
        at = _pattern(number)
        return answer == _adu(number, struct.pack(">BBHH", function, 4, at, at + 1))

    return right


# ---- S7comm over COTP over TPKT (RFC 1006) ----


def _s7(number: int, parameter: bytes, data: bytes = b"") -> bytes:
    head = struct.pack(">BBHHHH", 0x32, 1, 0, number & 0xFFFF, len(parameter), len(data))
    body = b"\x02\xf0\x80" + head + parameter + data
    return struct.pack(">BBH", 3, 0, 4 + len(body)) + body


def _s7_item(db: int, byte: int) -> bytes:
    return struct.pack(">BBBBHHB", 0x12, 10, 0x10, 2, 2, db, 0x84) + (byte * 8).to_bytes(3, "big")


def _s7_write(number: int, _session: bytes) -> bytes:
    return _s7(number, b"\x05\x01" + _s7_item(WRITTEN_DB, number % CELLS * 2), struct.pack(">BBHH", 0, 4, 16, MARK))


def _s7_stop(number: int, _session: bytes) -> bytes:
    return _s7(number, b"\x29" + bytes(5) + b"\x09P_PROGRAM")


def _s7_read(number: int, _session: bytes) -> bytes:
    return _s7(number, b"\x04\x01" + _s7_item(PATTERN_DB, number % PATTERN_REGISTERS * 2))


def _s7_read_answer(number: int, answer: bytes) -> bool:
    at = number % PATTERN_REGISTERS * 2
    return answer[7:9] == b"\x32\x03" and answer[-2:] == bytes((at & 0xFF, (at + 1) & 0xFF))


# ---- CIP in EtherNet/IP (CIP Volume 1 appendix A, Volume 2 clause 2) ----


def _cip(session: bytes, number: int, service: int, path: bytes, data: bytes = b"") -> bytes:
    request = bytes((service, len(path) // 2)) + path + data
    items = struct.pack("<IHHHHHH", 0, 5, 2, 0, 0, 0xB2, len(request)) + request
    context = struct.pack("<Q", number)
    return struct.pack("<HH4sI8sI", 0x6F, len(items), session[4:8], 0, context, 0) + items


def _tag(name: str, element: int) -> bytes:
    symbol = bytes((0x91, len(name))) + name.encode() + bytes(len(name) % 2)
    return symbol + struct.pack("<BBH", 0x29, 0, element)


def _set_attribute(number: int, session: bytes) -> bytes:
    path = struct.pack("<BBBBBBH", 0x20, ATTRIBUTE_CLASS, 0x24, 1, 0x31, 0, number % ATTRIBUTES)
    return _cip(session, number, 0x10, path, struct.pack("<H", MARK))


def _write_tag(number: int, session: bytes) -> bytes:
    return _cip(session, number, 0x4D, _tag(TAG, number % CELLS), struct.pack("<HHH", 0xC3, 1, MARK))


def _reset(number: int, session: bytes) -> bytes:
    return _cip(session, number, CIP_RESET, b"\x20\x01\x24\x01")


def _get_attribute(number: int, session: bytes) -> bytes:
    return _cip(session, number, 0x0E, b"\x20\x01\x24\x01\x30\x06")


def _get_attribute_answer(_number: int, answer: bytes) -> bool:
    return answer[40:44] == b"\x8e\x00\x00\x00" and answer[44:48] == struct.pack("<I", 0x006C061A)


def _read_tag(number: int, session: bytes) -> bytes:
    return _cip(session, number, 0x4C, _tag(PATTERN_TAG, number % PATTERN_REGISTERS), b"\x01\x00")


def _read_tag_answer(number: int, answer: bytes) -> bool:
    return answer[40:44] == b"\xcc\x00\x00\x00" and answer[44:48] == struct.pack(
        "<HH", 0xC3, number % PATTERN_REGISTERS
    )


OPERATIONS: Final = (
    Operation("modbus 5 write coil", MODBUS, forbidden=True, message=_write_coil),
    Operation("modbus 6 write register", MODBUS, forbidden=True, message=_write_register),
    Operation("modbus 15 write coils", MODBUS, forbidden=True, message=_write_coils),
    Operation("modbus 16 write registers", MODBUS, forbidden=True, message=_write_registers),
    Operation("modbus 23 read/write", MODBUS, forbidden=True, message=_read_write),
    Operation("s7 write variable", S7COMM, forbidden=True, message=_s7_write),
    Operation("s7 stop", S7COMM, forbidden=True, message=_s7_stop, seen=STOPPED),
    Operation("cip set attribute", CIP, forbidden=True, message=_set_attribute, cells=ATTRIBUTES),
    Operation("cip write tag", CIP, forbidden=True, message=_write_tag),
    Operation("cip reset", CIP, forbidden=True, message=_reset, seen=RESET),
    Operation("modbus 3 read", MODBUS, forbidden=False, message=_read(3), answer=_read_answer(3)),
    Operation("modbus 4 read", MODBUS, forbidden=False, message=_read(4), answer=_read_answer(4)),
    Operation("s7 read variable", S7COMM, forbidden=False, message=_s7_read, answer=_s7_read_answer),
    Operation("cip get attribute", CIP, forbidden=False, message=_get_attribute, answer=_get_attribute_answer),
    Operation("cip read tag", CIP, forbidden=False, message=_read_tag, answer=_read_tag_answer),
)
# What fills in for a forbidden message, byte by byte, where a case sends two versions of the same place in the stream.
DECOYS: Final = {MODBUS: OPERATIONS[10], S7COMM: OPERATIONS[12], CIP: OPERATIONS[14]}
