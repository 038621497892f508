"""Stretches the laboratory's deadlines where everything is slow: a pytest plugin of the virtual machine's ring.

In: CONDUIT_SLOW, a factor. Out: deploy.lab's waiting functions wait that many times longer. A deadline says that
something never came, not how fast it comes, so nothing proved by a test changes; what measures time must not run here.
Loaded by `ring` before any test is imported (`-p tests.support.vm.slow`), since tests copy `wait_for` by name.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any, Final, TypeVar

from deploy.lab import actors, gateway, namespaces, processes, topology

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Callable, Sequence
    from types import ModuleType

T = TypeVar("T")
FACTOR: Final = float(os.environ.get("CONDUIT_SLOW", "1"))
# Deadlines that do not go through `wait_for`: of processes, sockets and commands.
_CONSTANTS: Final[tuple[tuple[ModuleType, str], ...]] = (
    (actors, "END_WITHIN_S"),
    (gateway, "ANSWER_WITHIN_S"),
    (gateway, "STOP_WITHIN_S"),
    (namespaces, "COMMAND_TIMEOUT_S"),
    (processes, "TERMINATE_WITHIN_S"),
    (topology, "REAP_WITHIN_S"),
)
_wait_for = processes.wait_for
_run = topology.Lab.run


def waiting(what: str, look: Callable[[], T | None], within_s: float) -> T:
    """Wait as `processes.wait_for` does, longer."""
    return _wait_for(what, look, within_s * FACTOR)


def running(
    lab: topology.Lab, node: str, argv: Sequence[str], *, timeout_s: float = 30.0, check: bool = True
) -> subprocess.CompletedProcess[str]:
    """Run as `Lab.run` does, with a longer time-out."""
    return _run(lab, node, argv, timeout_s=timeout_s * FACTOR, check=check)


def _stretch() -> None:
    for module, name in _CONSTANTS:
        setattr(module, name, getattr(module, name) * FACTOR)
    stretched: tuple[tuple[Any, str, Any], ...] = ((processes, "wait_for", waiting), (topology.Lab, "run", running))
    for owner, name, function in stretched:
        setattr(owner, name, function)


if FACTOR != 1:
    _stretch()
