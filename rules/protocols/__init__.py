"""What policies may say of each inspected protocol: one module for its names, and here how wide its fields are.

In: nothing. Out: `WORDS`, by protocol. A protocol's module maps names to the numbers of one of its fields; which fields
there are says `fastpath.abi`. Must never name a field that the protocol lacks. Called by `constraints_model`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final, NamedTuple

from fastpath.abi import FIELD_NAMES, Inspector, Protocol
from rules.protocols import cip, enip, modbus, s7comm


class Words(NamedTuple):
    """What a clause of one protocol may say."""

    bits: Mapping[str, int]  # how wide a field is; a field that is missing here stands in no request
    names: Mapping[str, Mapping[str, int]] = {}  # field → name → number
    spelled: Mapping[str, Callable[[str], int]] = {}  # field → how any word becomes its number


WORDS: Final[dict[Protocol, Words]] = {
    Protocol.MODBUS: Words(
        {
            "unit": 8,
            "function": 7,
            "address": 16,
            "count": 16,
            "transaction": 16,
            "subfunction": 16,
            "value": 16,
            "file": 16,
            "record": 16,
        },
        modbus.NAMES,
    ),
    Protocol.S7COMM: Words(
        {
            "rosctr": 8,
            "function": 8,
            "userdata_group": 4,
            "userdata_subfunction": 8,
            "area": 8,
            "db": 16,
            "address": 24,
            "count": 24,
            "reference": 16,
            "block": 32,
            "value": 32,
        },
        s7comm.NAMES,
        s7comm.SPELLED,
    ),
    Protocol.S7COMM_PLUS: Words({"version": 8, "opcode": 8, "function": 16, "reference": 16}, s7comm.PLUS_NAMES),
    Protocol.ENIP: Words({"command": 16, "session": 32, "connection": 32}, enip.NAMES),
    Protocol.CIP: Words(
        {
            "service": 7,
            "class": 32,
            "instance": 32,
            "attribute": 32,
            "connection": 32,
            "tag": 64,
            "value": 64,
            "offset": 32,
            "count": 32,
            "type": 16,
        },
        cip.NAMES,
        cip.SPELLED,
    ),
    Protocol.COTP: Words({"destination_tsap": 64, "connection_type": 8, "rack": 3, "slot": 5}, s7comm.COTP_NAMES),
}
# Which protocols an inspector finds in a service's bytes.
SPOKEN: Final[dict[Inspector, tuple[Protocol, ...]]] = {
    Inspector.MODBUS: (Protocol.MODBUS,),
    Inspector.MODBUS_RTU: (Protocol.MODBUS,),
    Inspector.S7COMM: (Protocol.S7COMM, Protocol.S7COMM_PLUS, Protocol.COTP),
    Inspector.ENIP: (Protocol.ENIP, Protocol.CIP),
    Inspector.ENIP_IO: (Protocol.ENIP, Protocol.CIP),
}
# Which protocols an inspector's service can be carried by.
CARRIERS: Final[dict[Inspector, frozenset[str]]] = {
    Inspector.MODBUS: frozenset({"tcp"}),
    Inspector.MODBUS_RTU: frozenset({"tcp"}),
    Inspector.S7COMM: frozenset({"tcp"}),
    Inspector.ENIP: frozenset({"tcp", "udp"}),
    Inspector.ENIP_IO: frozenset({"udp"}),
}


def key_of(member: Inspector | Protocol) -> str:
    """Return how policies write an inspector or a protocol."""
    return member.name.lower().replace("_", "-")


INSPECTORS: Final[dict[str, Inspector]] = {key_of(inspector): inspector for inspector in SPOKEN}
PROTOCOLS: Final[dict[str, Protocol]] = {key_of(protocol): protocol for protocol in WORDS}


def field_place(protocol: Protocol, name: str) -> int:
    """Return a field's place in an access."""
    return FIELD_NAMES[protocol].index(name)
