"""Compiling for the control plane: one policy at a time, against the slots in force.

In: bundles and records. Out: `Compiled`, or PolicyError with every problem. The core's workshop is used by one
compilation at a time and saves the work that was done for the policy before.
"""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING

from gateway.errors import ControlError
from rules.compile import Compiled, compile_bundle

if TYPE_CHECKING:
    from gateway.control.core import Core
    from gateway.control.state_dir import InForceRecord
    from rules.bundle import Bundle


def slots_in_force(core: Core) -> dict[str, int]:
    """Return the slots of all conduits, also of removed ones, so that counters, limits and flows stay with theirs."""
    return core.current.record.slots if core.current else {}


async def compile_policy(core: Core, bundle: Bundle, *, accepted: bool = False) -> Compiled:
    """Compile a policy against the slots in force, one at a time. Raises PolicyError with every problem.

    accepted: it was in force before, so that a check that is newer than it, and could be waived, does not refuse it.

    A large one takes seconds of one thread. Were several compiled at once, they would take the threads that stage
    changes and quarantine need.
    """
    async with core.compiling:
        today = datetime.now(UTC).astimezone().date()  # what is overdue or expired: the host's day
        slots = slots_in_force(core)
        compiling = partial(compile_bundle, bundle, slots, today, accepted=accepted, workshop=core.workshop)
        return await asyncio.to_thread(compiling)


async def compile_record(core: Core, record: InForceRecord) -> Compiled:
    """Compile a policy to the very image that it had. Raises PolicyError when this version refuses its text."""
    async with core.compiling:
        again = partial(compile_bundle, record.bundle(), record.slots, accepted=True, workshop=core.workshop)
        return await asyncio.to_thread(again)


async def check_policy(core: Core, bundle: Bundle, *, accepted: bool = False) -> Compiled:
    """Compile a policy only to look at it. Raises PolicyError, or ControlError while another one is being compiled."""
    if core.compiling.locked():
        raise ControlError("busy", "another policy is being checked or applied", "try again in a moment")
    return await compile_policy(core, bundle, accepted=accepted)
