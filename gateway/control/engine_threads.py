"""How the engine's queue threads really run, asked of the kernel and compared with their plans, for `doctor`.

In: settings, and the pid of a judging engine. Out: one finding per queue. How a thread polls is the engine's own
business and comes from the plan; CPU and priority come from the kernel. Must never change anything, nor fail because
the engine ends meanwhile.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Final

from gateway.control.api.answers import Finding
from gateway.placement import ThreadPlan, thread_plans

if TYPE_CHECKING:
    from collections.abc import Set as AbstractSet

    from gateway.settings import EngineSettings, Settings

HINT: Final = "see the engine's `thread_not_as_planned` in the log, and docs/how-to/tune-the-engine.md"


def thread_findings(settings: Settings, pid: int) -> list[Finding]:
    """Return how each queue's thread of this engine waits, where it runs and how urgent it is."""
    threads = _by_name(pid)
    return [_finding(plan, settings.engine, threads.get(f"queue-{plan.queue}")) for plan in thread_plans(settings)]


def _by_name(pid: int) -> dict[str, int]:
    found = {}
    try:
        for task in Path(f"/proc/{pid}/task").iterdir():
            found[(task / "comm").read_text(encoding="ascii", errors="replace").strip()] = int(task.name)
    except OSError:
        return {}
    return found


def _finding(plan: ThreadPlan, engine: EngineSettings, thread: int | None) -> Finding:
    polling = f"adaptive, {engine.polling_us} µs" if plan.polling == "adaptive" else plan.polling
    head = f"queue {plan.queue}: polling {polling}"
    try:
        if thread is None:
            raise ProcessLookupError
        cpus, priority = os.sched_getaffinity(thread), os.sched_getparam(thread).sched_priority
    except OSError:
        return Finding(level="warning", topic="thread", text=f"{head}; its thread cannot be seen", hint=HINT)
    text = f"{head}, {_place(cpus)}, {_urgency(priority)}"
    if priority == plan.priority and plan.cpu in (None, *(cpus if len(cpus) == 1 else ())):
        return Finding(level="ok", topic="thread", text=text)
    wanted = [f"CPU {plan.cpu}"] if plan.cpu is not None else []
    wanted.append(_urgency(plan.priority))
    return Finding(level="warning", topic="thread", text=f"{text}; not {', '.join(wanted)} as set", hint=HINT)


def _place(cpus: AbstractSet[int]) -> str:
    return f"CPU {', '.join(map(str, sorted(cpus)))}"


def _urgency(priority: int) -> str:
    return f"SCHED_FIFO {priority}" if priority else "normal priority"
