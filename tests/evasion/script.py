"""What a disguise is made of: segments, pauses and outside events, as data.

In: nothing. Out: the step types. `at` counts bytes of the message stream from its start, whatever was said before it in
the conversation; the client turns it into a sequence number. Must never send anything.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from tests.evasion.packets import ACK, PLAIN, PSH, Form


@dataclass(frozen=True, slots=True)
class Segment:
    """One TCP segment."""

    at: int
    data: bytes
    flags: int = PSH | ACK
    form: Form = PLAIN
    urgent: int = 0
    window: int = 64240
    acknowledge: int = 0  # added to the true acknowledgement number


@dataclass(frozen=True, slots=True)
class Acked:
    """Wait until the far end has acknowledged the stream up to here, for a moment at most."""

    at: int


@dataclass(frozen=True, slots=True)
class Pause:
    """Say nothing for a while, so that the device reads what came before by itself."""

    seconds: float


@dataclass(frozen=True, slots=True)
class Event:
    """Something outside happens, to all conversations that wait for it at once: see `ground.EVENTS`."""

    name: str


@dataclass(frozen=True, slots=True)
class Reopen:
    """The conversation ends ("rst" or "fin") and another begins by the same addresses and ports."""

    how: str


Step = Segment | Acked | Pause | Event | Reopen


@dataclass(frozen=True, slots=True)
class Script:
    """One way to send a stream. Afterwards the client repeats what was not acknowledged, as a TCP does."""

    stream: bytes
    steps: tuple[Step, ...]
    answers: int = 1
    repeats: bool = True
    version: int = 4
    opening_data: bytes = b""  # in the SYN
    wrap_at: int | None = None  # which byte of the stream has sequence number 0
    with_timestamps: bool = False
    form: Form = field(default=PLAIN)  # of what is repeated
