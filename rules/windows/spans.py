"""Stretches of time as pairs of whole seconds, and the three things that are done with them.

In: spans (begin, end) in seconds since 1970 UTC, the end not included, in any order. Out: sorted spans that neither
overlap nor touch. Must never know a time zone.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

Span = tuple[int, int]


def merged(spans: Iterable[Span]) -> list[Span]:
    """Return the same time as few spans in order; what is empty disappears."""
    found: list[Span] = []
    for begin, end in sorted(spans):
        if begin >= end:
            continue
        if found and begin <= found[-1][1]:
            found[-1] = (found[-1][0], max(end, found[-1][1]))
        else:
            found.append((begin, end))
    return found


def clipped(spans: Iterable[Span], begin: int, end: int) -> list[Span]:
    """Return what of the spans lies within begin and end; merged ones stay merged."""
    return [(max(first, begin), min(last, end)) for first, last in spans if first < end and last > begin]


def without(spans: Iterable[Span], holes: Iterable[Span]) -> list[Span]:
    """Return the spans where no hole is. Both must be merged."""
    cuts = list(holes)
    found: list[Span] = []
    at = 0
    for begin, end in spans:
        here = begin
        while at < len(cuts) and cuts[at][1] <= here:
            at += 1
        index = at
        while index < len(cuts) and cuts[index][0] < end:
            if cuts[index][0] > here:
                found.append((here, cuts[index][0]))
            here = max(here, cuts[index][1])
            index += 1
        if here < end:
            found.append((here, end))
    return found
