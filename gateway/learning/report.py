"""What was learned as JSON: `conduitctl learn -o json`, and what its table is made of.

In: `Learned`. Out: plain values; times as ISO 8601, numbers like tcp/502. Every pair seen is in a proposal, withheld,
or permitted already.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from gateway.control.event_text import timestamp
from rules.learning.fragment import inventory_lines

if TYPE_CHECKING:
    from rules.learning.evidence import End, Seen
    from rules.learning.proposing import Learned, Proposal
    from rules.learning.sifting import Withheld


def report(learned: Learned) -> dict[str, Any]:
    """Return the JSON form."""
    return {
        "proposals": [_proposal(one) for one in learned.proposals],
        "services": learned.services,
        "withheld": [_withheld(one) for one in learned.withheld],
        "inventory": [line.strip() for line in inventory_lines(learned.withheld)],
        "confirmed": list(learned.confirmed),
        "unused": list(learned.unused),
    }


def _proposal(one: Proposal) -> dict[str, Any]:
    sure = one.draft.confidence
    return {
        "name": one.name,
        "conduit": one.plain(),
        "seen": _seen(one.draft.seen),
        "by": [
            {"src": _end(pair.source), "dst": _end(pair.destination), "service": str(number),
             "answered": traffic.answered, **_seen(traffic.seen)}
            for (pair, number), traffic in one.draft.traffic.items()
        ],
        "confidence": str(sure.level),
        "reasons": list(sure.reasons),
        "pairs": one.pairs,
        "never_seen": one.unseen,
        "replaces": list(one.replaces),
        "notes": [note.as_dict() for note in one.notes],
    }  # fmt: skip


def _withheld(one: Withheld) -> dict[str, Any]:
    return {
        "why": str(one.why),
        "src": _end(one.pair.source),
        "dst": _end(one.pair.destination),
        "services": [str(number) for number in one.numbers],
        "code": one.code or None,
        "detail": one.detail,
        **_seen(one.seen),
    }


def _end(end: End) -> dict[str, str]:
    return {"zone": end.zone, "kind": end.kind, "name": end.name}


def _seen(seen: Seen) -> dict[str, Any]:
    return {
        "frames": seen.frames,
        "flows": seen.flows,
        "first_seen": timestamp(seen.first_ns),
        "last_seen": timestamp(seen.last_ns),
        "quarter_hours": len(seen.slots),
        "days": seen.days,
    }
