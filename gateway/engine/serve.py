"""The engine's main loop: obeys the keeper's messages, one after the other, blocking.

In: start (segments, the socket for answers, queue sockets), install (image and state), go, stop. Out: ready, installed
or refused. A refused image leaves the generation in force untouched. End of the channel means that the keeper is gone:
stop judging and end. Must never open a file, resolve a name or parse a text. Called by `gateway.engine.__main__`.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

import structlog

from gateway.channel import Channel, Message
from gateway.engine.judging import Judging, LoadedGeneration, QueueWorker
from gateway.engine.thread_placement import leave_priority
from gateway.errors import ControlError, InternalError
from gateway.placement import ThreadPlan
from gateway.segments import Segment, SegmentKind, attach
from gateway.settings import Polling
from gateway.waking import wake

START_SEGMENTS: Final = 4  # counters, events, flows, streams: in this order first
START_FDS: Final = START_SEGMENTS + 1  # then the socket for answers to what is dropped, then the queue sockets
_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class WorkerSeat:
    """Everything one worker is made from."""

    fd: int
    index: int
    counters: memoryview
    events: memoryview
    flows: memoryview
    streams: memoryview
    copy_bytes: int  # how much of a frame the queue hands over
    answer_fd: int  # one packet socket for all workers: each answer is one datagram
    polling: Polling
    polling_us: int  # how long `adaptive` spins after the last packet


@dataclass(frozen=True, slots=True)
class EngineParts:
    """The outside of the engine; tests put others in."""

    make_worker: Callable[[WorkerSeat], QueueWorker]
    validate_image: Callable[[memoryview], None]  # raises ValueError
    drop_privileges: Callable[[int], None]  # takes this SCHED_FIFO priority while it may


class Engine:
    """One engine process, from its first message to its last."""

    def __init__(self, channel: Channel, parts: EngineParts) -> None:
        self._channel = channel
        self._parts = parts
        self._judging: Judging | None = None

    def serve(self) -> None:
        """Obey until told to stop or the keeper is gone."""
        try:
            while (message := self._channel.receive()) is not None:
                if message.op == "stop":
                    return
                self._obey(message)
        finally:
            self.stop()

    def stop(self) -> None:
        """End judging; harmless when it never began."""
        if self._judging is not None:
            self._judging.stop()

    def _obey(self, message: Message) -> None:
        match message.op:
            case "start":
                self._start(message)
            case "install":
                self._install(message)
            case "go":
                self._started().go()
            case _:
                message.close_fds()
                raise ControlError("message_unknown", f"no such message: {message.op}", "restart conduitd")

    def _start(self, message: Message) -> None:
        plans = _plans(message)
        if self._judging is not None or not plans or len(message.fds) != START_FDS + len(plans):
            message.close_fds()
            raise ControlError("message_malformed", "start: descriptors and threads do not match", "restart conduitd")
        kinds = (SegmentKind.COUNTERS, SegmentKind.EVENTS, SegmentKind.FLOWS, SegmentKind.STREAMS)
        counters, events, flows, streams = (
            attach(kind, fd, writable=True).view for kind, fd in zip(kinds, message.fds[:START_SEGMENTS], strict=True)
        )
        for fd in message.fds[:START_SEGMENTS]:
            os.close(fd)
        answer_fd, queues = message.fds[START_SEGMENTS], message.fds[START_FDS:]
        copy_bytes, polling_us = message.number("copy_bytes"), message.number("polling_us")
        workers = [
            self._parts.make_worker(
                WorkerSeat(
                    fd, index, counters, events, flows, streams, copy_bytes, answer_fd, plans[index].polling, polling_us
                )
            )
            for index, fd in enumerate(queues)
        ]
        self._judging = Judging(workers, plans, lambda: _wake_all(queues))
        # ORDER: one line is logged while files can still be read, so that whatever logging imports late is there.
        _log.info("engine_starting", queues=[plan.queue for plan in plans])
        self._parts.drop_privileges(max(plan.priority for plan in plans))
        self._judging.prepare()
        leave_priority()
        self._channel.send({"op": "ready"})

    def _install(self, message: Message) -> None:
        judging, generation = self._started(), message.number("generation")
        try:
            loaded = self._load(generation, message)
            judging.install(loaded)
        except ValueError as error:
            _log.warning("install_refused", generation=generation, error=str(error))
            self._channel.send({"op": "refused", "generation": generation, "error": str(error)})
            return
        finally:
            message.close_fds()
        _log.info("installed", generation=generation)
        self._channel.send({"op": "installed", "generation": generation})

    def _load(self, generation: int, message: Message) -> LoadedGeneration:
        """Map and check an image and its state; every refusal is a ValueError."""
        if len(message.fds) != 2:
            raise ValueError("an install needs an image and a state")
        try:
            image = attach(SegmentKind.IMAGE, message.fds[0])
            state = attach(SegmentKind.STATE, message.fds[1])
        except InternalError as error:
            raise ValueError(str(error)) from error
        self._parts.validate_image(image.view)
        _belong_together(generation, image, state)
        return LoadedGeneration(generation, image, state)

    def _started(self) -> Judging:
        if self._judging is None:
            raise ControlError("message_order", "an engine must be started before anything else", "restart conduitd")
        return self._judging


def _wake_all(queues: Sequence[int]) -> None:
    for fd in queues:
        wake(fd)


def _plans(message: Message) -> list[ThreadPlan]:
    """Return the plans of a start message; none when they are not what the keeper of this version sends."""
    try:
        return [ThreadPlan(**thread) for thread in message.body["threads"]]
    except (KeyError, TypeError):
        return []


def _belong_together(generation: int, image: Segment, state: Segment) -> None:
    """Refuse a state of another image: its indices would reach beyond its end."""
    if not image.header["generation"] == state.header["generation"] == generation:
        raise ValueError("image, state and message name different generations")
    for field in ("zone_count", "conduit_capacity"):
        if image.header[field] != state.header[field]:
            raise ValueError(f"image and state disagree about {field}")
