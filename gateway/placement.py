"""What each queue's thread of the engine is to be: how it waits, where it runs, how urgent it is.

In: settings, and the CPUs that this process may use. Out: one plan per queue, in the order of the queues, or a
ConfigError when this machine cannot keep the plans. Pure; the keeper sends plans, the engine follows them, doctor
compares them with the kernel. Must never let a spinning thread take the CPU that everything else needs.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from gateway.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Set as AbstractSet

    from gateway.settings import EngineSettings, Polling, Settings


@dataclass(frozen=True, slots=True)
class ThreadPlan:
    """One queue's thread."""

    queue: int  # NFQUEUE number
    polling: Polling
    cpu: int | None  # None: the kernel decides
    priority: int  # SCHED_FIFO, 0 for the normal scheduler


def thread_plans(settings: Settings) -> tuple[ThreadPlan, ...]:
    """Return the plans, lowest queue number first.

    The thread of the layer-2 queue sleeps when it has nothing to do and is bound to no CPU: behind a spinning thread of
    the same priority it would never run.
    """
    engine, queue = settings.engine, settings.queue
    plans = []
    for index, number in enumerate(queue.numbers):
        if number == queue.layer2_number:
            plans.append(ThreadPlan(number, "off", None, engine.priority))
        else:
            cpu = engine.cpus[index % len(engine.cpus)] if engine.cpus else None
            plans.append(ThreadPlan(number, engine.polling, cpu, engine.priority))
    return tuple(plans)


def require_cpus(engine: EngineSettings, allowed: AbstractSet[int], online: AbstractSet[int]) -> None:
    """Refuse CPUs that are not there or not ours, and spinning that would leave no CPU. Raises ConfigError."""
    hint = f"this process may use the CPUs {_listed(allowed)}"
    if missing := set(engine.cpus) - online:
        raise ConfigError("cpu_missing", f"engine.cpus: this machine has no CPU {_listed(missing)} online", hint)
    if foreign := set(engine.cpus) - allowed:
        raise ConfigError("cpu_not_allowed", f"engine.cpus: CPU {_listed(foreign)} is not allowed to conduitd", hint)
    if engine.polling != "off" and engine.priority > 0 and not allowed - set(engine.cpus):
        detail = (
            "engine.polling with engine.priority on every CPU: threads that spin at a SCHED_FIFO priority let nothing "
            "else run there, neither the kernel's softirq threads that bring the packets nor keeper and control"
        )
        raise ConfigError("no_cpu_left", detail, f"{hint}: leave one of them out of engine.cpus, or set priority = 0")


def cpus_for_others(engine: EngineSettings, allowed: AbstractSet[int]) -> frozenset[int]:
    """Return where keeper and control run: beside the engine's CPUs, where there is a beside.

    Preparing a policy takes control's whole CPU for a while; a frame that comes in then should not wait for it.
    """
    return frozenset(allowed - set(engine.cpus) or allowed)


def _listed(cpus: AbstractSet[int]) -> str:
    return ", ".join(map(str, sorted(cpus)))
