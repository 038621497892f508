"""Deadlines of changes that wait to be confirmed: which clock counts, and which cannot move them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.control.deadline import NS_PER_S, Deadline, Moment, now

BEGUN = Moment(wall_ns=1_800_000_000 * NS_PER_S, boot_ns=500 * NS_PER_S, boot_id="one")
TEN_MINUTES = Deadline(begun=BEGUN, seconds=600)


def later(wall_s: float = 0, boot_s: float = 0, boot_id: str = "one") -> Moment:
    """A moment so many seconds after the beginning, by each clock."""
    return Moment(
        wall_ns=BEGUN.wall_ns + int(wall_s * NS_PER_S), boot_ns=BEGUN.boot_ns + int(boot_s * NS_PER_S), boot_id=boot_id
    )


@pytest.mark.parametrize(
    ("moment", "left_s"),
    [
        (later(10, 10), 590),
        (later(10_000, 10), 590),  # the wall clock was set forward
        (later(-10_000, 10), 590),  # and back
        (later(700, 700), 0),
        (Moment(wall_ns=BEGUN.wall_ns + 100 * NS_PER_S, boot_ns=3 * NS_PER_S, boot_id="two"), 500),  # a reboot
        (Moment(wall_ns=BEGUN.wall_ns + 601 * NS_PER_S, boot_ns=3 * NS_PER_S, boot_id="two"), 0),
        (Moment(wall_ns=0, boot_ns=3 * NS_PER_S, boot_id="two"), 600),  # a dead battery: no longer than it was
    ],
)
def test_which_clock_counts(moment: Moment, left_s: float) -> None:
    """Boot time within a boot, whatever the wall clock does; the wall clock across one."""
    assert TEN_MINUTES.left_s(moment) == left_s


@given(st.integers(-(10**9), 10**9), st.integers(0, 10**6), st.sampled_from(["one", "two"]))
def test_nothing_is_ever_left_beyond_the_whole(wall_s: int, boot_s: int, boot_id: str) -> None:
    """No clock lengthens a deadline, and none leaves less than nothing."""
    assert 0 <= TEN_MINUTES.left_s(later(wall_s, boot_s, boot_id)) <= 600


def test_the_clocks_run() -> None:
    """Two readings are of one boot and in order."""
    first, second = now(), now()
    assert first.boot_id == second.boot_id
    assert second.boot_ns >= first.boot_ns
    assert Deadline(begun=first, seconds=60).left_s(second) > 59
