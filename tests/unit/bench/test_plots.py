"""Plots are well-formed pictures of what was measured, and of nothing else."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING
from xml.etree import ElementTree as ET

import pytest

from bench import plots
from bench.chart import Axis
from bench.results import Result

if TYPE_CHECKING:
    from pathlib import Path

SVG = "{http://www.w3.org/2000/svg}"


@pytest.fixture
def samples(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Raw round trips of two subjects at one rate, and of one that this run did not measure."""
    chance = random.Random(62443)
    for subject, middle in (("none", 19.0), ("c-accept-batch", 117.0), ("suricata", 200.0)):
        lines = [f"{chance.lognormvariate(0, 0.2) * middle:.1f}" for _ in range(2000)]
        (tmp_path / f"{subject}-2k.txt").write_text("\n".join(lines) + "\n")
    monkeypatch.setattr(plots, "LATENCY_SAMPLES", tmp_path)
    return tmp_path


def latency(subject: str) -> Result:
    """Return a figure of the latency suite."""
    return Result.of("latency", subject, "p50_2k", "us", [1.0])


def test_a_latency_plot_shows_the_subjects_of_this_run(samples: Path, tmp_path: Path) -> None:
    """One picture a rate, a line and a legend for every subject, none for old files of others."""
    drawn = plots.draw(tmp_path, [latency("none"), latency("c-accept-batch")])
    assert [path.name for path in drawn] == ["latency-2k.svg"]
    words = [element.text or "" for element in ET.parse(drawn[0]).iter(f"{SVG}text")]
    assert [word.split(" (")[0] for word in words if "p50" in word] == ["none", "c-accept-batch"]


def test_the_size_plot_shows_every_run(tmp_path: Path) -> None:
    """A dot for every run of every size."""
    sizes = [Result.of("classify", "conduitd", f"ns_{size}", "ns", [90.0, 95.0, 100.0]) for size in (10, 1000, 10000)]
    drawn = plots.draw(tmp_path, sizes)
    assert [path.name for path in drawn] == ["policy-size.svg"]
    assert len(list(ET.parse(drawn[0]).iter(f"{SVG}circle"))) == 9


def test_nothing_measured_draws_nothing(tmp_path: Path) -> None:
    """No figures, no pictures."""
    assert plots.draw(tmp_path, []) == []


@pytest.mark.parametrize("axis", [Axis("", 0, 1), Axis("", 0, 163.7), Axis("", 12, 9000, logarithmic=True)])
def test_ticks_are_few_and_within_the_axis(axis: Axis) -> None:
    """Between three and twelve, in order, none outside."""
    ticks = axis.ticks()
    assert 3 <= len(ticks) <= 12
    assert ticks == sorted(ticks)
    assert all(0 <= axis.share(tick) <= 1 for tick in ticks)
