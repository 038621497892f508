"""Names for S7comm in policies are the numbers that the data path reads."""

from __future__ import annotations

import pytest

from fastpath.abi import FIELD_NAMES, Inspector, Protocol
from fastpath.dissect import Dissection
from rules.protocols import s7comm
from tests.support import s7_messages as s7


@pytest.mark.parametrize(("word", "kind", "number"), [("db17", "0A", 17), ("OB1", "08", 1), ("sfc99999", "0D", 99999)])
def test_a_block_is_written_as_it_is_read(word: str, kind: str, number: int) -> None:
    """The number of a name is what a request for that block has in `block`."""
    message = s7.job(b"\x1d" + bytes(7) + s7.block_name(kind, number))
    _, (access,) = Dissection(Inspector.S7COMM).read(message, True)
    assert access["fields"]["block"] == s7comm.block_number(word)


@pytest.mark.parametrize("word", ["db", "db123456", "xb1", "17", "db-1", "db1 "])
def test_what_names_no_block_is_refused(word: str) -> None:
    """A mistake says what to write instead."""
    with pytest.raises(ValueError, match="as in db17"):
        s7comm.block_number(word)


def test_every_name_is_of_a_field() -> None:
    """No names for fields that the protocol lacks."""
    assert set(s7comm.NAMES) | set(s7comm.SPELLED) <= set(FIELD_NAMES[Protocol.S7COMM])
    assert set(s7comm.PLUS_NAMES) <= set(FIELD_NAMES[Protocol.S7COMM_PLUS])
