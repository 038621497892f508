"""Keeps the host as the policy needs it: the ruleset, the queue rule, the bridge and its ports.

In: the kernel as it is, every second and whenever a ruleset was deleted. Out: what is missing is put back, said loudly
and recorded. ORDER when the ruleset is gone: the closed base first, then the policy's, then the quarantine.
Somebody else's `nft flush ruleset` must cost a moment, not the boundary.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

import structlog

from gateway.control.journal import DAEMON
from gateway.control.start import install_or_note, place_ports
from gateway.errors import GatewayError

if TYPE_CHECKING:
    import socket

    from gateway.control.in_force import PolicyInForce
    from gateway.control.plane import ControlPlane

LOOK_EVERY_S: Final = 1.0
FULL_LOOK_EVERY: Final = 30  # looks: comparing the whole ruleset costs some ten milliseconds of CPU
_log = structlog.get_logger(__name__)


class Watch:
    """One look after the other."""

    def __init__(self, plane: ControlPlane) -> None:
        self._plane = plane
        self._core = plane.core
        self._rung = asyncio.Event()
        self._looks = 0

    async def run(self) -> None:
        """Look until cancelled."""
        loop = asyncio.get_running_loop()
        monitor = self._core.kernel.open_monitor()
        if monitor is not None:
            loop.add_reader(monitor.fileno(), self._hear, monitor)
        try:
            while True:
                try:
                    await asyncio.wait_for(self._rung.wait(), LOOK_EVERY_S)
                except TimeoutError:
                    self._looks += 1
                self._rung.clear()
                async with self._core.lock:
                    await self.look()
        finally:
            if monitor is not None:
                loop.remove_reader(monitor.fileno())
                monitor.close()

    def _hear(self, monitor: socket.socket) -> None:
        if self._core.kernel.heard_deletion(monitor):
            self._rung.set()

    async def look(self) -> None:
        """Look once and mend; the caller holds the lock."""
        core = self._core
        if core.current is None or core.static.loading:  # what is missing is on its way
            return
        if "engine" in core.trouble:
            await install_or_note(core)
        await self._look_at_ruleset(core.current)
        await self._look_at_ports(core.current)

    async def _look_at_ruleset(self, policy: PolicyInForce) -> None:
        core, kernel = self._core, self._core.kernel
        try:
            stands = await asyncio.to_thread(kernel.boundary_stands)
            if stands and self._looks % FULL_LOOK_EVERY == 0 and "static" not in core.trouble:
                stages = policy.stages_in_force()
                stands = await asyncio.to_thread(kernel.static_in_sync, stages)
            if stands:
                return
            core.rulesets_gone += 1
            _log.error("ruleset_gone", hint="another program flushed or changed nftables; ours is put back")
            core.trouble["ruleset"] = "the kernel's ruleset was changed by another program; it is being put back"
            await asyncio.to_thread(kernel.intercept)
            await asyncio.to_thread(kernel.apply_static, policy.lowered, policy.stages_in_force())
            core.lane.judge_again()
            await self._plane.quarantine.restore()
        except (GatewayError, OSError) as error:
            core.trouble["ruleset"] = f"the kernel's ruleset is not the policy's and could not be put back: {error}"
            _log.error("ruleset_not_restored", error=str(error))
            return
        core.trouble.pop("ruleset", None)
        await core.record(DAEMON, "boundary.restored", {"generation": policy.record.generation})

    async def _look_at_ports(self, policy: PolicyInForce) -> None:
        core = self._core
        try:
            found = await asyncio.to_thread(core.kernel.ifindexes, policy.port_names)
            enslaved = await asyncio.to_thread(core.kernel.attached)
            if set(policy.state.ports()) == set(found.values()) and set(found) <= set(enslaved):
                return
            _log.warning("ports_changed", found=sorted(found), enslaved=sorted(enslaved))
            await asyncio.to_thread(core.kernel.intercept)  # also makes the bridge, should that be gone
        except (GatewayError, OSError) as error:
            core.trouble["ports"] = str(error)
            _log.error("ports_not_restored", error=str(error))
            return
        placed = await place_ports(core)
        await core.record(DAEMON, "ports.placed", {"ports": sorted(placed)})
