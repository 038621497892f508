"""A TCP that says what a script tells it to, over a packet socket: no kernel takes part on this side.

In: scripts, and an interface whose kernel owns none of the addresses used. Out: what came back: answered, refused (a
reset), silent. Behaves as a TCP where the script does not say otherwise: acknowledges, repeats what was not
acknowledged."""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Final

from tests.evasion.operations import messages
from tests.evasion.packets import ACK, FIN, PLAIN, PSH, RST, SEQUENCE, SYN, Ends, Form, Heard, frames, tcp
from tests.evasion.packets import timestamps as timestamps_option
from tests.evasion.script import Acked, Event, Pause, Reopen, Script, Segment

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from tests.evasion.wire import Wire

SLOW: Final = float(os.environ.get("CONDUIT_SLOW", "1"))  # in the virtual machine everything takes longer
REPEAT_S: Final = 0.2 * SLOW
REPEATS: Final = 4  # without any progress; then it is silence
ANSWER_WITHIN_S: Final = 3.0 * SLOW  # everything was acknowledged: the device works on it
ACK_WITHIN_S: Final = 0.3 * SLOW
REUSE_S: Final = 0.3 * SLOW
STALE: Final = 1_000_000
MSS: Final = bytes.fromhex("020405b4")


class Outcome(StrEnum):
    """What a client learns of its request."""

    ANSWERED = "answered"
    REFUSED = "refused"
    SILENT = "silent"
    UNOPENED = "unopened"


@dataclass(frozen=True, slots=True)
class Reply:
    """The outcome and every whole answer to the script's stream."""

    outcome: Outcome
    answers: tuple[bytes, ...] = ()


class Conversation:
    """One connection, or several one after the other, by one port."""

    def __init__(self, wire: Wire, ends: Ends, port: int, far_port: int, protocol: str) -> None:
        self.wire, self.ends, self.ports, self.protocol = wire, ends, (port, far_port), protocol
        self._random = random.Random(port)
        self._moved = asyncio.Event()
        self._timestamps: int | None = None
        self._echo = 0
        self._begin(self._random.randrange(SEQUENCE))
        wire.listeners[port] = self._on_segment

    def _begin(self, initial: int) -> None:
        self.initial = initial
        self.base = 0  # how many bytes were said before the script's stream
        self.acked = -1  # of all bytes said; -1: the opening is not answered
        self.expected = 0  # the far end's next sequence number
        self.received = b""
        self.is_reset = self.is_ended = False

    def close(self) -> None:
        """Reset whatever is left at the far end, and hear no more."""
        if self.acked >= 0 and not self.is_reset:
            self._send(self.acked, b"", RST | ACK)
        self.wire.listeners.pop(self.ports[0], None)

    # ---- sending ----

    def _send(
        self,
        offset: int,
        data: bytes,
        flags: int,
        form: Form = PLAIN,
        *,
        urgent: int = 0,
        window: int = 64240,
        acknowledge: int = 0,
    ) -> None:
        options = form.tcp_options
        if flags & SYN:
            options += MSS
        if self._timestamps is not None:
            self._timestamps += 1
            options += timestamps_option(self._timestamps - (STALE if form.stale else 0), self._echo)
        body = tcp(
            self.ends,
            self.ports,
            (self.initial + 1 + offset, self.expected + acknowledge if flags & ACK else 0),
            flags,
            data,
            urgent=urgent,
            window=window,
            options=options,
            true_checksum=form.true_checksum,
        )
        for frame in frames(self.ends, body, form):
            self.wire.send(frame)

    def segment(self, segment: Segment) -> None:
        """Send one segment of the script."""
        offset = self.base + segment.at - (1 if segment.flags & SYN else 0)
        self._send(
            offset,
            segment.data,
            segment.flags,
            segment.form,
            urgent=segment.urgent,
            window=segment.window,
            acknowledge=segment.acknowledge,
        )

    # ---- receiving ----

    def _on_segment(self, segment: Heard) -> None:
        self._moved.set()
        if segment.flags & RST:
            self.is_reset = True
            return
        if segment.timestamp:
            self._echo = segment.timestamp
        if segment.flags & SYN:
            if self.acked < 0 and segment.acknowledged == (self.initial + 1) % SEQUENCE:
                self.acked, self.expected = 0, (segment.sequence + 1) % SEQUENCE
            return
        if self.acked < 0:
            return
        progress = (segment.acknowledged - self.initial - 1) % SEQUENCE
        if self.acked < progress < SEQUENCE // 2:
            self.acked = progress
        self._take(segment)

    def _take(self, segment: Heard) -> None:
        known = (self.expected - segment.sequence) % SEQUENCE
        fresh = segment.data[known:] if known < SEQUENCE // 2 else b""
        self.received += fresh
        self.expected = (self.expected + len(fresh)) % SEQUENCE
        at_end = known <= len(segment.data)
        if segment.flags & FIN and at_end and not self.is_ended:
            self.is_ended = True
            self.expected = (self.expected + 1) % SEQUENCE
        if segment.data or segment.flags & FIN:
            self._send(self.acked, b"", ACK)

    async def _until(self, done: Callable[[], bool], seconds: float) -> bool:
        """Wait until something holds, a reset comes, or time is up; return whether it holds."""
        end = asyncio.get_running_loop().time() + seconds
        while not done():
            left = end - asyncio.get_running_loop().time()
            if left <= 0 or self.is_reset:
                return False
            self._moved.clear()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._moved.wait(), left)
        return True

    # ---- whole conversations ----

    async def open(self, requests: tuple[bytes, ...], script: Script) -> bytes | None:
        """Connect and say the opening requests; return the last answer (b"" if none), None if that failed."""
        said = sum(map(len, requests))
        if script.wrap_at is not None:
            self._begin(-(1 + said + script.wrap_at) % SEQUENCE)
        self._timestamps = self._random.randrange(1 << 31) + STALE if script.with_timestamps else None
        for patience in (REPEAT_S, 2 * REPEAT_S, 4 * REPEAT_S, 8 * REPEAT_S, 16 * REPEAT_S):
            # A TCP whose SYN with data is not answered tries without.
            data = script.opening_data if patience == REPEAT_S else b""
            self._send(-1, data, SYN)
            if await self._until(lambda: self.acked >= 0, patience):
                break
        else:
            return None
        self._send(0, b"", ACK)
        answer = b""
        for request in requests:
            self.received = b""
            await self._deliver(request, 1, PLAIN)
            whole = messages(self.protocol, self.received)
            if not whole:
                return None
            answer = whole[0]
            self.base += len(request)
        self.received = b""
        return answer

    async def _deliver(self, stream: bytes, answers: int, form: Form) -> None:
        """Repeat what is not acknowledged until it is answered, reset, or nothing moves any more."""

        def is_answered() -> bool:
            return len(messages(self.protocol, self.received)) >= answers

        still = 0
        while still < REPEATS and not is_answered() and not self.is_reset:
            done = self.acked - self.base
            if done >= len(stream):
                await self._until(lambda: is_answered() or self.is_ended, ANSWER_WITHIN_S)
                return
            # A TCP repeats from the first byte that was not acknowledged on.
            self._send(self.base + done, stream[done:], PSH | ACK, form)
            await self._until(lambda before=done: is_answered() or self.acked - self.base > before, REPEAT_S)
            still = 0 if self.acked - self.base > done else still + 1

    async def play(self, script: Script, opening: tuple[bytes, ...], happen: Callable[[str], Awaitable[None]]) -> Reply:
        """Send a script's steps, then behave as a TCP; return what came of it."""
        for step in script.steps:
            if isinstance(step, Segment):
                self.segment(step)
            elif isinstance(step, Acked):
                await self._until(lambda at=step.at: self.acked - self.base >= at, ACK_WITHIN_S)
            elif isinstance(step, Pause):
                await asyncio.sleep(step.seconds)
            elif isinstance(step, Event):
                await happen(step.name)
            elif not await self._reopen(step, opening, script):
                return Reply(Outcome.REFUSED if self.is_reset else Outcome.UNOPENED)
        if script.steps and script.repeats:
            await self._until(lambda: self.acked - self.base >= len(script.stream), REPEAT_S)
        await self._deliver(script.stream, script.answers, script.form) if script.repeats else await self._wait(script)
        found = tuple(messages(self.protocol, self.received))
        if self.is_reset:
            return Reply(Outcome.REFUSED, found)
        return Reply(Outcome.ANSWERED if len(found) >= script.answers else Outcome.SILENT, found)

    async def _wait(self, script: Script) -> None:
        await self._until(lambda: len(messages(self.protocol, self.received)) >= script.answers, ANSWER_WITHIN_S)

    async def _reopen(self, step: Reopen, opening: tuple[bytes, ...], script: Script) -> bool:
        if step.how == "rst":
            self._send(self.acked, b"", RST | ACK)
        else:
            self._send(self.acked, b"", FIN | ACK)
            await self._until(lambda: self.is_ended, ACK_WITHIN_S)
            self._send(self.acked, b"", ACK)
            # The far end waits for the acknowledgement of its own FIN before it lets the addresses be used again.
        await asyncio.sleep(REUSE_S)  # a device that keeps its clients by address and port must have let go
        self._begin((self.initial + 0x100000) % SEQUENCE)
        return await self.open(opening, script) is not None
