"""An S7comm conversation that was seen from its beginning, as the inspector's tests continue it."""

from __future__ import annotations

from fastpath.abi import Inspector, Reason
from fastpath.dissect import Dissection
from tests.support import s7_messages as s7


def fresh() -> Dissection:
    """Return a conversation whose connect was asked for and confirmed."""
    dissection = Dissection(Inspector.S7COMM)
    assert dissection.read(s7.CONNECT, True)[0] is Reason.NONE
    assert dissection.read(s7.CONFIRM, False)[0] is Reason.NONE
    return dissection
