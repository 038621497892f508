"""A policy as a simulation judges by it: its image, a state of its own, its windows as time goes by.

In: a compiled policy, which stages count. Out: a judge of capture batches. The state is never the live one, a port's
number stands for its interface index, and the clock is the capture's.
"""

from __future__ import annotations

from enum import StrEnum
from itertools import product
from typing import TYPE_CHECKING, Final

from fastpath.abi import Stage
from fastpath.replay import Replay
from gateway.control.names import Names
from gateway.errors import ConfigError
from gateway.simulate.openings import Openings
from gateway.simulate.words import Wording
from rules.image import build_image
from rules.problems import did_you_mean
from rules.state import build_state, set_ports

if TYPE_CHECKING:
    from fastpath.replay import Capture
    from rules.compile import Compiled
    from rules.records import LoweredPolicy

GENERATION: Final = 1  # nobody else judges by it: it only has to be the same in image and state


class Stages(StrEnum):
    """Which stages a simulation takes."""

    AS_WRITTEN = "as-written"
    ENFORCE = "enforce"  # everything enforced, whatever the text says: what would be dropped in the end


class Candidate:
    """One policy ready to judge. `name` is what people call it."""

    def __init__(self, compiled: Compiled, name: str, *, stages: Stages = Stages.AS_WRITTEN) -> None:
        self.name = name
        self.stages = stages
        self.lowered = compiled.lowered
        self.names = Names(self.lowered, GENERATION)
        self.wording = Wording(self.names)
        self._state = _state(self.lowered, stages)
        self.replay = Replay(build_image(self.lowered, GENERATION), self._state)
        self._openings = Openings(compiled, self._state)
        self._ports = {port.name: port.number for port in self.lowered.ports}
        self._zones = {zone.name: zone.number for zone in self.lowered.zones}
        self._holds = (0, 0)  # nanoseconds: from when until when (excluded) the state's openings are right

    def came_in(self, place: str | None) -> None:
        """Say by which port, or by a port of which zone, frames come in from now on; None: by where their sources are.

        Raises ConfigError when the policy has neither.
        """
        if place is None:
            self.replay.came_in()
        elif place in self._ports:
            self.replay.came_in(port=self._ports[place])
        elif place in self._zones:
            self.replay.came_in(zone=self._zones[place])
        else:
            known = [*self._ports, *self._zones]
            detail = f"{self.name} has no port and no zone {place!r}"
            raise ConfigError("place_unknown", detail, did_you_mean(place, known) or "`conduitctl zones` lists them")

    def judge(self, capture: Capture, count: int) -> None:
        """Judge the `count` frames of the batch in hand, each at its time."""
        at = 0
        while (at := self.replay.judge(capture, at, *self._holds)) < count:
            self._holds = self._openings.turn_to_ns(capture.time_ns(at))


def _state(lowered: LoweredPolicy, stages: Stages) -> bytearray:
    """Return a fresh state in which each port stands behind the interface of its own number."""
    if stages is Stages.AS_WRITTEN:
        state = build_state(lowered, GENERATION, {})
    else:
        zones = range(len(lowered.zones) + 1)
        state = build_state(
            lowered,
            GENERATION,
            {},
            ceiling=Stage.ENFORCE,
            pair_stages=dict.fromkeys(product(zones, zones), Stage.ENFORCE),
            conduit_flags={conduit.slot: (Stage.ENFORCE, conduit.open) for conduit in lowered.conduits},
        )
    set_ports(state, {port.number: port.number for port in lowered.ports})
    return state
