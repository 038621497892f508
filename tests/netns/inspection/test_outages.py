"""Engines that die under inspected conversations: permitted ones go on, forbidden ones are not completed behind it."""

from __future__ import annotations

import json
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

import pytest

from bench.upheaval import ENGINE, WITHIN_S
from bench.upheaval_policy import OTHER, policy
from deploy.lab import namespaces
from deploy.lab.processes import wait_for
from tests.evasion.ground import DEVICE
from tests.evasion.operations import OPERATIONS
from tests.netns.inspection.conftest import REFUSED, Standing, outcomes

if TYPE_CHECKING:
    from collections.abc import Iterator

    from bench.upheaval import Upheaval

pytestmark = [pytest.mark.netns, pytest.mark.timeout(240)]

OUTAGE_S: Final = 0.8
BACKED_BY: Final = OTHER.replace("fail: closed", "fail: static").format(number=0, operations="read")
MUTED: Final = """
add table inet mute
add chain inet mute out { type filter hook output priority 0; }
add rule inet mute out tcp sport 502 drop
add counter inet mute heard
add chain inet mute in { type filter hook input priority 0; }
add rule inet mute in tcp dport 502 meta length > 60 counter name heard
"""
# Illegal function (MODBUS Application Protocol V1.1b3 clause 7), by what was asked for.
REFUSALS: Final = {
    one.name: (one.message(number, b"")[:4] + bytes((0, 3, 1, one.message(number, b"")[7] | 0x80, 1))).hex()
    for number, one in enumerate(one for one in OPERATIONS if one.forbidden and one.protocol == "modbus")
}
READING: Final = next(one for one in OPERATIONS if one.name == "modbus 3 read")


def test_a_conduit_that_fails_closed_waits_for_its_engine(going: Upheaval) -> None:
    """No poll passes without an engine; then each goes on, on its connection, and no half write is ended."""
    going.apply(policy(fail="closed"))
    during, after = Standing(going, "halves"), Standing(going, "halves")
    going.start_polls()
    going.wait_for_polls()
    began, ended = going.without_engine(OUTAGE_S, during.tell)
    after.tell()
    going.wait_for_polls()
    assert going.failed() == []
    assert [row for row in going.rows() if began < row.asked and row.ended < ended] == []
    assert {row.connection for row in going.rows()} == {0}
    assert outcomes(during) | outcomes(after) <= REFUSED
    assert going.done() == {}


def test_a_conduit_that_fails_static_goes_on_without_one(going: Upheaval) -> None:
    """Polls are answered all the while, on their connections; a half write from before is not ended behind it."""
    going.apply(policy(fail="static"))
    after = Standing(going, "halves")
    going.start_polls()
    going.wait_for_polls()
    began, ended = going.without_engine(OUTAGE_S)
    going.wait_for_polls()
    inside = [row for row in going.rows() if began < row.asked and row.ended < ended]
    assert {row.station for row in inside} == {row.station for row in going.rows()}
    after.tell()
    assert outcomes(after) <= REFUSED
    assert going.failed() == []
    assert {row.connection for row in going.rows()} == {0}
    assert going.done() == {}


def test_an_answer_to_what_no_engine_saw_is_an_answer(going: Upheaval) -> None:
    """A device thinks over the end of an outage: its answer is not taken for one that nobody asked for."""
    going.apply(policy(fail="static"))
    going.start_polls(["pymodbus"])
    going.wait_for_polls()
    going.without_engine(OUTAGE_S, lambda: going.standing.pause("modbus"))
    assert going.failed() == []
    going.standing.resume("modbus")
    going.wait_for_polls()
    assert going.failed() == []
    assert {row.connection for row in going.rows()} == {0}


def test_what_another_conduit_let_pass_is_told_and_not_waited_for(going: Upheaval) -> None:
    """`static` passes by a wider conduit what the narrow one fails closed on: the connection is reset, none hangs."""
    going.apply(policy(fail="closed", after=BACKED_BY))
    going.start_polls(["pymodbus"])
    going.wait_for_polls()
    began, ended = going.without_engine(OUTAGE_S)
    assert [row for row in going.rows() if began < row.asked and row.ended < ended], "it passed nothing"
    going.wait_for_polls()
    assert len(going.failed()) == 1
    assert "reset" in going.failed()[0].wrong
    assert going.failed()[0].ended - going.failed()[0].asked < WITHIN_S / 2


def test_changed_requests_outlive_the_engine(going: Upheaval) -> None:
    """The device gets each refused request changed, its answers are lost, clients repeat it, and engines die.

    Nothing is carried out, and each client hears its own refusal and reads on in the same conversation.
    """
    going.apply(policy(fail="closed", refuse="answer"))
    held = Standing(going, "asked")
    with mute(going):
        held.tell()
        wait_for("requests to be repeated", lambda: heard(going) >= 2 * len(REFUSALS), WITHIN_S)
        going.kill(ENGINE)
        before = heard(going)
        wait_for("requests to be repeated again", lambda: heard(going) >= before + len(REFUSALS), WITHIN_S)
        killed = going.kill_at_once(ENGINE)
    wait_for("another engine", lambda: going.is_back(ENGINE, killed), WITHIN_S)
    found = held.outcomes()
    assert {name: answers[0] for name, answers in found.items()} == REFUSALS
    for number, answers in enumerate(found.values()):
        assert READING.answer(number, bytes.fromhex(answers[1])), answers
    assert going.done() == {}


@contextmanager
def mute(going: Upheaval) -> Iterator[None]:
    """Lose what the Modbus server says: its acknowledgements too, so that its clients repeat themselves."""
    device = going.lab.namespace(DEVICE.name)
    namespaces.run(namespaces.inside(device, ["nft", "-f", "-"]), MUTED)
    try:
        yield
    finally:
        namespaces.run(namespaces.inside(device, ["nft", "delete", "table", "inet", "mute"]))


def heard(going: Upheaval) -> int:
    """Return how many segments with data have come to the Modbus server since it is mute."""
    listed = going.lab.run(DEVICE.name, ["nft", "-j", "list", "counter", "inet", "mute", "heard"]).stdout
    [counter] = [one["counter"] for one in json.loads(listed)["nftables"] if "counter" in one]
    return int(counter["packets"])
