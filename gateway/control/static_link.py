"""The part of `KernelPort` that loads `static`: fills a bank, switches to it, keeps stages up to date, reads back.

In: lowered policies, stages in force, the wiring. Out: the kernel's ruleset, or KernelError with the old one in force.
Remembers what it loaded last, to tell later whether somebody changed it, and the bank that it filled beforehand.
Called by `kernel_link`; every method blocks, and loading is done by one thread at a time.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from gateway.kernel import sync
from rules.pairs import PairStages

if TYPE_CHECKING:
    from gateway.control.kernel_port import StagesInForce
    from rules.records import LoweredPolicy

Effective = tuple[PairStages, frozenset[int]]


def effective(stages: StagesInForce) -> Effective:
    """Return what `static` must know: pair stages under the ceiling, and the closed conduits."""
    pairs = PairStages.of(stages.pairs).under(stages.ceiling)
    return pairs, frozenset(slot for slot, opened in stages.opened.items() if not opened)


class StaticLink:
    """`static` of one bridge."""

    def __init__(self, bridge_name: str) -> None:
        self._bridge_name = bridge_name
        self._loaded: sync.Loaded | None = None
        self._effective: Effective | None = None
        self._spare: sync.Spare | None = None
        self._loading = threading.Lock()  # whoever was cancelled while a thread of his filled a bank left it running

    def fill(self, lowered: LoweredPolicy, stages: StagesInForce, wiring: sync.Wiring) -> None:
        """Fill the bank that is not in use; `apply` of the same policy switches to it."""
        pairs, closed = effective(stages)
        with self._loading:
            self._spare = None
            self._spare = sync.fill_spare(lowered, stages=pairs, closed=closed, **wiring)

    def apply(self, lowered: LoweredPolicy, stages: StagesInForce, wiring: sync.Wiring) -> None:
        """Load the whole ruleset (docs/decisions/0005), or what is left to do of it."""
        pairs, closed = effective(stages)
        with self._loading:
            spare, self._spare = self._spare, None
            self._effective = None  # unknown until the load has succeeded
            self._loaded = sync.apply_policy(
                lowered, bridge_name=self._bridge_name, stages=pairs, closed=closed, spare=spare, **wiring
            )
            self._effective = (pairs, closed)

    def update(self, lowered: LoweredPolicy, stages: StagesInForce) -> None:
        """Load stages and closed conduits; a change that `static` cannot show (a conduit's stage) costs nothing."""
        pairs, closed = effective(stages)
        if (pairs, closed) == self._effective:
            return
        self._effective = None
        self._loaded = sync.apply_toggle(lowered, stages=pairs, closed=closed)
        self._effective = (pairs, closed)

    def script(self, lowered: LoweredPolicy, stages: StagesInForce, wiring: sync.Wiring) -> str:
        """Return the whole ruleset as a script."""
        pairs, closed = effective(stages)
        return sync.script_of(lowered, bridge_name=self._bridge_name, stages=pairs, closed=closed, **wiring)

    def in_sync(self, stages: StagesInForce) -> bool:
        """Say whether the kernel holds what was loaded, for these stages."""
        if self._loaded is None or self._effective != effective(stages):
            return False
        loaded = sync.stands(self._loaded)
        if loaded is None:
            return False
        self._loaded = loaded
        return True
