"""The engine dies in every way; permitted frames go on, and a new engine judges soon."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.integration.process.wire import poll

if TYPE_CHECKING:
    from tests.integration.process.conftest import Daemon
    from tests.integration.process.wire import Traffic

pytestmark = pytest.mark.netns

# 50 ms from the death of an engine to the releaser, and what one frame of 1 kHz and a busy machine add.
TAKEOVER_MS = 100


def test_frames_are_released_until_the_first_install(daemon: Daemon) -> None:
    """Without a generation nothing is judged and nothing is held up."""
    daemon.start()
    assert daemon.heard("start")[0]["generation"] == 0
    assert daemon.heard("start")[0]["segments"] == ["COUNTERS", "EVENTS", "FLOWS"]
    assert daemon.engine().get("state") == "starting"
    daemon.wire.execute("bash", "-c", "echo x > /dev/udp/10.91.2.1/5000", role="a")
    poll("a frame passes unjudged", lambda: daemon.wire.passed("unjudged") == 1)


def test_killed_engine_is_replaced_without_a_pause(judging: Daemon, traffic: Traffic) -> None:
    """kill -9: the keeper releases at once, the next engine judges by the same generation, almost nothing is lost."""
    first = judging.judging_pid()
    os.kill(first, signal.SIGKILL)
    second = judging.judging_pid(other_than=first)
    judged = judging.wire.passed("judged")
    poll("the new engine judges", lambda: judging.wire.passed("judged") > judged + 100)
    arrivals = traffic.stop()
    assert judging.engine() == {**judging.engine(), "state": "judging", "pid": second, "restarts": 1, "generation": 1}
    assert arrivals.longest_silence_ms() < TAKEOVER_MS
    assert arrivals.lost() == 0
    assert judging.wire.passed("unjudged") > 0
    assert judging.wire.passed("judged") + judging.wire.passed("unjudged") == arrivals.sent


def test_hung_engine_is_killed_and_replaced(judging: Daemon, traffic: Traffic) -> None:
    """SIGSTOP: a heartbeat that stands still for a second ends the engine; what was parked is not lost."""
    first = judging.judging_pid()
    began = time.monotonic()
    os.kill(first, signal.SIGSTOP)
    poll("the engine is given up", lambda: judging.engine()["state"] == "dead" or judging.engine()["pid"] != first, 3)
    noticed = time.monotonic() - began
    judging.judging_pid(other_than=first)
    arrivals = traffic.stop()
    assert 0.9 < noticed < 1.8
    assert arrivals.lost() == 0
    assert "stood still" in judging.logged("engine_ended")[0]["cause"]


def test_crash_loop_slows_down_and_never_ends(judging: Daemon, traffic: Traffic) -> None:
    """Engines that die again and again are replaced with growing pauses; frames pass all the while."""
    pid = 0
    for _ in range(4):
        pid = judging.judging_pid(other_than=pid)
        os.kill(pid, signal.SIGKILL)
    judging.judging_pid(other_than=pid)
    arrivals = traffic.stop()
    assert judging.engine()["restarts"] == 4
    assert [entry["seconds"] for entry in judging.logged("engine_restart_delayed")] == [0.1, 0.2, 0.4]
    assert arrivals.lost() == 0
    assert arrivals.longest_silence_ms() < TAKEOVER_MS


def test_engine_is_nobody_with_one_capability(judging: Daemon) -> None:
    """The judging process is uid 65534 and may administer the network, nothing else."""
    pid = judging.judging_pid()
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    status = {name: value.strip() for name, _, value in (line.partition(":") for line in lines)}
    assert status["Uid"].split() == ["65534"] * 4
    assert {status[name] for name in ("CapEff", "CapPrm", "CapBnd")} == {"0000000000001000"}
    assert status["NoNewPrivs"] == "1"
    assert int(status["Threads"]) >= 2
