"""Rates as an engineer writes them, and as the engine counts them.

In: "500/s", "20/min", "500/s burst 1000" from the policy text. Out: `Rate`, and its two numbers of `fastpath.abi`'s
LIMIT: one per `interval_ns`, `burst_ns` of them at once. Every refusal carries a code and a hint.
Must never round a limit down to nothing. Called by `model`, `lower`, `digest` and the listings.
"""

from __future__ import annotations

import re
from typing import Annotated, Any, NamedTuple

from pydantic import BeforeValidator, PlainSerializer, WithJsonSchema

from rules.numbers import refuse

SECOND_NS = 1_000_000_000
UNITS_NS = {"s": SECOND_NS, "min": 60 * SECOND_NS}
RATE = re.compile(r"([0-9]{1,9})\s*/\s*([a-z]+)(?:\s+burst\s+([0-9]{1,9}))?\Z")
MAX_COUNT = 10_000_000  # per unit, and as a burst: beyond what any port of ours carries in a second
HINT = "like 500/s, 20/min or 500/s burst 1000"


class Rate(NamedTuple):
    """So many per unit of time; `burst` of them may come at once."""

    number: int
    unit: str
    burst: int

    @property
    def interval_ns(self) -> int:
        """The time that one of them takes up, whole nanoseconds, rounded down."""
        return UNITS_NS[self.unit] // self.number

    @property
    def burst_ns(self) -> int:
        """The time that a whole burst takes up."""
        return self.burst * self.interval_ns

    def __str__(self) -> str:
        burst = "" if self.burst == _one_second(self.number, self.unit) else f" burst {self.burst}"
        return f"{self.number}/{self.unit}{burst}"


def _one_second(count: int, unit: str) -> int:
    """Return what comes in one second at this rate, at least one."""
    return max(1, count * SECOND_NS // UNITS_NS[unit])


def _rate(value: Any) -> Rate:
    if isinstance(value, Rate):
        return value
    if isinstance(value, int) and not isinstance(value, bool):
        refuse("POL023", f"'{value}' is no rate: per second or per minute?", f"write {value}/s or {value}/min")
    found = RATE.match(value.strip()) if isinstance(value, str) else None
    if found is None:
        refuse("POL023", f"'{value}' is no rate", HINT)
    count, unit, burst = int(found[1]), found[2], found[3]
    if unit not in UNITS_NS:
        refuse("POL023", f"'{value}': the unit '{unit}' is not known", "per second: /s, per minute: /min")
    if not 1 <= count <= MAX_COUNT:
        hint = "to permit nothing, leave the conduit out or set 'enabled: false'" if count == 0 else f"1 to {MAX_COUNT}"
        refuse("POL023", f"'{value}' permits {'nothing' if count == 0 else 'more than can be counted'}", hint)
    if burst is not None and not 1 <= int(burst) <= MAX_COUNT:
        refuse("POL023", f"'{value}': a burst of {int(burst)}", f"1 to {MAX_COUNT}; 1 lets nothing come at once")
    return Rate(count, unit, int(burst) if burst is not None else _one_second(count, unit))


RateWord = Annotated[
    Any,
    BeforeValidator(_rate),
    PlainSerializer(str, return_type=str, when_used="json"),
    WithJsonSchema({"type": "string", "pattern": r"^\s*[0-9]{1,9}\s*/\s*(s|min)(\s+burst\s+[0-9]{1,9})?\s*$"}),
]
