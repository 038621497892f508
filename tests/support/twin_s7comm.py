"""What S7comm requests mean, said slowly: the twin of fastpath/inspect/s7*.pxd for what an opener asks.

In: the user data of one data unit. Out: the accesses, as (operation, fields), or None where the message contradicts
itself. Written from docs/reference/protocols/s7comm.md with Python's own slices; knows no conversation.
"""

from __future__ import annotations

from typing import Any, Final

from fastpath.abi import Operation

Access = tuple[Operation, dict[str, Any]]

SIZES: Final = {1: 1, 2: 1, 3: 1, 4: 2, 5: 2, 6: 4, 7: 4, 8: 4, 9: 2, 10: 4, 11: 4, 12: 2, 15: 8}
TESTS: Final = {
    Operation.DIAGNOSE: {1, 2, 3, 4, 5, 6, 7, 13, 15, 16, 17, 19, 22},
    Operation.WRITE: {8},
    Operation.CONTROL: {9, 10, 11, 18},
    Operation.PROGRAM: {12},
}
USERDATA: Final[dict[int, dict[Operation, set[int]]]] = {
    1: TESTS,
    2: {Operation.READ: {1, 4, 5, 7, 8}},
    3: {Operation.DIAGNOSE: {1, 2, 3}},
    4: {Operation.DIAGNOSE: {1, 2, 19}, Operation.CONTROL: {7, 8, 11}},
    5: {Operation.ADMIN: set(range(256))},
    6: {Operation.WRITE: set(range(256))},
    7: {Operation.READ: {1, 3}, Operation.ADMIN: {2, 4}},
    15: {Operation.PROGRAM: set(range(256))},
}
BLOCK_SERVICES: Final = {b"_INSE", b"_INS2", b"_DELE"}
SERVICES: Final = {
    b"P_PROGRAM": Operation.CONTROL,
    b"_MODU": Operation.PROGRAM,
    b"_GARB": Operation.PROGRAM,
    b"_N_LOGIN_": Operation.ADMIN,
    b"_N_LOGOUT": Operation.ADMIN,
}


class _BrokenError(Exception):
    """The message contradicts itself."""


class _Bytes:
    def __init__(self, data: bytes) -> None:
        self.rest = data

    def take(self, count: int) -> bytes:
        if count > len(self.rest):
            raise _BrokenError
        found, self.rest = self.rest[:count], self.rest[count:]
        return found

    def number(self, count: int) -> int:
        return int.from_bytes(self.take(count), "big")

    def end(self) -> None:
        if self.rest:
            raise _BrokenError


def read_request(user: bytes) -> list[Access] | None:
    """Return what a job or a userdata request asks for."""
    try:
        return _pdu(_Bytes(user))
    except _BrokenError:
        return None


def _pdu(user: _Bytes) -> list[Access]:
    _protocol, rosctr, _, reference, parameter_bytes, data_bytes = (user.number(size) for size in (1, 1, 2, 2, 2, 2))
    parameters, data = user.take(parameter_bytes), user.take(data_bytes)
    user.end()
    base = {"rosctr": rosctr, "reference": reference}
    if rosctr == 7:
        return _userdata(parameters, data, base)
    return _job(parameters, data, base) if rosctr == 1 else [(Operation.OTHER, base)]


def _job(parameters: bytes, data: bytes, base: dict[str, Any]) -> list[Access]:
    if not parameters:
        raise _BrokenError
    base["function"] = function = parameters[0]
    if function in {4, 5}:
        return _variables(parameters, data if function == 5 else None, data, base)
    if 0x1A <= function <= 0x1F:
        return _transfer(function, _Bytes(parameters), data, base)
    if function == 0x28:
        return _service(_Bytes(parameters), data, base)
    stops = function == 0x29
    if stops and (len(parameters) < 7 or len(parameters) != 7 + parameters[6] or data):
        raise _BrokenError
    if function == 0xF0 and (len(parameters) != 8 or data):
        raise _BrokenError
    by_function = {0x29: Operation.CONTROL, 0xF0: Operation.NONE}
    return [(by_function.get(function, Operation.OTHER), base)]


def _variables(parameters: bytes, written: bytes | None, data: bytes, base: dict[str, Any]) -> list[Access]:
    operation = Operation.READ if written is None else Operation.WRITE
    if written is None and data:
        raise _BrokenError
    rest = _Bytes(parameters)
    rest.take(1)
    return _items(rest, rest.number(1), operation, None if written is None else _Bytes(written), base)


def _items(rest: _Bytes, number: int, operation: Operation, data: _Bytes | None, base: dict[str, Any]) -> list[Access]:
    found: list[Access] = []
    if not number:
        raise _BrokenError
    for at in range(number):
        last = at + 1 == number
        kind, length = rest.number(1), rest.number(1)
        if kind != 0x12 or not length:
            raise _BrokenError
        spec = rest.take(length)
        if length % 2 and not last:
            rest.take(1)
        if spec[0] == 0xB0:
            found += _db_reads(spec, Operation.OTHER if data is not None else operation, base)
            if data is not None:
                return _itself_first(found, operation)
            continue
        fields, expected, is_bit, sure = _item(spec, base, writes=data is not None)
        if data is not None:
            value = _value(data, last=last, is_bit=is_bit)
            fields |= _number(value, expected, points=spec[0] == 0x10)
        found.append((operation if sure else Operation.OTHER, fields))
    rest.end()
    if data is not None:
        data.end()
    return _itself_first(found, operation)


def _itself_first(found: list[Access], operation: Operation) -> list[Access]:
    """Put the message itself before a first thing that is not understood."""
    return [(operation, found[0][1]), *found] if found[0][0] is Operation.OTHER else found


def _number(value: bytes, expected: int | None, *, points: bool) -> dict[str, int]:
    """Return the field of what is written, where it is one number."""
    if expected is not None and len(value) != expected:
        raise _BrokenError
    return {"value": int.from_bytes(value, "big")} if points and len(value) in {1, 2, 4} else {}


def _item(spec: bytes, base: dict[str, Any], *, writes: bool) -> tuple[dict[str, Any], int | None, bool, bool]:
    """Return fields, bytes that a write carries, whether it is a bit, whether its address is understood."""
    if spec[0] != 0x10:
        known = (spec[0], len(spec)) in {(0x82, 8), (0x83, 8), (0x84, 8), (0xA2, 10)} or (
            spec[0] == 0xB2 and len(spec) >= 4
        )
        return dict(base), None, False, known
    if len(spec) != 10:
        raise _BrokenError
    size, count, db, area, start = (
        int.from_bytes(spec[low:high], "big") for low, high in ((1, 2), (2, 4), (4, 6), (6, 7), (7, 10))
    )
    if not count or (size == 1 and writes and count != 1):
        raise _BrokenError
    fields = base | {"area": area}
    if 28 <= area <= 31:
        fields |= {"address": _span(start, start + count - 1), "count": count}
        return fields, count * 2 if area <= 29 else None, size == 1, size == area
    if area in {0x84, 0x85}:
        fields["db"] = db
    if size not in SIZES:
        return fields, None, False, False
    bits = count if size == 1 else count * SIZES[size] * 8
    fields["address"] = _span(start // 8, (start + bits - 1) // 8)
    if size != 1:
        fields["count"] = count * SIZES[size]
    return fields, count * SIZES[size], size == 1, True


def _db_reads(spec: bytes, operation: Operation, base: dict[str, Any]) -> list[Access]:
    if len(spec) < 2 or not spec[1] or len(spec) != 2 + 5 * spec[1]:
        raise _BrokenError
    found: list[Access] = []
    for at in range(2, len(spec), 5):
        count, db, start = spec[at], int.from_bytes(spec[at + 1 : at + 3]), int.from_bytes(spec[at + 3 : at + 5])
        fields = base | {"area": 0x84, "db": db, "address": _span(start, start + max(count, 1) - 1), "count": count}
        found.append((operation if count else Operation.OTHER, fields))
    return found


def _value(data: _Bytes, *, last: bool, is_bit: bool) -> bytes:
    data.take(1)
    kind, length = data.number(1), data.number(2)
    if kind in {3, 4, 5}:
        if kind != 3 and length % 8:
            raise _BrokenError
        length = (length + 7) // 8
    elif kind > 9 and kind not in {17, 18}:
        raise _BrokenError
    if is_bit and kind != 3:
        raise _BrokenError
    value = data.take(length)
    if length % 2 and not last:
        data.take(1)
    return value


def _span(low: int, high: int) -> int | tuple[int, int]:
    return low if low == high else (low, high)


def _block(text: bytes) -> dict[str, int]:
    """Return the field of seven characters, or none."""
    kind, number = text[:2].decode("latin-1"), text[2:7].decode("latin-1")
    if set(kind) <= set("0123456789ABCDEF") and set(number) <= set("0123456789") and int(kind + number, 16):
        return {"block": int(kind, 16) * 100_000 + int(number)}
    return {}


def _transfer(function: int, parameters: _Bytes, data: bytes, base: dict[str, Any]) -> list[Access]:
    fields = dict(base)
    parameters.take(8)
    if function not in {0x1E, 0x1F}:
        name = parameters.take(parameters.number(1))
        if len(name) == 9 and name[:1] == b"_":
            fields |= _block(name[1:8])
        if function == 0x1A and parameters.rest:
            parameters.take(parameters.number(1))
    parameters.end()
    if data:
        raise _BrokenError
    return [(Operation.PROGRAM, fields)]


def _service(parameters: _Bytes, data: bytes, base: dict[str, Any]) -> list[Access]:
    parameters.take(8)
    arguments = parameters.take(parameters.number(2))
    name = parameters.take(parameters.number(1))
    parameters.end()
    if data:
        raise _BrokenError
    if name in BLOCK_SERVICES:
        if len(arguments) < 2 or not arguments[0] or len(arguments) != 2 + 8 * arguments[0]:
            raise _BrokenError
        return [(Operation.PROGRAM, base | _block(arguments[at : at + 7])) for at in range(2, len(arguments), 8)]
    if name in {b"P_PROGRAM", b"_MODU", b"_GARB"} and len(arguments) > 2:
        raise _BrokenError
    files = len(name) > 5 and name.startswith(b"_N_F_")
    return [(Operation.PROGRAM if files else SERVICES.get(name, Operation.OTHER), base)]


def _userdata(parameters: bytes, data: bytes, base: dict[str, Any]) -> list[Access]:
    if len(parameters) < 8 or parameters[:3] != b"\x00\x01\x12" or parameters[3] not in {4, 8}:
        raise _BrokenError
    if len(parameters) != 4 + parameters[3]:
        raise _BrokenError
    content = _content(data)
    group, subfunction = parameters[5] & 15, parameters[6]
    fields = base | {"userdata_group": group}
    if group:  # 0 is a mode transition: its octet is the mode
        fields |= {"userdata_subfunction": subfunction}
    if len(parameters) == 12:
        fields["error"] = int.from_bytes(parameters[10:12])
    by_operation = USERDATA.get(group, {})
    operation = next((one for one, numbers in by_operation.items() if subfunction in numbers), Operation.OTHER)
    if (group, subfunction) == (1, 14):
        operation = _enabled(content)
    if group == 2 and subfunction in {1, 5, 7}:
        if len(data) < 8:
            raise _BrokenError
        return _items(_Bytes(data[8:]), data[5], operation, None, fields)
    if (group, subfunction, len(content)) == (3, 3, 8):
        fields |= _block(content[:7])
    if (group, subfunction, len(content)) == (3, 2, 2) and set(content) <= set(b"0123456789ABCDEF"):
        kind = int(content, 16) * 100_000
        fields["block"] = (kind, kind + 99_999)
    return [(operation, fields)]


def _content(data: bytes) -> bytes:
    if not data:
        return b""
    if len(data) < 4:
        raise _BrokenError
    length = int.from_bytes(data[2:4])
    if data[1] in {3, 4, 5}:
        length = (length + 7) // 8
    if len(data) != 4 + length:
        raise _BrokenError
    return data[4:]


def _enabled(content: bytes) -> Operation:
    head, tail = int.from_bytes(content[:2]), int.from_bytes(content[2:4])
    if len(content) < 6 or tail != 2 or len(content) != 4 + head + tail:
        return Operation.CONTROL
    return next((one for one, numbers in TESTS.items() if content[-2] in numbers), Operation.CONTROL)
