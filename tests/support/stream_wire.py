"""One inspected conversation, segment by segment: what a client and a server send, and what is said of it."""

from __future__ import annotations

from typing import Final

from fastpath import abi
from fastpath.abi import FailMode, Inspector, Operation, Reason
from fastpath.dissect import Conversations, Judged

FIN, SYN, RST, PSH, ACK, URG = 1, 2, 4, 8, 16, 32
STREAMS: Final = 8
WINDOWS: Final = 2
CLIENT: Final = 0xFFFF_FFF0  # sequence numbers wrap within every dialog
SERVER: Final = 0x0000_1000
READING: Final = (Operation.READ,)


def read_request(transaction: int = 1) -> bytes:
    """Return a request to read one register."""
    return transaction.to_bytes(2, "big") + bytes.fromhex("0000 0006 01 03 0000 0001")


def read_answer(transaction: int = 1) -> bytes:
    """Return its answer."""
    return transaction.to_bytes(2, "big") + bytes.fromhex("0000 0005 01 03 02 0007")


def write_request(transaction: int = 1, registers: int = 1) -> bytes:
    """Return a request to write registers."""
    body = bytes.fromhex("01 10 0000") + registers.to_bytes(2, "big") + bytes([2 * registers]) + bytes(2 * registers)
    return transaction.to_bytes(2, "big") + bytes(2) + len(body).to_bytes(2, "big") + body


class Wire:
    """One conversation seen by the gateway, with the numbers that both ends have reached."""

    def __init__(self, *, shuts: bool = True, fail: FailMode = FailMode.STATIC, before: Wire | None = None) -> None:
        self.memory = before.memory if before else bytearray(abi.streams_table_bytes(STREAMS, WINDOWS))
        self.flows = before.flows if before else bytearray(2 * STREAMS * abi.FLOW.size)
        self.held = Conversations(
            Inspector.MODBUS,
            operations=READING,
            memory=self.memory,
            flows=self.flows,
            streams=STREAMS,
            windows=WINDOWS,
            shuts=shuts,
            fail=fail,
        )
        self.enforced = True
        self.now_ns = 1

    def client(self, at: int, data: bytes = b"", flags: int = ACK, *, acknowledged: int = 1, number: int = 0) -> Judged:
        """Send from the opener: `at` and `acknowledged` count from the first numbers of both ends."""
        return self._send(number, True, CLIENT + at, SERVER + acknowledged, flags, data)

    def server(self, at: int, data: bytes = b"", flags: int = ACK, *, acknowledged: int = 1, number: int = 0) -> Judged:
        """Send from the responder."""
        return self._send(number, False, SERVER + at, CLIENT + acknowledged, flags, data)

    def _send(self, number: int, opener: bool, sequence: int, acknowledged: int, flags: int, data: bytes) -> Judged:
        return self.held.segment(
            number,
            opener,
            sequence & 0xFFFFFFFF,
            acknowledged & 0xFFFFFFFF,
            flags,
            data,
            enforced=self.enforced,
            now_ns=self.now_ns,
        )

    def shake_hands(self, number: int = 0) -> None:
        """Open the conversation."""
        assert self.client(0, flags=SYN, acknowledged=-SERVER, number=number).reason is Reason.NONE
        assert self.server(0, flags=SYN | ACK, number=number).reason is Reason.NONE
        assert self.client(1, number=number).reason is Reason.NONE


def poll(wire: Wire, at: int, answered: int) -> tuple[int, int]:
    """Ask and answer once; return where both ends stand then."""
    assert wire.client(at, read_request(), acknowledged=answered).reason is Reason.NONE
    at += len(read_request())
    assert wire.server(answered, read_answer(), acknowledged=at).reason is Reason.NONE
    answered += len(read_answer())
    assert wire.client(at, acknowledged=answered).reason is Reason.NONE
    return at, answered
