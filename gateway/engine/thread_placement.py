"""Putting a queue's thread where its plan says: name, CPU, SCHED_FIFO priority, read back from the kernel.

In: a plan, in the very thread that it is about. Out: that thread as planned, and a line in the log that says how it is.
What the kernel refuses is an error in the log and a warning of doctor, never a reason not to judge: the plant keeps
running, only slower. Must open no file. Called by the judging threads; `allow_priority` before privileges go.
"""

from __future__ import annotations

import ctypes
import os
import resource
from typing import TYPE_CHECKING, Final

import structlog

if TYPE_CHECKING:
    from gateway.placement import ThreadPlan

PR_SET_NAME: Final = 15  # linux/prctl.h
_log = structlog.get_logger(__name__)


def allow_priority(priority: int) -> None:
    """Let this process take SCHED_FIFO priorities up to this one, 0 for none, as long as it lives.

    Whoever may not raise the limit goes on: then the threads will say what is missing.
    """
    try:
        resource.setrlimit(resource.RLIMIT_RTPRIO, (priority, priority))
    except (OSError, ValueError) as error:
        hint = "the unit needs LimitRTPRIO= and RestrictRealtime=no: docs/how-to/tune-the-engine.md"
        _log.error("priority_not_allowed", priority=priority, error=str(error), hint=hint)


def settle_thread(plan: ThreadPlan) -> None:
    """Make the calling thread what its plan says, as far as the kernel lets us."""
    ctypes.CDLL(None).prctl(PR_SET_NAME, f"queue-{plan.queue}".encode(), 0, 0, 0)
    refused = _bind(plan) or _prioritize(plan)
    found = {
        "cpus": sorted(os.sched_getaffinity(0)),
        "priority": os.sched_getparam(0).sched_priority,
        "polling": plan.polling,
    }
    if refused:
        _log.error("thread_not_as_planned", queue=plan.queue, refused=refused, **found)
    else:
        _log.info("thread_settled", queue=plan.queue, **found)


def _bind(plan: ThreadPlan) -> str:
    """Bind to the planned CPU; returns what went wrong."""
    if plan.cpu is None:
        return ""
    try:
        os.sched_setaffinity(0, {plan.cpu})
    except OSError as error:
        return f"CPU {plan.cpu}: {error.strerror}"
    return "" if os.sched_getaffinity(0) == {plan.cpu} else f"CPU {plan.cpu}: the kernel did not keep it"


def _prioritize(plan: ThreadPlan) -> str:
    """Take the planned priority; returns what went wrong. ORDER: never before the CPU is right.

    A thread that spins at a priority on a CPU that nobody set aside for it would stop whatever else runs there.
    """
    if plan.priority == 0:
        return ""
    try:
        os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(plan.priority))
    except OSError as error:
        return f"SCHED_FIFO {plan.priority}: {error.strerror}"
    kept = os.sched_getscheduler(0) == os.SCHED_FIFO and os.sched_getparam(0).sched_priority == plan.priority
    return "" if kept else f"SCHED_FIFO {plan.priority}: the kernel did not keep it"
