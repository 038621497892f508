"""The live state segment of one generation: `rules.state`'s accessors bound to its mapping.

In: a writable mapping of the state memfd. Out: single stores that the engine's next frame sees. The mapping, not any
file, is the truth about the stages in force: it outlives this process. Called by the enforcement core only; control is
the segment's one writer. After each store into the state in force `changed` is called: none can forget the fast lane.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from rules import state

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from fastpath.abi import Stage
    from rules.pairs import PairStages


class StateMap:
    """A view on one state segment, whose header `gateway.segments.attach` has checked; it holds the mapping."""

    def __init__(self, view: memoryview) -> None:
        self._view = view
        self.changed: Callable[[], None] | None = None  # set for the state in force, by `gateway.control.lane`

    @property
    def ceiling(self) -> Stage:
        """The site ceiling in force."""
        return state.ceiling(self._view)

    @ceiling.setter
    def ceiling(self, stage: Stage) -> None:
        state.set_ceiling(self._view, stage)
        self._tell()

    def pair(self, source: int, destination: int) -> Stage:
        """Return the stage of an ordered pair of zone numbers."""
        return state.pair_stage(self._view, source, destination)

    def pairs(self) -> PairStages:
        """Return the stages of all ordered pairs of zone numbers."""
        return state.pair_stages(self._view)

    def conduits(self, slots: Iterable[int]) -> dict[int, state.ConduitState]:
        """Return stage and openness of these conduits."""
        return state.conduits(self._view, slots)

    def set_pair(self, source: int, destination: int, stage: Stage) -> None:
        """Set the stage of an ordered pair of zone numbers."""
        state.set_pair_stage(self._view, source, destination, stage)
        self._tell()

    def conduit(self, slot: int) -> Stage:
        """Return a conduit's own stage."""
        return state.conduit(self._view, slot).stage

    def conduit_open(self, slot: int) -> bool:
        """Return whether a conduit permits anything now."""
        return state.conduit(self._view, slot).open

    def conduits_open(self) -> list[bool]:
        """Return the same for every slot."""
        return state.open_conduits(self._view)

    def set_conduit(self, slot: int, stage: Stage) -> None:
        """Set a conduit's stage and leave it as open as it is."""
        state.set_conduit(self._view, slot, stage=stage)
        self._tell()

    def open_conduits(self, slots: Mapping[int, bool]) -> None:
        """Open and close conduits, each with one store."""
        state.set_open(self._view, slots)
        if slots:
            self._tell()

    def set_ports(self, numbers: Mapping[int, int]) -> None:
        """Make these the ports that exist (ifindex → port number)."""
        state.set_ports(self._view, numbers)
        self._tell()

    def ports(self) -> dict[int, int]:
        """Return port numbers by ifindex."""
        return state.ports(self._view)

    @property
    def lane_mark(self) -> int:
        """The fast lane's mark that the engine gives now, 0 for none."""
        return state.lane_mark(self._view)

    @lane_mark.setter
    def lane_mark(self, mark: int) -> None:
        state.set_lane_mark(self._view, mark)

    def _tell(self) -> None:
        if self.changed is not None:
            self.changed()

    def snapshot(self) -> bytearray:
        """Return a copy of the segment as it is now."""
        return bytearray(self._view)
