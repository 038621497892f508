"""Generations come into force only through an engine that took them in; everything else leaves the old one."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.integration.process.wire import HERE, policy_text, poll

if TYPE_CHECKING:
    from pathlib import Path

    from tests.integration.process.conftest import Daemon
    from tests.integration.process.wire import Traffic

pytestmark = pytest.mark.netns


def test_swap_under_traffic_changes_the_verdict(judging: Daemon, traffic: Traffic) -> None:
    """Generation 2 forbids what generation 1 permits: judged frames stop, none slips by unjudged."""
    assert judging.install(2, policy_text(5001)) | {"stub": 0} == {"op": "installed", "generation": 2, "stub": 0}
    judged = judging.wire.passed("judged")
    arrivals = traffic.stop()
    assert judging.wire.passed("judged") == judged
    assert judging.wire.passed("unjudged") == 0
    assert arrivals.lost() > 0
    assert judging.engine()["generation"] == 2


def test_broken_image_is_refused_and_the_old_one_stays(judging: Daemon, traffic: Traffic) -> None:
    """Bytes that are no image: an answer that says so, the same engine goes on judging."""
    pid = judging.judging_pid()
    judging.command(broken_install=2)
    poll("a refusal", lambda: judging.heard("refused"))
    assert "magic" in judging.heard("refused")[0]["error"]
    arrivals = traffic.stop()
    assert judging.engine() == {**judging.engine(), "pid": pid, "state": "judging", "generation": 1}
    assert arrivals.lost() == 0
    assert judging.wire.passed("unjudged") == 0


def test_image_that_kills_the_engine_is_never_tried_again(daemon: Daemon) -> None:
    """An engine that dies of a new image: refused, and the next engine judges by the generation before."""
    daemon.start(HERE / "fatal_engine.py")
    assert daemon.install(1)["op"] == "installed"
    first = daemon.judging_pid()
    answer = daemon.install(666)
    assert answer["op"] == "refused"
    assert "SIGSEGV" in answer["error"]
    daemon.judging_pid(other_than=first)
    assert daemon.engine()["generation"] == 1
    assert daemon.engine()["restarts"] == 1
    assert daemon.install(3)["op"] == "installed"


def test_first_image_that_kills_the_engine_leaves_frames_to_static(daemon: Daemon) -> None:
    """Nothing to fall back to: the engine waits, frames are released, a good image comes into force."""
    daemon.start(HERE / "fatal_engine.py")
    assert daemon.install(666)["op"] == "refused"
    daemon.wire.execute("bash", "-c", "echo x > /dev/udp/10.91.2.1/5000", role="a")
    poll("a frame passes unjudged", lambda: daemon.wire.passed("unjudged") == 1)
    assert daemon.install(2)["op"] == "installed"
    daemon.judging_pid()


def test_second_image_under_a_number_in_force_is_refused(judging: Daemon) -> None:
    """A generation number means one image: another one under the same number does not get in."""
    answer = judging.install(1, policy_text(5001))
    assert answer["op"] == "refused"
    assert "another image" in answer["error"]


def test_restarted_control_is_told_what_is_in_force(judging: Daemon, tmp_path: Path) -> None:
    """kill -9 of control: the next one gets generation, image and state, and the engine never noticed."""
    import os
    import signal

    engine = judging.judging_pid()
    control = judging.heard("start")[0]["stub"]
    os.kill(control, signal.SIGKILL)
    poll("control has started again", lambda: len(judging.heard("start")) == 2)
    start = judging.heard("start")[1]
    assert start["stub"] != control
    assert start["generation"] == 1
    assert start["segments"] == ["COUNTERS", "EVENTS", "FLOWS", "IMAGE", "STATE"]
    poll("it hears of the engine", lambda: judging.engine()["stub"] == start["stub"])
    assert judging.engine() == {**judging.engine(), "state": "judging", "pid": engine, "restarts": 0}
    assert judging.install(2)["op"] == "installed"


def test_control_that_sends_a_cut_message_is_replaced(judging: Daemon) -> None:
    """A message that is no message: that control plane is ended, a new one starts, the engine goes on."""
    engine = judging.judging_pid()
    judging.command(cut=True)
    poll("control has started again", lambda: len(judging.heard("start")) == 2)
    assert judging.logged("control_ended")[0]["cause"].startswith("not JSON")
    assert judging.judging_pid() == engine
