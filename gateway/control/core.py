"""What the parts of the enforcement core share: the policy in force, the one lock, and where changes are recorded.

In: the two interfaces to the outside (kernel, keeper), state directory, journal, event stream. Out: one object for
apply, stage change, quarantine and start. Every change of what is in force happens under `lock`, one at a time.
"""

from __future__ import annotations

import asyncio
import sqlite3
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import structlog

from gateway.control.lane import FastLane
from gateway.control.pending import Pending
from gateway.control.static_rules import StaticRules
from gateway.control.windows import Windows
from gateway.errors import ConfigError
from rules.workshop import Workshop

if TYPE_CHECKING:
    from gateway.control.event_stream import EventStream
    from gateway.control.history import History, How
    from gateway.control.in_force import PolicyInForce
    from gateway.control.journal import Actor, Journal
    from gateway.control.keeper_port import KeeperPort
    from gateway.control.kernel_port import KernelPort
    from gateway.control.names import NameBook
    from gateway.control.put_back import Before
    from gateway.control.state_dir import StageOverride, StateDir
    from gateway.settings import Settings

_log = structlog.get_logger(__name__)


@dataclass(slots=True)
class Core:
    """Shared by everything that changes what is in force."""

    settings: Settings
    kernel: KernelPort
    keeper: KeeperPort
    state_dir: StateDir
    journal: Journal
    history: History
    stream: EventStream
    book: NameBook
    current: PolicyInForce | None = None
    overrides: dict[str, StageOverride] = field(default_factory=dict)
    generation: int = 0  # the highest ever used here
    trouble: dict[str, str] = field(default_factory=dict)  # what is degraded now, by part; shown in status and doctor
    journal_failures: int = 0
    rulesets_gone: int = 0  # how often another program took the kernel's part of the boundary away
    # Held, and taken before `lock`, by whoever puts a policy in force or decides on what is pending: `lock` is given up
    # while the kernel loads a policy.
    changing: asyncio.Lock = field(default_factory=asyncio.Lock)
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    leaving: Before | None = None  # what comes back should that load fail, or control end in it
    compiling: asyncio.Lock = field(default_factory=asyncio.Lock)  # and of the workshop
    workshop: Workshop = field(default_factory=Workshop)
    lane: FastLane = field(init=False)
    static: StaticRules = field(init=False)
    pending: Pending = field(init=False)
    windows: Windows = field(init=False)

    def __post_init__(self) -> None:
        self.lane = FastLane(self.kernel, self.trouble)
        self.static = StaticRules(self.kernel, self.lock)
        self.pending = Pending(self)
        self.windows = Windows(self)

    def policy(self) -> PolicyInForce:
        """Return the policy in force. Raises ConfigError when there is none."""
        if self.current is None:
            raise ConfigError(
                "policy_missing", "no policy is in force", "`conduitctl policy apply FILE` puts one in force"
            )
        return self.current

    async def record(self, actor: Actor, action: str, detail: dict[str, Any], result: str = "done") -> None:
        """Put a change or a refusal into the journal and the event stream.

        A journal that cannot be written is loud and counted, and stops nothing: calming the plant must work on a
        full disk.
        """
        self.stream.control(action, who=str(actor), role=actor.role, result=result, **detail)
        try:
            await asyncio.to_thread(self.journal.append, actor, action, detail, result)
            self.trouble.pop("journal", None)
        except (sqlite3.Error, OSError) as error:
            self.journal_failures += 1
            self.trouble["journal"] = f"{self.journal_failures} entries could not be written: {error}"
            _log.error("journal_failing", error=str(error), action=action, who=str(actor), result=result)

    async def remember(self, reason: str, how: How) -> int | None:
        """Put the policy in force into the history; return its number. Loud when that fails, and stops nothing."""
        record = self.policy().record
        pending = self.pending.record
        provisional = pending is not None and pending.before is not None
        try:
            number = await asyncio.to_thread(
                self.history.add,
                record,
                reason=reason,
                how=how,
                provisional=provisional,
                overrides=dict(self.overrides),
            )
        except (sqlite3.Error, OSError) as error:
            self._history_failing(record.generation, error)
            return None
        self.trouble.pop("history", None)
        return number

    async def remember_stages(self) -> None:
        """Note in the history which overrides stand under the policy in force."""
        generation = self.policy().record.generation
        try:
            await asyncio.to_thread(self.history.note_overrides, generation, dict(self.overrides))
        except (sqlite3.Error, OSError) as error:
            self._history_failing(generation, error)

    async def settle(self) -> None:
        """Note in the history that the policy in force is confirmed."""
        generation = self.policy().record.generation
        try:
            await asyncio.to_thread(self.history.settle, generation, "confirmed")
        except (sqlite3.Error, OSError) as error:
            self._history_failing(generation, error)

    def _history_failing(self, generation: int, error: Exception) -> None:
        self.trouble["history"] = f"generation {generation} is not in the policy history: {error}"
        _log.error("history_failing", generation=generation, error=str(error))
