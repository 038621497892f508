"""`GET /v1/windows`: the windows of the policy in force, what they open, and the openings to come.

In: an instant (now when absent) and a number of days. Out: openings with both ends in the window's own time zone.
"""

from __future__ import annotations

import asyncio
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Annotated, Any
from zoneinfo import ZoneInfo

from pydantic import AfterValidator, AwareDatetime, Field

from gateway.control.api.models import Model

if TYPE_CHECKING:
    from gateway.control.in_force import PolicyInForce
    from gateway.control.plane import ControlPlane
    from gateway.control.roles import Operator

MOST_OPENINGS = 1000  # of one window in one answer


def _within_reach(at: datetime) -> datetime:
    if not 1970 <= at.year < 2199:
        raise ValueError("from 1970 to 2198")
    return at


class WindowsQuery(Model):
    """From when on, and how far ahead."""

    at: Annotated[AwareDatetime, AfterValidator(_within_reach)] | None = None
    days: int = Field(default=7, ge=1, le=366)


class Opening(Model):
    """From its first second to the first second behind it."""

    opens: datetime
    closes: datetime
    seconds: int


class WindowRow(Model):
    """A window, the conduits that it opens, and when."""

    name: str
    description: str
    timezone: str
    open: bool = Field(description="at the instant asked for")
    conduits: list[str] = Field(description="those that it opens; disabled ones are not among them")
    openings: list[Opening] = Field(description="cut to the time asked for, times in the window's own time zone")
    more: bool


class WindowsAnswer(Model):
    """All windows."""

    at: datetime
    until: datetime
    windows: list[WindowRow]


async def windows(
    plane: ControlPlane, _operator: Operator, _body: None, query: WindowsQuery, _path: dict[str, Any]
) -> WindowsAnswer:
    """Return the openings to come."""
    begin = query.at or plane.core.windows.now()
    end = begin + timedelta(days=query.days)
    policy = plane.core.policy()
    rows = await asyncio.to_thread(lambda: [_row(policy, name, begin, end) for name in policy.compiled.policy.windows])
    return WindowsAnswer(at=begin, until=end, windows=rows)


def _row(policy: PolicyInForce, name: str, begin: datetime, end: datetime) -> WindowRow:
    model = policy.compiled.policy
    window = model.windows[name]
    zone = window.timezone or model.site.timezone
    local = ZoneInfo(zone)
    spans = policy.schedule.intervals(name, begin, end)
    return WindowRow(
        name=name,
        description=window.description,
        timezone=zone,
        open=bool(policy.schedule.intervals(name, begin, begin + timedelta(seconds=1))),
        conduits=[conduit for conduit in policy.schedule.governed if name in model.conduits[conduit].windows],
        openings=[
            Opening(
                opens=opens.astimezone(local),
                closes=closes.astimezone(local),
                seconds=(closes - opens) // timedelta(seconds=1),
            )
            for opens, closes in spans[:MOST_OPENINGS]
        ],
        more=len(spans) > MOST_OPENINGS,
    )
