"""VLAN ids, ports, protocol numbers and EtherTypes: which numbers a policy may say.

In: plain values from the YAML tree. Out: annotated types for `model`; a refusal's type is the problem code.
Must never let a number through that the image would store in another place than its own kind's.
"""

from __future__ import annotations

import re
from typing import Annotated, Any, NamedTuple, NoReturn

from pydantic import BeforeValidator, PlainSerializer, WithJsonSchema
from pydantic_core import PydanticCustomError

RANGE = re.compile(r"([0-9]{1,5})\s*-\s*([0-9]{1,5})\Z")
# Judged by rules of their own (ARP, VLAN tags) or by the IP header behind them.
RESERVED_ETHERTYPES = {0x0800: "IPv4", 0x86DD: "IPv6", 0x0806: "ARP"} | dict.fromkeys(
    (0x8100, 0x88A8, 0x9100), "a VLAN tag"
)
RESERVED_PROTOCOLS = {1: "protocol: icmp", 6: "protocol: tcp", 17: "protocol: udp", 58: "protocol: icmpv6"}


class NumberRange(NamedTuple):
    """Service numbers, both ends included."""

    first: int
    last: int


def refuse(code: str, text: str, hint: str = "") -> NoReturn:
    """Raise the pydantic error that `load` turns into a Problem with this code."""
    raise PydanticCustomError(code, "{text}", {"text": text, "hint": hint})


def whole(value: Any, first: int, last: int, code: str, what: str) -> int:
    """Return a whole number within bounds, or refuse it."""
    if not isinstance(value, int) or isinstance(value, bool) or not first <= value <= last:
        refuse(code, f"'{value}' is no {what}", f"{first} to {last}")
    return value


def _vlan(value: Any) -> int:
    return whole(value, 1, 4094, "POL016", "VLAN id")


def _range(value: Any, first: int, last: int, code: str, what: str) -> NumberRange:
    if isinstance(value, tuple):
        return NumberRange(*value)
    ends = RANGE.match(value) if isinstance(value, str) else None
    if ends is None:
        number = whole(value, first, last, code, what)
        return NumberRange(number, number)
    low, high = int(ends[1]), int(ends[2])
    if low > high:
        refuse(code, f"'{value}' runs backwards", f"write {high}-{low}")
    return NumberRange(whole(low, first, last, code, what), whole(high, first, last, code, what))


def _port(value: Any) -> NumberRange:
    return _range(value, 1, 65535, "POL017", "port")


def _icmp_type(value: Any) -> NumberRange:
    return _range(value, 0, 255, "POL018", "ICMP type")


def _protocol_number(value: Any) -> NumberRange:
    numbers = _range(value, 0, 255, "POL018", "IP protocol number")
    for number, instead in RESERVED_PROTOCOLS.items():
        if numbers.first <= number <= numbers.last:
            refuse("POL018", f"IP protocol {number} has its own kind of service", f"write '{instead}'")
    return numbers


def _ethertype(value: Any) -> NumberRange:
    number = whole(value, 0x0600, 0xFFFF, "POL018", "EtherType (0x0600 to 0xffff)")
    if number in RESERVED_ETHERTYPES:
        refuse(
            "POL018", f"EtherType {number:#06x} is {RESERVED_ETHERTYPES[number]}", "it can't be a service of its own"
        )
    return NumberRange(number, number)


def _range_text(numbers: NumberRange) -> int | str:
    return numbers.first if numbers.first == numbers.last else f"{numbers.first}-{numbers.last}"


def _shape(first: int, last: int, *, ranges: bool = True) -> WithJsonSchema:
    number = {"type": "integer", "minimum": first, "maximum": last}
    written = {"type": "string", "pattern": r"^[0-9]{1,5}\s*-\s*[0-9]{1,5}$"}
    return WithJsonSchema({"anyOf": [number, written]} if ranges else number)


_as_written = PlainSerializer(_range_text, return_type=int | str, when_used="json")
Vlan = Annotated[int, BeforeValidator(_vlan), _shape(1, 4094, ranges=False)]
Port = Annotated[NumberRange, BeforeValidator(_port), _as_written, _shape(1, 65535)]
IcmpType = Annotated[NumberRange, BeforeValidator(_icmp_type), _as_written, _shape(0, 255)]
ProtocolNumber = Annotated[NumberRange, BeforeValidator(_protocol_number), _as_written, _shape(0, 255)]
EtherType = Annotated[NumberRange, BeforeValidator(_ethertype), _as_written, _shape(0x0600, 0xFFFF, ranges=False)]
