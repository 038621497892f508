"""One JSON line for each frame: what `conduitctl simulate -o jsonl` prints.

In: a file's outcomes, batch by batch. Out: bytes. A frame has the number that Wireshark gives it, counted from 1.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import orjson

from fastpath.replay import Unjudged
from gateway.control.event_text import timestamp
from gateway.simulate.summary import said_fields
from gateway.simulate.words import UNJUDGED_TEXT, Wording, spoken

if TYPE_CHECKING:
    from collections.abc import Iterator

    from fastpath.replay import Outcome


def frame_lines(file: str, first: int, outcomes: list[Outcome], wording: Wording) -> Iterator[bytes]:
    """Yield a line for each frame of a batch whose first frame has the number `first`."""
    for number, outcome in enumerate(outcomes, start=first):
        yield _line(_frame(file, number, outcome, wording))


def difference_lines(
    file: str, first: int, pairs: list[tuple[Outcome, Outcome]], wording: Wording, other: Wording
) -> Iterator[bytes]:
    """Yield a line for each frame of a batch of which two policies say otherwise."""
    for number, (one, second) in enumerate(pairs, start=first):
        mine, theirs = one.judged, second.judged
        if (mine.verdict, mine.policy_verdict) != (theirs.verdict, theirs.policy_verdict):
            said = said_fields(other.said(theirs), spoken(second.talk))
            yield _line(_frame(file, number, one, wording) | {"other": said})


def _frame(file: str, number: int, outcome: Outcome, wording: Wording) -> dict[str, Any]:
    words = None if outcome.unjudged else spoken(outcome.talk)
    found: dict[str, Any] = {"file": file, "frame": number, "time": timestamp(outcome.time_ns)}
    found.update(said_fields(wording.said(outcome.judged), words))
    found["src"] = words.source if words else None
    found["dst"] = words.destination if words else None
    found["number"] = words.service if words else None
    found["reply"] = words.reply if words else None
    found["length"] = outcome.length
    found["unjudged"] = UNJUDGED_TEXT[Unjudged(outcome.unjudged)] if outcome.unjudged else None
    return found


def _line(content: dict[str, Any]) -> bytes:
    return orjson.dumps(content, option=orjson.OPT_APPEND_NEWLINE)
