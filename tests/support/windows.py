"""Random windows, and the comparison of the product's timetable with the slow twin.

In: a seed, a zone, a stretch of time. Out: the first second at which they differ, or None, and how many were asked.
Half of the hours lie between 0 and 4 o'clock, where clocks are changed.
"""

from __future__ import annotations

import random
from datetime import UTC, datetime, timedelta
from typing import Any, Final, NamedTuple

from rules.model import Policy
from rules.windows import schedule

from .twin_windows import CODES, DAYS, WindowTwin

ZONES: Final = (
    "Europe/Berlin",
    "America/New_York",
    "Asia/Kolkata",
    "Australia/Lord_Howe",  # half an hour of summer time
    "Pacific/Apia",  # has left out a whole day, 2011-12-30
    "UTC",
)
MINUTE: Final = 60


class Comparison(NamedTuple):
    """What came out; `differs` is the first second with two answers."""

    seconds_asked: int
    changes: int
    differs: datetime | None
    window: dict[str, Any]


def random_window(rng: random.Random, begin: datetime, end: datetime) -> dict[str, Any]:
    """Return a window as the YAML would say it, with something to do between begin and end."""
    window: dict[str, Any] = {"weekly": [], "rules": [], "except": [], "once": []}
    for _ in range(rng.randint(0, 3)):
        window["weekly"].append(_weekly(rng))
    for _ in range(rng.randint(0, 3)):
        window["rules"].append(_rule(rng, begin, end))
    for _ in range(rng.randint(0, 3)):
        window["except"].append(_day(rng, begin, end) if rng.random() < 0.5 else _span(rng, begin, end))
    for _ in range(rng.randint(0 if window["weekly"] or window["rules"] else 1, 2)):
        window["once"].append(_span(rng, begin, end))
    return window


def compare(case_seed: int, zone: str, begin: datetime, days: int, *, every: int = MINUTE) -> Comparison:
    """Ask both at every step and on both sides of everything that either takes for a change."""
    end = begin + timedelta(days=days)
    window = random_window(random.Random(case_seed), begin, end)
    policy = Policy.model_validate({"version": 1, "site": {"name": "s", "timezone": zone}, "windows": {"w": window}})
    planned = schedule(policy)
    table = planned.windows["w"]
    first, last = int(begin.timestamp()), int(end.timestamp())
    twin = WindowTwin(window, zone, last)
    spans = planned.intervals("w", begin, end)
    edges = {int(edge.timestamp()) for span in spans for edge in span} | twin.edges(first, last)
    asked = set(range(first, last, every)) | {edge + near for edge in edges for near in (-1, 0, 1)}
    for second in sorted(asked):
        if first <= second < last and table.open_at(second) != twin.open_at(second):
            return Comparison(len(asked), len(edges), datetime.fromtimestamp(second, UTC), window)
    _check_changes(planned, spans, begin, end)
    return Comparison(len(asked), len(edges), None, window)


def _check_changes(planned: Any, spans: list[tuple[datetime, datetime]], begin: datetime, end: datetime) -> None:
    """`next_change` walks over exactly the edges of the intervals."""
    table = planned.windows["w"]
    here, walked = int(begin.timestamp()), []
    while (change := table.next_change(here)) is not None and change < end.timestamp():
        walked.append(change)
        here = change
    edges = [int(edge.timestamp()) for span in spans for edge in span if begin < edge < end]
    assert walked == edges, (walked[:3], edges[:3])


def _clock(rng: random.Random) -> str:
    hour = rng.randint(0, 4) if rng.random() < 0.5 else rng.randint(0, 23)
    text = f"{hour:02}:{rng.choice((0, 0, 15, 30, 45, 59)):02}"
    return text + f":{rng.randint(0, 59):02}" * (rng.random() < 0.3)


def _weekly(rng: random.Random) -> dict[str, Any]:
    begin, end = _clock(rng), "24:00" if rng.random() < 0.15 else _clock(rng)
    if begin.ljust(8, "0")[:5] == end[:5]:
        begin, end = "00:00", "24:00"
    return {"days": sorted(rng.sample(DAYS, rng.randint(1, 7))), "from": begin, "to": end}


def _day(rng: random.Random, begin: datetime, end: datetime) -> str:
    return (begin + timedelta(days=rng.randint(-1, (end - begin).days))).date().isoformat()


def _span(rng: random.Random, begin: datetime, end: datetime) -> dict[str, str]:
    first = datetime.fromisoformat(f"{_day(rng, begin, end)}T{_clock(rng)}")
    last = first + timedelta(minutes=rng.choice((1, 30, 61, 240, 1500, 5000)), seconds=rng.choice((0, 0, 7)))
    return {"from": first.isoformat(), "to": last.isoformat()}


def _rule(rng: random.Random, begin: datetime, end: datetime) -> dict[str, str]:
    start = datetime.fromisoformat(f"{_day(rng, begin, end)}T{_clock(rng)}") - timedelta(
        days=rng.choice((0, 0, 30, 400, 2000))
    )
    duration = rng.choice((1, 15, 59, 60, 90, 480, 1440, 3000))
    parts = _parts(rng, start)
    if rng.random() < 0.2:
        parts.append(f"COUNT={rng.randint(1, 400)}")
    elif rng.random() < 0.25:
        until = begin + timedelta(days=rng.randint(1, max(1, (end - begin).days)), minutes=rng.randint(0, 1440))
        parts.append("UNTIL=" + until.strftime(rng.choice(("%Y%m%d", "%Y%m%dT%H%M%S", "%Y%m%dT%H%M%SZ"))))
        if until.replace(tzinfo=None) < start + timedelta(days=800):
            parts = [part for part in parts if not part.startswith("UNTIL")]
    return {"start": start.isoformat(), "duration": f"{duration}m", "rrule": ";".join(parts)}


def _parts(rng: random.Random, start: datetime) -> list[str]:
    frequency = rng.choice(("HOURLY", "DAILY", "DAILY", "WEEKLY", "WEEKLY", "MONTHLY", "MONTHLY", "YEARLY"))
    parts = [f"FREQ={frequency}"]
    if rng.random() < 0.5:
        parts.append(f"INTERVAL={rng.randint(1, 5)}")
    weekdays = ",".join(rng.sample(CODES, rng.randint(1, 4)))
    ordinal = f"{rng.choice(('1', '2', '3', '4', '-1', '-2'))}{rng.choice(CODES)}"
    monthday = str(rng.choice((1, 15, 28, 29, 30, 31, -1, -3)))
    months = ",".join(map(str, sorted(rng.sample(range(1, 13), rng.randint(1, 4)))))
    extra = {
        "HOURLY": ([], [f"BYDAY={weekdays}"]),
        "DAILY": (
            [],
            [f"BYDAY={weekdays}"],
            [f"BYMONTH={months}"],
            [f"BYHOUR={rng.randint(0, 11)},{rng.randint(12, 23)}"],
        ),
        "WEEKLY": ([], [f"BYDAY={weekdays}"], [f"BYDAY={weekdays}", f"BYMONTH={months}"]),
        "MONTHLY": ([], [f"BYDAY={ordinal}"], [f"BYMONTHDAY={monthday}"], [f"BYDAY={weekdays}", "BYSETPOS=-1"]),
        "YEARLY": (
            [],
            [f"BYMONTH={months}", f"BYDAY={ordinal}"],
            [f"BYDAY={ordinal}"],
            [f"BYYEARDAY={rng.choice((1, 60, 366, -1))}"],
        ),
    }
    chosen = list(rng.choice(extra[frequency]))
    if "BYYEARDAY" in "".join(chosen):  # every other year might always miss the leap day
        parts = parts[:1]
    return parts + chosen
