"""Conduits as an operator wrote them: who may open what to whom, when, by way of what, and who answers for it.

In: plain values from `tree` by way of `load`. Out: frozen models for `check` and `lower`.
Must never resolve a reference or decide precedence: that is done in `lower`, once.
"""

from __future__ import annotations

from typing import Annotated, Any, Self

from pydantic import BeforeValidator, Field, StrictBool, WithJsonSchema, model_validator

from fastpath.abi import FailMode, LogMode, MessageLog, Stage
from rules.constraints_model import Constraints, clauses_of
from rules.levels import SecurityLevel
from rules.numbers import refuse, whole
from rules.rates import RateWord
from rules.strict import Many, Section, Strict
from rules.times import Date
from rules.values import (
    FailWord,
    Group,
    LogWord,
    MessageLogWord,
    Name,
    Operation,
    Prefix,
    Proof,
    RefusalWord,
    StageWord,
    Text,
)

MOST_SAMPLED = 1_000_000


def _every(value: Any) -> int:
    return whole(value, 2, MOST_SAMPLED, "POL078", "one in so many")


Every = Annotated[
    int, BeforeValidator(_every), WithJsonSchema({"type": "integer", "minimum": 2, "maximum": MOST_SAMPLED})
]


class Selector(Strict):
    """Which endpoints: within a key any of the values, and all of the keys."""

    zone: Annotated[tuple[Name, ...], Many] = ()
    role: Annotated[tuple[Name, ...], Many] = ()
    asset: Annotated[tuple[Name, ...], Many] = ()
    prefix: Annotated[tuple[Prefix, ...], Many] = ()
    group: Annotated[tuple[Group, ...], Many] = ()

    @model_validator(mode="after")
    def _selects(self) -> Self:
        others = bool(self.zone or self.role or self.asset or self.prefix)
        if self.group and others:
            refuse("POL022", "'group' stands alone", "write a conduit of its own for the group")
        if not self.group and not others:
            refuse("POL022", "this selects nothing", "give zone, role, asset or prefix")
        return self


class Opener(Selector):
    """The selector of who opens: a group never sends."""

    @model_validator(mode="after")
    def _sends(self) -> Self:
        if self.group:
            refuse("POL022", "'group' can't be a source", "groups only stand in 'to'")
        return self


class SourceLimit(Strict):
    """How much each source address may send by a conduit."""

    packets: RateWord | None = None
    new_flows: RateWord | None = None

    @model_validator(mode="after")
    def _limits(self) -> Self:
        if not any(getattr(self, name) for name in type(self).model_fields):
            refuse("POL023", "this limits nothing", "like packets: 500/s or new_flows: 20/s")
        return self


class Limit(SourceLimit):
    """How much a conduit carries from its openers, as a whole and for each source address."""

    per_source: SourceLimit | None = None


class Conduit(Strict):
    """A permitted path: who may open what to whom."""

    source: Opener = Field(alias="from")
    destination: Selector = Field(alias="to")
    services: Annotated[tuple[Name, ...], Many] = Field(min_length=1)
    operations: Annotated[tuple[Operation, ...], Many] = ()
    constraints: Annotated[Constraints, Section] | None = None
    messages: MessageLogWord = MessageLog.NONE
    every: Every | None = None
    refuse: RefusalWord | None = None  # None: RESET
    via: Name | None = None  # jump host asset: what passes comes from there, never from `from` itself
    requires: Annotated[tuple[Proof, ...], Many] = ()
    windows: Annotated[tuple[Name, ...], Many] = ()
    stage: StageWord = Stage.ENFORCE
    fail: FailWord = FailMode.STATIC
    log: LogWord = LogMode.FLOW
    limit: Limit | None = None
    enabled: StrictBool = True
    sl_t: SecurityLevel | None = None
    owner: Text = ""
    reason: Text = ""
    review: Date | None = None
    expires: Date | None = None
    risk: Text = ""
    cycles: Annotated[tuple[Name, ...], Many] = ()
    description: Text = ""

    @model_validator(mode="after")
    def _inspects_what_it_says(self) -> Self:
        if self.every is not None and self.messages is not MessageLog.SAMPLED:
            refuse("POL078", "'every' says how messages are sampled, and they are not", "messages: sampled")
        if self.refuse is not None and not self.inspected:
            text = "'refuse' is about messages, and nothing of this conduit is inspected"
            refuse("POL078", text, "give operations, constraints or messages; frames: site.refuse and denials")
        return self

    @property
    def inspected(self) -> bool:
        """Whether its messages are read."""
        return bool(self.operations or clauses_of(self.constraints)) or self.messages is not MessageLog.NONE

    def opener(self) -> Selector:
        """Return who may open it on the wire: the jump host where there is one."""
        return Selector(asset=(self.via,)) if self.via is not None else self.source
