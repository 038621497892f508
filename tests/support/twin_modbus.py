"""A slow, plainly correct twin of the Modbus inspectors: whole messages, by tables made from the specification.

In: one conversation's messages, in Modbus/TCP or RTU, in the order of both directions. Out: the reason why a message is
refused, or what it means, as `fastpath.dissect` gives it. Written from MODBUS Application Protocol V1.1b3, Messaging on
TCP/IP V1.0b and Serial Line V1.02, with Python's own slices and lists; shares nothing with the inspectors.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

from fastpath.abi import Operation, Protocol, Reason

READ, WRITE, DIAGNOSE = Operation.READ, Operation.WRITE, Operation.DIAGNOSE
OPERATIONS: Final = {
    **dict.fromkeys((1, 2, 3, 4, 20, 24), READ),
    **dict.fromkeys((5, 6, 15, 16, 21, 22, 23), WRITE),
    **dict.fromkeys((7, 11, 12, 17), DIAGNOSE),
    90: Operation.PROGRAM,
}
DIAGNOSTICS: Final = {
    **dict.fromkeys((0, 2, *range(11, 19)), DIAGNOSE),
    **dict.fromkeys((1, 4), Operation.CONTROL),
    **dict.fromkeys((3, 10, 20), Operation.ADMIN),
}
MOST: Final = {1: 2000, 2: 2000, 3: 125, 4: 125, 15: 1968, 16: 123}
MOST_WAITING: Final = 32


class MalformedError(Exception):
    """The message contradicts its clause."""


class Meaning(NamedTuple):
    """One thing that a message asks for or answers."""

    operation: Operation
    fields: dict[str, Any]
    values: list[Any] | None = None


@dataclass
class Asked:
    """A request that waits."""

    key: tuple[int, int, int]  # transaction, unit, function
    pdu: bytes
    fine: bool


@dataclass
class Conversation:
    """Both directions of one connection."""

    rtu: bool = False
    taken_up: bool = False  # it began before it was seen
    strays: int = 0
    waiting: list[Asked] = field(default_factory=list)
    lost: set[int] = field(default_factory=set)  # what answers to forgotten requests name

    def read(self, message: bytes, *, from_opener: bool) -> tuple[Reason, list[dict[str, Any]]]:
        """Return what one whole message means, or why it is refused."""
        if self.rtu:
            if crc16(message) != 0:
                return Reason.MESSAGE_MALFORMED, []
            transaction, unit, pdu = 0, message[0], message[1:-2]
        else:
            transaction, unit, pdu = word(message, 0), message[6], message[7:]
        shared: dict[str, Any] = {"unit": unit, "function": pdu[0] & 0x7F}
        if not self.rtu:
            shared["transaction"] = transaction
        key = (transaction, unit, pdu[0] & 0x7F)
        if from_opener:
            return self._request(key, pdu, shared)
        return self._answer(key, pdu, shared)

    def _request(self, key: tuple[int, int, int], pdu: bytes, shared: dict[str, Any]) -> tuple[Reason, list[Any]]:
        try:
            meanings = request(pdu)
        except MalformedError:
            meanings = []
        if pdu[0] < 0x80:
            self._wait(Asked(key, pdu, bool(meanings)))
        elif meanings == []:
            # an exception as a request: only a device that could not read it may answer
            self._wait(Asked((key[0], key[1], pdu[0]), pdu, fine=False))
        if not meanings:
            return Reason.MESSAGE_MALFORMED, []
        return Reason.NONE, [access(one, shared, further=at > 0) for at, one in enumerate(meanings)]

    def _wait(self, asked: Asked) -> None:
        if len(self.waiting) == MOST_WAITING:
            self.lost.add(lost_place(self.waiting.pop(0).key))
        self.waiting.append(asked)

    def _answer(self, key: tuple[int, int, int], pdu: bytes, shared: dict[str, Any]) -> tuple[Reason, list[Any]]:
        try:
            meaning = answer(pdu)
        except MalformedError:
            return Reason.MESSAGE_MALFORMED, []
        similar = [one for one in self.waiting if one.key == key or (key[2] == 0 and one.key[:2] == key[:2])]
        fitting = [asked for asked in similar if not asked.fine or pdu[0] > 0x7F or fits(asked.pdu, pdu)]
        if not similar and self.taken_up and self.strays < MOST_WAITING:
            self.strays += 1
            operation = operation_of(key[2], meaning.fields["subfunction"]) if "subfunction" in meaning.fields else None
            if operation is None:
                operation = Operation.NONE if key[2] in (8, 43) else operation_of(key[2], None)
            return Reason.NONE, [access(meaning._replace(operation=operation), shared, answer=True)]
        if not fitting:
            return (Reason.MESSAGE_MALFORMED if similar else Reason.MESSAGE_ANSWER), []
        asked = fitting[0]
        self.waiting.remove(asked)
        known = recalled(asked)
        operation = operation_of(asked.pdu[0], known.get("subfunction"))
        found = access(meaning._replace(operation=operation), shared, answer=True)
        found["recalled"] = {name: value for name, value in known.items() if name not in found["fields"]}
        if pdu[0] in (3, 4) and lost_place(asked.key) not in self.lost:
            found["values"] = words(pdu[2:])
        return Reason.NONE, [found]


def lost_place(key: tuple[int, int, int]) -> int:
    """Return one of 512 places for what an answer names: two that meet there bring no values together."""
    return (key[0] + 67 * key[1] + 5 * key[2]) % 512


def access(meaning: Meaning, shared: dict[str, Any], *, further: bool = False, answer: bool = False) -> dict[str, Any]:
    """Return a meaning in the form of `fastpath.dissect`."""
    return {
        "protocol": Protocol.MODBUS,
        "operation": meaning.operation,
        "answer": answer,
        "depth": 0,
        "further": further,
        "partial": False,
        "fields": shared | meaning.fields,
        "recalled": {},
        "values": meaning.values,
    }


def word(data: bytes, at: int) -> int:
    """Return a 16-bit number, high byte first."""
    if len(data) < at + 2:
        raise MalformedError
    return int.from_bytes(data[at : at + 2], "big")


def words(data: bytes) -> list[bytes]:
    """Return registers, as bytes."""
    return [data[at : at + 2] for at in range(0, len(data), 2)]


def bits(data: bytes, count: int) -> list[int]:
    """Return coils, the first one lowest in its byte."""
    return [data[at // 8] >> at % 8 & 1 for at in range(count)]


def between(low: int, high: int) -> Any:
    """Return a range as `fastpath.dissect` gives it."""
    return low if low == high else (low, high)


def demand(*, true: bool) -> None:
    """Raise unless something that the clause says is true."""
    if not true:
        raise MalformedError


def crc16(data: bytes) -> int:
    """Return the CRC over a frame: 0 with its own."""
    value = 0xFFFF
    for byte in data:
        value ^= byte
        for _ in range(8):
            value = (value >> 1) ^ 0xA001 if value % 2 else value >> 1
    return value


def operation_of(function: int, subfunction: int | None) -> Operation:
    """Return what a function does."""
    if function == 8:
        return DIAGNOSTICS.get(subfunction or 0, Operation.OTHER)
    if function == 43:
        return DIAGNOSE if subfunction == 14 else Operation.OTHER
    return OPERATIONS.get(function, Operation.OTHER)


def span(pdu: bytes, at: int, most: int) -> dict[str, Any]:
    """Return address and count."""
    address, count = word(pdu, at), word(pdu, at + 2)
    demand(true=1 <= count <= most and address + count <= 65536)
    return {"address": between(address, address + count - 1), "count": count}


def written(data: bytes, count: int, *, coils: bool) -> tuple[Any, list[Any]]:
    """Return the range of what is written, and all of it."""
    if coils:
        values = bits(data, count)
        return between(min(values), max(values)), values
    numbers = struct.unpack(f"!{count}H", data)
    return between(min(numbers), max(numbers)), words(data)


def request(pdu: bytes) -> list[Meaning]:  # noqa: PLR0911 -- one for each clause
    """Return what a request asks for, by clause 6."""
    function = pdu[0]
    demand(true=1 <= function <= 127)
    operation = operation_of(function, None)
    if function in (1, 2, 3, 4):
        demand(true=len(pdu) == 5)
        return [Meaning(operation, span(pdu, 1, MOST[function]))]
    if function in (5, 6, 22):
        return [Meaning(operation, *single(pdu))]
    if function in (15, 16):
        return [multiple(pdu, 1, MOST[function], coils=function == 15)]
    if function == 23:
        return [multiple(pdu, 5, 121, coils=False), Meaning(READ, span(pdu, 1, 125))]
    if function in (20, 21):
        return files(pdu)
    if function == 24:
        demand(true=len(pdu) == 3)
        return [Meaning(operation, {"address": word(pdu, 1)})]
    if function in (7, 11, 12, 17):
        demand(true=len(pdu) == 1)
        return [Meaning(operation, {})]
    if function == 8:
        return [diagnostic(pdu)]
    if function == 43:
        demand(true=len(pdu) >= 2 and (pdu[1] != 14 or (len(pdu) == 4 and 1 <= pdu[2] <= 4)))
        return [Meaning(operation_of(43, pdu[1]), {"subfunction": pdu[1]})]
    return [Meaning(operation, {})]


def single(pdu: bytes) -> tuple[dict[str, Any], list[Any] | None]:
    """Return what a write to one place says, for functions 5, 6 and 22."""
    demand(true=len(pdu) == (7 if pdu[0] == 22 else 5))
    if pdu[0] == 22:
        kept, forced = word(pdu, 3), word(pdu, 5)
        possible = [forced & ~kept & 0xFFFF, (forced & ~kept & 0xFFFF) | kept]
        return {"address": word(pdu, 1), "value": between(*possible)}, None
    if pdu[0] == 6:
        return {"address": word(pdu, 1), "value": word(pdu, 3)}, [pdu[3:5]]
    demand(true=word(pdu, 3) in (0, 0xFF00))
    return {"address": word(pdu, 1), "value": int(pdu[3] > 0)}, [int(pdu[3] > 0)]


def multiple(pdu: bytes, at: int, most: int, *, coils: bool) -> Meaning:
    """Return what a write to several places says."""
    fields = span(pdu, at, most)
    size = -(-fields["count"] // 8) if coils else 2 * fields["count"]
    demand(true=len(pdu) == at + 5 + size and pdu[at + 4] == size)
    fields["value"], values = written(pdu[at + 5 :], fields["count"], coils=coils)
    return Meaning(WRITE, fields, values)


def files(pdu: bytes) -> list[Meaning]:
    """Return the groups of a file request."""
    demand(true=len(pdu) >= 9 and pdu[1] == len(pdu) - 2)
    demand(true=9 <= pdu[1] <= 0xFB if pdu[0] == 21 else 7 <= pdu[1] <= 0xF5)
    found, rest = [], pdu[2:]
    while rest:
        demand(true=len(rest) >= 7 and rest[0] == 6)
        file, record, count = struct.unpack("!HHH", rest[1:7])
        demand(true=file > 0 and count > 0 and record + count <= 10000)
        fields = {"file": file, "record": between(record, record + count - 1), "count": count}
        rest, values = rest[7:], None
        if pdu[0] == 21:
            demand(true=len(rest) >= 2 * count)
            fields["value"], values = written(rest[: 2 * count], count, coils=False)
            rest = rest[2 * count :]
        found.append(Meaning(OPERATIONS[pdu[0]], fields, values))
    demand(true=pdu[0] == 21 or sum(2 + 2 * one.fields["count"] for one in found) <= 0xF5)
    return found


def first_group(pdu: bytes) -> Meaning:
    """Return what the first group of an answer of function 21 says: an echo of its request."""
    count = word(pdu, 7)
    demand(true=len(pdu) >= 9 + 2 * count)
    group = files(bytes((21, 7 + 2 * count)) + pdu[2 : 9 + 2 * count])[0]
    return group._replace(operation=Operation.NONE)


def diagnostic(pdu: bytes) -> Meaning:
    """Return what a diagnostic asks for."""
    subfunction = word(pdu, 1)
    rest = pdu[3:]
    if subfunction == 0:
        demand(true=len(rest) >= 2 and len(rest) % 2 == 0)
    elif subfunction in DIAGNOSTICS:
        demand(true=len(rest) == 2)
        allowed = {1: rest in (b"\0\0", b"\xff\0"), 3: rest[1:] == b"\0"}
        demand(true=allowed.get(subfunction, rest == b"\0\0"))
    return Meaning(operation_of(8, subfunction), {"subfunction": subfunction})


def answer(pdu: bytes) -> Meaning:  # noqa: PLR0911 -- one for each clause
    """Return what an answer says itself, by clauses 6 and 7."""
    function = pdu[0]
    if function > 0x7F:
        demand(true=len(pdu) == 2)
        return Meaning(Operation.NONE, {"exception": pdu[1]})
    demand(true=function > 0)
    least_most_step = {
        **dict.fromkeys((1, 2), (1, 250, 1)), **dict.fromkeys((3, 4, 23), (2, 250, 2)),
        12: (6, 70, 1), 17: (1, 251, 1), 20: (4, 0xF5, 1), 21: (9, 0xFB, 1),
    }.get(function)  # fmt: skip
    if least_most_step is not None:
        least, most, step = least_most_step
        demand(true=least <= len(pdu) - 2 <= most and pdu[1] == len(pdu) - 2 and pdu[1] % step == 0)
        return first_group(pdu) if function == 21 else Meaning(Operation.NONE, {})
    if function in (5, 6, 22):
        return Meaning(Operation.NONE, *single(pdu))
    if function in (15, 16):
        demand(true=len(pdu) == 5)
        return Meaning(Operation.NONE, span(pdu, 1, MOST[function]))
    if function in (7, 11):
        demand(true=len(pdu) == {7: 2, 11: 5}[function])
    if function == 8:
        return Meaning(Operation.NONE, {"subfunction": word(pdu, 1)})
    if function == 24:
        demand(true=len(pdu) >= 5 and word(pdu, 3) <= 31 and word(pdu, 1) == len(pdu) - 3 == 2 + 2 * word(pdu, 3))
        return Meaning(Operation.NONE, {"count": word(pdu, 3)})
    if function == 43:
        return identification(pdu)
    return Meaning(Operation.NONE, {})


def identification(pdu: bytes) -> Meaning:
    """Return what a device's identification, or another tunnel, says."""
    demand(true=len(pdu) >= 2)
    if pdu[1] == 14:
        demand(true=len(pdu) >= 7)
        rest = pdu[7:]
        for _ in range(pdu[6]):
            demand(true=len(rest) >= 2 and len(rest) >= 2 + rest[1])
            rest = rest[2 + rest[1] :]
        demand(true=rest == b"")
    return Meaning(Operation.NONE, {"subfunction": pdu[1]})


def fits(asked: bytes, answered: bytes) -> bool:
    """Tell whether an answer has the shape that its request demands."""
    function = asked[0]
    if function in (1, 2):
        return answered[1] == -(-word(asked, 3) // 8)
    if function in (3, 4, 23):
        return answered[1] == 2 * word(asked, 3)
    if function in (5, 6, 15, 16, 22):
        return answered[1:5] == asked[1:5]
    if function == 8:
        known = word(asked, 1) in DIAGNOSTICS
        return answered[1:3] == asked[1:3] and (not known or len(answered) == len(asked))
    if function == 43:
        return answered[1] == asked[1]
    return function != 21 or len(answered) == len(asked)


def recalled(asked: Asked) -> dict[str, int]:
    """Return what an answer knows from its request."""
    pdu, function = asked.pdu, asked.pdu[0]
    if function == 8:
        return {"subfunction": word(pdu, 1) if len(pdu) >= 3 else 0}
    if function == 43:
        return {"subfunction": pdu[1] if len(pdu) >= 3 else 0}
    if not asked.fine:
        return {}
    found = {}
    if function in (1, 2, 3, 4, 5, 6, 15, 16, 22, 24):
        found["address"] = word(pdu, 1)
    if function in (1, 2, 3, 4, 15, 16):
        found["count"] = word(pdu, 3)
    return found
