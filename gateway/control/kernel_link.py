"""The product's `KernelPort`: the enforcement core's wishes in terms of `gateway.kernel`.

In: settings. Out: bridge, interception, static rules, guard sets, counters. ORDER in `intercept`: the closed base table
stands before the queue rule does, and `static` before any port is in the bridge; between a crash and a new start
whatever stands in the kernel goes on. The static rules are `static_link`'s.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from fastpath.abi import Form
from gateway.control.kernel_port import GuardMember, KernelView, LaneEntry, QueueStats, StagesInForce
from gateway.control.static_link import StaticLink
from gateway.errors import KernelError
from gateway.kernel import bridge, counters, guard, interception, monitor, probe, sync
from gateway.kernel.lane import Lane
from rules.static import pinned_macs

if TYPE_CHECKING:
    import socket
    from collections.abc import Mapping, Sequence

    from gateway.kernel.lane import Entry
    from gateway.settings import Settings
    from rules.records import LoweredPolicy


def probed() -> dict[str, Any]:
    """Return the kernel's capabilities as a plain mapping; also used by doctor without a daemon."""
    found = probe.probe()
    return {
        "form": found.form.name.lower() if found.form else None,
        "degraded": list(found.degraded),
        **{ability.name: ability.present for ability in found.abilities},
        "reasons": {ability.name: ability.reason for ability in found.abilities if not ability.present},
    }


class KernelLink:
    """`KernelPort` over the real kernel."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._form: Form | None = None
        self._lane: Lane | None = None  # none while it is not wanted or not possible
        self._static = StaticLink(settings.bridge.name)
        self._places: Mapping[bytes, str] | None = None  # MAC → the port it lives behind

    def _queues(self) -> tuple[int, int, int | None]:
        """Return first, count and the layer-2 queue, as `interception` takes them."""
        queue = self._settings.queue
        return queue.first, queue.count, queue.layer2_number

    def capabilities(self) -> Mapping[str, Any]:
        """Probe the kernel."""
        return probed()

    def intercept(self) -> Form:
        """Ensure bridge, closed base and queue rule in the form that settings or probe choose."""
        settings = self._settings
        found = probe.probe()
        form = found.require_form(settings.interception.form)
        if settings.lane.mode == "auto" and found.has("fast_lane"):
            self._lane = self._lane or Lane()
        bridge.ensure(settings.bridge.name, manage=settings.bridge.manage)
        sync.ensure_base(settings.bridge.name)
        interception.install(form, settings.bridge.name, *self._queues())
        self._form = form
        return form

    def suspend(self) -> None:
        """Take the queue rule out."""
        if self._form is not None:
            interception.suspend(self._form)

    def reset_counters(self) -> None:
        """Set the named counters to zero."""
        counters.reset()

    def ifindexes(self, names: Sequence[str]) -> dict[str, int]:
        """Return the ifindex of each named interface that exists."""
        return bridge.ports_ifindex(names)

    def attach(self, names: Sequence[str]) -> None:
        """Put interfaces into the bridge, unless the host manages it."""
        if self._settings.bridge.manage and set(names) - set(bridge.ports(self._settings.bridge.name)):
            bridge.attach(self._settings.bridge.name, names)
        self._pin()

    def foreign_ports(self, names: Sequence[str]) -> list[str]:
        """Return bridge ports that the policy does not name."""
        return bridge.foreign_ports(self._settings.bridge.name, names)

    def prepare_static(self, lowered: LoweredPolicy, stages: StagesInForce) -> None:
        """Fill the bank that is not in use."""
        self._static.fill(lowered, stages, self._wiring())

    def apply_static(self, lowered: LoweredPolicy, stages: StagesInForce) -> None:
        """Load the whole ruleset (docs/decisions/0005)."""
        wiring = self._wiring()
        # A key in the lane holds a port's number, and the new policy may number its ports in another way.
        if self._lane is not None:
            self._lane.close()
        self._static.apply(lowered, stages, wiring)
        self._places = pinned_macs(lowered)
        self._pin()

    def _pin(self) -> None:
        """Keep assets' MACs on their ports: a bridge learns before any filter, a forger must not draw their frames."""
        if self._settings.bridge.manage and self._places is not None:
            bridge.pin(self._settings.bridge.name, self._places)

    def update_static(self, lowered: LoweredPolicy, stages: StagesInForce) -> None:
        """Load stages and closed conduits."""
        self._static.update(lowered, stages)

    def attached(self) -> Mapping[str, int]:
        """Return the bridge's ports."""
        return bridge.ports(self._settings.bridge.name)

    def boundary_stands(self) -> bool:
        """Look for a bank in use and for the queue rule."""
        if self._form is None:
            return False
        standing = self._intercepts(self._form)
        return standing and sync.policy_stands()

    def _intercepts(self, form: Form) -> bool:
        return interception.installed(form, self._settings.bridge.name, *self._queues())

    def open_monitor(self) -> socket.socket | None:
        """Subscribe to the kernel's ruleset notifications."""
        return monitor.open_monitor()

    def heard_deletion(self, monitor_socket: socket.socket) -> bool:
        """Read the notifications."""
        return monitor.heard_deletion(monitor_socket)

    def boot_ruleset(self, lowered: LoweredPolicy, stages: StagesInForce) -> str:
        """Return the whole ruleset as a script."""
        return self._static.script(lowered, stages, self._wiring())

    def _wiring(self) -> sync.Wiring:
        if self._form is None:
            raise KernelError("interception_missing", "interception was not set up", "see the log of control's start")
        queue = self._settings.queue
        return sync.Wiring(
            form=self._form,
            first_queue=queue.first,
            queue_count=queue.count,
            layer2_queue=queue.layer2_number,
            lane=self._lane is not None,
        )

    def static_in_sync(self, stages: StagesInForce) -> bool:
        """Say whether the kernel holds what was loaded, for these stages, with the interception in front of it."""
        if self._form is None or not self._intercepts(self._form):
            return False
        return self._static.in_sync(stages) and guard.stands()

    def quarantine_add(self, members: Sequence[GuardMember]) -> None:
        """Block addresses."""
        guard.add([_member(member) for member in members])

    def quarantine_remove(self, members: Sequence[GuardMember]) -> None:
        """Release addresses."""
        guard.remove([_member(member) for member in members])

    def lane_wanted(self) -> bool:
        """Say whether `intercept` found that there can and may be a lane."""
        return self._lane is not None

    def lane_open(self, mark: int, ports: Mapping[int, int], *, afresh: bool) -> None:
        """Put a generation of the lane in force."""
        self._wanted_lane().open_at(mark, ports, afresh=afresh)

    def lane_close(self) -> None:
        """Close the lane."""
        self._wanted_lane().close()

    def lane_mark(self) -> int:
        """Return the mark in force."""
        return self._wanted_lane().mark_in_force()

    def lane_entries(self, limit: int) -> list[LaneEntry]:
        """Return flows in the lane, read over a socket of its own: others may use the lane's meanwhile."""
        if self._lane is None:
            return []
        lane = Lane()
        try:
            mark = lane.mark_in_force()
            return [_lane_entry(entry, mark) for entry in lane.entries(limit)]
        finally:
            lane.forget_socket()

    def _wanted_lane(self) -> Lane:
        if self._lane is None:
            raise KernelError("lane_off", "the fast lane is off", 'set lane.mode = "auto"; doctor says what is missing')
        return self._lane

    def view(self) -> KernelView:
        """Read counters and the statistics of our own queues."""
        ours = set(self._settings.queue.numbers)
        queues = [
            QueueStats(found.number, found.waiting, found.queue_dropped, found.user_dropped)
            for found in counters.queue_stats()
            if found.number in ours
        ]
        return KernelView(counters.counters(), queues)


def _lane_entry(entry: Entry, mark: int) -> LaneEntry:
    return LaneEntry(
        current=entry.mark == mark,
        protocol=entry.protocol,
        source=entry.source,
        source_port=entry.source_port,
        destination=entry.destination,
        destination_port=entry.destination_port,
        source_mac=entry.source_mac,
        packets=entry.packets,
        bytes=entry.bytes,
        seconds_left=entry.expires_ms // 1000,
    )


def _member(member: GuardMember) -> guard.Member:
    return guard.Member(member.kind, member.value, member.seconds)
