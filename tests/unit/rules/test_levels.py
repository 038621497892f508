"""Security levels against a slow twin that knows nothing but a list of seven numbers."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter

from rules.levels import HIGHEST, NONE, Levels, SecurityLevel, least, most, uniform

LEVELS = st.lists(st.integers(0, HIGHEST), min_size=7, max_size=7)
READ: TypeAdapter[Levels] = TypeAdapter(SecurityLevel)


@given(LEVELS, LEVELS)
def test_covering_and_gaps(have: list[int], want: list[int]) -> None:
    """A capability covers a target when no requirement falls short, and the gap is what is missing of each."""
    short = [0] * 7
    for requirement in range(7):
        while have[requirement] + short[requirement] < want[requirement]:
            short[requirement] += 1
    assert list(Levels(*have).gap(Levels(*want))) == short
    assert Levels(*have).covers(Levels(*want)) == (short == [0] * 7)


@given(st.lists(LEVELS, max_size=6))
def test_most_and_least(vectors: list[list[int]]) -> None:
    """Each requirement by itself: the highest or lowest of all; of nothing, what changes nothing."""
    highest, lowest = [0] * 7, [HIGHEST] * 7
    for vector in vectors:
        for requirement, level in enumerate(vector):
            highest[requirement] = max(highest[requirement], level)
            lowest[requirement] = min(lowest[requirement], level)
    several = [Levels(*vector) for vector in vectors]
    assert list(most(several)) == highest
    assert list(least(several)) == lowest
    assert all(most(several).covers(one) and one.covers(least(several)) for one in several)


@given(LEVELS)
def test_three_ways_to_write_the_same(vector: list[int]) -> None:
    """Seven numbers, a mapping without its zeros, and what is written back all read alike."""
    levels = Levels(*vector)
    named = {name: level for name, level in levels._asdict().items() if level}
    assert READ.validate_python(vector) == READ.validate_python(named) == levels
    assert READ.validate_python(levels.written()) == levels
    assert READ.validate_json(READ.dump_json(levels)) == levels


def test_a_number_stands_for_all_seven() -> None:
    """SL 2 is 2 in every requirement, and is written as 2 again."""
    assert READ.validate_python(2) == uniform(2) == Levels(2, 2, 2, 2, 2, 2, 2)
    assert (uniform(2).written(), str(uniform(2)), str(NONE)) == (2, "2", "0")
