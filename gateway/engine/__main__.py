"""Entry of the engine process: `python -m gateway.engine --fd N`, started by the keeper only.

Wires the real worker and validator into `serve`. SIGTERM is a planned stop; SIGINT and SIGHUP are the keeper's
business and ignored here. Exit code 0 after a stop or when the keeper is gone, else see `gateway.errors.ExitCode`.
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
from collections.abc import Callable
from types import FrameType

import structlog

from fastpath import judge, worker
from gateway.channel import Channel, from_fd
from gateway.engine.judging import QueueWorker
from gateway.engine.privileges import die_with_parent, drop_privileges
from gateway.engine.serve import Engine, EngineParts, WorkerSeat
from gateway.engine.thread_placement import take_priority
from gateway.errors import ExitCode, GatewayError
from gateway.log import configure_log


def _worker_maker() -> Callable[[WorkerSeat], QueueWorker]:
    """Return what makes the workers of this process; they share the clocks of the limits."""
    limits = worker.new_limits()

    def make(seat: WorkerSeat) -> QueueWorker:
        return worker.Worker(
            seat.fd,
            seat.index,
            seat.counters,
            seat.events,
            seat.flows,
            seat.streams,
            seat.copy_bytes,
            limits=limits,
            answer_fd=seat.answer_fd,
            polling=worker.POLLING[seat.polling],
            polling_ns=seat.polling_us * 1000,
        )

    return make


class _TerminatedError(BaseException):
    """SIGTERM came: unwind, stop judging and end with code 0."""


def _terminated(_signal: int, _frame: FrameType | None) -> None:
    raise _TerminatedError


def main() -> int:
    """Serve the keeper behind descriptor `--fd` until it says stop."""
    parser = argparse.ArgumentParser(prog="gateway.engine", description="Data plane of conduitd; started by it.")
    parser.add_argument("--fd", type=int, required=True, help="descriptor of the channel to the keeper")
    options = parser.parse_args()
    parent = os.getppid()
    configure_log("engine")
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, _terminated)

    def become_nobody(priority: int) -> None:
        take_priority(priority)
        drop_privileges()
        die_with_parent(parent)

    try:
        channel = Channel(from_fd(options.fd))  # stays open to the end: closing it tells the keeper that we are gone
        Engine(channel, EngineParts(_worker_maker(), judge.validate_image, become_nobody)).serve()
    except _TerminatedError:
        return ExitCode.OK
    except GatewayError as error:
        structlog.get_logger(__name__).error("engine_ends", code=error.code, detail=error.detail)
        return error.exit_code
    return ExitCode.OK


def _leave(code: int) -> None:
    """End at once: frames wait until the keeper sees us gone, and the interpreter's own farewell takes its time."""
    sys.stderr.flush()
    os._exit(code)


if __name__ == "__main__":
    _leave(main())
