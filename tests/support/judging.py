"""Engine and twin side by side: the same frames and the same operator's toggles into both, answers compared.

In: a drawn policy and a stream of operations (frames, toggles). Out: `Mismatch` values that print themselves as a
smallest sequence that still shows the difference. Called by tests/property, tests/fuzz and bench/differential.
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, NamedTuple

from fastpath.abi import Stage
from fastpath.judge import Judge
from rules import state as live
from rules.image import build_image

from .frames import Stream
from .plain import Answer, Frame
from .policies import DrawnPolicy, compiled_policy
from .twin import Twin

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    Drawing = Callable[[DrawnPolicy, random.Random, int], Iterable["Operation"]]

GENERATION: Final = 7
STRAY_IFINDEX: Final = 999  # an interface that the state segment does not know
FIRST_IFINDEX: Final = 1021  # ports wrap around the end of the state segment's table and collide with others
COLLIDING_STRIDE: Final = 1024
FRAMES_PER_WINDOW: Final = 240  # the offline judge remembers few flows: more frames would make it forget one
WINDOWS: Final = 4  # fresh flows and fresh frames on one policy: compiling it costs more than judging
FRAMES_PER_POLICY: Final = FRAMES_PER_WINDOW * WINDOWS
TOGGLE_SHARE: Final = 0.03
PAUSE_SHARE: Final = 0.05
# Some intervals of the drawn limits, to the nanosecond; back by less and by more than clocks of workers differ.
PAUSES_NS: Final = (1, 999_000, 16_666_666, 142_857_142, 333_333_332, 1_000_000_000, -400_000_000, -1_100_000_000)
BEGINNING_NS: Final = 1_000_000_000_000
FRAME_GAP_NS: Final = 1_000


class Toggle(NamedTuple):
    """Something an operator changes while frames fly; `subject` is a conduit, a zone pair or nothing."""

    what: str  # "ceiling", "pair", "stage", "open"
    subject: tuple[str, ...]
    value: int


class Pause(NamedTuple):
    """Time goes by, or the clock is set: limits must notice, and flows of less than half a minute must not."""

    ns: int


class Swap(NamedTuple):
    """Another policy comes into force; conversations and limits go on."""

    drawn: DrawnPolicy


Operation = Frame | Toggle | Pause | Swap


class Engine:
    """The product's own path from policy text to answers, through the offline judge."""

    def __init__(self, drawn: DrawnPolicy, *, flows: int = 65536) -> None:
        lowered = drawn.compiled.lowered
        self._zone_names = {record.number: record.name for record in lowered.zones}
        self._zone_numbers = {record.name: record.number for record in lowered.zones}
        self._conduit_names = {record.slot: record.name for record in lowered.conduits}
        self._slots = {record.name: record.slot for record in lowered.conduits}
        self.ifindexes = {
            port.name: FIRST_IFINDEX + order + COLLIDING_STRIDE * (order % 3)
            for order, port in enumerate(lowered.ports)
        }
        self._generation = GENERATION
        self._state = live.build_state(lowered, GENERATION, self.ifindexes)
        self.judge_object = Judge(build_image(lowered, GENERATION), self._state, flows=flows)
        self.now_ns = BEGINNING_NS

    def swap(self, drawn: DrawnPolicy) -> None:
        """Judge by another policy of the same zones and ports, no conduit new; conversations are remembered."""
        self._generation += 1
        lowered = drawn.compiled.lowered
        self._slots = {record.name: record.slot for record in lowered.conduits}
        self._state = live.build_state(lowered, self._generation, self.ifindexes)
        self.judge_object.install(build_image(lowered, self._generation), self._state)

    def judge(self, frame: Frame) -> Answer:
        """Return what the engine says of a frame, in names."""
        self.now_ns += FRAME_GAP_NS
        said = self.judge_object.judge(
            frame.payload,
            ethertype=frame.ethertype,
            in_ifindex=self.ifindexes.get(frame.in_port, STRAY_IFINDEX),
            out_ifindex=self.ifindexes.get(frame.out_port, STRAY_IFINDEX),
            vlan=frame.vlan,
            tagged=frame.tagged,
            source_mac=frame.source_mac,
            destination_mac=frame.destination_mac,
            time_ns=self.now_ns,
        )
        return Answer(
            said.policy_verdict,
            said.verdict,
            said.reason,
            None if said.conduit is None else self._conduit_names[said.conduit],
            self._zone_names.get(said.source_zone),
            self._zone_names.get(said.destination_zone),
        )

    def toggle(self, toggle: Toggle) -> None:
        """Do to the live state what the operator does."""
        if toggle.what == "ceiling":
            live.set_ceiling(self._state, Stage(toggle.value))
        elif toggle.what == "pair":
            source, target = (self._zone_numbers[name] for name in toggle.subject)
            live.set_pair_stage(self._state, source, target, Stage(toggle.value))
        elif toggle.what == "stage":
            live.set_conduit(self._state, self._slots[toggle.subject[0]], stage=Stage(toggle.value))
        else:
            live.set_conduit(self._state, self._slots[toggle.subject[0]], open=bool(toggle.value))


def toggle_twin(twin: Twin, toggle: Toggle) -> None:
    """Do the same to the twin."""
    if toggle.what == "ceiling":
        twin.ceiling = Stage(toggle.value)
    elif toggle.what == "pair":
        twin.pair_stages[toggle.subject[0], toggle.subject[1]] = Stage(toggle.value)
    elif toggle.what == "stage":
        twin.conduit_stages[toggle.subject[0]] = Stage(toggle.value)
    elif toggle.value:
        twin.open.add(toggle.subject[0])
    else:
        twin.open.discard(toggle.subject[0])


@dataclass(frozen=True)
class Mismatch:
    """The last operation gets different answers after the others."""

    text: str
    operations: tuple[Operation, ...]
    engine: Answer
    twin: Answer

    def __str__(self) -> str:
        lines = ["engine and twin differ", "---- policy", self.text.rstrip(), "---- operations"]
        lines += [show(operation) for operation in self.operations]
        return "\n".join([*lines, f"---- engine: {show_answer(self.engine)}", f"---- twin:   {show_answer(self.twin)}"])


def show(operation: Operation) -> str:
    """Return an operation on two lines at most."""
    if isinstance(operation, Pause):
        return f"pause {operation.ns} ns"
    if isinstance(operation, Swap):
        return f"swap to\n{operation.drawn.text}"
    if isinstance(operation, Toggle):
        return f"toggle {operation.what} {' '.join(operation.subject)} = {operation.value}"
    destination = operation.destination_mac.hex(":") if operation.destination_mac else "unseen"
    tag = f"vlan {operation.vlan}" if operation.tagged else "untagged"
    where = f"{operation.in_port}→{operation.out_port} {tag}"
    macs = f"{operation.source_mac.hex(':')}→{destination}"
    return f"{where} {macs} type {operation.ethertype:#06x} ({operation.about})\n    {operation.payload.hex()}"


def show_answer(answer: Answer) -> str:
    """Return an answer in words."""
    verdicts = f"{answer.policy_verdict.name}/{answer.verdict.name}"
    return f"{verdicts} {answer.reason.name} conduit={answer.conduit} {answer.source_zone}→{answer.destination_zone}"


def compare(drawn: DrawnPolicy, operations: Iterable[Operation]) -> Mismatch | None:
    """Give all operations to a fresh engine and a fresh twin; return the first difference, not yet minimal."""
    engine, twin = Engine(drawn), Twin(drawn.plain)
    done: list[Operation] = []
    for operation in operations:
        done.append(operation)
        if isinstance(operation, Toggle):
            engine.toggle(operation)
            toggle_twin(twin, operation)
            continue
        if isinstance(operation, Pause):
            engine.now_ns += operation.ns
            continue
        if isinstance(operation, Swap):
            engine.swap(operation.drawn)
            twin.swap(operation.drawn.plain)
            continue
        said = engine.judge(operation)
        twin.now_ns = engine.now_ns
        expected = twin.judge(operation)
        if said != expected:
            return Mismatch(drawn.text, tuple(done), said, expected)
    return None


def minimal(drawn: DrawnPolicy, found: Mismatch) -> Mismatch:
    """Leave out every operation that the difference does not need."""
    index = len(found.operations) - 2
    while index >= 0:
        fewer = found.operations[:index] + found.operations[index + 1 :]
        again = compare(drawn, fewer)
        if again is not None and len(again.operations) < len(found.operations):
            found = again
            index = min(index, len(found.operations) - 1)
        index -= 1
    return found


def draw_operations(drawn: DrawnPolicy, rng: random.Random, frames: int) -> Iterator[Operation]:
    """Yield a stream of frames with an operator's toggles in between."""
    for frame in Stream(drawn.plain, rng).frames(frames):
        if rng.random() < TOGGLE_SHARE:
            yield draw_toggle(drawn, rng)
        if rng.random() < PAUSE_SHARE:
            yield Pause(rng.choice(PAUSES_NS))
        yield frame


def draw_toggle(drawn: DrawnPolicy, rng: random.Random) -> Toggle:
    """Return some toggle of the policy."""
    stage = rng.choice(tuple(Stage))
    zones = [zone.name for zone in drawn.plain.zones]
    conduit = rng.choice(drawn.plain.conduits).name
    choices = (
        Toggle("ceiling", (), rng.choice((stage, Stage.ENFORCE))),
        Toggle("pair", (rng.choice(zones), rng.choice(zones)), stage),
        Toggle("stage", (conduit,), stage),
        Toggle("open", (conduit,), 0),
        Toggle("open", (conduit,), 1),
        Toggle("open", (conduit,), 1),
    )
    return rng.choice(choices)


def case_seeds(seed: int, frames: int, per_policy: int = FRAMES_PER_POLICY) -> Sequence[int]:
    """Return one seed per policy for a run of this many frames."""
    return [seed * 1_000_003 + number for number in range(-(-frames // per_policy))]


def run_case(case_seed: int, draw: Drawing = draw_operations) -> Mismatch | None:
    """Draw one policy and FRAMES_PER_POLICY frames from a seed; return a minimal mismatch, if any."""
    rng = random.Random(case_seed)
    drawn = compiled_policy(rng)
    for _ in range(WINDOWS):
        found = compare(drawn, draw(drawn, rng, FRAMES_PER_WINDOW))
        if found is not None:
            return minimal(drawn, found)
    return None
