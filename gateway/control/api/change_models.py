"""What the routes of safe change take and answer: terms, plans, differences, the pending change, the history.

Beside `models` and `answers` for size only; the same rules hold: keys nobody knows are refused, keys are only added.
"""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from gateway.control.api.models import (
    Label,
    Model,
    PendingAnswer,
    PolicyRequest,
    Problem,
    Remark,
    StageName,
    StageRequest,
)

SECONDS_MAX = 31 * 86400
Digest = Annotated[str, Field(max_length=64, pattern=r"^[0-9a-f]*$")]


class Terms(Model):
    """How a change ends."""

    confirm_within: int | None = Field(
        default=None, ge=1, le=SECONDS_MAX, description="seconds; it goes back by itself unless confirmed by then"
    )
    hold: bool = Field(default=False, description="it goes back at once, too, when GET /v1/pending/hold ends")
    replace: bool = Field(default=False, description="take the place of a change that waits to be confirmed")

    @model_validator(mode="after")
    def _hold_needs_a_deadline(self) -> Terms:
        if self.hold and self.confirm_within is None:
            raise ValueError("hold needs confirm_within")
        return self


class Forced(Model):
    """Raising to enforce without proof."""

    force: bool = Field(default=False, description="raise to enforce what is not ready; needs a reason, is journalled")
    reason: Remark = ""

    @model_validator(mode="after")
    def _force_needs_a_reason(self) -> Forced:
        if self.force and not self.reason.strip():
            raise ValueError("force needs a reason")
        return self


class ApplyRequest(PolicyRequest, Terms, Forced):
    """A policy text to put in force."""


class StageOnTerms(StageRequest, Terms, Forced):
    """Set the stage of a conduit, a pair of zones, or (neither) the site's ceiling; null: back to the policy's."""


class ConfirmRequest(Model):
    """Let the pending change stay."""

    digest: Digest = Field(default="", description="the beginning of the digest that is meant; empty: any")
    reason: Remark = ""


class RollbackRequest(Terms):
    """Go back: to a policy of the history, or (no number) to what was before the pending change."""

    which: Label | None = Field(default=None, description="a number of the history or a digest's beginning")
    reason: Remark = ""


class PolicyRef(Model):
    """A policy to compare: one that was in force, or a text."""

    which: Label | None = Field(default=None, description="in-force, a number of the history, or a digest's beginning")
    policy: PolicyRequest | None = None

    @model_validator(mode="after")
    def _one_of_both(self) -> PolicyRef:
        if (self.which is None) == (self.policy is None):
            raise ValueError("give either which or policy")
        return self


class DiffRequest(Model):
    """Two policies to compare."""

    old: PolicyRef
    new: PolicyRef


class FieldDifference(Model):
    """One field of an object, as both texts have it."""

    field: str
    old: Any
    new: Any


class ObjectDifference(Model):
    """One object that both texts don't say alike."""

    section: str
    name: str
    how: Literal["added", "removed", "changed"]
    fields: list[FieldDifference]


class PathDifference(Model):
    """From each of some sources to each of some destinations a path opens or closes."""

    how: Literal["gained", "lost"]
    source_zone: str
    destination_zone: str = Field(description="* for group addresses, which are behind every port")
    sources: list[str] = Field(description="assets by name, others by address; the first 100")
    source_count: int
    destinations: list[str]
    destination_count: int
    services: list[str]
    conduits: list[str] = Field(description="that permit it, in the policy that does; most specific first")


class StageDifference(Model):
    """A stage object that both have, with another stage of its own; overrides set at run time count."""

    object: str
    old: StageName
    new: StageName


class Differences(Model):
    """What one policy changes against another."""

    same: bool = Field(description="equal digests: both mean the same")
    old_digest: str | None
    new_digest: str
    objects: list[ObjectDifference]
    gained: int = Field(description="pairs of source and destination that gain a path")
    lost: int
    paths: list[PathDifference]
    stages: list[StageDifference]


class FlowGroup(Model):
    """Live conversations that fare alike."""

    source_zone: str
    destination_zone: str
    service: str
    conduit: str | None = Field(description="that permits them now")
    verdict: Literal["cut", "would drop"] = Field(description="would drop: the stage lets them pass")
    reason: str
    count: int
    examples: list[str]


class FlowsDifference(Model):
    """What live conversations would notice, by the engine's own judgement."""

    judged: int
    cut: int
    would_drop: int
    groups: list[FlowGroup]


class PlanAnswer(Model):
    """What a text would change. `ok` means that it can be applied; without it the rest is null."""

    ok: bool
    problems: list[Problem]
    warnings: list[Problem]
    changes: Differences | None
    flows: FlowsDifference | None
    recorded: dict[str, Any] | None = Field(
        default=None,
        description="what it says of the last month of the decision tape, as `simulate --tape`; null: empty",
    )
    overrides_dropped: list[str]
    raised: list[str] = Field(default_factory=list, description="stage objects that it raises to enforce; the first 40")
    missing: list[str] = Field(
        default_factory=list, description="of their proof: for this an apply without force is refused; the first 40"
    )


class PendingState(Model):
    """The pending change, if there is one."""

    pending: PendingAnswer | None
    ended: str | None = Field(default=None, description="how the last one ended: confirmed, rolled back or replaced")


class RolledBackAnswer(Model):
    """What is in force after going back."""

    generation: int
    digest: str
    name: str
    pending: PendingAnswer | None


class HistoryRow(Model):
    """One policy that was in force."""

    number: int
    generation: int
    digest: str
    name: str
    who: str
    time: datetime
    reason: str
    how: str = Field(description="apply, rollback or boot")
    outcome: str = Field(description="provisional, confirmed, superseded or rolled back")
    predecessor: int | None
    ended: datetime | None
    in_force: bool


class HistoryAnswer(Model):
    """Policies that were in force, newest first."""

    policies: list[HistoryRow]


class HistoryText(HistoryRow):
    """The same with the whole text."""

    text: str
    files: dict[str, str]


class HistoryQuery(Model):
    """How many."""

    limit: int = Field(default=50, ge=1, le=100_000)
