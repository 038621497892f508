"""Observations as JSON lines: what the control socket hands out, `conduitctl tape export` writes and `--tape` reads.

In: observations, or lines. Out: the other. A line is complete: nothing but the file is needed to replay it elsewhere.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import orjson

from gateway.control.event_text import timestamp
from gateway.errors import ConfigError
from gateway.tape.sight import NUMBERS, Sight, Sum
from gateway.tape.store import Observation

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator


def as_dict(observation: Observation) -> dict[str, Any]:
    """Return the JSON form; `slots` are the quarters of an hour in which it was seen, in seconds since the epoch."""
    found: dict[str, Any] = observation.sight._asdict()
    total = observation.sum
    found |= {"first_seen": timestamp(total.first_ns), "last_seen": timestamp(total.last_ns)}
    found |= {"first_ns": total.first_ns, "last_ns": total.last_ns}
    found |= {"flows": total.flows, "frames": total.frames, "bytes": total.bytes}
    return found | {"slots": [slot // 1_000_000_000 for slot in observation.slots]}


def line(observation: Observation) -> bytes:
    """Return one line."""
    return orjson.dumps(as_dict(observation), option=orjson.OPT_APPEND_NEWLINE)


def observations(lines: Iterable[bytes], name: str) -> Iterator[Observation]:
    """Yield what lines say. Raises ConfigError with file and line for one that is no observation."""
    for number, text in enumerate(lines, start=1):
        if text.strip():
            try:
                yield _observation(orjson.loads(text))
            except (orjson.JSONDecodeError, KeyError, TypeError, ValueError) as error:
                detail = f"{name}:{number}: not an observation of a tape: {error}"
                raise ConfigError("tape_format", detail, "`conduitctl tape export` writes such files") from error


def _observation(found: dict[str, Any]) -> Observation:
    values: dict[str, Any] = {name: (int if name in NUMBERS else _text)(found[name]) for name in Sight._fields}
    counts = [int(found[name]) for name in ("first_ns", "last_ns", "flows", "frames", "bytes")]
    slots = tuple(int(slot) * 1_000_000_000 for slot in found["slots"])
    if min(counts) < 0 or not slots:
        raise ValueError("counts must not be negative, and it was seen at some time")
    return Observation(Sight(**values), Sum(*counts), slots)


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError(f"{value!r} is no text")
    return value
