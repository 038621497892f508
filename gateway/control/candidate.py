"""A policy that is not in force, with an image, a state and stages of its own, to be asked what it would do.

In: a compiled policy, the one in force, the overrides of now. Out: the same segments that an apply would make, in plain
memory, with made-up interface numbers: nothing here reaches engine or kernel. CPU-bound: run it in a thread.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from fastpath.judge import Judge
from gateway.control.stages import StageTable, put_all, surviving
from gateway.control.state_map import StateMap
from rules.image import build_image
from rules.state import build_state
from rules.windows import schedule

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from gateway.control.in_force import PolicyInForce
    from gateway.control.state_dir import StageOverride
    from rules.compile import Compiled
    from rules.records import LoweredPolicy

GENERATION = 1  # nobody judges by it: it only has to be the same in image and state


@dataclass(frozen=True, slots=True)
class Candidate:
    """One policy and its state."""

    lowered: LoweredPolicy
    state: bytearray
    stages: StageTable
    overrides_dropped: tuple[str, ...]
    generation: int = GENERATION

    def judge(self, ports: Mapping[str, int]) -> Judge:
        """Return the engine's code over this policy; `ports` are made-up interface numbers by name.

        Without limits: what a conversation is judged once for here must not use up what it is allowed. And without
        inspection: a made-up frame carries no message.
        """
        conduits = tuple(replace(one, limit=None, profile=None) for one in self.lowered.conduits)
        unlimited = replace(self.lowered, conduits=conduits)
        state = bytearray(self.state)
        copy = StateMap(memoryview(state))  # of nothing in force: it has no lane behind it
        copy.set_ports({ports[port.name]: port.number for port in self.lowered.ports})
        return Judge(build_image(unlimited, self.generation), state)


def candidate(compiled: Compiled, overrides: Mapping[str, StageOverride], moment: datetime) -> Candidate:
    """Return a policy as it would come into force at a moment, with the windows that are open then."""
    lowered = compiled.lowered
    state = build_state(lowered, GENERATION, {})
    store = StateMap(memoryview(state))
    slots = {conduit.name: conduit.slot for conduit in lowered.conduits}
    opened = schedule(compiled.policy).open_conduits(moment)
    store.open_conduits({slots[name]: is_open for name, is_open in opened.items()})
    table = StageTable(lowered, store)
    kept = surviving(overrides, table)
    put_all(kept, table)
    return Candidate(lowered, state, table, tuple(sorted(set(overrides) - set(kept))))


def in_force(policy: PolicyInForce) -> Candidate:
    """Return the policy in force with its stages and openings of this moment, as a copy."""
    state = policy.state.snapshot()
    table = StageTable(policy.lowered, StateMap(memoryview(state)))
    return Candidate(policy.lowered, state, table, (), policy.record.generation)
