"""Everything the control socket's routes may reach, in one object: the core, its parts, and the segment readers.

In: parts built by `start`. Out: the object handed to every route. Holds no logic of its own.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

from gateway.control.policy_file import PolicyFile
from gateway.control.promotion import Promotions

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator, Mapping

    from fastpath.abi import Form
    from gateway.control.acknowledgements import Acknowledgements
    from gateway.control.core import Core
    from gateway.control.counts import CountersSource
    from gateway.control.events_pump import EventsPump
    from gateway.control.quarantine import Quarantine
    from gateway.segment_readers import FlowFilter
    from gateway.tape.store import Tape


class FlowsSource(Protocol):
    """The flows segment, as `gateway.segment_readers.FlowsReader` reads it."""

    def flows(self, wanted: FlowFilter | None = None) -> Iterator[dict[str, Any]]:
        """Yield every flow in use that is wanted."""


async def _nothing_to_record() -> None:
    """Stand in until there is a recorder."""


@dataclass(slots=True)
class ControlPlane:
    """The control plane of one running daemon."""

    core: Core
    quarantine: Quarantine
    pump: EventsPump
    counters: CountersSource
    flows: FlowsSource
    tape: Tape
    acknowledgements: Acknowledgements
    policy_file: PolicyFile = field(default_factory=PolicyFile)
    record_now: Callable[[], Awaitable[None]] = _nothing_to_record
    form: Form | None = None
    capabilities: Mapping[str, Any] = field(default_factory=dict)
    started: float = field(default_factory=time.monotonic)
    promotions: Promotions = field(init=False)

    def __post_init__(self) -> None:
        self.promotions = Promotions(self)
