"""Plans for the queue threads, and the machines that cannot keep them."""

from __future__ import annotations

from pathlib import Path

import pytest

from gateway.errors import ConfigError
from gateway.placement import ThreadPlan, cpus_for_others, require_cpus, thread_plans
from gateway.settings import Settings, load_settings_text


def _settings(text: str) -> Settings:
    return load_settings_text(text, Path("conduitd.toml"))


def test_cpus_are_cycled_over_the_queues_for_ip() -> None:
    """Queue threads take the CPUs in turn; the layer-2 thread sleeps and runs where there is room."""
    settings = _settings('[queue]\nfirst = 4\ncount = 3\n[engine]\npolling = "always"\ncpus = [2, 5]')
    assert thread_plans(settings) == (
        ThreadPlan(4, "always", 2, 0),
        ThreadPlan(5, "always", 5, 0),
        ThreadPlan(6, "always", 2, 0),
        ThreadPlan(7, "off", None, 0),
    )


def test_without_cpus_the_kernel_decides() -> None:
    """The defaults bind nothing and sleep."""
    assert thread_plans(Settings()) == (ThreadPlan(0, "off", None, 0), ThreadPlan(1, "off", None, 0))


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("cpus = [7]", "cpu_missing"),
        ("cpus = [3]", "cpu_not_allowed"),
        ('cpus = [0]\npolling = "always"\npriority = 5', ""),
        ('cpus = [0, 1, 2]\npolling = "always"\npriority = 5\n[queue]\ncount = 3', "no_cpu_left"),
        ('cpus = [0, 1, 2]\npolling = "adaptive"\npriority = 5\n[queue]\ncount = 3', "no_cpu_left"),
        ('cpus = [0, 1, 2]\npolling = "always"\n[queue]\ncount = 3', ""),
        ("cpus = [0, 1, 2]\npriority = 5\n[queue]\ncount = 3", ""),
    ],
)
def test_cpus_that_this_machine_lacks_are_refused(text: str, code: str) -> None:
    """Of four CPUs three are ours: the others are refused, and so is spinning with a priority on all of ours."""
    engine = _settings(f"[engine]\n{text}").engine
    if not code:
        require_cpus(engine, {0, 1, 2}, {0, 1, 2, 3})
        return
    with pytest.raises(ConfigError) as refused:
        require_cpus(engine, {0, 1, 2}, {0, 1, 2, 3})
    assert refused.value.code == code
    assert "engine." in refused.value.detail
    assert "0, 1, 2" in refused.value.hint


@pytest.mark.parametrize(("cpus", "left"), [((), {0, 1, 2}), ((1,), {0, 2}), ((0, 2), {1}), ((0, 1, 2), {0, 1, 2})])
def test_keeper_and_control_stay_off_the_engine_s_cpus(cpus: tuple[int, ...], left: set[int]) -> None:
    """They take what the engine leaves, and everything where it leaves nothing."""
    engine = _settings(f"[engine]\ncpus = {list(cpus)}\n[queue]\ncount = 3\n").engine
    assert cpus_for_others(engine, {0, 1, 2}) == left
