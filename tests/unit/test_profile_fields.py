"""The fields that place.pxd counts by number are those that abi.FIELD_NAMES has at these places."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from fastpath.abi import FIELD_NAMES, Protocol

SOURCE = (Path(__file__).parents[2] / "fastpath" / "inspect" / "place.pxd").read_text(encoding="utf-8")
SINGLE = ("FUNCTION", "EXCEPTION", "ADDRESS", "COUNT", "RECORD")


@pytest.mark.parametrize("name", SINGLE)
def test_single_fields(name: str) -> None:
    """`MODBUS_ADDRESS = 3` and its like."""
    found = re.search(rf"^    MODBUS_{name} = (\d+)$", SOURCE, re.MULTILINE)
    assert found is not None
    assert FIELD_NAMES[Protocol.MODBUS][int(found[1])] == name.lower()


@pytest.mark.parametrize("protocol", [Protocol.MODBUS, Protocol.S7COMM, Protocol.CIP])
def test_fields_of_a_place(protocol: Protocol) -> None:
    """The bits of a place are those of the names beside them."""
    found = re.search(rf"^    {protocol.name}_PLACE = (.*?)  # (.*)$", SOURCE, re.MULTILINE)
    assert found is not None
    places = [int(bit) for bit in re.findall(r"1 << (\d+)", found[1])]
    assert [FIELD_NAMES[protocol][place] for place in places] == found[2].split(", ")
