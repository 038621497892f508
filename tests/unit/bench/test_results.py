"""What a bench writes can be read back, and belongs to one machine."""

from __future__ import annotations

import hashlib
import json
import random
from typing import TYPE_CHECKING

import pytest

from bench import results
from bench.plan import Plan
from bench.results import Result, percentile

if TYPE_CHECKING:
    from pathlib import Path

FIGURES = [
    Result.of("classify", "conduitd", "ns_10", "ns", [120.0, 100.0, 110.0]),
    Result.of("cpu", "c-accept", "us_per_packet_20k", "us", [3.5612345678]),
]


def test_a_result_is_the_median_of_its_runs() -> None:
    """The value is the median, the runs keep their order, digits beyond the clock's are not written."""
    assert FIGURES[0] == Result("classify", "conduitd", "ns_10", 110.0, "ns", [120.0, 100.0, 110.0])
    assert FIGURES[1].runs == [3.56123]


def test_results_are_a_plain_list_with_the_keys_of_the_interface(tmp_path: Path) -> None:
    """latest.json is a list of objects with exactly the six keys."""
    results.write(tmp_path, FIGURES, {"kernel": "6.1"})
    rows = json.loads((tmp_path / "latest.json").read_text())
    assert [set(row) for row in rows] == [{"suite", "subject", "metric", "value", "unit", "runs"}] * 2
    assert results.read(tmp_path) == FIGURES


def test_the_machine_names_the_results_that_it_belongs_to(tmp_path: Path) -> None:
    """machine.json carries the digest of the list beside it."""
    results.write(tmp_path, FIGURES, {"kernel": "6.1", "cpu": "some", "commit": "abc"})
    machine = json.loads((tmp_path / "machine.json").read_text())
    assert machine["results_sha256"] == hashlib.sha256((tmp_path / "latest.json").read_bytes()).hexdigest()
    assert (machine["kernel"], machine["cpu"], machine["commit"]) == ("6.1", "some", "abc")


def test_no_results_are_an_empty_list(tmp_path: Path) -> None:
    """A run in which every suite failed still writes a list."""
    results.write(tmp_path, [], {})
    assert json.loads((tmp_path / "latest.json").read_text()) == []


@pytest.mark.parametrize(
    ("values", "percent", "wanted"),
    [([5], 99, 5), ([1, 2, 3, 4], 50, 2), (range(1, 101), 99, 99), (range(1, 1001), 99.9, 999), ([3, 1, 2], 100, 3)],
)
def test_percentiles_are_by_nearest_rank(values: list[float], percent: float, wanted: float) -> None:
    """A percentile is one of the values, never between two."""
    assert percentile(values, percent) == wanted


def test_nothing_has_no_percentile() -> None:
    """No values, no figure: an error instead of a zero."""
    with pytest.raises(ValueError, match="no values"):
        percentile([], 50)


def test_rounds_interleave_subjects_and_turn_around() -> None:
    """Every subject once a run, every second run backwards."""
    plan = Plan(say=lambda _: None, runs=3)
    assert list(plan.rounds(["a", "b"])) == [(0, "a"), (0, "b"), (1, "b"), (1, "a"), (2, "a"), (2, "b")]


def test_chosen_subjects_keep_the_order_of_the_suite() -> None:
    """What is asked for is a selection, not an order; nothing asked for means all."""
    names = [f"subject-{number}" for number in range(5)]
    asked = random.Random(62443).sample(names, 3)
    assert Plan(say=lambda _: None, subjects=tuple(asked)).chosen(names) == [name for name in names if name in asked]
    assert Plan(say=lambda _: None).chosen(names) == names
