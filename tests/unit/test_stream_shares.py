"""Who gets what all inspected conversations share, when one client wants it all."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import pytest

from fastpath import abi
from fastpath.abi import Inspector, Operation, Reason
from fastpath.dissect import Conversations
from tests.support.stream_wire import ACK, CLIENT, RST, SERVER, SYN, read_request

if TYPE_CHECKING:
    from collections.abc import Iterator

STREAMS: Final = 64
WINDOWS: Final = 16
GREEDY: Final = 1
OTHER: Final = 2
DAY_NS: Final = 86_400 * 10**9
# A request of 60 KiB to store something, of which only the beginning ever comes.
UNENDING: Final = (
    bytes.fromhex("6F00 00F0 01000000 00000000 0000000000000000 00000000")  # SendRRData
    + bytes.fromhex("00000000 0000 0200 0000 0000 B200 F0EF")  # an unconnected message
    + bytes.fromhex("10 03 2001 2401 3007")  # Set_Attribute_Single
    + bytes(2000)
)


class Plant:
    """Conversations of several openers."""

    def __init__(self, inspector: Inspector = Inspector.MODBUS, *, enforced: bool = True) -> None:
        self.memory = bytearray(abi.streams_table_bytes(STREAMS, WINDOWS))
        self.flows = bytearray(2 * STREAMS * abi.FLOW.size)
        self.inspector = inspector
        self.enforced = enforced
        self.now_ns = 1
        self.held = self.engine()
        self.numbers: Iterator[int] = iter(range(2 * STREAMS))

    def engine(self) -> Conversations:
        """Return an engine over the memory."""
        return Conversations(
            self.inspector,
            operations=list(Operation),
            memory=self.memory,
            flows=self.flows,
            streams=STREAMS,
            windows=WINDOWS,
        )

    def open(self, opener: int, *, asset: bool = True, zone: int = 0) -> tuple[int, Reason]:
        """Have somebody open a conversation that its responder accepts; return its number, and what is said of it."""
        number = next(self.numbers)
        self.held.opened_by(number, opener, asset=asset, zone=zone)
        return number, self._send(number, False, SERVER - 1, CLIENT, SYN | ACK)

    def send(self, number: int, data: bytes, at: int = 0) -> Reason:
        """Send from the opener."""
        return self._send(number, True, CLIENT + at, SERVER, ACK, data)

    def acknowledge(self, number: int, count: int) -> Reason:
        """Acknowledge so many of its bytes."""
        return self._send(number, False, SERVER, CLIENT + count, ACK)

    def end(self, number: int, at: int = 0) -> Reason:
        """Reset it from the opener."""
        return self._send(number, True, CLIENT + at, SERVER, RST)

    def _send(
        self, number: int, opener: bool, sequence: int, acknowledged: int, flags: int, data: bytes = b""
    ) -> Reason:
        return self.held.segment(
            number,
            opener,
            sequence & 0xFFFFFFFF,
            acknowledged & 0xFFFFFFFF,
            flags,
            data,
            enforced=self.enforced,
            now_ns=self.now_ns,
        ).reason


def fill(plant: Plant, *, opener: int = GREEDY, asset: bool = True) -> list[Reason]:
    """Have somebody open as many conversations as are streams; with `asset` False each by another address."""
    return [plant.open(opener if asset else 1000 + at, asset=asset, zone=7)[1] for at in range(STREAMS)]


def test_one_client_cannot_have_all_streams() -> None:
    """It gets three quarters; whoever comes then finds the others."""
    plant = Plant()
    reasons = fill(plant)
    assert reasons == [Reason.NONE] * (STREAMS * 3 // 4) + [Reason.STREAM_SHARE] * (STREAMS // 4)
    assert plant.open(OTHER)[1] is Reason.NONE


def test_invented_addresses_cannot_have_all_streams() -> None:
    """Addresses of a zone that are no asset's leave a sixteenth, to assets and to other zones."""
    plant = Plant()
    reasons = fill(plant, asset=False)
    assert reasons == [Reason.NONE] * (STREAMS * 15 // 16) + [Reason.STREAM_SHARE] * (STREAMS // 16)
    assert plant.open(5, asset=False, zone=7)[1] is Reason.STREAM_SHARE
    assert plant.open(5, asset=False, zone=8)[1] is Reason.NONE
    assert plant.open(OTHER)[1] is Reason.NONE


def test_one_client_cannot_have_all_windows() -> None:
    """Messages that never end keep their windows for ever: three quarters of them, and another finds one."""
    plant = Plant(Inspector.ENIP)
    other, _ = plant.open(OTHER)
    reasons = [plant.send(plant.open(GREEDY)[0], UNENDING) for _ in range(WINDOWS)]
    assert reasons == [Reason.NONE] * (WINDOWS * 3 // 4) + [Reason.STREAM_SHARE] * (WINDOWS // 4)
    assert plant.send(other, UNENDING) is Reason.NONE


@pytest.mark.parametrize("ends", [True, False])
def test_what_is_over_counts_no_more(ends: bool) -> None:
    """Conversations that have ended, or whose flows are gone, give back streams and windows when they are needed."""
    plant = Plant(Inspector.ENIP)
    opened = [plant.open(GREEDY)[0] for _ in range(STREAMS * 3 // 4)]
    for number in opened:
        plant.send(number, UNENDING)
    assert plant.open(GREEDY)[1] is Reason.STREAM_SHARE
    for number in opened:
        if ends:
            plant.end(number, len(UNENDING))
        else:
            plant.held.forget(number)
    again = [plant.open(GREEDY) for _ in range(WINDOWS * 3 // 4)]
    assert [reason for _, reason in again] == [Reason.NONE] * len(again)
    assert [plant.send(number, UNENDING) for number, _ in again] == [Reason.NONE] * len(again)


def test_what_was_refused_counts_no_more() -> None:
    """A client that connects again after each refusal is reset each time: it never runs out of conversations."""
    plant = Plant()
    for _ in range(2 * STREAMS):
        number, reason = plant.open(GREEDY)
        assert reason is Reason.NONE
        assert plant.send(number, bytes.fromhex("0001 0001 0006 01 03 0000 0001")) is Reason.MESSAGE_PROTOCOL
        assert plant.send(number, read_request()) in {Reason.STREAM_REFUSED, Reason.STREAM_PICKUP}


def test_a_window_is_never_taken_from_its_own_conversation() -> None:
    """A conversation that seemed to end, and goes on, keeps what it holds while it asks for more."""
    plant = Plant()
    burst = read_request() * 200
    opened = [plant.open(number)[0] for number in range(WINDOWS)]
    for number in opened[:-1]:
        assert plant.send(number, burst) is Reason.NONE
    last = opened[-1]
    assert plant.send(last, burst) is Reason.NONE
    assert plant.end(last, len(burst)) is Reason.NONE
    answers = bytes.fromhex("0001 0000 0005 01 03 02 0007") * 200
    for _ in range(WINDOWS):  # each looks at some of them for what is over
        reason = plant.held.segment(last, False, SERVER, CLIENT & 0xFFFFFFFF, ACK, answers, now_ns=1).reason
        assert reason is Reason.STREAM_BUDGET
    assert plant.held.has_stream(last)
    assert plant.send(last, b"other" + burst[5:]) is Reason.STREAM_CONFLICT


def test_shares_outlive_an_engine() -> None:
    """The next engine counts what the dead one gave."""
    plant = Plant(Inspector.ENIP)
    opened = [plant.open(GREEDY)[0] for _ in range(STREAMS * 3 // 4)]
    for number in opened[: WINDOWS * 3 // 4]:
        assert plant.send(number, UNENDING) is Reason.NONE
    plant.held = plant.engine()
    assert plant.open(GREEDY)[1] is Reason.STREAM_SHARE
    assert plant.send(opened[-1], UNENDING) is Reason.STREAM_SHARE
    other, reason = plant.open(OTHER)
    assert reason is Reason.NONE
    assert plant.send(other, UNENDING) is Reason.NONE


def test_where_it_passes_it_is_said() -> None:
    """In monitor whoever has too much is named, and passes."""
    plant = Plant(Inspector.ENIP, enforced=False)
    opened = [plant.open(GREEDY)[0] for _ in range(WINDOWS)]
    reasons = [plant.send(number, UNENDING) for number in opened]
    assert reasons.count(Reason.STREAM_SHARE) == WINDOWS // 4


def test_silence_ends_nothing_while_there_are_others() -> None:
    """Who asks once a day goes on, however many conversations come and go meanwhile."""
    plant = Plant()
    daily, _ = plant.open(OTHER)
    assert plant.send(daily, read_request()) is Reason.NONE
    for day in range(1, 8):
        plant.now_ns = day * DAY_NS
        for _ in range(STREAMS // 8):
            number, reason = plant.open(GREEDY)
            assert reason is Reason.NONE
            assert plant.send(number, read_request()) is Reason.NONE
            plant.end(number, len(read_request()))
    assert plant.send(daily, read_request(), len(read_request())) is Reason.NONE


def test_where_few_are_left_the_silent_give_way() -> None:
    """A newcomer whom nothing is left for finds the streams of those who said nothing for hours; they are refused."""
    plant = Plant()
    silent, _ = plant.open(OTHER)
    assert plant.send(silent, read_request()) is Reason.NONE
    plant.now_ns += DAY_NS
    for at in range(STREAMS // 2):
        plant.open(1000 + at)
    assert plant.held.has_stream(silent)
    for at in range(STREAMS // 2):
        plant.open(2000 + at)
    assert not plant.held.has_stream(silent)
    assert plant.send(silent, b"", len(read_request())) is Reason.NONE
    assert plant.send(silent, read_request(), len(read_request())) is Reason.STREAM_PICKUP
