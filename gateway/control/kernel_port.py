"""What the enforcement core asks of the kernel, as one interface.

In: lowered policies, stages in force, addresses. Out: verified kernel state or KernelError. The product's
implementation is `kernel_link.KernelLink` over `gateway.kernel`; tests bring a recording one. Every method blocks and
is called through `asyncio.to_thread`; beside `prepare_static` and questions, never two at a time.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, Protocol

if TYPE_CHECKING:
    import socket
    from collections.abc import Mapping, Sequence

    from fastpath.abi import Form, Stage
    from rules.records import LoweredPolicy


@dataclass(frozen=True, slots=True)
class StagesInForce:
    """The stages and open conduits that the state segment holds now."""

    ceiling: Stage
    conduits: Mapping[int, Stage]  # by slot
    opened: Mapping[int, bool]  # by slot
    pairs: Mapping[tuple[int, int], Stage]  # by zone numbers


@dataclass(frozen=True, slots=True)
class QueueStats:
    """One line of the kernel's queue statistics."""

    number: int
    waiting: int
    queue_dropped: int
    user_dropped: int


@dataclass(frozen=True, slots=True)
class KernelView:
    """What the kernel counts: named counters as (packets, bytes), and queues."""

    counters: Mapping[str, tuple[int, int]] = field(default_factory=dict)
    queues: Sequence[QueueStats] = ()


@dataclass(frozen=True, slots=True)
class LaneEntry:
    """One direction of a flow that stays in the kernel, with what the kernel counts of it."""

    current: bool  # of the generation in force; others pass no more
    protocol: str
    source: str
    source_port: int
    destination: str
    destination_port: int
    source_mac: str
    packets: int
    bytes: int
    seconds_left: int


@dataclass(frozen=True, slots=True)
class GuardMember:
    """One element of the quarantine sets; `kind` is `mac`, `ip4` or `ip6`."""

    kind: Literal["mac", "ip4", "ip6"]
    value: str
    seconds: int | None = None  # the kernel forgets it by itself after this time


class KernelPort(Protocol):
    """The host's bridge, interception, static rules, guard sets and counters."""

    def capabilities(self) -> Mapping[str, Any]:
        """Probe the kernel; leaves nothing behind."""

    def intercept(self) -> Form:
        """Ensure bridge, base tables and queue rule; return the form chosen. Idempotent."""

    def suspend(self) -> None:
        """Take the queue rule out, so that frames go straight to `static`; `intercept` puts it back."""

    def reset_counters(self) -> None:
        """Set the named counters to zero, because the engine's could not be carried over."""

    def ifindexes(self, names: Sequence[str]) -> dict[str, int]:
        """Return the ifindex of each named interface that exists."""

    def attach(self, names: Sequence[str]) -> None:
        """Put existing interfaces into the bridge; only called when `static` protects them."""

    def foreign_ports(self, names: Sequence[str]) -> list[str]:
        """Return bridge ports that the policy does not name."""

    def prepare_static(self, lowered: LoweredPolicy, stages: StagesInForce) -> None:
        """Do the slow part of `apply_static` beforehand: nothing that judges is touched.

        May run while anything else is asked but the loading of a policy.
        """

    def apply_static(self, lowered: LoweredPolicy, stages: StagesInForce) -> None:
        """Make `static` this policy's without a gap, read back; its assets' MACs are pinned to their ports.

        Quick when it was prepared for this very policy. Closes the fast lane, which the caller opens again.
        """

    def update_static(self, lowered: LoweredPolicy, stages: StagesInForce) -> None:
        """Bring only stages and open conduits of `static` up to date, in one transaction."""

    def attached(self) -> Mapping[str, int]:
        """Return the bridge's ports with their ifindexes; none when there is no bridge."""

    def boundary_stands(self) -> bool:
        """Say whether a policy's ruleset and the queue rule are there at all; cheap enough for every second."""

    def open_monitor(self) -> socket.socket | None:
        """Return a socket that hears when rulesets are deleted, if this kernel tells."""

    def heard_deletion(self, monitor: socket.socket) -> bool:
        """Read the monitor; say whether a ruleset may have been deleted."""

    def boot_ruleset(self, lowered: LoweredPolicy, stages: StagesInForce) -> str:
        """Return the whole ruleset as a script for the next boot."""

    def static_in_sync(self, stages: StagesInForce) -> bool:
        """Read the kernel back and say whether `static` is this policy's with these stages."""

    def quarantine_add(self, members: Sequence[GuardMember]) -> None:
        """Drop everything from and to these addresses from now on."""

    def quarantine_remove(self, members: Sequence[GuardMember]) -> None:
        """Forget addresses; those already gone are no error."""

    def lane_wanted(self) -> bool:
        """Say whether settings and kernel allow a fast lane; known after `intercept`."""

    def lane_open(self, mark: int, ports: Mapping[int, int], *, afresh: bool) -> None:
        """Let flows of this mark, between these ports (ifindex → number), stay in the kernel and no others.

        `afresh` forgets all. Takes 0.1 ms.
        """

    def lane_close(self) -> None:
        """Let no flow stay in the kernel. As quick."""

    def lane_mark(self) -> int:
        """Return the mark whose flows stay in the kernel; 0 while the lane is closed."""

    def lane_entries(self, limit: int) -> list[LaneEntry]:
        """Return flows in the lane."""

    def view(self) -> KernelView:
        """Read the counters and queue statistics."""
