"""What control writes on the tape: violations and openings from the event stream, traffic from the flow records.

In: events as the pump renders them, the flows segment, the policy in force. Out: sums on the tape every ten seconds.
A flow is counted by its opening event, or when its record is first seen without one; its frames and bytes are what its
record grew by. What a flow carried after the last look and before its record made room for another is not on the tape.
A flood of invented keys makes no more than SIGHTS_MAX rows per write; the rest is counted as uncounted. Must never
stop the plane: a tape that cannot be written is trouble, said so, and tried again.
"""

from __future__ import annotations

import asyncio
import sqlite3
import time
from typing import TYPE_CHECKING, Any, Final

import structlog

from gateway.tape import coverage
from gateway.tape.coverage import Attention
from gateway.tape.direction import Direction
from gateway.tape.sight import DROP, Sight, Sum, Where, of_event, of_flow

if TYPE_CHECKING:
    from collections.abc import Mapping

    from gateway.control.names import Names
    from gateway.control.plane import ControlPlane
    from gateway.tape.coverage import Stretch
    from gateway.tape.store import Tape

EVERY_S: Final = 10.0
SIGHTS_MAX: Final = 20_000  # per write; a scan of every port of a device is 65,536
FLOWS_A_TURN: Final = 256  # about two milliseconds
PLACES_MAX: Final = 65_536  # conversations whose ports are remembered from their opening
PRUNE_EVERY_S: Final = 900.0
MIB: Final = 1 << 20
_log = structlog.get_logger(__name__)

FlowKey = tuple[bytes, int, bytes, int, int, int, int, int]  # ends with ports, protocol, zones, queue


class Recorder:
    """Gathers sums and writes them."""

    def __init__(self, plane: ControlPlane, tape: Tape) -> None:
        self._plane = plane
        self._tape = tape
        self._sums: dict[Sight, Sum] = {}
        self._uncounted = 0
        self._lost_seen = plane.pump.lost()
        self._places: dict[tuple[str, str, int, int], Where] = {}
        self._flows: dict[FlowKey, tuple[int, int, int]] = {}  # (first seen, frames, bytes) at the last look
        self._announced: set[tuple[str, str, int, int]] = (
            set()
        )  # flows by opener's end, from events since the last look
        self._direction = Direction()
        self._services_of: bytes | None = None  # digest of the policy whose services are known
        self._attention = Attention(plane)
        self._recorded: list[Stretch] = []  # not yet written
        self._pruned = 0.0
        self._writing = asyncio.Lock()

    def take(self, raw: Mapping[str, Any], text: Mapping[str, Any]) -> None:
        """Take one event in."""
        reply = text["policy_verdict"] == DROP and self._direction.is_reply(raw)
        found = of_event(raw, text, reply=reply)
        if found is None:
            return
        sight, once = found
        if once.flows:
            place = (sight.source, sight.destination, sight.protocol, sight.number)
            if len(self._places) < PLACES_MAX:
                self._places[place] = Where(sight.in_port, sight.out_port, sight.vlan)
            if len(self._announced) < PLACES_MAX:
                self._announced.add((sight.source, sight.destination, sight.protocol, raw["source_port"]))
        self._add(sight, once)

    def _add(self, sight: Sight, more: Sum) -> None:
        known = self._sums.get(sight)
        if known is not None:
            known.add(more)
        elif len(self._sums) < SIGHTS_MAX:
            self._sums[sight] = more
        else:
            self._uncounted += more.frames + more.flows

    async def look_at_flows(self) -> None:
        """Add what every known flow carried since the last look; the event loop gets its turn meanwhile."""
        now: dict[FlowKey, tuple[int, int, int]] = {}
        for number, flow in enumerate(self._plane.flows.flows(), start=1):
            if number % FLOWS_A_TURN == 0:
                await asyncio.sleep(0)
            key = (
                flow["opener"], flow["opener_port"], flow["responder"], flow["responder_port"], flow["protocol"],
                flow["opener_zone"], flow["responder_zone"], flow["queue"],
            )  # fmt: skip
            frames = flow["opener_frames"] + flow["responder_frames"]
            size = flow["opener_bytes"] + flow["responder_bytes"]
            now[key] = (flow["first_seen_ns"], frames, size)
            before = self._flows.get(key)
            again = before is not None and before[0] == flow["first_seen_ns"] and before[1] <= frames
            grown = (frames - before[1], size - before[2]) if again and before is not None else (frames, size)
            if grown[0] <= 0:
                continue
            names = self._plane.core.book.of(flow["generation"])
            if names is None:
                self._uncounted += grown[0]
                continue
            self._grow(flow, names, grown, begins=not again)
        self._flows = now
        self._announced.clear()

    def _grow(self, flow: Mapping[str, Any], names: Names, grown: tuple[int, int], *, begins: bool) -> None:
        sight = of_flow(flow, names, Where())
        where = self._places.get((sight.source, sight.destination, sight.protocol, sight.number))
        if where is None:
            where = self._only_place(flow["opener_zone"], flow["responder_zone"])
        sight = sight._replace(in_port=where.in_port, out_port=where.out_port, vlan=where.vlan)
        told = (sight.source, sight.destination, sight.protocol, flow["opener_port"]) in self._announced
        first = flow["first_seen_ns"] if begins else flow["last_seen_ns"]
        self._add(sight, Sum(first, flow["last_seen_ns"], int(begins and not told), grown[0], grown[1]))

    def _only_place(self, source: int, destination: int) -> Where:
        """Return the ports of two zones when each has but one, in one VLAN."""
        policy = self._plane.core.current
        if policy is None:
            return Where()
        ports = {port.number: port.name for port in policy.lowered.ports}
        owned = {zone: [o for o in policy.lowered.port_zones if o.zone == zone] for zone in (source, destination)}
        if any(len(found) != 1 for found in owned.values()) or owned[source][0].vlan != owned[destination][0].vlan:
            return Where()
        return Where(ports[owned[source][0].port], ports[owned[destination][0].port], owned[source][0].vlan)

    async def run(self) -> None:
        """Look and write until cancelled."""
        while True:
            await asyncio.sleep(EVERY_S)
            await self.write()

    async def write(self) -> None:
        """Look at the flows and write what was gathered; what cannot be written now is written the next time."""
        async with self._writing:
            await self._write_all()

    def _know_services(self) -> None:
        policy = self._plane.core.current
        if policy is not None and policy.lowered.digest != self._services_of:
            self._services_of = policy.lowered.digest
            self._direction.know_services(policy.compiled.policy)

    async def _write_all(self) -> None:
        self._know_services()
        await self.look_at_flows()
        lost = self._plane.pump.lost()
        self._uncounted += max(0, lost - self._lost_seen)
        self._lost_seen = lost
        passed = await asyncio.to_thread(coverage.passed, self._plane.core.kernel)
        sums, uncounted = self._sums, self._uncounted
        self._sums, self._uncounted = {}, 0
        stretch = self._attention.turn(passed, complete=not uncounted)
        recorded, self._recorded = self._recorded + ([stretch] if stretch else []), []
        trouble = self._plane.core.trouble
        try:
            await asyncio.to_thread(self._write, sums, uncounted, recorded)
            trouble.pop("tape", None)
        except sqlite3.Error as error:
            trouble["tape"] = f"the decision tape cannot be written: {error}"
            _log.error("tape_failing", error=str(error), sights=len(sums))
            before, self._uncounted = self._uncounted + uncounted, 0
            for sight, kept in sums.items():
                self._add(sight, kept)
            self._recorded = [] if self._uncounted else recorded  # what is left out now was seen in these
            self._uncounted += before

    def _write(self, sums: Mapping[Sight, Sum], uncounted: int, recorded: list[Stretch]) -> None:
        if sums or uncounted or recorded:
            self._tape.write(sums, uncounted, recorded)
        if time.monotonic() - self._pruned > PRUNE_EVERY_S or not self._pruned:
            bounds = self._plane.core.settings.tape
            self._tape.prune(time.time_ns(), bounds.keep_days, bounds.max_mib * MIB)
            self._pruned = time.monotonic()
