"""The kernel's `static` ruleset against the twin: the same frames through a real bridge and through StaticTwin.

In: a number of frames and a seed. Out: `DuelResult`. No engine and no queue: the rule that would ask one is left out.
Every frame is flooded to all other ports, and each copy is judged by both. A copy that is missing is sent again before
it counts as a difference; one that should not be there counts at once. Called by tests/netns and bench/differential.
"""

from __future__ import annotations

import os
import random
import re
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Final

from fastpath.abi import Form
from rules.static import render

from . import wire
from .bridge_rig import BridgeRig
from .frames import Stream
from .judging import show
from .plant import STRAY_PORT
from .policies import DrawnPolicy, compiled_policy
from .twin_static import StaticTwin

if TYPE_CHECKING:
    from collections.abc import Callable

    from .plain import Frame

FRAMES_PER_POLICY: Final = 1500
BROADCAST: Final = b"\xff" * 6
BATCH: Final = 150
QUIET_SECONDS: Final = 0.05
RESENDS: Final = 3
STAGED_SHARE: Final = 0.25  # policies whose zone pairs have random stages; the others all enforce
QUEUE_RULE: Final = re.compile(r"^.*\bqueue (?:num|to)\b.*$\n?", re.MULTILINE)


@dataclass
class DuelResult:
    """Counts of a run, and what differed."""

    frames: int = 0
    policies: int = 0
    passed: int = 0  # copies that left the bridge
    resent: int = 0
    mismatches: list[str] = field(default_factory=list)


def run_static(frames: int, seed: int, *, say: Callable[[str], None] = lambda _: None) -> DuelResult:
    """Run until this many frames were sent, policy by policy; needs root. Pins the process to one processor: order."""
    result = DuelResult()
    allowed = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(allowed)})
    try:
        while result.frames < frames:
            rng = random.Random(seed * 1_000_003 + 500_000 + result.policies)
            drawn = compiled_policy(rng, static_only=rng.random() > STAGED_SHARE)
            _duel(drawn, rng, min(FRAMES_PER_POLICY, frames - result.frames), result)
            result.policies += 1
            if result.policies % 10 == 0:
                say(f"{result.frames} frames, {result.policies} policies, {len(result.mismatches)} mismatches")
    finally:
        os.sched_setaffinity(0, allowed)
    return result


def ruleset(drawn: DrawnPolicy, ports: tuple[str, ...]) -> str:
    """Return the ruleset of a policy as rendered, without the rule that asks the engine."""
    return QUEUE_RULE.sub("", render(drawn.compiled.lowered, form=Form.BRIDGE, bridge_ports=ports))


def _duel(drawn: DrawnPolicy, rng: random.Random, frames: int, result: DuelResult) -> None:
    ports = (*sorted({port for zone in drawn.plain.zones for port in zone.ports}), STRAY_PORT)
    twin = StaticTwin(drawn.plain)
    with BridgeRig(ports) as rig:
        rig.load(ruleset(drawn, ports))
        round_ = _Round(drawn, rig, twin, result)
        for frame in Stream(drawn.plain, rng, well_formed=True).frames(frames):
            result.frames += 1
            if _reaches_the_rules(frame):
                round_.send(frame)
        round_.settle()


def _reaches_the_rules(frame: Frame) -> bool:
    """Leave out what the bridge itself drops: group or zero source MACs."""
    return not frame.source_mac[0] & 1 and frame.source_mac != bytes(6)


class _Round:
    """Frames under way through one rig, and what is expected of them."""

    def __init__(self, drawn: DrawnPolicy, rig: BridgeRig, twin: StaticTwin, result: DuelResult) -> None:
        self._drawn, self._rig, self._twin, self._result = drawn, rig, twin, result
        self._frames: dict[int, Frame] = {}
        self._expected: dict[int, set[str]] = {}
        self._waiting: list[int] = []
        self._number = 0

    def send(self, frame: Frame) -> None:
        """Send a frame and note by which ports it should leave. On a wire every frame has a destination MAC."""
        frame = replace(frame, destination_mac=frame.destination_mac or BROADCAST)
        self._number += 1
        number = self._number
        copies = [replace(frame, out_port=port) for port in self._rig.ports if port != frame.in_port]
        self._expected[number] = {copy.out_port for copy in copies if self._twin.passes(copy)}
        self._frames[number] = frame
        self._waiting.append(number)
        self._rig.send(frame.in_port, _bytes(frame), number)
        if len(self._waiting) >= BATCH:
            self.settle()

    def settle(self) -> None:
        """Wait until what should pass has passed; send again what is missing; note differences."""
        missing = self._collect({number: set(self._expected[number]) for number in self._waiting})
        for _ in range(RESENDS):
            if not missing:
                break
            self._result.resent += len(missing)
            for number in missing:
                self._rig.send(self._frames[number].in_port, _bytes(self._frames[number]), number)
            missing = self._collect(missing)
        for number, ports in missing.items():
            self._differs(number, f"does not leave by {sorted(ports)}, though it should")
        self._waiting.clear()

    def _collect(self, awaited: dict[int, set[str]]) -> dict[int, set[str]]:
        """Take in what arrives until it is quiet; return what is still missing."""
        for port, number in self._rig.seen(QUIET_SECONDS):
            if number == 0:
                continue
            if port not in self._expected[number]:
                self._differs(number, f"leaves by {port}, though it should not")
                self._expected[number].add(port)  # say it once
                continue
            if port in awaited.get(number, ()):
                self._result.passed += 1
                awaited[number].discard(port)
        return {number: ports for number, ports in awaited.items() if ports}

    def _differs(self, number: int, how: str) -> None:
        frame = self._frames[number]
        text = ["static and twin differ", "---- policy", self._drawn.text.rstrip(), "---- frame"]
        text += [show(frame), f"---- frame {number} of its policy {how}"]
        self._result.mismatches.append("\n".join(text))


def _bytes(frame: Frame) -> bytes:
    destination = frame.destination_mac or BROADCAST
    if frame.priority_tagged and frame.vlan == 0:
        inner = b"\x81\x00\x00\x00" + frame.ethertype.to_bytes(2, "big")
        return (destination + frame.source_mac + inner + frame.payload).ljust(60, b"\x00")
    return wire.ethernet(destination, frame.source_mac, frame.vlan, frame.ethertype, frame.payload)
