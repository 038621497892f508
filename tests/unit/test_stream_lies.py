"""Clients that acknowledge what no server has sent, so that an enforced conversation is taken for one with a gap."""

from __future__ import annotations

from fastpath.abi import Reason
from tests.support.stream_wire import Wire, poll, read_request

REACH = 1 << 20  # bytes that a segment may lie ahead
NUMBERS = 1 << 32


def test_lies_do_not_lead_round_to_where_the_server_waits(wire: Wire) -> None:
    """Else what the server takes for the rest of a message would be read as the beginning of another one."""
    at, answered = poll(wire, 1, 1)
    request = read_request()
    assert wire.client(at, request[:6], acknowledged=answered).reason is Reason.NONE
    waiting = at + 6
    assert wire.server(answered, acknowledged=waiting).reason is Reason.NONE
    at, lies = waiting, 0
    while at < waiting + NUMBERS:
        at = min(at + REACH, waiting + NUMBERS - len(request))
        lies += 1
        if wire.client(at, request, acknowledged=answered + lies).reason is not Reason.NONE:
            break
        at += len(request)
    assert lies == 2, "the second one lies further ahead than the server can have got"
    assert wire.client(waiting, request, acknowledged=answered).reason is Reason.STREAM_SEQUENCE
