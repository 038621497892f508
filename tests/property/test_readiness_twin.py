"""Observed cycles against a slow twin that walks quarters of an hour, and verdicts against what they must say."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from hypothesis import given, settings
from hypothesis import strategies as st

from rules.compile import compile_text
from rules.readiness import (
    DEFAULT_OBSERVED,
    UNUSED,
    Acknowledgement,
    Group,
    Interval,
    Progress,
    WouldDrop,
    covering,
    joined,
    progress,
    verdict,
    was_used,
)

QUARTER = timedelta(minutes=15)
BEGIN = datetime(2026, 11, 2, tzinfo=UTC)  # a Monday
DAYS = 12
SHIFTS = ((6, 14), (14, 22), (22, 30))  # hours of a day, into the next
POLICY = compile_text(
    """
version: 1
site: {name: plant, ceiling: monitor, default_stage: enforce}
zones:
  office: {kind: supervisory, ports: [p0], prefixes: [10.0.0.0/24]}
  cell: {kind: control, ports: [p1], prefixes: [10.1.0.0/24]}
cycles:
  shift:
    minimum: 9
    weekly:
      - {days: [mon, tue, wed, thu, fri, sat, sun], from: "06:00", to: "14:00"}
      - {days: [mon, tue, wed, thu, fri, sat, sun], from: "14:00", to: "22:00"}
      - {days: [mon, tue, wed, thu, fri, sat, sun], from: "22:00", to: "06:00"}
  backup: {rules: [{start: 2026-10-04T03:00, duration: 2h, rrule: "FREQ=WEEKLY;BYDAY=SU"}]}
  batch: {every: 5h, minimum: 3}
"""
).policy

quarters = st.integers(0, DAYS * 96)
stretches = st.lists(st.tuples(quarters, st.integers(1, 300)), max_size=8)


def at(number: int) -> datetime:
    """Return the beginning of a quarter of an hour."""
    return BEGIN + number * QUARTER


def walk(recorded: set[int], length_of: dict[int, int]) -> list[Interval]:
    """Return the occurrences whose every quarter of an hour is in `recorded`; by beginning, how many they have."""
    found = []
    for begin, length in sorted(length_of.items()):
        if all(number in recorded for number in range(begin, begin + length)):
            found.append((at(begin), at(begin + length)))
    return found


@settings(max_examples=150, deadline=None)
@given(stretches)
def test_whole_occurrences_are_those_that_a_walk_finds(drawn: list[tuple[int, int]]) -> None:
    """Stretches overlap, touch and leave gaps; all at quarters of an hour, so that the twin can walk them."""
    recorded = {number for begin, length in drawn for number in range(begin, begin + length)}
    intervals = [(at(begin), at(begin + length)) for begin, length in drawn]
    shift, backup, batch = progress(POLICY, ["shift", "backup", "batch"], intervals)
    days = range(-1, DAYS + 5)
    assert list(shift.whole) == walk(
        recorded, {day * 96 + first * 4: (last - first) * 4 for day in days for first, last in SHIFTS}
    )
    assert list(backup.whole) == walk(recorded, {day * 96 + 12: 8 for day in days if at(day * 96).weekday() == 6})
    runs = [number for number in sorted(recorded) if number - 1 not in recorded]
    ends = [next(number for number in range(run, 10**6) if number not in recorded) for run in runs]
    assert len(batch.whole) == sum((end - run) // 20 for run, end in zip(runs, ends, strict=True))
    assert [(begin, end) for begin, end in joined(intervals)] == [
        (at(run), at(end)) for run, end in zip(runs, ends, strict=True)
    ]
    (default,) = progress(POLICY, [], intervals)
    assert default.observed == len(recorded) * QUARTER
    assert default.is_done is (default.observed >= DEFAULT_OBSERVED)
    assert shift.is_done is (len(shift.whole) >= 9)


@settings(max_examples=150, deadline=None)
@given(stretches, st.sets(quarters, max_size=5))
def test_use_counts_in_what_was_observed_whole_only(drawn: list[tuple[int, int]], seen: set[int]) -> None:
    cycles = progress(POLICY, ["shift", "backup"], [(at(begin), at(begin + length)) for begin, length in drawn])
    inside = any(begin <= at(number) < end for number in seen for cycle in cycles for begin, end in cycle.whole)
    assert was_used(cycles, [at(number) for number in seen]) is inside


groups = st.builds(
    Group, st.just("pair:a:b"), st.sampled_from("xyz"), st.sampled_from("pq"), st.sampled_from(["tcp/80", "tcp/502"]),
    st.sampled_from(["POLICY_NO_CONDUIT", "IDENTITY_SOURCE_MAC"]),
)  # fmt: skip
NOW = BEGIN + timedelta(days=30)


@settings(max_examples=200, deadline=None)
@given(
    st.dictionaries(groups, st.integers(1, 99)),
    st.lists(st.tuples(groups, st.none() | st.integers(-5, 5)), max_size=8),
    st.integers(0, 12),
    st.sampled_from([None, True, False]),
)
def test_a_verdict_misses_exactly_what_is_missing(
    seen: dict[Group, int], taken: list[tuple[Group, int | None]], count: int, used: bool | None
) -> None:
    """Every group that no acknowledgement names and holds now, each cycle that is short, and nothing else."""
    acknowledgements = [
        Acknowledgement(number, group, "eve", BEGIN, "why", None if days is None else NOW + timedelta(days=days))
        for number, (group, days) in enumerate(taken)
    ]
    cycles = (Progress("shift", 9, ((BEGIN, NOW),) * count),)
    drops = [WouldDrop(group, 0, 0, 0, frames) for group, frames in seen.items()]
    found = verdict("pair:a:b", cycles, drops, covering(acknowledgements, NOW), used=used)
    open_groups = [
        group for group in seen if not any(one == group and (days is None or days > 0) for one, days in taken)
    ]
    assert len(found.missing) == len(open_groups) + (count < 9) + (used is False)
    assert found.is_ready is not found.missing or not found.missing
    for group in open_groups:
        frames = f"{seen[group]} frame{'' if seen[group] == 1 else 's'}"
        text = f"{frames} of {group.source} → {group.destination} {group.service} ({group.reason}) not acknowledged"
        assert text in found.missing
    if count < 9:
        assert f"{count} of 9 occurrences of cycle shift observed" in found.missing


def test_an_unused_conduit_is_ready_when_somebody_took_it_on() -> None:
    cycles = (Progress("shift", 1, ((BEGIN, NOW),)),)
    unused = Acknowledgement(1, Group("conduit:c", "", "", "", UNUSED), "eve", BEGIN, "emergency way", None)
    assert verdict("conduit:c", cycles, (), {}, used=False).missing == ("never used while it was observed",)
    assert verdict("conduit:c", cycles, (), covering([unused], NOW), used=False).is_ready
    assert not verdict("conduit:d", cycles, (), covering([unused], NOW), used=False).is_ready
