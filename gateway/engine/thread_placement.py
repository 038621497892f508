"""Putting the queues' threads where their plans say: name, CPU, SCHED_FIFO priority, read back from the kernel.

In: a plan, in the very thread that it is about. Out: that thread as planned, and a line in the log that says how it is.
A thread is born with the priority of the one that makes it, which takes it while it still may and then lets go of it:
so the engine keeps no right to any priority. What the kernel refuses is an error in the log and a warning of doctor,
never a reason not to judge: the plant keeps running, only slower. Must open no file. Called by the engine only.
"""

from __future__ import annotations

import ctypes
import os
from typing import TYPE_CHECKING, Final

import structlog

if TYPE_CHECKING:
    from gateway.placement import ThreadPlan

PR_SET_NAME: Final = 15  # linux/prctl.h
_log = structlog.get_logger(__name__)


def take_priority(priority: int) -> None:
    """Give the calling thread a SCHED_FIFO priority for those that it is about to make; 0 is none.

    ORDER: before privileges go. It takes CAP_SYS_NICE, or a limit (RLIMIT_RTPRIO) that allows it.
    """
    if priority == 0:
        return
    try:
        os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(priority))
    except OSError as error:
        hint = "the unit needs LimitRTPRIO= and RestrictRealtime=no: docs/how-to/tune-the-engine.md"
        _log.error("priority_refused", priority=priority, error=error.strerror, hint=hint)


def leave_priority() -> None:
    """Go back to the normal scheduler: the threads are made, and this one only talks to the keeper."""
    os.sched_setscheduler(0, os.SCHED_OTHER, os.sched_param(0))


def settle_thread(plan: ThreadPlan) -> None:
    """Name and bind the calling thread as planned, and say how it is; never raises for what the kernel refuses.

    FAIL-CLOSED: a thread that spins at a priority on a CPU that nobody set aside for it would stop whatever else runs
    there. One that cannot be bound gives the priority up.
    """
    ctypes.CDLL(None).prctl(PR_SET_NAME, f"queue-{plan.queue}".encode(), 0, 0, 0)
    refused = _bind(plan.cpu)
    if refused:
        leave_priority()
    priority = os.sched_getparam(0).sched_priority
    if priority != plan.priority:
        refused.append(f"SCHED_FIFO priority {plan.priority}")
    found = {
        "queue": plan.queue,
        "polling": plan.polling,
        "cpus": sorted(os.sched_getaffinity(0)),
        "priority": priority,
    }
    if refused:
        _log.error("thread_not_as_planned", refused=refused, **found)
    else:
        _log.info("thread_settled", **found)


def _bind(cpu: int | None) -> list[str]:
    """Bind to the planned CPU; returns what the kernel refused."""
    if cpu is None:
        return []
    try:
        os.sched_setaffinity(0, {cpu})
    except OSError as error:
        return [f"CPU {cpu}: {error.strerror}"]
    return [] if os.sched_getaffinity(0) == {cpu} else [f"CPU {cpu}: the kernel did not keep it"]
