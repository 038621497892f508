"""The keeper stops, dies and refuses a second one of itself."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.integration.process.wire import HERE, enter, poll

if TYPE_CHECKING:
    from tests.integration.process.conftest import Daemon
    from tests.integration.process.wire import Traffic, enter

pytestmark = pytest.mark.netns


def _alive(pid: int) -> bool:
    return Path(f"/proc/{pid}").exists() and "Z" not in Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1][:3]


def test_planned_stop_ends_everything_and_frames_go_on(judging: Daemon, traffic: Traffic) -> None:
    """SIGTERM: exit 0, no child left, queue given up, rules untouched, frames pass by the bypass."""
    children = [judging.judging_pid(), judging.heard("start")[0]["stub"]]
    assert judging.stop() == 0
    assert not any(_alive(pid) for pid in children)
    assert not judging.wire.queue_is_bound()
    unjudged = judging.wire.passed("unjudged")
    poll("frames pass by the bypass", lambda: judging.wire.passed("unjudged") > unjudged + 100)
    arrivals = traffic.stop()
    # Closing a queue drops what is parked in it at that moment: a frame or two at this rate.
    assert arrivals.lost() <= 5
    assert "SIGKILL" not in judging.log.read_text()


def test_killed_keeper_takes_its_children_along(judging: Daemon, traffic: Traffic) -> None:
    """kill -9 of the keeper: engine and control end by themselves, frames pass by the bypass."""
    children = [judging.judging_pid(), judging.heard("start")[0]["stub"]]
    os.kill(judging.pid(), signal.SIGKILL)
    poll("the engine is gone", lambda: not _alive(children[0]), 3)
    poll("control is gone", lambda: not _alive(children[1]), 3)
    unjudged = judging.wire.passed("unjudged")
    poll("frames pass by the bypass", lambda: judging.wire.passed("unjudged") > unjudged + 100)
    traffic.stop()


def test_restart_after_a_kill_works_at_once(judging: Daemon) -> None:
    """A lock left behind by a killed keeper holds nobody up."""
    os.kill(judging.pid(), signal.SIGKILL)
    poll("the queue is free", lambda: not judging.wire.queue_is_bound(), 3)
    (judging.run_dir / "heard.jsonl").unlink()
    judging.start()
    assert judging.install(1)["op"] == "installed"


def test_second_instance_is_refused_and_changes_nothing(judging: Daemon) -> None:
    """The second conduitd on one run directory ends with code 3 and names the first; the first goes on."""
    words = [sys.executable, str(HERE / "launch.py"), str(judging.settings)]
    done = subprocess.run(
        [*enter(judging.wire.names["gw"]), *words],
        env={**os.environ, "PYTHONPATH": str(HERE.parents[2])},
        capture_output=True,
        text=True,
        timeout=20,
        check=False,
    )
    assert done.returncode == 3
    assert f"process {judging.pid()}" in done.stderr
    assert judging.engine()["state"] == "judging"


def test_hangup_unsettles_nothing(judging: Daemon) -> None:
    """SIGHUP to the keeper and its children is answered by a log line."""
    engine = judging.judging_pid()
    os.kill(judging.pid(), signal.SIGHUP)
    os.kill(engine, signal.SIGHUP)
    os.kill(engine, signal.SIGINT)
    poll("it is logged", lambda: judging.logged("hangup_ignored"))
    assert judging.install(2)["op"] == "installed"
    assert judging.judging_pid() == engine


def test_service_manager_hears_ready_watchdog_and_stopping(
    daemon: Daemon, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """sd_notify: READY=1 once queues are open, WATCHDOG=1 at half the interval, STOPPING=1 at the end."""
    heard: list[str] = []
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(tmp_path / "notify"))
        manager.settimeout(5)
        monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
        monkeypatch.setenv("WATCHDOG_USEC", "200000")
        daemon.start()
        while sum("WATCHDOG=1" in text for text in heard) < 3:
            heard.append(manager.recv(4096).decode())
        daemon.stop()
        while "STOPPING=1" not in heard:
            heard.append(manager.recv(4096).decode())
    assert any(text.startswith("READY=1") for text in heard)
