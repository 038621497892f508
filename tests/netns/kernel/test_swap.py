"""Changes while frames fly: no gap in either direction, and counters that go on."""

from __future__ import annotations

import threading
from typing import Self

import pytest

from fastpath.abi import Form
from rules.static import effective_stages, render_parts, render_toggle
from tests.netns.kernel.frames import tcp
from tests.netns.kernel.plant import EVENTS, plant
from tests.netns.kernel.wire import PORTS, Wire, wait_until

pytestmark = pytest.mark.netns
SWAPS = 100
FORBIDDEN, PERMITTED = tcp(2, 3, "S", 40100, 22), tcp(2, 3, "S", 40100, 502)


class Sender:
    """Sends one forbidden and one permitted frame after the other until stopped, and counts them."""

    def __init__(self, wire: Wire) -> None:
        self.sent = 0
        self._wire = wire
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="sender")

    def _run(self) -> None:
        while not self._stop.wait(0.0002):
            self._wire.send(2, FORBIDDEN)
            self._wire.send(2, PERMITTED)
            self.sent += 1

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()


def test_swaps_under_traffic_leak_nothing_and_lose_nothing(wire: Wire) -> None:
    """Whole rulesets and toggles are loaded while frames fly: no forbidden one passes, every permitted one does."""
    policy = plant(PORTS, vlan=100)
    scripts = (
        *render_parts(policy, form=Form.BRNF, bank=1),
        render_toggle(policy, stages=effective_stages(policy), closed={EVENTS}, bank=1),
        *render_parts(plant(PORTS), form=Form.BRNF, bank=0),
    )
    before = wire.counts()
    seen = [0, 0]
    wire.received(3)

    def watch() -> None:
        for frame in wire.received(3):
            seen[0] += frame == FORBIDDEN
            seen[1] += frame == PERMITTED

    with Sender(wire) as sender:
        for number in range(SWAPS):
            wire.load(scripts[number % len(scripts)])
            watch()

    def all_ended() -> bool:
        watch()
        after = wire.counts()
        ended = sum(after[name] - before[name] for name in ("static_accepted", "static_dropped"))
        return ended == 2 * sender.sent and seen[1] >= sender.sent

    wait_until(all_ended, "every frame is counted and every permitted one arrives")
    assert sender.sent > SWAPS, "the swaps met too little traffic to prove anything"
    assert seen == [0, sender.sent]
    assert wire.counts()["frames_before_queue"] - before["frames_before_queue"] == 2 * sender.sent
