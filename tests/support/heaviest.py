"""The messages that cost the most to judge, and the largest profile to judge them by.

In: the name of an inspector. Out: one segment's bytes with as many accesses as fit, all well formed; and image and
state of a policy whose only conduit is inspected by MAX_CLAUSES clauses with MAX_RANGES ranges, of which none matches
before its last range. Called by the tests of what inspection may cost, the fuzzer's examiner and bench/heaviest.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, replace
from functools import cache
from typing import TYPE_CHECKING, Final

from fastpath.abi import FIELD_NAMES, MAX_CLAUSES, MAX_RANGES, Inspector, Operation, Protocol, Stage
from rules import state as live
from rules.compile import compile_text
from rules.image import build_image
from rules.records import ClauseRecord, ProfileRecord, RangeRecord
from tests.fuzz.grammar_modbus import crc
from tests.support import enip_messages as enip
from tests.support import s7_messages as s7

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

SEGMENT_BYTES: Final = 65_400  # the longest TCP payload of an IP packet, and a little less
NAMED: Final = frozenset(Operation) - {Operation.OTHER}
PORTS: Final = {"control": 11, "hall": 12}
PORT: Final = 999
POLICY: Final = f"""
version: 1
site: {{name: heaviest, ceiling: enforce, default_stage: enforce}}
zones:
  control: {{kind: control, ports: [control], prefixes: [10.0.0.0/24]}}
  hall: {{kind: supervisory, ports: [hall], prefixes: [10.1.0.0/24]}}
services: {{inspected: {{protocol: tcp, ports: [{PORT}]}}}}
conduits: {{poll: {{from: {{zone: hall}}, to: {{zone: control}}, services: [inspected], log: none}}}}
"""
FAR: Final = 1 << 40  # no field of any protocol is that large


def record_reads() -> bytes:
    """Return a Modbus PDU that reads 35 file records: clause 6.14."""
    return bytes((20, 35 * 7)) + struct.pack(">BHHH", 6, 1, 0, 1) * 35


def modbus_segment() -> bytes:
    """Return as many of them as fit."""
    message = struct.pack(">HHHB", 1, 0, 1 + len(record_reads()), 1) + record_reads()
    return message * (SEGMENT_BYTES // len(message))


def rtu_segment() -> bytes:
    """Return the same as RTU frames."""
    frame = b"\x01" + record_reads()
    frame += crc(frame)
    return frame * (SEGMENT_BYTES // len(frame))


def s7_segment() -> bytes:
    """Return one job of 250 DB-read items with 50 pieces each."""
    item = bytes((0x12, 2 + 50 * 5, 0xB0, 50)) + struct.pack(">BHH", 4, 1, 0) * 50
    return s7.job(s7.read_items(*[item] * 250))


def enip_segment() -> bytes:
    """Return one Multiple Service Packet full of lists of 128 attributes."""
    asked = enip.request(0x03, enip.place(1, 1), struct.pack("<H", 128) + struct.pack("<H", 7) * 128)
    return enip.unconnected(enip.multiple([asked] * (SEGMENT_BYTES // (len(asked) + 2) - 1)))


def io_segment() -> bytes:
    """Return one datagram of implicit I/O: it can ask for one thing only."""
    return enip.datum(bytes(1000))


@dataclass(frozen=True)
class Heaviest:
    """One inspector's worst: `fields` are those that its accesses have, the last of them fails."""

    inspector: Inspector
    protocol: Protocol
    fields: tuple[str, str]
    segment: Callable[[], bytes]
    opening: tuple[bytes, bytes] = (b"", b"")  # what both ends say first


HEAVIEST: Final = {
    "modbus": Heaviest(Inspector.MODBUS, Protocol.MODBUS, ("function", "record"), modbus_segment),
    "modbus-rtu": Heaviest(Inspector.MODBUS_RTU, Protocol.MODBUS, ("function", "record"), rtu_segment),
    "s7comm": Heaviest(Inspector.S7COMM, Protocol.S7COMM, ("area", "address"), s7_segment, (s7.CONNECT, s7.CONFIRM)),
    "enip": Heaviest(Inspector.ENIP, Protocol.CIP, ("service", "attribute"), enip_segment),
    "enip-io": Heaviest(Inspector.ENIP_IO, Protocol.CIP, ("connection", "count"), io_segment),
}


def full_clauses(heaviest: Heaviest, *, matching: int | None = None) -> tuple[ClauseRecord, ...]:
    """Return a full profile's clauses; `matching` is the place of the only one that matches."""
    first, last = sorted(FIELD_NAMES[heaviest.protocol].index(name) for name in heaviest.fields)
    each = MAX_RANGES // MAX_CLAUSES // 2
    clauses = []
    for number in range(MAX_CLAUSES):
        wide = [RangeRecord(first, at, FAR + number) for at in range(each)]
        high = FAR + 2 * each * number
        narrow = [RangeRecord(last, high + 2 * at, high + 2 * at) for at in range(each)]
        if number == matching:
            narrow[0] = RangeRecord(last, 0, FAR)
        clauses.append(ClauseRecord(heaviest.protocol, NAMED, (*wide, *narrow)))
    return tuple(clauses)


@cache
def image_and_state(
    inspector: Inspector, clauses: Sequence[ClauseRecord], *, stage: Stage = Stage.ENFORCE
) -> tuple[bytes, bytes]:
    """Return image and state of the policy with these clauses, its conduit open."""
    plain = compile_text(POLICY).lowered
    profile = ProfileRecord(frozenset({inspector}), NAMED, tuple(clauses), bool(clauses))
    conduits = tuple(replace(conduit, profile=profile) for conduit in plain.conduits)
    inspectors = {service.klass: inspector for service in plain.services}
    lowered = replace(plain, conduits=conduits, inspectors=inspectors)
    state = live.build_state(lowered, 1, PORTS)
    for conduit in conduits:
        live.set_conduit(state, conduit.slot, stage=stage, open=True)
    return build_image(lowered, 1), bytes(state)


def full_image(name: str) -> tuple[bytes, bytes]:
    """Return image and state with the full profile of an inspector."""
    heaviest = HEAVIEST[name]
    return image_and_state(heaviest.inspector, full_clauses(heaviest))
