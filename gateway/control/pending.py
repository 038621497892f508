"""The one change that waits to be confirmed: what it goes back to, until when, and who holds it.

In: the terms of a change, confirmations, holders that come and go. Out: whether it is time to go back, and why. What it
goes back to is on the disk before the engine sees the change, so that neither a crash nor a power cut loses it. Going
back itself is `rollback`'s. Called under the core's lock, but for the questions, which only read.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal, NamedTuple

import structlog

from gateway.control.deadline import Deadline, now
from gateway.control.state_dir import PendingRecord
from gateway.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gateway.control.core import Core
    from gateway.control.state_dir import InForceRecord, StageOverride
    from rules.compile import Compiled

Ending = Literal["confirmed", "rolled back", "replaced"]
HOLDER_S: Final = 5.0  # within which a holder must come: after the change, and after a restart of control
TROUBLE: Final = "pending"
_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Terms:
    """How a change is to end."""

    confirm_within_s: int | None = None  # None: it needs no confirmation
    hold: bool = False
    replace: bool = False  # take the place of a change that is pending


class Standing(NamedTuple):
    """What is pending, how the one before ended, and what is compiled for going back."""

    record: PendingRecord | None
    ended: Ending
    ready: tuple[int, Compiled] | None


class Pending:
    """The pending change of one control plane."""

    def __init__(self, core: Core) -> None:
        self._core = core
        self.record: PendingRecord | None = None
        self.ended: Ending = "confirmed"  # how the last one ended
        self.ready: tuple[int, Compiled] | None = None  # what it goes back to: generation and compiled policy, if known
        self.changed = asyncio.Event()  # rings at every beginning and end, and when a holder goes
        self._holders = 0
        self._unheld_since = time.monotonic()
        self._let_go = False

    def allow(self, terms: Terms) -> None:
        """Raise ConfigError when a change is pending that this one may not replace."""
        if self.record is None or terms.replace:
            return
        detail = f"{describe(self.record)} waits to be confirmed, {self.left_s():.0f} s left"
        hint = "`conduitctl policy confirm`, `conduitctl policy rollback`, or --replace to take its place"
        raise ConfigError("change_pending", detail, hint)

    def of_policy(self, new: InForceRecord, terms: Terms, reason: str) -> PendingRecord | None:
        """Return what is to be remembered of a policy that comes into force on these terms. Raises ConfigError."""
        if terms.confirm_within_s is None:
            return None
        if self._core.current is None:
            hint = "apply it without --confirm-within"
            raise ConfigError("nothing_before", "there is no policy that it could go back to", hint)
        last = self.record
        return PendingRecord(
            what="policy",
            name=new.name,
            generation=new.generation,
            digest=new.digest,
            who=new.who,
            reason=reason,
            deadline=Deadline(begun=now(), seconds=terms.confirm_within_s),
            hold=terms.hold,
            before=last.before if last and last.before else self._core.current.record,
            overrides=last.overrides if last else dict(self._core.overrides),
            later=last.later if last else {},
        )

    def of_stage(self, key: str, who: str, terms: Terms, reason: str) -> PendingRecord | None:
        """Return what is to be remembered of a stage that is set on these terms."""
        if terms.confirm_within_s is None:
            return None
        policy, last = self._core.policy().record, self.record
        return PendingRecord(
            what="stage",
            name=key,
            generation=policy.generation,
            digest=policy.digest,
            who=who,
            reason=reason,
            deadline=Deadline(begun=now(), seconds=terms.confirm_within_s),
            hold=terms.hold,
            before=last.before if last else None,
            overrides=last.overrides if last else dict(self._core.overrides),
            later={name: stage for name, stage in last.later.items() if name != key} if last else {},
        )

    async def save(self, record: PendingRecord | None) -> None:
        """Make durable what may come into force next; `begin` or `end` follows when it has. Raises OSError."""
        await asyncio.to_thread(self._core.state_dir.save_pending, record)

    async def save_again(self) -> None:
        """Undo `save` of a change that did not come into force."""
        try:
            await self.save(self.record)
        except OSError as error:  # harmless: a start forgets what never came into force
            _log.error("pending_unsaved", error=str(error))

    def begin(self, record: PendingRecord) -> None:
        """It is in force: from now on it goes back by itself. Said again, its holder has time from now on."""
        if self.record is not None and self.record.deadline != record.deadline:
            self.ended = "replaced"
        self.record = record
        self._let_go, self._unheld_since = False, time.monotonic()
        self.changed.set()

    async def end(self, ending: Ending) -> None:
        """Forget it: nothing goes back any more."""
        if self.record is None:
            return
        await self.forget(ending)
        self.over(ending)

    def over(self, ending: Ending) -> None:
        """It has ended for everybody who asks; `forget` follows when nothing can come in between any more."""
        if self.record is not None:
            self.record, self.ended, self.ready = None, ending, None
            self.changed.set()

    async def forget(self, ending: Ending) -> None:
        """Take what has ended off the disk."""
        try:
            await self.save(None)
        except OSError as error:
            self._core.trouble[TROUBLE] = f"the change is {ending}, but a restart may take it back: {error}"
            _log.error("pending_unsaved", error=str(error))
        else:
            self._core.trouble.pop(TROUBLE, None)

    def standing(self) -> Standing:
        """Return what stands now, for `stand_again`."""
        return Standing(self.record, self.ended, self.ready)

    def stand_again(self, before: Standing) -> None:
        """Take back a `begin`: that change did not come into force."""
        self.record, self.ended, self.ready = before
        self.changed.set()

    async def note(self, key: str, override: StageOverride | None) -> None:
        """Remember a stage that an operator sets meanwhile without terms: going back leaves it as it is then."""
        if self.record is None:
            return
        self.record = self.record.model_copy(update={"later": {**self.record.later, key: override}})
        await self.save_again()

    def compiled_before(self) -> Compiled | None:
        """Return what it goes back to, if that is compiled already."""
        before = self.record.before if self.record is not None else None
        return self.ready[1] if self.ready and before and self.ready[0] == before.generation else None

    def left_s(self) -> float:
        """Return the seconds until it goes back; 0.0 when nothing is pending, too."""
        return self.record.deadline.left_s(now()) if self.record is not None else 0.0

    def wait_s(self) -> float | None:
        """Return how long to sleep at most before asking `due` again; None while nothing is pending."""
        if self.record is None:
            return None
        left = self.left_s()
        if self.record.hold and not self._holders:
            left = min(left, max(0.0, self._unheld_since + HOLDER_S - time.monotonic()))
        return left

    def due(self) -> str:
        """Return why it must go back now, "" while it need not."""
        record = self.record
        if record is None:
            return ""
        if self.left_s() <= 0:
            return f"not confirmed within {record.deadline.seconds} s"
        if not record.hold or self._holders:
            return ""
        if self._let_go:
            return "the connection that held it ended"
        return "nobody held it" if time.monotonic() - self._unheld_since >= HOLDER_S else ""

    @contextlib.contextmanager
    def holder(self) -> Iterator[PendingRecord | None]:
        """Hold the pending change for as long as the block runs."""
        mine = self.record
        self._holders += 1
        try:
            yield mine
        finally:
            self._holders -= 1
            if mine is not None and self.record is not None and self.record.deadline == mine.deadline:
                self._let_go = not self._holders
                self.changed.set()


def describe(record: PendingRecord) -> str:
    """Return what is pending in a few words."""
    if record.what == "stage":
        return f"the stage of {record.name}"
    return f"policy {record.name} (generation {record.generation}, digest {record.digest[:12]})"
