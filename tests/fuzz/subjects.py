"""Which inspectors are fuzzed, and with what: whoever adds a protocol adds one entry.

In: captures where there are some, grammars, and the heaviest message. Out: seeds, as messages with their direction.
"""

from __future__ import annotations

import functools
import random
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from fastpath.abi import Inspector, Reason
from fastpath.dissect import Dissection
from tests.fuzz import grammar_enip, grammar_modbus, grammar_s7comm
from tests.support import capture_file, captures
from tests.support.heaviest import HEAVIEST
from tests.truth import reassembly

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.fuzz.grammar import Made

SEEDS_PER_CAPTURE: Final = 400
GRAMMAR_SEEDS: Final = 600

Seed = tuple[bytes, bool]  # a message, and whether the opener sent it


def unchanged(message: bytes) -> bytes:
    """Return the message itself."""
    return message


@dataclass(frozen=True)
class Subject:
    """One inspector under test."""

    inspector: Inspector
    least: int  # bytes of its shortest message
    right: Callable[[random.Random], Made]
    wrong: Callable[[random.Random], Made]
    captures: str = ""  # the captures' directory, empty: the grammar alone gives seeds
    ports: tuple[int, ...] = ()
    mended: Callable[[bytes], bytes] = unchanged  # sums made right again after a mutation


def _with_crc(message: bytes) -> bytes:
    return message[:-2] + grammar_modbus.crc(message[:-2]) if len(message) > 2 else message


SUBJECTS: Final = {
    "modbus": Subject(
        Inspector.MODBUS, 8, grammar_modbus.right_tcp, grammar_modbus.wrong_tcp, captures="modbus", ports=(502,)
    ),
    "modbus-rtu": Subject(
        Inspector.MODBUS_RTU, 4, grammar_modbus.right_rtu, grammar_modbus.wrong_rtu, mended=_with_crc
    ),
    "s7comm": Subject(Inspector.S7COMM, 7, grammar_s7comm.right, grammar_s7comm.wrong, captures="s7comm", ports=(102,)),
    "enip": Subject(Inspector.ENIP, 24, grammar_enip.right, grammar_enip.wrong, captures="enip", ports=(44818,)),
    "enip-io": Subject(
        Inspector.ENIP_IO, 14, grammar_enip.right_io, grammar_enip.wrong_io, captures="enip", ports=(2222,)
    ),
}


@functools.cache
def seeds(name: str) -> tuple[Seed, ...]:
    """Return messages to begin with: recorded ones, and right and wrong ones of the grammar; always the same."""
    subject, rng = SUBJECTS[name], random.Random(name)
    found: list[Seed] = [(HEAVIEST[name].segment(), True)]
    for index in range(GRAMMAR_SEEDS):
        made = (subject.wrong if index % 3 == 0 else subject.right)(rng)
        found += [(message, True) for message in made.asked]
        found.append((made.message, made.from_opener))
    for path in captures.files():
        if path.parent.name == subject.captures:
            recorded = _recorded(subject, path.read_bytes())
            found += rng.sample(recorded, min(len(recorded), SEEDS_PER_CAPTURE))
    return tuple(found)


def _recorded(subject: Subject, data: bytes) -> list[Seed]:
    """Return what each segment of a capture holds, message by message where it is any."""
    read = capture_file.slow_read(data)
    if read is None:
        return []
    found: list[Seed] = []
    for heard in reassembly.heard(read.packets, subject.ports):
        rest, dissection = heard.piece.data, Dissection(subject.inspector)
        while rest:
            reason, length = dissection.measure(rest, heard.from_opener)
            size = length if reason is Reason.NONE and 0 < length <= len(rest) else len(rest)
            found.append((rest[:size], heard.from_opener))
            rest = rest[size:]
    return found
