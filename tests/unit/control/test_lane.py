"""The fast lane's generation: no change forgets it, the order holds, and whatever fails closes the lane."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from fastpath.abi import LANE_GENERATIONS, MARK_LANE, Stage
from gateway.control.lane import TROUBLE, FastLane
from gateway.control.state_map import StateMap
from gateway.errors import KernelError
from rules.state import build_state, set_lane_mark
from tests.netns.kernel.plant import plant

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

ROOT = Path(__file__).resolve().parents[3]
CHANGES: dict[str, Callable[[StateMap], None]] = {
    "ceiling": lambda state: setattr(state, "ceiling", Stage.ALERT),
    "pair": lambda state: state.set_pair(1, 2, Stage.MONITOR),
    "conduit": lambda state: state.set_conduit(0, Stage.MONITOR),
    "windows": lambda state: state.open_conduits({0: False}),
    "ports": lambda state: state.set_ports({7: 1}),
}


class Kernel:
    """A kernel's lane that remembers what the state said when it was asked; refuses what the test names."""

    def __init__(self, mark: int = 0, *, wanted: bool = True) -> None:
        self.mark, self.wanted = mark, wanted
        self.refuses: set[str] = set()
        self.asked: list[tuple[str, int, bool]] = []
        self.state: StateMap | None = None
        self.state_marks: list[int] = []
        self.ports: Mapping[int, int] = {}

    def lane_wanted(self) -> bool:
        """Settings and kernel allow it."""
        return self.wanted

    def lane_mark(self) -> int:
        """What is in force."""
        return self.mark

    def lane_open(self, mark: int, ports: Mapping[int, int], *, afresh: bool) -> None:
        """Open."""
        self._ask("open", mark, afresh)
        self.mark, self.ports = mark, ports

    def lane_close(self) -> None:
        """Close."""
        self._ask("close", 0, False)
        self.mark = 0

    def _ask(self, what: str, mark: int, afresh: bool) -> None:
        self.asked.append((what, mark, afresh))
        self.state_marks.append(self.state.lane_mark if self.state else 0)
        if what in self.refuses:
            raise KernelError("REFUSED", what)


def state_map() -> StateMap:
    """Return a state segment of the plant."""
    return StateMap(memoryview(build_state(plant(("p1", "p2", "p3")), 1, {})))


def governed(kernel: Kernel) -> tuple[FastLane, StateMap, dict[str, str]]:
    """Return a lane that governs a fresh state, with what it did until then forgotten."""
    trouble: dict[str, str] = {}
    lane, state = FastLane(kernel, trouble), state_map()  # type: ignore[arg-type]  # the part of the port that it uses
    kernel.state = state
    lane.govern(state)
    kernel.asked.clear()
    kernel.state_marks.clear()
    return lane, state, trouble


@pytest.mark.parametrize("name", CHANGES)
def test_every_store_is_a_new_generation(name: str) -> None:
    """Each way to change the state in force ends in one new mark, in the state first and then in the kernel.

    The kernel is told the ports as the engine now knows them.
    """
    kernel = Kernel()
    _, state, _ = governed(kernel)
    before = state.lane_mark
    CHANGES[name](state)
    assert state.lane_mark == before + 1
    assert kernel.asked == [("open", before + 1, False)]
    assert kernel.state_marks == [before + 1]
    assert kernel.ports == state.ports()


def test_no_store_of_the_state_map_is_silent() -> None:
    """The cases above are all that StateMap can change, and nobody else writes a state that is not a copy."""
    source = (ROOT / "gateway/control/state_map.py").read_text()
    setters = [name for name in re.findall(r"\bstate\.(set_\w+)\(", source) if name != "set_lane_mark"]
    assert len(setters) == len(CHANGES)
    assert source.count("self._tell()") == len(CHANGES)
    copies = {"control/explain.py", "simulate/candidate.py", "simulate/openings.py", "tape/replay.py"}
    allowed = {"control/state_map.py", *copies}
    gateway = ROOT / "gateway"
    others = [path for path in gateway.rglob("*.py") if str(path.relative_to(gateway)) not in allowed]
    for path in others:
        text = path.read_text()
        assert not re.search(r"rules\.state import [^\n]*set_|\bstate\.set_(ceiling|pair_stage|lane_mark)\(", text), (
            path
        )


def test_a_state_that_is_no_longer_in_force_is_silent() -> None:
    """Only the state that the engine reads moves the generation."""
    kernel = Kernel()
    lane, old, _ = governed(kernel)
    lane.govern(state_map())
    kernel.asked.clear()
    CHANGES["ceiling"](old)
    assert kernel.asked == []


def test_what_the_kernel_held_before_is_never_used_again() -> None:
    """A new control goes on behind the newest mark of state and kernel, and forgets all flows first."""
    kernel = Kernel(MARK_LANE | 41)
    trouble: dict[str, str] = {}
    state = state_map()
    state.lane_mark = MARK_LANE | 17
    FastLane(kernel, trouble).govern(state)  # type: ignore[arg-type]
    assert kernel.asked == [("open", MARK_LANE | 42, True)]


def test_behind_the_last_generation_all_flows_are_forgotten() -> None:
    """Numbers begin anew, and no flow of the first ones is left that could match."""
    kernel = Kernel(MARK_LANE | LANE_GENERATIONS - 1)
    lane, state, _ = governed(kernel)
    assert state.lane_mark == MARK_LANE | LANE_GENERATIONS
    lane.judge_again()
    lane.judge_again()
    assert kernel.asked == [("open", MARK_LANE | 1, True), ("open", MARK_LANE | 2, False)]


def test_a_refused_generation_closes_the_lane() -> None:
    """The change stands, the engine gives no mark, trouble says so; the next change opens the lane afresh."""
    kernel = Kernel()
    _, state, trouble = governed(kernel)
    kernel.refuses = {"open"}
    CHANGES["ceiling"](state)
    assert state.ceiling is Stage.ALERT
    assert (state.lane_mark, kernel.mark) == (0, 0)
    assert "closed" in trouble[TROUBLE]
    kernel.refuses, kernel.asked = set(), []
    CHANGES["conduit"](state)
    assert kernel.asked[0][2], "flows of before are forgotten"
    assert TROUBLE not in trouble
    assert state.lane_mark == kernel.mark != 0


def test_a_lane_that_cannot_even_be_closed_is_an_error() -> None:
    """Nobody may be told that a change is in force while flows of before pass unjudged."""
    kernel = Kernel()
    _, state, trouble = governed(kernel)
    kernel.refuses = {"open", "close"}
    with pytest.raises(KernelError):
        CHANGES["ceiling"](state)
    assert state.lane_mark == 0
    assert "could not be closed" in trouble[TROUBLE]


def test_without_a_lane_the_kernel_is_left_alone() -> None:
    """Off by the settings or for lack of a kernel, the engine gives no mark, whatever it gave before."""
    kernel = Kernel(wanted=False)
    state = state_map()
    state.lane_mark = MARK_LANE | 5
    FastLane(kernel, {}).govern(state)  # type: ignore[arg-type]
    CHANGES["ceiling"](state)
    assert (state.lane_mark, kernel.asked) == (0, [])


@pytest.mark.parametrize("mark", [1, MARK_LANE, 0x00E00001])
def test_only_marks_of_the_lane_are_stored(mark: int) -> None:
    """A mark that `static` would take for something else never reaches the engine."""
    with pytest.raises(ValueError, match="not a mark"):
        set_lane_mark(build_state(plant(("p1", "p2", "p3")), 1, {}), mark)
