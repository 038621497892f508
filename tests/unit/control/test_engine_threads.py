"""What doctor says about the engine's threads: the kernel's word against the plan."""

from __future__ import annotations

import ctypes
import os
import threading
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from gateway.control.engine_threads import thread_findings
from gateway.engine.thread_placement import settle_thread
from gateway.placement import ThreadPlan
from gateway.settings import load_settings_text

if TYPE_CHECKING:
    from collections.abc import Iterator

QUEUE = 4000


@pytest.fixture
def thread() -> Iterator[int]:
    """A queue's thread of this very process, on one CPU, at normal priority; yields that CPU."""
    cpu = min(os.sched_getaffinity(0))
    settled, done = threading.Event(), threading.Event()

    def run() -> None:
        settle_thread(ThreadPlan(QUEUE, "off", cpu, 0))
        settled.set()
        done.wait(30)

    running = threading.Thread(target=run)
    running.start()
    assert settled.wait(10)
    yield cpu
    done.set()
    running.join()


def _found(text: str, pid: int | None = None) -> tuple[str, str]:
    settings = load_settings_text(f"queue.first = {QUEUE}\nqueue.layer2 = false\n{text}", Path("conduitd.toml"))
    (finding,) = thread_findings(settings, os.getpid() if pid is None else pid)
    return finding.level, finding.text


def test_thread_as_planned_is_ok(thread: int) -> None:
    """Polling from the settings, CPU and priority from the kernel."""
    level, text = _found(f'engine = {{ polling = "adaptive", polling_us = 50, cpus = [{thread}] }}')
    assert (level, text) == ("ok", f"queue {QUEUE}: polling adaptive, 50 µs, CPU {thread}, normal priority")


def test_what_differs_is_a_warning(thread: int) -> None:
    """A priority that is not in force and a CPU that is another's are told with what was asked for."""
    level, text = _found(f"engine = {{ cpus = [{thread}], priority = 7 }}")
    assert (level, text) == (
        "warning",
        f"queue {QUEUE}: polling off, CPU {thread}, normal priority; not CPU {thread}, SCHED_FIFO 7 as set",
    )
    level, _ = _found(f"engine.cpus = [{thread + 1}]")
    assert level == "warning"


@pytest.mark.usefixtures("thread")
def test_engine_that_is_gone_is_no_failure() -> None:
    """No such process, no such thread: a warning."""
    level, text = _found("", pid=ctypes.c_uint32(-1).value >> 1)
    assert (level, text) == ("warning", f"queue {QUEUE}: polling off; its thread cannot be seen")
