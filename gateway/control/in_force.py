"""One policy as the engine runs it: text, lowered form, image and state memfds, names, stages.

In: a compiled policy and a generation (a new one), or the memfds that outlived this process (a resumed one). Out: an
object that answers every question about what is in force without asking the disk. The memfds stay open as long as it
lives, so that a rollback can hand the very same ones to the engine again.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from fastpath.judge import validate_image
from gateway.control.kernel_port import StagesInForce
from gateway.control.names import Names
from gateway.control.stages import StageTable
from gateway.control.state_map import StateMap
from gateway.errors import InternalError
from gateway.segments import SegmentKind, attach, create_image, create_state
from rules.compile import uncollected
from rules.image import build_image
from rules.state import build_state, port_numbers
from rules.windows import schedule

if TYPE_CHECKING:
    from collections.abc import Mapping

    from gateway.control.state_dir import InForceRecord
    from rules.compile import Compiled
    from rules.image import ImageMemory
    from rules.records import LoweredPolicy
    from rules.windows import Schedule


@dataclass(slots=True)
class PolicyInForce:
    """Everything that belongs to one generation."""

    record: InForceRecord
    compiled: Compiled
    image: bytes
    image_fd: int
    state_fd: int
    state: StateMap
    names: Names
    stages: StageTable
    schedule: Schedule
    slots: Mapping[str, int]  # by conduit name

    @property
    def lowered(self) -> LoweredPolicy:
        """The lowered policy."""
        return self.compiled.lowered

    @property
    def port_names(self) -> list[str]:
        """The bridge ports that the policy names."""
        return [port.name for port in self.lowered.ports]

    def stages_in_force(self) -> StagesInForce:
        """Return the stages as the state segment holds them now."""
        conduits = self.state.conduits(conduit.slot for conduit in self.lowered.conduits)
        return StagesInForce(
            ceiling=self.state.ceiling,
            conduits={slot: now.stage for slot, now in conduits.items()},
            opened={slot: now.open for slot, now in conduits.items()},
            pairs=self.state.pairs(),
        )

    def stages_at_boot(self) -> StagesInForce:
        """Return the same for a boot at an unknown time: whatever has windows is closed."""
        now = self.stages_in_force()
        closed = {self.slots[name]: False for name in self.schedule.governed}
        return replace(now, opened={**now.opened, **closed})

    def place_ports(self, ifindexes: Mapping[str, int]) -> None:
        """Tell the engine the ifindex of each port that exists."""
        self.state.set_ports(port_numbers(self.lowered, ifindexes))

    def close(self) -> None:
        """Give the memfds back; the engine keeps its own."""
        os.close(self.image_fd)
        os.close(self.state_fd)


def _assemble(record: InForceRecord, compiled: Compiled, image: bytes, image_fd: int, state_fd: int) -> PolicyInForce:
    state = StateMap(attach(SegmentKind.STATE, state_fd, writable=True).view)
    names = Names(compiled.lowered, record.generation)
    table = StageTable(compiled.lowered, state)
    slots = {conduit.name: conduit.slot for conduit in compiled.lowered.conduits}
    windows = schedule(compiled.policy)
    return PolicyInForce(record, compiled, image, image_fd, state_fd, state, names, table, windows, slots)


def build(
    record: InForceRecord, compiled: Compiled, ifindexes: Mapping[str, int], memory: ImageMemory | None = None
) -> PolicyInForce:
    """Return a new generation with fresh memfds. CPU-bound: run it in a thread. Raises InternalError."""
    with uncollected():
        image = build_image(compiled.lowered, record.generation, memory)
    state = build_state(compiled.lowered, record.generation, ifindexes)
    try:
        validate_image(image)
    except ValueError as error:
        raise InternalError("image_invalid", f"the compiler made an image that the engine refuses: {error}") from error
    image_fd = create_image(image)
    try:
        state_fd = create_state(state)
    except OSError:
        os.close(image_fd)
        raise
    return _assemble(record, compiled, image, image_fd, state_fd)


def resume(record: InForceRecord, compiled: Compiled, image_fd: int, state_fd: int) -> PolicyInForce:
    """Return the generation that the engine already runs, from the memfds the keeper kept. Raises InternalError."""
    segment = attach(SegmentKind.IMAGE, image_fd)
    if segment.header["generation"] != record.generation or segment.header["policy_digest"] != compiled.lowered.digest:
        raise InternalError("image_unknown", "the image in force is not the recorded policy's")
    return _assemble(record, compiled, bytes(segment.view), image_fd, state_fd)
