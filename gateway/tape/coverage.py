"""When everything was recorded: so that "nothing was seen" and "nobody was looking" differ.

In: what the recorder knows at each write of engine, kernel, losses, clocks and zones. Out: `Stretch` rows of the tape.
A row says which bridge ports and VLANs belonged to which zone: what passed within a zone, or by a port that was not in
the bridge, is not on the tape, and a later policy must not be judged by its absence. Nor is what the kernel let pass
without the engine, when a queue overflowed or the ruleset was gone.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final, NamedTuple

import orjson

from gateway.errors import GatewayError

if TYPE_CHECKING:
    import sqlite3

    from gateway.control.kernel_port import KernelPort
    from gateway.control.plane import ControlPlane
    from rules.records import LoweredPolicy

CLOCK_SLACK_NS: Final = 1_000_000_000  # the wall clock may run apart from the monotonic one by this within one write
SCHEMA: Final = """
CREATE TABLE IF NOT EXISTS zonings (id INTEGER PRIMARY KEY, ways TEXT NOT NULL UNIQUE);
CREATE TABLE IF NOT EXISTS recorded (
  from_ns INTEGER NOT NULL,
  to_ns INTEGER NOT NULL,
  zoning INTEGER NOT NULL REFERENCES zonings(id)
);
"""


class Way(NamedTuple):
    """A bridge port with a VLAN, and the zone that owned it."""

    port: str
    vlan: int
    zone: str


class Stretch(NamedTuple):
    """Everything that crossed between these ways was recorded. Times are nanoseconds since the epoch."""

    from_ns: int
    to_ns: int
    ways: frozenset[Way]


def add(db: sqlite3.Connection, stretch: Stretch) -> None:
    """Write a stretch, as part of the last one when it goes on from there; the caller has the transaction."""
    ways = orjson.dumps([list(way) for way in sorted(stretch.ways)]).decode()
    db.execute("INSERT OR IGNORE INTO zonings (ways) VALUES (?)", (ways,))
    (zoning,) = db.execute("SELECT id FROM zonings WHERE ways = ?", (ways,)).fetchone()
    row = (stretch.to_ns, stretch.from_ns, zoning)
    if db.execute("UPDATE recorded SET to_ns = ? WHERE to_ns = ? AND zoning = ?", row).rowcount == 0:
        db.execute("INSERT INTO recorded VALUES (?, ?, ?)", (stretch.from_ns, stretch.to_ns, zoning))


def read(db: sqlite3.Connection) -> list[Stretch]:
    """Return every stretch, oldest first."""
    zonings = {
        number: frozenset(Way(*way) for way in orjson.loads(text))
        for number, text in db.execute("SELECT id, ways FROM zonings")
    }
    rows = db.execute("SELECT from_ns, to_ns, zoning FROM recorded ORDER BY from_ns").fetchall()
    return [Stretch(begin, end, zonings[zoning]) for begin, end, zoning in rows]


def forget_before(db: sqlite3.Connection, instant_ns: int) -> None:
    """Cut off what is no longer on the tape; the caller has the transaction."""
    db.execute("DELETE FROM recorded WHERE to_ns <= ?", (instant_ns,))
    db.execute("UPDATE recorded SET from_ns = ? WHERE from_ns < ?", (instant_ns, instant_ns))
    db.execute("DELETE FROM zonings WHERE id NOT IN (SELECT zoning FROM recorded)")


def ways_of(lowered: LoweredPolicy) -> frozenset[Way]:
    """Return the ways of a policy."""
    ports = {port.number: port.name for port in lowered.ports}
    zones = {zone.number: zone.name for zone in lowered.zones}
    return frozenset(Way(ports[owned.port], owned.vlan, zones[owned.zone]) for owned in lowered.port_zones)


class Passed(NamedTuple):
    """The kernel's counts so far: frames offered to the engine, left to `static`, lost in or in front of a queue."""

    offered: int
    static: int
    lost: int

    def saw_all(self, then: Passed) -> bool:
        """Tell whether none passed by the engine since then. Counts that fell are another ruleset's."""
        return self[1:] == then[1:] and self.offered >= then.offered


def passed(kernel: KernelPort) -> Passed | None:
    """Read them; None when they can't be read: then nobody knows. Blocks for a millisecond."""
    try:
        view = kernel.view()
    except (GatewayError, OSError):
        return None
    counted = [view.counters.get(name, (0, 0))[0] for name in ("frames_before_queue", "static")]
    return Passed(counted[0], counted[1], sum(queue.queue_dropped + queue.user_dropped for queue in view.queues))


class _Look(NamedTuple):
    """What was so at one write."""

    wall_ns: int
    clock_ns: int
    judging: bool
    restarts: int
    lost: int
    flushes: int
    passed: Passed | None
    ways: frozenset[Way]


class Attention:
    """Tells from one write of the recorder to the next whether everything in between was recorded."""

    def __init__(self, plane: ControlPlane) -> None:
        self._plane = plane
        self._owned_by: tuple[bytes, frozenset[int]] | None = None
        self._ways: frozenset[Way] = frozenset()
        self._last: _Look | None = None

    def turn(self, passed: Passed | None, *, complete: bool) -> Stretch | None:
        """Return the stretch since the last turn, None when something may be missing in it.

        passed: as the kernel counts now. complete: nothing that was gathered since had to be left out.
        """
        before, now = self._last, self._look(passed)
        self._last = now
        if before is None:
            return None
        ran_ns = now.wall_ns - before.wall_ns
        steady = abs(ran_ns - (now.clock_ns - before.clock_ns)) <= CLOCK_SLACK_NS
        judged = before.judging and now.judging and before.restarts == now.restarts and before.lost == now.lost
        asked = before.passed is not None and now.passed is not None and now.passed.saw_all(before.passed)
        guarded = asked and before.flushes == now.flushes
        ways = before.ways & now.ways  # a new policy meanwhile: what holds under both
        if not (complete and steady and judged and guarded and ways and ran_ns > 0):
            return None
        return Stretch(before.wall_ns, now.wall_ns, ways)

    def _look(self, passed: Passed | None) -> _Look:
        core = self._plane.core
        engine = core.keeper.engine
        lost = self._plane.pump.lost() + self._plane.pump.unrenderable
        judging = engine.state == "judging" and core.current is not None
        return _Look(
            time.time_ns(),
            time.monotonic_ns(),
            judging,
            engine.restarts,
            lost,
            core.rulesets_gone,
            passed,
            self._owned(),
        )

    def _owned(self) -> frozenset[Way]:
        """Return the ways of the policy in force by ports that are there."""
        policy = self._plane.core.current
        if policy is None:
            return frozenset()
        there = policy.lowered.digest, frozenset(policy.state.ports().values())
        if there != self._owned_by:
            names = {port.name for port in policy.lowered.ports if port.number in there[1]}
            self._owned_by = there
            self._ways = frozenset(way for way in ways_of(policy.lowered) if way.port in names)
        return self._ways
