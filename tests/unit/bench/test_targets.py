"""Targets become figures and one of three outcomes."""

from __future__ import annotations

import pytest

from bench import targets
from bench.results import Result
from bench.targets import AT_LEAST, AT_MOST, BETTER, BY_HAND, WORSE, Figures, Outcome, Target, ratio, value

THROUGHPUT = [
    Result.of("throughput", "conduitd", "pps", "pps", [190.0, 200.0]),
    Result.of("throughput", "c-accept-batch", "pps", "pps", [200.0, 200.0]),
    Result.of("throughput", "none", "pps", "pps", [100.0, 150.0]),
]


@pytest.mark.parametrize(
    ("holds", "runs", "wanted"),
    [
        (AT_MOST, [1.0, 0.9], BETTER),
        (AT_MOST, [1.1, 1.2], WORSE),
        (AT_MOST, [0.9, 1.1], BY_HAND),
        (AT_LEAST, [1.0, 1.5], BETTER),
        (AT_LEAST, [0.5, 0.9], WORSE),
        (AT_LEAST, [], BY_HAND),
    ],
)
def test_three_outcomes(holds: str, runs: list[float], wanted: str) -> None:
    """Better and worse need every run; runs that disagree, and no runs, are for people."""
    assert Outcome(Target("figure", value("s", "x", "m"), holds, 1.0), runs).verdict == wanted


def test_a_line_without_a_bound_is_only_printed() -> None:
    """No bound, no outcome."""
    assert Outcome(Target("figure", value("s", "x", "m")), [1.0]).verdict == ""


def test_ratios_are_taken_run_by_run() -> None:
    """The first run of one is compared with the first run of the other."""
    figures = Figures(THROUGHPUT)
    assert ratio("throughput", "pps", "conduitd", "c-accept-batch")(figures) == [0.95, 1.0]


def test_what_lies_above_a_floor_is_compared() -> None:
    """(ours - floor) ÷ (other - floor)."""
    figures = Figures(THROUGHPUT)
    assert ratio("throughput", "pps", "conduitd", "c-accept-batch", "none")(figures) == [0.9, 1.0]


def test_nothing_above_the_floor_is_infinitely_worse() -> None:
    """A peer that costs nothing above the floor cannot be divided by."""
    assert ratio("throughput", "pps", "conduitd", "none", "none")(Figures(THROUGHPUT)) == [float("inf")] * 2


def test_every_target_is_in_the_table_measured_or_not() -> None:
    """A target whose suite failed is looked at by hand, not forgotten."""
    found = targets.outcomes(THROUGHPUT)
    assert len(found) == len(targets.TARGETS)
    assert (found[0].runs, found[0].verdict) == ([0.95, 1.0], BETTER)
    assert {outcome.verdict for outcome in found[1:]} <= {BY_HAND}
    table = targets.table(found).splitlines()
    assert len(table) == 1 + len(found)
    assert "not measured" in table[-1]


def test_runs_of_different_number_are_not_compared() -> None:
    """Suites that ran differently often were no interleaved run."""
    uneven = [THROUGHPUT[0], Result.of("throughput", "c-accept-batch", "pps", "pps", [200.0])]
    assert targets.outcomes(uneven)[0].runs == []


def test_the_ratio_of_policy_sizes_is_taken_run_by_run() -> None:
    """100,000 ÷ 10 conduits."""
    sizes = [Result.of("classify", "conduitd", f"ns_{size}", "ns", [100.0 * factor, 100.0]) for size, factor in
             ((10, 1), (100_000, 2))]  # fmt: skip
    found = next(outcome for outcome in targets.outcomes(sizes) if "100,000 ÷ 10" in outcome.target.text)
    assert found.runs == [2.0, 1.0]
    assert found.verdict == BY_HAND
