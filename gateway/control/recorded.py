"""What a candidate would have said of recorded traffic: the part of a plan that needs the decision tape.

In: the tape, a compiled policy. Out: the sums and rows of `conduitctl simulate --tape` over the last month; None while
nothing is recorded. Reads only; replaying takes seconds of one thread: run it in one.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, Final

from gateway.tape.replay import TapeReplay
from gateway.tape.summary import summary

if TYPE_CHECKING:
    from gateway.tape.store import Tape
    from rules.compile import Compiled

DAYS: Final = 31
NS_PER_DAY: Final = 86_400 * 1_000_000_000
ROWS_SHOWN: Final = 100  # of what is lost, and of what is gained; the sums are of all


def recorded(tape: Tape, compiled: Compiled, name: str) -> dict[str, Any] | None:
    """Return what the policy says of the last month, None where nothing was seen in it. Raises sqlite3.Error."""
    seen = list(tape.observations(since_ns=time.time_ns() - DAYS * NS_PER_DAY))
    if not seen:
        return None
    found = summary(TapeReplay(compiled).run(seen), name, compiled.lowered.digest.hex(), ROWS_SHOWN)
    return {"days": DAYS} | found
