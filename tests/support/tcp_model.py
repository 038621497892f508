"""Two ends of TCP as slow models: servers that may be odd in every way that real ones were, and a client that repeats.

In: segments that the gateway let pass. Out: segments back, and what the application behind a server has executed. Byte
by byte, in dicts, with numbers that never wrap (`Numbers` makes wire numbers of them). Written from RFC 793, 9293, 5961
and from what is known of the overlap policies of operating systems. Must know nothing of the gateway.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    import random

FIN, SYN, RST, ACK, URG = 1, 2, 4, 16, 32
WINDOW: Final = 65535
READ_REGISTERS: Final = 3
MOST_REGISTERS: Final = 125
WRITE_REGISTERS: Final = 16


class Segment(NamedTuple):
    """One TCP segment; 32-bit numbers as on the wire."""

    sequence: int
    acknowledged: int
    flags: int
    data: bytes = b""


def wire(number: int) -> int:
    """Return an unbounded number as it stands on the wire."""
    return number & 0xFFFFFFFF


def unwrapped(number: int, near: int) -> int:
    """Return the unbounded number nearest to `near` that stands on the wire as this one."""
    away = (number - near) & 0xFFFFFFFF
    return near + (away - (1 << 32) if away >= 1 << 31 else away)


@dataclass(frozen=True)
class Habits:
    """How a server reads what may be read in several ways."""

    overlap: str = "first"  # first, last, bsd (what begins earlier wins), linux (so does what begins at the same place)
    any_reset: bool = False  # takes a reset anywhere in its window (RFC 793), not only the exact one (RFC 5961)
    opening_data: bool = False  # delivers data of a SYN
    without_ack: bool = False  # takes segments without ACK
    any_ack: bool = False  # takes segments that acknowledge what was never sent
    inline_urgent: bool = True  # else the last urgent byte is taken out of the stream
    restarts: bool = False  # a SYN within a connection begins a new one (no challenge)


HABITS: Final = (
    Habits(),
    Habits("last", any_reset=True, without_ack=True, any_ack=True),
    Habits("bsd", opening_data=True, any_ack=True),
    Habits("linux", inline_urgent=False),
    Habits("last", restarts=True, opening_data=True, without_ack=True),
)


@dataclass
class Connection:
    """What a server knows of one connection."""

    next: int  # of the client's bytes
    sent: int  # behind the last byte that the server sent
    first: int
    held: dict[int, tuple[int, int]] = field(default_factory=dict)  # place: (byte, where its segment began)
    delivered: bytearray = field(default_factory=bytearray)
    read: int = 0  # bytes of `delivered` that the application has executed
    ended: bool = False


class Server:
    """A server behind the gateway: `executed` is what its application has done, as (function, ADU)."""

    def __init__(self, rng: random.Random, habits: Habits) -> None:
        self.rng = rng
        self.habits = habits
        self.connection: Connection | None = None
        self.executed: list[tuple[int, bytes]] = []

    def receive(self, segment: Segment) -> list[Segment]:
        """Take a segment; return what the server sends."""
        connection = self.connection
        if segment.flags & SYN:
            return self._opened(segment)
        if connection is None:
            return []
        sequence = unwrapped(segment.sequence, connection.next)
        if segment.flags & RST:
            reach = WINDOW if self.habits.any_reset else 0
            if connection.next <= sequence <= connection.next + reach:
                self.connection = None
            return []
        if not segment.flags & ACK and not self.habits.without_ack:
            return []
        if unwrapped(segment.acknowledged, connection.sent) > connection.sent and not self.habits.any_ack:
            return [self._acknowledge(connection)]
        self._take(connection, sequence, segment)
        if not segment.data and not segment.flags & FIN:
            return []
        return [*self._execute(connection), self._acknowledge(connection)]

    def _opened(self, segment: Segment) -> list[Segment]:
        if segment.flags & ACK:
            return []
        connection = self.connection
        if connection is not None and connection.next == connection.first == segment.sequence + 1 + (1 << 35):
            return [Segment(wire(connection.sent - 1), wire(connection.next), SYN | ACK)]  # its first one was lost
        if connection is not None and not connection.ended and not self.habits.restarts:
            return [self._acknowledge(connection)]
        start = self.rng.randrange(1 << 33, 1 << 34)
        first = segment.sequence + 1 + (1 << 35)
        self.connection = connection = Connection(first, start + 1, first)
        if self.habits.opening_data and segment.data:
            self._take(connection, first, segment)
        return [Segment(wire(start), wire(connection.next), SYN | ACK), *self._execute(connection)]

    def _acknowledge(self, connection: Connection) -> Segment:
        return Segment(wire(connection.sent), wire(connection.next), ACK)

    def _take(self, connection: Connection, sequence: int, segment: Segment) -> None:
        data = segment.data
        if segment.flags & URG and data and not self.habits.inline_urgent:
            data = data[:-1]
        for place, byte in enumerate(data, start=sequence):
            if connection.next <= place < connection.next + WINDOW and self._wins(connection, place, sequence):
                connection.held[place] = (byte, sequence)
        while connection.next in connection.held:
            connection.delivered.append(connection.held.pop(connection.next)[0])
            connection.next += 1
        if segment.flags & FIN and sequence + len(data) == connection.next:
            connection.next += 1
            connection.ended = True

    def _wins(self, connection: Connection, place: int, sequence: int) -> bool:
        if place not in connection.held:
            return True
        before = connection.held[place][1]
        policy = self.habits.overlap
        return policy == "last" or (policy == "bsd" and sequence < before) or (policy == "linux" and sequence <= before)

    def _execute(self, connection: Connection) -> list[Segment]:
        """Execute every complete message; return the answers."""
        answers = []
        while len(connection.delivered) - connection.read >= 8:
            start = connection.read
            end = start + 6 + int.from_bytes(connection.delivered[start + 4 : start + 6], "big")
            if len(connection.delivered) < end or end - start < 8:
                break
            message = bytes(connection.delivered[start:end])
            connection.read = end
            self.executed.append((message[7], message))
            answer = _answer(message)
            if answer:
                answers.append(Segment(wire(connection.sent), wire(connection.next), ACK, answer))
                connection.sent += len(answer)
        return answers


def _answer(message: bytes) -> bytes:
    """Return a device's answer to a reading or writing of registers."""
    count = int.from_bytes(message[10:12], "big")
    if message[7] == READ_REGISTERS and len(message) == 12 and count <= MOST_REGISTERS:
        values = bytes(2 * count)
        return message[:4] + (3 + len(values)).to_bytes(2, "big") + message[6:8] + bytes([len(values)]) + values
    if message[7] == WRITE_REGISTERS:
        return message[:4] + (6).to_bytes(2, "big") + message[6:12]
    return b""


class Client:
    """A client that wants all its bytes to arrive: it splits them anyhow, and repeats what is not acknowledged."""

    def __init__(self, rng: random.Random, content: bytes) -> None:
        self.rng = rng
        self.content = content
        self.start = rng.choice([rng.randrange(1 << 32), (1 << 32) - rng.randrange(1, 400)])
        self.acknowledged = 0  # bytes of the content
        self.sent = 0
        self.server_first: int | None = None
        self.received = bytearray()

    @property
    def is_done(self) -> bool:
        """Whether the server has everything."""
        return self.acknowledged == len(self.content)

    def open(self) -> Segment:
        """Return the opening segment."""
        return Segment(wire(self.start), 0, SYN)

    def receive(self, segment: Segment) -> None:
        """Take a segment of the server's."""
        if segment.flags & SYN:
            self.server_first = segment.sequence + 1
        elif self.server_first is not None:
            place = unwrapped(segment.sequence, self.server_first + len(self.received)) - self.server_first
            if place <= len(self.received):
                self.received[place:] = (
                    segment.data if place + len(segment.data) > len(self.received) else (self.received[place:])
                )
        got = unwrapped(segment.acknowledged, self.start + 1 + self.acknowledged) - self.start - 1
        self.acknowledged = max(self.acknowledged, min(got, len(self.content)))

    def send(self, window: int) -> list[Segment]:
        """Return what is sent next: new segments, or after a time-out all that is not acknowledged, split anew."""
        if self.server_first is None:
            return [self.open()]
        if self.rng.random() < 0.3:
            self.sent = self.acknowledged
        sent = []
        while self.sent < min(len(self.content), self.acknowledged + window):
            size = self.rng.choice([1, 2, 5, 12, 100, 700])
            end = min(self.sent + size, len(self.content), self.acknowledged + window)
            sent.append(self._segment(self.sent, self.content[self.sent : end]))
            self.sent = end
        if self.rng.random() < 0.2:
            sent.append(self._segment(self.acknowledged - 1, self.rng.choice([b"", b"\0"])))  # keep-alive
        return sent or [self._segment(self.sent, b"")]

    def _segment(self, place: int, data: bytes) -> Segment:
        acknowledged = (self.server_first or 0) + len(self.received)
        return Segment(wire(self.start + 1 + place), wire(acknowledged), ACK, data)
