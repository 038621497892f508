"""The keeper of time: opens and closes the conduits that have windows, to the second.

In: the schedule of the policy in force, the wall clock, the monotonic clock. Out: bits in the state segment, the same
in `static`, a new generation of the fast lane, lines in journal and event stream. ORDER: the bits first, then the
lane, then `static`, then the journal: closing waits for nothing. What is right is found anew from the clock at every
look, never from the look before, so a clock that was set needs no case of its own. What the kernel refuses is tried
again every second. semantics.md, "Windows", is the meaning.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import defaultdict
from datetime import timedelta
from typing import TYPE_CHECKING, Final

import structlog

from gateway.control.clock import Clock, SystemClock
from gateway.control.journal import DAEMON
from gateway.errors import GatewayError

if TYPE_CHECKING:
    from datetime import datetime

    from gateway.control.core import Core
    from gateway.control.in_force import PolicyInForce

LOOK_EVERY_S: Final = 1.0  # how long a clock that was set may go unnoticed
SHORTEST_PAUSE_S: Final = 0.001
STEP_S: Final = 0.5  # beyond it somebody set the clock; adjtime(3) moves it by 0.0005 s in a second
WRONG_BY: Final = timedelta(days=1)  # a machine without battery begins years ago
CLOCK: Final = "clock"
STATIC: Final = "static"
_log = structlog.get_logger(__name__)


class Windows:
    """The windows of one control plane."""

    def __init__(self, core: Core, clock: Clock | None = None) -> None:
        self._core = core
        self._clock = clock or SystemClock()
        self._offset = self._lead()
        self._seen: tuple[int, bool, frozenset[str]] | None = None  # generation, trusted, open windows at the last look
        self._behind = False  # the lane or `static` does not show yet what the state says
        self._woken = asyncio.Event()

    async def run(self) -> None:
        """Look at every change to come and once a second, until cancelled."""
        looked = self._clock.wall()
        while True:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._woken.wait(), self._pause(looked))
            self._woken.clear()
            looked = self._clock.wall()
            await self.look()

    def place(self, policy: PolicyInForce) -> dict[str, bool]:
        """Make the bits of a policy that comes into force right for now; return what that opened and closed.

        Blocks while the times of its windows are worked out: run it in a thread.
        """
        now = self._clock.wall()
        changed = self._changed(policy, now)
        self._store(policy, changed)
        policy.schedule.next_change(now)  # so that nobody waits for it later
        return changed

    def came_into_force(self) -> None:
        """Look soon: a policy came into force, whose next change nobody waits for yet."""
        self._seen = None
        self._woken.set()

    def next_change(self, policy: PolicyInForce, conduit: str) -> datetime | None:
        """Return when a conduit opens or closes next; None when that is not known."""
        now = self._clock.wall()
        return policy.schedule.next_change_of(conduit, now) if self._trusted(policy, now) else None

    def now(self) -> datetime:
        """Return what the wall clock shows."""
        return self._clock.wall()

    async def look(self) -> None:
        """Make everything right for the time that it is."""
        await self._look_at_clock()
        policy = self._core.current
        if policy is None or (self._standing(policy, self._clock.wall()) == self._seen and not self._behind):
            return
        async with self._core.lock:
            policy = self._core.current
            if policy is not None:
                await self._change(policy)

    async def _change(self, policy: PolicyInForce) -> None:
        now = self._clock.wall()
        before, self._seen = self._seen, self._standing(policy, now)
        self._say_trouble(policy, now)
        changed = self._changed(policy, now)
        at = now
        try:
            self._store(policy, changed)
            at = self._clock.wall()
            if self._behind:
                self._core.lane.judge_again()
            if changed or self._behind:
                self._behind = True
                await self._core.static.follow(policy)
                self._core.trouble.pop(STATIC, None)
            self._behind = False
        except (GatewayError, OSError) as error:
            self._behind = True  # the next look tries again
            self._core.trouble[STATIC] = f"does not follow the windows yet: {error}"
            _log.error("window_not_followed", error=str(error))
        if changed:
            await self.record(policy, changed, at, closed=before[2] if before is not None else frozenset())

    def _changed(self, policy: PolicyInForce, now: datetime) -> dict[str, bool]:
        """Return the conduits whose bit is not what it should be, with what it should be."""
        if self._trusted(policy, now):
            wanted = policy.schedule.open_conduits(now)
        else:
            wanted = dict.fromkeys(policy.schedule.governed, False)
        bits, slots = policy.state.conduits_open(), policy.slots
        return {conduit: is_open for conduit, is_open in wanted.items() if bits[slots[conduit]] != is_open}

    def _store(self, policy: PolicyInForce, conduits: dict[str, bool]) -> None:
        policy.state.open_conduits({policy.slots[name]: is_open for name, is_open in conduits.items()})

    def _standing(self, policy: PolicyInForce, now: datetime) -> tuple[int, bool, frozenset[str]]:
        """Return everything on which the bits depend."""
        trusted = self._trusted(policy, now)
        return policy.record.generation, trusted, frozenset(policy.schedule.open_windows(now))

    def _trusted(self, policy: PolicyInForce, now: datetime) -> bool:
        return now >= policy.record.applied - WRONG_BY

    def _say_trouble(self, policy: PolicyInForce, now: datetime) -> None:
        if self._trusted(policy, now) or not any(policy.schedule.governed):
            self._core.trouble.pop(CLOCK, None)
            return
        text = (
            f"shows {now:%Y-%m-%d %H:%M:%S}, before the policy was applied ({policy.record.applied:%Y-%m-%d %H:%M:%S})"
        )
        self._core.trouble[CLOCK] = f"{text}: every window is closed until it is right or a policy is applied"

    async def record(
        self, policy: PolicyInForce, changed: dict[str, bool], at: datetime, closed: frozenset[str] = frozenset()
    ) -> None:
        """Write down what opened and closed, one line for the conduits that the same windows opened or closed.

        `at` is when the bits were stored, `closed` are the windows that may have closed, where that is known.
        """
        standing = policy.schedule.open_windows(at)
        lines: dict[tuple[bool, tuple[str, ...]], list[str]] = defaultdict(list)
        for conduit, is_open in changed.items():
            named = policy.compiled.policy.conduits[conduit].windows
            causes = tuple(window for window in named if window in (standing if is_open else closed))
            lines[is_open, causes or named].append(conduit)
        for (is_open, windows), conduits in sorted(lines.items()):
            detail = {"windows": list(windows), "conduits": sorted(conduits), "at": at.isoformat()}
            await self._core.record(DAEMON, "window.open" if is_open else "window.close", detail)

    async def _look_at_clock(self) -> None:
        lead = self._lead()
        step, self._offset = lead - self._offset, lead
        if abs(step) >= STEP_S:
            now = self._clock.wall()
            _log.warning("clock_step", seconds=round(step, 3))
            detail = {
                "seconds": round(step, 3),
                "from": (now - timedelta(seconds=step)).isoformat(),
                "to": now.isoformat(),
            }
            await self._core.record(DAEMON, "clock.step", detail)

    def _lead(self) -> float:
        return self._clock.wall().timestamp() - self._clock.monotonic()

    def _pause(self, looked: datetime) -> float:
        """Return the seconds until the first change after the last look began: none that came during it is missed."""
        policy = self._core.current
        change = policy.schedule.next_change(looked) if policy is not None else None
        if change is None:
            return LOOK_EVERY_S
        return min(LOOK_EVERY_S, max(SHORTEST_PAUSE_S, (change - self._clock.wall()).total_seconds()))
