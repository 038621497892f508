"""CIP read slowly and plainly: the twin of fastpath/inspect/cip*.pxd, written from the clauses with Python's own means.

In: the bytes of one whole request. Out: what it asks for, as `Dissection` says it; `Refused` with the reason where the
engine must refuse. It has tables where the engine has comparisons, and text where the engine has running hashes.
"""

from __future__ import annotations

import math
import struct
from typing import Any, Final

from fastpath.abi import Operation, Protocol, Reason, mix64

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
SIZES: Final = {
    **dict.fromkeys((0xC1, 0xC2, 0xC6, 0xD1), 1),
    **dict.fromkeys((0xC3, 0xC7, 0xD2, 0xCD), 2),
    **dict.fromkeys((0xC4, 0xC8, 0xD3, 0xCA, 0xCC, 0xCE, 0xD6), 4),
    **dict.fromkeys((0xC5, 0xC9, 0xD4, 0xCB, 0xCF, 0xD7), 8),
}
WHOLE: Final = 2**64 - 1
Access = dict[str, Any]


class Refused(Exception):
    """The message is refused, for this reason."""

    def __init__(self, reason: Reason = Reason.MESSAGE_MALFORMED) -> None:
        super().__init__(reason)
        self.reason = reason


def insist(condition: object, reason: Reason = Reason.MESSAGE_MALFORMED) -> None:
    """Refuse the message unless a condition holds."""
    if not condition:
        raise Refused(reason)


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


class Step:
    """A class with what is asked of it, or a tag."""

    def __init__(self, klass: int | None) -> None:
        self.fields: dict[str, int] = {} if klass is None else {"class": klass}
        self.name = ""
        self.subscripts: list[int] = []

    def symbol(self, text: bytes) -> None:
        """Take one symbol."""
        insist(text and all(0x21 <= character <= 0x7E for character in text))
        self.close()
        joint = "." if self.name or self.fields else ""
        self.name += joint + text.decode("ascii")

    def close(self) -> None:
        """Make the subscripts part of the name."""
        if self.subscripts:
            self.name += "[" + ",".join(map(str, self.subscripts)) + "]"
            self.subscripts = []

    def said(self) -> dict[str, Any]:
        """Return the fields that the step names."""
        fields: dict[str, Any] = dict(self.fields)
        if self.name:
            fields["tag"] = spelled_number(self.name)
        if len(self.subscripts) == 1:
            fields["offset"] = self.subscripts[0]
        return fields


def spelled_number(name: str) -> int:
    """Return a name's number, also where no policy can write it."""
    text = bytes(code + 32 if 65 <= code <= 90 else code for code in name.encode("ascii"))
    number = 0
    for start in range(0, len(text), 8):
        number = mix64(number, int.from_bytes(text[start : start + 8], "little"))
    return mix64(number, len(text))


def path(data: bytes) -> list[Step]:
    """Read the path of a request: CIP Vol. 1, C-1."""
    steps = [Step(None)]
    seen: set[str] = set()
    while data:
        insist(len(data) >= 2)
        kind = data[0]
        if kind == 0x34:
            insist(data[1] in (4, 5))
            size = 10 if data[1] == 4 else 12
            insist(size <= len(data))
        elif kind in (0x91, *range(0x60, 0x80)):
            insist(kind != 0x60, Reason.MESSAGE_OPAQUE)
            start, count = (2, data[1]) if kind == 0x91 else (1, kind & 0x1F)
            size = (start + count + 1) // 2 * 2
            insist(size <= len(data))
            steps[-1].symbol(data[start : start + count])
        else:
            insist(0x20 <= kind < 0x34 and kind & 3 != 3)
            size = (2, 4, 6)[kind & 3]
            insist(size <= len(data))
            value = int.from_bytes(data[1:2] if size == 2 else data[2:size], "little")
            _logical(steps, seen, ("class", "instance", "member", "point", "attribute")[(kind - 0x20) // 4], value)
        data = data[size:]
    for step in steps[:-1]:
        step.close()
    if len(steps[-1].subscripts) > 1:
        steps[-1].close()
    return steps


def _logical(steps: list[Step], seen: set[str], kind: str, value: int) -> None:
    step = steps[-1]
    if kind == "class":
        if step.fields or step.name:
            insist(len(steps) < 4, Reason.MESSAGE_BUDGET)
            steps.append(Step(value))
        else:
            steps[-1] = Step(value)
        seen.clear()
    elif kind == "member":
        insist(len(step.subscripts) < 3 and (step.fields or step.name))
        step.subscripts.append(value)
    else:
        insist(step.fields and not step.name and not step.subscripts)
        if kind == "attribute":
            insist("attribute" not in seen)
        else:
            insist(not seen)
        seen.add(kind)
        if kind != "point":
            step.fields[kind] = value


def request(data: bytes, depth: int = 0, around: dict[str, Any] | None = None) -> list[Access]:
    """Return the accesses of one request without Forward Open and Forward Close."""
    insist(depth <= 4, Reason.MESSAGE_BUDGET)
    insist(len(data) >= 2 and len(data) >= 2 + 2 * data[1])
    service, around = data[0], around or {}
    insist(service < 0x80)
    steps = path(data[2 : 2 + 2 * data[1]])
    rest = data[2 + 2 * data[1] :]
    klass = steps[-1].fields.get("class")
    base = {"service": service, "response": 0, **around}
    own = {**base, **steps[-1].said()}
    access = {"operation": operation(service, klass, named=bool(steps[-1].name)), "depth": depth, "further": False}
    if klass == 2 and service == 0x0A:
        insist(len(steps) == 1)
        return [{**access, "fields": own}, *multiple(rest, depth, around)]
    if klass == 6 and service == 0x52:
        insist(len(steps) == 1)
        hops, message = unconnected(rest)
        access["operation"] = ADMIN if len(hops) > 1 or any(hops) else NONE
        return [{**access, "fields": {**own, "count": len(hops)}}, *request(message, depth + 1, around)]
    furthers = [{**base, **step.said()} for step in steps[:-1]]
    access, own, listed = data_of(access, own, steps[-1], klass, service, rest)
    if furthers:
        furthers = [{**access, "further": True, "fields": fields} for fields in furthers]
    listed = [{**access, "further": True, "fields": fields} for fields in listed]
    return [{**access, "fields": own}, *furthers, *listed]


def multiple(data: bytes, depth: int, around: dict[str, Any]) -> list[Access]:
    """Return what is embedded in a Multiple Service Packet."""
    insist(len(data) >= 2)
    (count,) = struct.unpack_from("<H", data)
    insist(count <= 1024, Reason.MESSAGE_BUDGET)
    insist(count and len(data) >= 2 + 2 * count)
    starts = [*struct.unpack_from(f"<{count}H", data, 2), len(data)]
    insist(starts[0] == 2 + 2 * count)
    found = []
    for start, end in zip(starts, starts[1:], strict=False):
        insist(start < end <= len(data))
        found += request(data[start:end], depth + 1, around)
    return found


def unconnected(data: bytes) -> tuple[list[bool], bytes]:
    """Return for each hop of an Unconnected Send whether it leaves the chassis, and the message in it."""
    insist(len(data) >= 4)
    (size,) = struct.unpack_from("<H", data, 2)
    route = data[4 + (size + 1) // 2 * 2 :]
    insist(size and len(data) >= 4 + (size + 1) // 2 * 2 + 2)
    insist(len(route) == 2 + 2 * route[0])
    route, hops = route[2:], []
    while route:
        kind, used, address = route[0], 1, 1
        insist(kind < 0x20 and kind & 15)
        if kind & 16:
            address, used = route[1], 2
        used += 2 if kind & 15 == 15 else 0
        used = (used + address + 1) // 2 * 2
        insist(used <= len(route))
        hops.append(bool(kind & 16))
        route = route[used:]
    return hops, data[4 : 4 + size]


def data_of(  # noqa: PLR0913 one request's parts
    access: Access, own: dict[str, Any], step: Step, klass: int | None, service: int, data: bytes
) -> tuple[Access, dict[str, Any], list[dict[str, Any]]]:
    """Return access, fields and the fields of further accesses, completed from a request's data."""
    if service in (3, 4):
        return access, *attributes(own, service, data)
    if service > 0x31 and (klass == 0x6B or (klass is None and step.name)):
        return access, {**own, **elements(step, service, data)}, []
    if klass == 0x67 and service == 0x4B:
        insist(data and data[0] and len(data) >= data[0] + 4)
        words = data[data[0] :]
        extended = words[0] in (6, 7, 15)
        insist(not words[0] & 0x40 and (len(words) >= 5 or not extended))
        function = words[4] if extended else 0
        return {**access, "operation": pccc(words[0], function)}, {**own, "type": words[0] << 8 | function}, []
    number = service == 5 and len(data) == 1 or service == 0x10 and len(data) in (1, 2, 4, 8)
    return access, {**own, "value": int.from_bytes(data, "little")} if number else own, []


def attributes(own: dict[str, Any], service: int, data: bytes) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Read the list of Get_Attribute_List or Set_Attribute_List."""
    insist(len(data) >= 2 and "attribute" not in own)
    (count,) = struct.unpack_from("<H", data)
    insist(count <= 128, Reason.MESSAGE_BUDGET)
    insist(len(data) >= 2 + 2 * count if service == 4 else len(data) == 2 + 2 * count)
    if not count:
        return own, []
    if service == 3:
        first, *others = ({**own, "attribute": one} for one in struct.unpack_from(f"<{count}H", data, 2))
        return first, others
    first = {**own, "attribute": struct.unpack_from("<H", data, 2)[0]}
    if count == 1:
        value = data[4:]
        return ({**first, "value": int.from_bytes(value, "little")} if len(value) in (1, 2, 4, 8) else first), []
    return first, [{name: value for name, value in own.items() if name not in ("attribute", "value")}]


def elements(step: Step, service: int, data: bytes) -> dict[str, Any]:
    """Read which elements of a tag are meant, and what is written to them."""
    if service in (0x4C, 0x52):
        insist(len(data) == (2 if service == 0x4C else 6))
        return _span(step, struct.unpack_from("<H", data)[0])
    if service == 0x4E:
        insist(len(data) >= 2 and len(data) == 2 + 2 * struct.unpack_from("<H", data)[0])
    if service not in (0x4D, 0x53):
        return {}
    insist(len(data) >= 4)
    (kind,) = struct.unpack_from("<H", data)
    data = data[4:] if kind & 0xFF == 0xA0 else data[2:]
    insist(len(data) >= (2 if service == 0x4D else 6))
    (count,) = struct.unpack_from("<H", data)
    offset = struct.unpack_from("<I", data, 2)[0] if service == 0x53 else 0
    data = data[2:] if service == 0x4D else data[6:]
    said = {**_span(step, count), "type": kind}
    size = SIZES.get(kind)
    if size is None:
        return said
    insist(len(data) % size == 0 and offset % size == 0)
    insist(len(data) == count * size if service == 0x4D else offset + len(data) <= count * size)
    values = [data[at : at + size] for at in range(0, len(data), size)]
    bands = [_band(kind, value) for value in values]
    if bands:
        said["value"] = _pair(min(low for low, _ in bands), max(high for _, high in bands))
    return said


def _band(kind: int, data: bytes) -> tuple[int, int]:
    if kind not in (0xCA, 0xCB):
        return (int.from_bytes(data, "little"),) * 2
    value = struct.unpack("<f" if kind == 0xCA else "<d", data)[0]
    if not 0 <= value < 2**53:
        return 0, WHOLE
    return math.floor(value), math.ceil(value)


def _span(step: Step, count: int) -> dict[str, Any]:
    first = step.subscripts[0] if len(step.subscripts) == 1 else 0
    return {"count": count, "offset": _pair(first, first + max(count, 1) - 1)}


def _pair(low: int, high: int) -> int | tuple[int, int]:
    return low if low == high else (low, high)


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


def accesses(data: bytes, around: dict[str, Any]) -> list[Access]:
    """Return the accesses of one request in full, as `Dissection.read` gives them."""
    return [{"protocol": Protocol.CIP, "answer": False, **one} for one in request(data, 0, around)]
