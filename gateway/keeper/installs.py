"""Which generation is in force, and the one that is proposed to follow it: at most one at a time.

In: proposals from control, verdicts from the engine's keeping. Out: what is in force, whose descriptors are kept here,
and an answer to every proposal. A proposal waits for an engine for a bounded time only, so that nothing comes into
force after control has given up on it. Must never change what is in force but by `accept`.
"""

from __future__ import annotations

import asyncio
from typing import Final

import structlog

from gateway.keeper.generation import Generation, Proposal

# ORDER: this and the engine's time for an install stay together below what control waits for its answer (10 s).
UNSENT_SECONDS: Final = 5.5  # how long a proposal waits for an engine that is being started
_log = structlog.get_logger(__name__)


class Installs:
    """The generation in force and the proposal under way."""

    def __init__(self) -> None:
        self.in_force: Generation | None = None
        self.closed = False  # no proposals any more: the daemon is stopping
        self._waiting: asyncio.Queue[Proposal] = asyncio.Queue()
        self._pending: Proposal | None = None  # proposed and not answered yet
        self._sent = False  # an engine has the pending one in its hands

    @property
    def number(self) -> int:
        """The generation in force, 0 while there is none."""
        return self.in_force.number if self.in_force is not None else 0

    async def propose(self, generation: Generation) -> str | None:
        """Have a generation put in force; returns None when it is, else why not. Takes over its descriptors."""
        if (standing := self._standing(generation)) is not None:
            generation.close()
            return standing or None
        self._pending = proposal = Proposal(generation)
        self._waiting.put_nowait(proposal)
        await asyncio.wait([proposal.answer], timeout=UNSENT_SECONDS)
        if self._pending is proposal and not self._sent:
            self._withdraw("no engine came up to take it in")
        return await proposal.answer

    def _standing(self, generation: Generation) -> str | None:
        """Return why a proposal is not worth an engine's time: an error, or nothing to do (empty)."""
        if self.closed:
            return "conduitd is stopping"
        if self._pending is not None:
            return "another install is under way"
        if self.in_force is not None and generation.number == self.in_force.number:
            same = generation.same_memory(self.in_force)
            return "" if same else f"generation {generation.number} is in force with another image"
        return None

    async def settle(self) -> None:
        """Return when no proposal is in an engine's hands; one that no engine has seen is withdrawn.

        For control's start: what it is told to be in force must not change behind its back.
        """
        if self._pending is not None and not self._sent:
            self._withdraw("control ended before an engine could take it in")
        while self._pending is not None:
            await asyncio.wait([self._pending.answer])

    async def next(self) -> Proposal:
        """Wait for a proposal and take it to an engine; `accept` or `refuse` must follow."""
        proposal = await self._waiting.get()
        self._sent = True
        return proposal

    def accept(self, proposal: Proposal) -> None:
        """An engine judges by it: keep its descriptors in place of those before."""
        before, self.in_force = self.in_force, proposal.generation
        self._pending, self._sent = None, False
        if before is not None:
            before.close()
        proposal.accept()
        _log.info("generation_in_force", generation=self.number)

    def refuse(self, error: str) -> None:
        """The proposal under way does not come into force."""
        proposal, self._pending, self._sent = self._pending, None, False
        if proposal is not None:
            _log.warning("generation_refused", generation=proposal.generation.number, error=error, in_force=self.number)
            proposal.refuse(error)

    def engine_ended(self, how: str) -> None:
        """Refuse what the ended engine had in its hands: it may be what ended it, so no other engine gets it."""
        if self._sent:
            self.refuse(f"the engine ended while taking it in: {how}")

    def _withdraw(self, error: str) -> None:
        self._waiting.get_nowait()
        self.refuse(error)
