"""Changes while frames fly: no gap in either direction, and counters that go on."""

from __future__ import annotations

import contextlib
import os
import threading
from typing import TYPE_CHECKING, Self

import pytest

from gateway.kernel import counters, interception, nft, sync
from gateway.kernel.namespace import in_throw_away_namespace
from rules.static import effective_stages, render_parts, render_toggle
from tests.netns.kernel.frames import tcp
from tests.netns.kernel.plant import EVENTS, plant
from tests.netns.kernel.reader import Reader
from tests.netns.kernel.wire import BRIDGE, PORTS, QUEUE, Wire, inside, wait_until
from tests.support.capability import require

if TYPE_CHECKING:
    from fastpath.abi import Form

pytestmark = pytest.mark.netns
SWAPS = 20 if "CONDUIT_SLOW" in os.environ else 100  # an emulated machine takes seconds for each
STOPS = 5
FRAMES_BETWEEN_STOPS = 100
QUIET_LOOKS = 5
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


class Seen:
    """What has arrived at the far side."""

    def __init__(self, wire: Wire) -> None:
        self.forbidden = self.permitted = 0
        self._wire = wire
        wire.received(3)

    def look(self) -> None:
        """Take in what has arrived since."""
        for frame in self._wire.received(3):
            self.forbidden += frame == FORBIDDEN
            self.permitted += frame == PERMITTED


@pytest.mark.parametrize("read", [False, True], ids=["unbound queue", "bound queue"])
def test_swaps_under_traffic_leak_nothing_and_lose_nothing(wire: Wire, form: Form, read: bool) -> None:
    """Whole rulesets and toggles are loaded while frames fly: no forbidden one passes, every permitted one does."""
    policy = plant(PORTS, vlan=100)
    scripts = (
        *render_parts(policy, form=form, first_queue=QUEUE, bank=1),
        render_toggle(policy, stages=effective_stages(policy), closed={EVENTS}, bank=1),
        *render_parts(plant(PORTS), form=form, first_queue=QUEUE, bank=0),
    )
    with inside(wire.gateway):
        interception.install(form, BRIDGE, QUEUE, 1)
    before = wire.counts()
    seen = Seen(wire)
    with Reader(wire.gateway, QUEUE) if read else contextlib.nullcontext():
        with Sender(wire) as sender:
            for number in range(SWAPS):
                wire.load(scripts[number % len(scripts)])
                seen.look()
        all_ended(wire, seen, sender, before)
    assert sender.sent > SWAPS, "the swaps met too little traffic to prove anything"


def test_a_planned_stop_loses_nothing(wire: Wire, form: Form) -> None:
    """Suspended, the queue runs dry and can be closed: every permitted frame arrives, no forbidden one does."""
    require("nfqueue")
    with inside(wire.gateway):
        interception.install(form, BRIDGE, QUEUE, 1)
    before = wire.counts()
    seen = Seen(wire)
    with Sender(wire) as sender:
        for _ in range(STOPS):
            with Reader(wire.gateway, QUEUE):
                stop_at = sender.sent + FRAMES_BETWEEN_STOPS
                wait_until(lambda stop_at=stop_at: sender.sent >= stop_at, "traffic goes through the queue")
                with inside(wire.gateway):
                    interception.suspend(form)
                    interception.suspend(form)
                    assert not interception.installed(form, BRIDGE, QUEUE, 1)
                    drained(wire)
            with inside(wire.gateway):
                interception.install(form, BRIDGE, QUEUE, 1)
                assert interception.installed(form, BRIDGE, QUEUE, 1)
            seen.look()
    all_ended(wire, seen, sender, before)


def test_counters_can_start_again_from_zero(wire: Wire, form: Form) -> None:
    """A reset sets every counter of ours to zero and nothing else; they go on counting."""
    wire.judge(PERMITTED, 2, 3)
    with inside(wire.gateway):
        nft.apply("add table ip others\nadd counter ip others mine { packets 7 bytes 70 }\n")
        rules = sync.kernel_digest()
        counters.reset()
        assert set(counters.counters().values()) == {(0, 0)}
        assert sync.kernel_digest() == rules
        (mine,) = nft.listing("counter", "ip", "others", "mine")
        nft.delete_table("ip", "others")
    assert mine["counter"]["packets"] == 7
    assert wire.judge(FORBIDDEN, 2, 3) == "dropped"
    assert wire.counts()["static_dropped"] == 1


def test_reset_before_the_first_start_is_no_error() -> None:
    """Where no table of ours stands yet there is nothing to set to zero: a first start is no trouble."""
    require("netns")
    in_throw_away_namespace(counters.reset)


def drained(wire: Wire) -> None:
    """Wait until nothing new has entered the queue for a moment and nothing waits in it; call it in the gateway."""
    last: list[int] = []

    def quiet() -> bool:
        (queue,) = counters.queue_stats()
        last.append(queue.last_id)
        return queue.waiting == 0 and len(last) > QUIET_LOOKS and len(set(last[-QUIET_LOOKS:])) == 1

    wait_until(quiet, f"the queue of {wire.gateway} runs dry")


def all_ended(wire: Wire, seen: Seen, sender: Sender, before: dict[str, int]) -> None:
    """Wait until every frame is counted and every permitted one has arrived; no forbidden one has."""
    counted = ("static_accepted", "static_dropped")

    def ended() -> bool:
        seen.look()
        after = wire.counts()
        return sum(after[name] - before[name] for name in counted) == 2 * sender.sent and seen.permitted >= sender.sent

    wait_until(ended, "every frame is counted and every permitted one arrives")
    assert (seen.forbidden, seen.permitted) == (0, sender.sent)
    assert wire.counts()["frames_before_queue"] - before["frames_before_queue"] == 2 * sender.sent
