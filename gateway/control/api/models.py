"""What operators send over the control socket, and the pieces that several answers share.

Every model refuses keys it does not know: a misspelt key must never be taken for a wish that was granted. The OpenAPI
document is made from these classes, so their docstrings and descriptions are what operators read.
"""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Final, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

StageName = Literal["monitor", "alert", "enforce"]
# Free text is shown on other people's terminals: no character that a terminal would obey.
PRINTABLE: Final = r"^[^\x00-\x1f\x7f-\x9f]*$"
Label = Annotated[str, Field(min_length=1, max_length=128, pattern=PRINTABLE)]
Remark = Annotated[str, Field(max_length=1000, pattern=PRINTABLE)]


class Model(BaseModel):
    """Frozen, and strict about keys."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Waived(Model):
    """Who took a finding on, why, and until which day."""

    who: str
    why: str
    until: str


class Problem(Model):
    """One mistake in a policy text; line and column count from 1, 0 means the file as a whole."""

    path: str
    line: int
    column: int
    severity: str
    code: str
    message: str
    hint: str
    at: str = ""  # the object it is about, as waivers name it
    waived: Waived | None = None


class ErrorAnswer(Model):
    """Why a request was refused. Nothing in force has changed."""

    code: str
    detail: str
    hint: str = ""
    problems: list[Problem] = Field(default_factory=list)


class StageRequest(Model):
    """Set the stage of a conduit, a pair of zones, or (neither) the site's ceiling; null: back to the policy's."""

    stage: StageName | None
    conduit: Label | None = None
    pair: tuple[Label, Label] | None = Field(default=None, description="source zone, destination zone")
    reason: Remark = ""

    @model_validator(mode="after")
    def _one_object(self) -> StageRequest:
        if self.conduit is not None and self.pair is not None:
            raise ValueError("name a conduit or a pair, not both")
        return self


FileName = Annotated[str, Field(min_length=1, max_length=255, pattern=PRINTABLE)]


class PolicyRequest(Model):
    """A policy to check or to put in force: its main text, and every file that it includes."""

    text: str
    files: dict[FileName, str] = Field(
        default={}, max_length=1000, description="included YAML, CSV and ics files by path relative to the main text's"
    )
    name: Label = Field(default="policy.yaml", description="what the text is called in error messages")
    reason: Remark = ""


class QuarantineRequest(Model):
    """Block everything from and to a device."""

    target: Label = Field(description="an asset's name, a MAC or an IP address")
    reason: Annotated[str, Field(min_length=1, max_length=1000, pattern=PRINTABLE)]
    seconds: int | None = Field(default=None, ge=1, le=366 * 86400, description="released by itself after this time")


class ReleaseQuery(Model):
    """Why a device leaves quarantine."""

    reason: Remark = ""


class EventsQuery(Model):
    """Which events."""

    follow: bool = False
    limit: int = Field(default=100, ge=0, le=4096, description="how many past events first")
    type: Literal["conduit", "alert", "flow", "message", "control"] | None = None
    conduit: Label | None = None
    verdict: Literal["accept", "drop"] | None = None
    policy_verdict: Literal["accept", "drop"] | None = None


class TapeQuery(Model):
    """Which stretch of the decision tape, to the quarter of an hour."""

    since: datetime | None = Field(default=None, description="ISO 8601; UTC when it names no zone")
    until: datetime | None = None


class FlowsQuery(Model):
    """Which flows."""

    limit: int = Field(default=1000, ge=1, le=100_000)
    asset: Label | None = None
    conduit: Label | None = None


class LaneQuery(Model):
    """How many flows."""

    limit: int = Field(default=1000, ge=1, le=100_000)


class ExplainQuery(Model):
    """What would happen to the first frame of this service."""

    source: Label
    destination: Label
    service: Label = Field(description="a service's name, or like tcp/502")
    source_zone: Label | None = Field(default=None, description="where an address is that no zone lists")
    destination_zone: Label | None = None
    at: Label | None = Field(default=None, description="a moment, ISO 8601: conduits with windows as they are then")
    message: str | None = Field(
        default=None, min_length=2, max_length=4096, pattern=PRINTABLE,
        description="what the opener then sends, in hexadecimal: the conversation is judged up to it",
    )  # fmt: skip


class JournalQuery(Model):
    """How many entries."""

    limit: int = Field(default=100, ge=1, le=10_000)
    verify: bool = Field(default=False, description="walk the whole hash chain")


class NoQuery(Model):
    """This route takes no parameters."""


class StageState(Model):
    """A stage object: own stage (text or override), and what it comes to under the ceiling."""

    object: str
    conduit: str | None = None
    pair: tuple[str, str] | None = None
    stage: StageName
    effective: StageName
    policy_stage: StageName = Field(description="what the policy text says")
    overridden: bool = False
    who: str | None = None
    since: datetime | None = None
    reason: str | None = None


class PendingAnswer(Model):
    """The change that waits to be confirmed."""

    what: Literal["policy", "stage"]
    name: str
    generation: int
    digest: str
    who: str
    since: datetime
    reason: str
    seconds_left: float
    confirm_within: int
    hold: bool
    goes_back_to: str | None = Field(description="digest of the policy that comes back; null: only stages go back")


class StageChanged(Model):
    """What a stage change did; effective with the engine's next frame, and in the kernel's static rules."""

    object: str
    previous: StageName
    previous_effective: StageName
    stage: StageName
    effective: StageName
    policy_stage: StageName
    persisted: bool = Field(description="false: in force, but lost when the machine restarts (state directory failing)")
    pending: PendingAnswer | None = Field(default=None, description="set: it goes back by itself unless confirmed")


class ObjectChanges(Model):
    """Names of one kind of object."""

    added: list[str]
    removed: list[str]
    changed: list[str]


class Changes(Model):
    """What a policy would change against the one in force."""

    same: bool = Field(description="both texts mean the same")
    zones: ObjectChanges
    assets: ObjectChanges
    services: ObjectChanges
    conduits: ObjectChanges
    windows: ObjectChanges
    roles: ObjectChanges
    cycles: ObjectChanges
    pairs: ObjectChanges


class QuarantineEntry(Model):
    """A device in quarantine."""

    number: int
    target: str
    macs: list[str]
    addresses: list[str]
    reason: str
    who: str
    since: datetime
    until: datetime | None


class Explanation(Model):
    """The engine's own judgement of a made-up opening frame."""

    source: str
    destination: str
    service: str
    verdict: str
    policy_verdict: str
    reason: str
    text: str
    stage: str | None
    ceiling: str
    conduit: str | None
    source_zone: str
    destination_zone: str
    source_asset: str | None
    destination_asset: str | None
    answer: str | None = Field(default=None, description="what the sender of a dropped frame gets; null: silence")
    inside: list[str] = Field(default=[], description="what the conduit's messages may ask for; none: not inspected")
    asks: list[str] = Field(default=[], description="what the message asks for")
    note: str | None = Field(default=None, description="what has to be known of the verdict where messages are judged")
    quarantined: str | None = None
    parts: list[dict[str, Any]] = Field(default_factory=list, description="when the service's numbers fare differently")
