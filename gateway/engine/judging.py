"""The judging threads: one worker per queue, and the generation they judge by.

In: queue sockets, segments, images and states as attached memory, and a plan for each thread. Out: running threads
without the GIL; the worker is `fastpath.worker.Worker`. Must never leave some workers on one generation and some on
another: then the process ends, and the keeper brings up a fresh one. Called by the engine's main loop only.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, Protocol

import structlog

from gateway.engine.thread_placement import settle_thread
from gateway.errors import ExitCode, InternalError
from gateway.placement import ThreadPlan
from gateway.segments import Segment

ADOPTION_SECONDS: Final = 2.0  # workers loop at least every 100 ms
ADOPTION_POLL_SECONDS: Final = 0.0005
STOP_SECONDS: Final = 1.0
SETTLE_SECONDS: Final = 5.0  # a few system calls and a line in the log each
_log = structlog.get_logger(__name__)


class QueueWorker(Protocol):
    """What the engine asks of `fastpath.worker.Worker`."""

    def install(self, image: memoryview, state: memoryview) -> None:
        """Hand over the next generation."""

    def run(self) -> None:
        """Judge until stopped, without the GIL."""

    def stop(self) -> None:
        """Make `run` return."""

    def adopted(self, generation: int) -> bool:
        """Return whether the worker judges by this generation and has let go of the one before."""


@dataclass(frozen=True, slots=True)
class LoadedGeneration:
    """An image and its state, mapped; both stay mapped as long as this is referenced."""

    number: int
    image: Segment
    state: Segment


def _end_process(code: ExitCode) -> None:
    os._exit(code)  # a thread cannot end the process in any gentler way


class Judging:
    """All workers of this engine, always on the same generation."""

    def __init__(
        self,
        workers: Sequence[QueueWorker],
        plans: Sequence[ThreadPlan],
        wake: Callable[[], None],
        end_process: Callable[[ExitCode], None] = _end_process,
    ) -> None:
        self._workers = workers
        self._plans = plans
        self._wake = wake  # every worker that sleeps looks up at once
        self._end_process = end_process
        self._threads: list[threading.Thread] = []
        self._going = threading.Event()
        self._stopping = threading.Event()
        self._loaded: LoadedGeneration | None = None

    @property
    def running(self) -> bool:
        """Whether the threads were told to judge."""
        return self._going.is_set()

    def prepare(self) -> None:
        """Make the threads; returns when each is where its plan says. They wait for `go`."""
        settled = threading.Barrier(len(self._workers) + 1)
        self._threads = [
            threading.Thread(target=self._run, args=(plan, worker, settled), name=f"queue-{plan.queue}", daemon=True)
            for plan, worker in zip(self._plans, self._workers, strict=True)
        ]
        for thread in self._threads:
            thread.start()
        settled.wait(SETTLE_SECONDS)

    def install(self, loaded: LoadedGeneration) -> None:
        """Have every worker judge by a validated generation; returns when all do and the one before is unused.

        Raises ValueError when the workers refuse it and nothing has changed, InternalError when they are divided.
        """
        for index, worker in enumerate(self._workers):
            try:
                worker.install(loaded.image.view, loaded.state.view)
            except ValueError as error:
                if index == 0:
                    raise
                detail = f"queue {index} refused what queue 0 took: {error}"
                raise InternalError("generation_divided", detail) from error
        if self.running:
            self._wake()
            self._await_adoption(loaded.number)
        # The mappings of the generation before go with this last reference.
        self._loaded = loaded

    def _await_adoption(self, generation: int) -> None:
        deadline = time.monotonic() + ADOPTION_SECONDS
        while not all(worker.adopted(generation) for worker in self._workers):
            if time.monotonic() > deadline:
                raise InternalError("generation_divided", f"a worker did not adopt generation {generation}")
            time.sleep(ADOPTION_POLL_SECONDS)

    def go(self) -> None:
        """Let the threads judge; returns when all do. Raises InternalError without a generation, or the second time."""
        if self._loaded is None or self.running:
            raise InternalError("go_refused", "told to judge without a generation, or twice")
        self._going.set()
        self._await_adoption(self._loaded.number)

    def _run(self, plan: ThreadPlan, worker: QueueWorker, settled: threading.Barrier) -> None:
        try:
            settle_thread(plan)
            settled.wait(SETTLE_SECONDS)
            self._going.wait()
            if not self._stopping.is_set():
                worker.run()
        except (OSError, ValueError, RuntimeError) as error:
            _log.error("worker_failed", queue=plan.queue, error=str(error))
        finally:
            if not self._stopping.is_set():
                # FAIL-CLOSED: a queue without its worker would hang unnoticed; the keeper takes over at once instead.
                _log.error("worker_ended", queue=plan.queue)
                self._end_process(ExitCode.INTERNAL)

    def stop(self) -> None:
        """Let every worker finish its batch and end; waits at most a second for each."""
        self._stopping.set()
        self._going.set()
        for worker in self._workers:
            worker.stop()
        self._wake()
        for thread in self._threads:
            thread.join(STOP_SECONDS)
