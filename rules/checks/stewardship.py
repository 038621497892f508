"""Who answers for a conduit or an exception, and whether the day to look at it again has passed.

In: a `Context`, with today's date for what is dated. Out: findings about owners, reasons, reviews and ends.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from rules.checks.registry import Finding, check
from rules.problems import Severity

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rules.checks.context import Context

EXCEPTION_ENDS = "An exception without an end becomes the rule."


@check(
    "POL204",
    Severity.WARNING,
    "conduit without owner",
    "Somebody must be able to say whether it is still needed.",
    supports="3-2 ZCR 6.4",
)
def no_owner(context: Context) -> Iterator[Finding]:
    """Find conduits that nobody answers for."""
    for name, conduit in context.policy.conduits.items():
        if not conduit.owner:
            yield Finding(("conduits", name), f"conduit '{name}' has no owner", "who answers for it?")


@check(
    "POL205",
    Severity.WARNING,
    "conduit without reason",
    "Without its reason nobody dares to remove it.",
    supports="3-2 ZCR 6.4",
)
def no_reason(context: Context) -> Iterator[Finding]:
    """Find conduits that do not say what they are for."""
    for name, conduit in context.policy.conduits.items():
        if not conduit.reason:
            yield Finding(("conduits", name), f"conduit '{name}' has no reason", "what stops working without it?")


@check(
    "POL222",
    Severity.WARNING,
    "review overdue",
    "What a conduit was permitted for may be gone; the review day is when somebody promised to ask.",
    supports="3-2 ZCR 6.4",
    dated=True,
)
def review_overdue(context: Context) -> Iterator[Finding]:
    """Find conduits whose review day has passed."""
    for name, conduit in context.policy.conduits.items():
        if conduit.review is not None and context.today is not None and conduit.review < context.today:
            text = f"conduit '{name}' was to be reviewed by {conduit.review}"
            yield Finding(("conduits", name, "review"), text, "is it still needed? then give the next day")


@check("POL217", Severity.WARNING, "conduit expired", EXCEPTION_ENDS, supports="3-2 ZCR 3.4", dated=True)
def expired(context: Context) -> Iterator[Finding]:
    """Find conduits whose last day has passed."""
    for name, conduit in context.policy.conduits.items():
        if conduit.expires is not None and context.today is not None and conduit.expires < context.today:
            text = f"conduit '{name}' expired on {conduit.expires}"
            yield Finding(("conduits", name, "expires"), text, "remove it, or agree on a new day")


@check("POL223", Severity.WARNING, "waiver expired", EXCEPTION_ENDS, waivable=False, dated=True)
def waiver_expired(context: Context) -> Iterator[Finding]:
    """Find waivers whose last day has passed; they waive nothing any more."""
    for index, waiver in enumerate(context.policy.waivers):
        if context.today is not None and waiver.until < context.today:
            text = f"the waiver of {waiver.code} at {waiver.at} by {waiver.who} ended on {waiver.until}"
            yield Finding(("waivers", index), text, "settle what it waived, or agree on a new day")


@check(
    "POL224",
    Severity.WARNING,
    "waiver that waives nothing",
    "What it was written for is settled, or its code or object is mistyped and the finding still stands.",
    waivable=False,
    lowered=True,
)
def idle_waiver(context: Context) -> Iterator[Finding]:
    """Find waivers that hold but have no finding. Runs last."""
    for index, waiver in context.waivers.idle():
        path = ("waivers", index)
        if waiver.code not in context.waivable:
            hint = "contradictions and mistakes of the text are corrected, not waived"
            yield Finding(path, f"no check that can be waived has code {waiver.code}", hint)
        elif waiver.code in context.waivers.asked:
            hint = "remove the waiver, or correct its code or object"
            yield Finding(path, f"{waiver.code} does not arise at {waiver.at}", hint)


CHECKS = (no_owner, no_reason, review_overdue, expired, waiver_expired, idle_waiver)
