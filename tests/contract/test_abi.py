"""The two statements of the shared layouts, abi.py and abi.pxd, are one: sizes, offsets, numbers, hashes.

In: what the C compiler made of abi.pxd (fastpath.layout). Every name is compared in both directions, so that a field
or a number added on one side only is an error too.
"""

from __future__ import annotations

import random
from enum import IntEnum
from typing import Final

from fastpath import abi, layout

LAYOUTS: Final = {found.name: found for found in vars(abi).values() if isinstance(found, abi.Layout)}
# Enumerations whose numbers both sides state. Form is used by Python only.
SHARED_ENUMERATIONS: Final[dict[str, type[IntEnum]]] = {
    "STAGE": abi.Stage,
    "VERDICT": abi.Verdict,
    "FAIL": abi.FailMode,
    "LOG": abi.LogMode,
    "REASON": abi.Reason,
    "SECTION": abi.Section,
    "INSPECTOR": abi.Inspector,
    "PROTOCOL": abi.Protocol,
    "OPERATION": abi.Operation,
    "MESSAGES": abi.MessageLog,
    "REFUSE": abi.RefuseMode,
}


def test_same_structs() -> None:
    """Every layout of abi.py is a struct of abi.pxd and the other way round."""
    assert set(layout.c_layouts()) == set(LAYOUTS)


def test_same_sizes_and_offsets() -> None:
    """Every struct has the same size, and every field the same offset, in both languages."""
    compiled = layout.c_layouts()
    python = {name: {"size": found.size, "fields": found.offsets} for name, found in LAYOUTS.items()}
    assert {name: compiled[name] for name in python} == python


def test_layouts_have_no_gaps() -> None:
    """Every layout fills its declared size field by field: padding has a name."""
    for found in LAYOUTS.values():
        assert len(found.pack(*found.unpack_from(bytes(found.size)).values())) == found.size


def test_same_numbers() -> None:
    """Every constant that C states has the value that abi.py states under the same name."""
    members = {f"{word}_{member.name}": int(member) for word, kind in SHARED_ENUMERATIONS.items() for member in kind}
    plain = {name: value for name, value in vars(abi).items() if name.isupper() and isinstance(value, int)}
    python = plain | members
    compiled = layout.c_constants()
    assert {name: python.get(name, "not in abi.py") for name in compiled} == compiled


def test_every_member_is_stated() -> None:
    """No member of a shared enumeration is missing on the C side."""
    compiled = layout.c_constants()
    members = {f"{word}_{member.name}" for word, kind in SHARED_ENUMERATIONS.items() for member in kind}
    assert members - set(compiled) == set()


def test_same_hash(seed: int) -> None:
    """Both languages hash alike, edges and a seeded thousand of words."""
    rng = random.Random(seed)
    edges = [(a, b) for a in (0, 1, 2**64 - 1) for b in (0, 1, 2**63, 2**64 - 1)]
    drawn = [(rng.getrandbits(64), rng.getrandbits(64)) for _ in range(1000)]
    for a, b in edges + drawn:
        assert layout.c_mix64(a, b) == abi.mix64(a, b), (a, b)


def test_same_hashes_of_many_words(seed: int) -> None:
    """The hashes of a whole table are C's hashes of its keys, in their order."""
    rng = random.Random(seed)
    words = [0, 1, 2**31, 2**32 - 1, 2**63, 2**64 - 1, *(rng.getrandbits(64) for _ in range(1000))]
    for begun in (0, 1, 2**63, 2**64 - 1, rng.getrandbits(64)):
        assert abi.mix64_each(begun, words) == [layout.c_mix64(begun, word) for word in words], begun
    assert abi.mix64_each(1, []) == []


def test_accepting_and_dropping_reasons_are_apart() -> None:
    """The words before and behind the first drop reason tell accepting from dropping reasons."""
    assert all(reason.name.startswith(("FRAME_", "IDENTITY_")) for reason in abi.Reason if 32 <= reason < 64)
    assert abi.Reason.ZONE_INTERNAL < abi.FIRST_DROP_REASON <= abi.Reason.FRAME_TRUNCATED
