"""Raising to enforce: which objects a change raises, whether their proof is complete, and who raised them without it.

In: a stage to set or a policy to come, the control plane. Out: leave to do it, or ConfigError `not_ready` with
everything that is missing; what is forced acts at once, and the list goes into journal and events then. Lowering,
and whatever was in force before and comes back, never asks. ORDER: the proof takes seconds and is made outside of the
core's lock, so that calming the plant never waits for it; whoever holds the lock then asks `Leave.covers` once more.
"""

from __future__ import annotations

import asyncio
import sqlite3
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

from fastpath.abi import Stage
from gateway.control.raised import CEILING, Raised, raised_by_policy, raised_by_stage, standing, standing_of
from gateway.control.readiness import prove
from gateway.control.stages import STAGE_NAMES, StageObject
from gateway.errors import ConfigError, ControlError
from rules.readiness import covering

if TYPE_CHECKING:
    from collections.abc import Mapping

    from gateway.control.journal import Actor
    from gateway.control.plane import ControlPlane
    from gateway.control.readiness import Proof
    from gateway.control.state_dir import StageOverride
    from rules.compile import Compiled
    from rules.readiness import Acknowledgement, Group

MANY: Final = 64  # pairs; beyond that the cycles of the whole site stand for those of each
NOTHING: Final = Raised()
WAITING_MAX: Final = 2  # beyond that whoever only looks is turned away
SHOWN: Final = 40  # of what is missing, in an answer; the journal has as many
HINT: Final = "`conduitctl readiness` shows all of it; `--force --reason TEXT` raises without"


def missing(proof: Proof, raised: Raised, acknowledged: Mapping[Group, Acknowledgement]) -> list[str]:
    """Return everything that is missing, in words; what several objects miss alike stands there once."""
    whole = CEILING in raised.objects
    pairs = [target for target in raised.objects if target.pair is not None]
    many = whole or len(pairs) > MANY
    found: dict[str, None] = {}
    for target in [CEILING] if many else []:
        found |= dict.fromkeys(f"site: {text}" for text in proof.verdict(target, acknowledged).missing)
    wanted = {target.key for target in pairs}
    seen = [StageObject.of_key(key) for key in proof.would_drops]
    if whole and raised.table is not None:
        table = raised.table
        known = (one for one in seen if one.pair is not None and table.knows(one))
        wanted |= {one.key for one in known if table.current(one) is Stage.ENFORCE}
    asked = [one for one in seen if one.key in wanted] if many else pairs
    for target in [*(one for one in raised.objects if one.conduit is not None), *asked]:
        verdict = proof.verdict(target, acknowledged)
        cycles = {cycle.text() for cycle in verdict.cycles} if many and target.pair else set()
        found |= dict.fromkeys(f"{label(target)}: {text}" for text in verdict.missing if text not in cycles)
    return list(found)


def first(lacking: list[str]) -> list[str]:
    """Return as much of what is missing as an answer shows."""
    more = [f"and {len(lacking) - SHOWN} more"] if len(lacking) > SHOWN else []
    return [*lacking[:SHOWN], *more]


def label(target: StageObject) -> str:
    """Return an object as people call it."""
    if target.conduit is not None:
        return f"conduit {target.conduit}"
    return " → ".join(target.pair) if target.pair else "site"


@dataclass(frozen=True, slots=True)
class Leave:
    """What may be raised; whether it was forced, and by which policy it is judged then."""

    raised: Raised = NOTHING
    generation: int = 0  # of the policy whose stages it is about
    forced: Compiled | None = None

    def covers(self, raised: Raised, generation: int) -> None:
        """Raise ControlError when a change would raise more than was asked about, or another policy's objects."""
        if raised.objects and (generation != self.generation or not raised.keys() <= self.raised.keys()):
            raise ControlError("stages_changed", "stages were changed meanwhile", "nothing has changed; try again")


class Promotions:
    """Gives leave."""

    def __init__(self, plane: ControlPlane) -> None:
        self._plane = plane
        self._proving = asyncio.Lock()
        self._waiting = 0  # proofs that are asked for, the one that is being made among them

    async def proof(self, compiled: Compiled, since_ns: int = 0, *, only_look: bool = False) -> Proof:
        """Return the proof under a policy, one at a time: it takes a thread for seconds.

        only_look: nothing depends on it; then it does not queue up before those who raise a stage. Raises
        sqlite3.Error, and for who only looks ControlError while enough others wait.
        """
        if only_look and self._waiting >= WAITING_MAX:
            raise ControlError("busy", f"{self._waiting} proofs are being made", "try again in a moment")
        self._waiting += 1
        try:
            async with self._proving:
                await self._plane.record_now()
                return await asyncio.to_thread(prove, self._plane.tape, compiled, since_ns)
        finally:
            self._waiting -= 1

    async def acknowledged(self) -> dict[Group, Acknowledgement]:
        """Return the acknowledgements that hold now."""
        return covering(await asyncio.to_thread(self._plane.acknowledgements.all), datetime.now(UTC))

    async def leave(self, compiled: Compiled, raised: Raised, generation: int, *, force: bool) -> Leave:
        """Return leave to raise these. Raises ConfigError with what is missing, unless it is forced."""
        if not raised.objects or force:
            return Leave(raised, generation, compiled if force and raised.objects else None)
        lacking = await self.lacking(compiled, raised)
        if lacking:
            raise ConfigError("not_ready", "not ready to enforce: " + "; ".join(first(lacking)), HINT)
        return Leave(raised, generation)

    async def lacking(self, compiled: Compiled, raised: Raised, *, only_look: bool = False) -> list[str]:
        """Return everything that is missing of the proof of these, in words. Raises as `proof` does."""
        proof = await self.proof(compiled, only_look=only_look)
        return await asyncio.to_thread(missing, proof, raised, await self.acknowledged())

    async def leave_for_stage(
        self, target: StageObject, stage: Stage | None, actor: Actor, reason: str, *, force: bool
    ) -> Leave:
        """Return leave to set a stage, or reset it. Raises ConfigError, which the journal has then, too."""
        policy = self._plane.core.policy()
        target = policy.stages.canonical(target)
        wanted = policy.stages.own(target) if stage is None else stage
        raised = raised_by_stage(policy.stages, target, wanted)
        try:
            return await self.leave(policy.compiled, raised, policy.record.generation, force=force)
        except ConfigError as error:
            detail = {"object": target.key, "stage": STAGE_NAMES[wanted], "reason": reason, "error": str(error)[:2000]}
            await self._plane.core.record(actor, "stage.set", detail, "refused")
            raise

    async def note(self, leave: Leave, actor: Actor, reason: str) -> None:
        """Put what was raised without proof into journal and events, once it is in force."""
        if leave.forced is None:
            return
        try:
            lacking = await self.lacking(leave.forced, leave.raised)
        except sqlite3.Error as error:
            lacking = [f"what was missing cannot be read: {error}"]
        if lacking:
            detail = {
                "objects": sorted(leave.raised.keys())[:SHOWN],
                "reason": reason,
                "missing": lacking[:SHOWN],
                "missing_count": len(lacking),
            }
            await self._plane.core.record(actor, "stage.forced", detail)


class PolicyPromotion:
    """What one policy that is being applied raises; asked once without the lock and looked at again under it."""

    def __init__(self, plane: ControlPlane, *, force: bool) -> None:
        self._plane = plane
        self._force = force
        self._leave = Leave()
        self._asked: tuple[int, dict[str, StageOverride]] | None = None

    async def ask(self, compiled: Compiled) -> None:
        """Get leave for what this policy raises. Raises ConfigError when something is missing."""
        self._asked = self._now()
        raised = await asyncio.to_thread(self._raised, compiled)
        self._leave = await self._plane.promotions.leave(compiled, raised, self._asked[0], force=self._force)

    async def foresee(self, compiled: Compiled) -> tuple[list[str], list[str]]:
        """Return which objects this policy raises, and what `ask` would refuse it for. Raises as `proof` does."""
        raised = await asyncio.to_thread(self._raised, compiled)
        if not raised.objects:
            return [], []
        lacking = await self._plane.promotions.lacking(compiled, raised, only_look=True)
        return first(sorted(raised.keys())), first(lacking)

    async def check(self, compiled: Compiled) -> None:
        """Make sure, under the lock, that it raises no more than that. Raises ControlError."""
        now = self._now()
        if self._asked != now:
            self._leave.covers(await asyncio.to_thread(self._raised, compiled), now[0])

    @property
    def is_forced(self) -> bool:
        """Tell whether anything was raised without asking for its proof."""
        return self._leave.forced is not None

    async def note(self, actor: Actor, reason: str) -> None:
        """It is in force. Takes the seconds of a proof: not to be called with the core's lock."""
        await self._plane.promotions.note(self._leave, actor, reason)

    def _now(self) -> tuple[int, dict[str, StageOverride]]:
        core = self._plane.core
        return core.current.record.generation if core.current else 0, dict(core.overrides)

    def _raised(self, compiled: Compiled) -> Raised:
        core = self._plane.core
        if core.current is None:
            return Raised()
        return raised_by_policy(standing(core.current), standing_of(compiled, dict(core.overrides)))
