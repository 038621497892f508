"""What the routes of readiness take and answer.

Beside `models` and `answers` for size only; the same rules hold: keys nobody knows are refused, keys are only added.
"""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

from pydantic import AwareDatetime, Field, model_validator

from gateway.control.api.models import PRINTABLE, Label, Model, StageName
from rules.readiness import UNUSED


class ReadinessQuery(Model):
    """Of which object, and from when on."""

    conduit: Label | None = None
    pair: Annotated[str, Field(max_length=257, pattern=PRINTABLE)] | None = Field(
        default=None, description="two zones with a colon between them: enterprise:control"
    )
    since: AwareDatetime | None = Field(default=None, description="only look at what was recorded from then on")


class Taken(Model):
    """An acknowledgement."""

    number: int
    object: str
    source: str
    destination: str
    service: str
    code: str = Field(description=f"the reason of the drops; {UNUSED} for a conduit that carried nothing")
    who: str
    since: datetime
    reason: str
    until: datetime | None
    holds: bool = Field(description="false: its time is over")


class WouldDropRow(Model):
    """Traffic on the tape that enforcing this object would have dropped."""

    source: str
    destination: str
    service: str
    code: str
    flows: int
    frames: int
    first_seen: str
    last_seen: str
    acknowledged: int | None = Field(description="number of the acknowledgement that covers it")


class CycleRow(Model):
    """How far a cycle was observed; the name is empty for the seven days of objects that no cycle concerns."""

    name: str
    observed: int = Field(description="whole occurrences during which everything was recorded")
    minimum: int
    hours: float = Field(description="how long those lasted")
    done: bool


class ReadinessRow(Model):
    """One stage object."""

    object: str
    name: str
    stage: StageName
    effective: StageName
    ready: bool
    missing: list[str]
    used: bool | None = Field(description="conduits: carried traffic in something that was observed whole")
    cycles: list[CycleRow]
    would_drops: list[WouldDropRow]
    more: int = Field(description="would-drops that are not shown")


class ReadinessAnswer(Model):
    """Whether stage objects may enforce."""

    recorded_since: str | None = Field(description="from when on anything was recorded; null: nothing yet")
    hours_recorded: float
    objects: list[ReadinessRow]
    quiet_pairs: int = Field(description="pairs of zones that are not listed: nothing would be dropped between them")
    acknowledgements: list[Taken]


class AcknowledgeRequest(Model):
    """Take on what enforcement will drop: everything that was seen and matches, each group by itself."""

    source: Label | None = Field(default=None, description="an asset or address as readiness names it; * for any")
    destination: Label | None = None
    service: Label | None = None
    code: Label | None = Field(default=None, description="only drops for this reason")
    conduit: Label | None = Field(default=None, description="only this object; alone: that it carried nothing")
    pair: tuple[Label, Label] | None = None
    reason: Annotated[str, Field(min_length=1, max_length=1000, pattern=PRINTABLE)]
    until: AwareDatetime | None = Field(default=None, description="it covers nothing any more from then on")

    @model_validator(mode="after")
    def _names_something(self) -> AcknowledgeRequest:
        given = [self.source, self.destination, self.service]
        if any(given) != all(given):
            raise ValueError("name source, destination and service")
        if not any(given) and self.conduit is None:
            raise ValueError("name source, destination and service, or a conduit that was never used")
        return self


class AcknowledgedAnswer(Model):
    """Acknowledgements that were added or withdrawn."""

    acknowledgements: list[Taken]
