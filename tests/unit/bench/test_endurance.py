"""How polls are counted, and which suites a whole run has."""

from __future__ import annotations

from bench.__main__ import ENDURANCE, parse, suite_names
from bench.polls import NOT_ASKED, PERIOD_NS, TCP, TOO_LATE, UDP, Row
from bench.siege import polled

ROWS = [
    Row(TCP, 0, 1_000_000, None),
    Row(UDP, PERIOD_NS // 2, 2_000_000, None),
    Row(TCP, PERIOD_NS, 2 * PERIOD_NS, TOO_LATE),
    Row(TCP, 2 * PERIOD_NS, 0, NOT_ASKED),
    Row(UDP, 2 * PERIOD_NS, 1_000_000_000, "no answer"),
    Row(TCP, 3 * PERIOD_NS, 3_000_000, None),
]


def test_a_late_answer_and_a_beat_without_a_question_are_missed_polls() -> None:
    """What was not answered within its period counts, whatever came later."""
    found = polled(ROWS, 0, 10 * PERIOD_NS)
    assert found.asked == {TCP: 4, UDP: 2}
    assert found.missed[TCP] == [f"{TOO_LATE} (200 ms)", f"{NOT_ASKED} (0 ms)"]
    assert found.missed[UDP] == ["no answer (1000 ms)"]
    assert found.took_ms == {TCP: [1.0, 3.0], UDP: [2.0]}


def test_a_poll_belongs_to_the_phase_in_which_it_was_due() -> None:
    """A phase takes the polls due from its begin up to its end, and no others."""
    assert polled(ROWS, 0, PERIOD_NS).asked == {TCP: 1, UDP: 1}
    assert polled(ROWS, PERIOD_NS, 3 * PERIOD_NS).asked == {TCP: 2, UDP: 1}


def test_the_endurance_suites_exist_and_are_asked_for_by_name() -> None:
    """They are suites like the others; an ordinary command line does not ask for them."""
    assert set(ENDURANCE) < set(suite_names())
    assert not parse([]).endurance
    assert parse(["--endurance"]).endurance
