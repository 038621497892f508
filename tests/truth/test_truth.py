"""Our reading of recorded traffic agrees with Wireshark's; skips aloud where there are no captures."""

from __future__ import annotations

from typing import Final

import pytest

from tests.support.captures import require_captures
from tests.truth import comparing
from tests.truth.__main__ import LEAST_SHARE, with_rows
from tests.truth.known import explanation
from tests.truth.reading import messages

STANDING: Final = ("modbus", "s7comm")  # a protocol's module adds its line when it stands


@pytest.mark.parametrize("protocol", STANDING)
def test_we_read_what_wireshark_reads(protocol: str) -> None:
    """At least 99.9 % of the well-formed rows equal a message, and every difference is explained."""
    require_captures()
    total = comparing.Comparison()
    for capture in with_rows(protocol):
        total.add(comparing.compare(capture, protocol, messages))
    assert total.rows > 1000
    assert total.share >= LEAST_SHARE
    assert [difference for difference in total.differences if explanation(difference) is None] == []


def test_the_comparison_notices() -> None:
    """Another number is a difference; a CIP list must be the same, its path numbers in order."""
    theirs = {"unit": 1, "function": 3, "exception": None, "address": 7, "count": 2, "transaction": 5}
    assert comparing.same("modbus", theirs, dict(theirs))
    assert not comparing.same("modbus", theirs, theirs | {"address": None})
    request = {"service": [0x52, 1], "response": [0, 0], "class": [6, 1], "instance": [1, 1], "attribute": []}
    assert comparing.same("cip", request | {"status": []}, request | {"status": []})
    assert comparing.same("cip", request | {"status": [], "class": [6, 1, 4]}, request | {"status": []})
    assert not comparing.same("cip", request | {"status": []}, request | {"status": [], "class": [1, 6]})
    assert not comparing.same("cip", request | {"status": []}, request | {"status": [], "service": [0x52]})
