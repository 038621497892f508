"""The queue threads of the real engine: on their CPU, at their priority, as the kernel itself tells."""

from __future__ import annotations

import functools
import os
import socket
import threading
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from gateway.settings import load_settings
from gateway.waking import wake
from tests.integration.process.wire import poll
from tests.support.capability import require

if TYPE_CHECKING:
    from tests.integration.process.conftest import Daemon

pytestmark = pytest.mark.netns
NETLINK_NETFILTER = 12  # linux/netlink.h
QUEUES = "[queue]\ncount = 2\n"


def _judging(daemon: Daemon, text: str) -> dict[str, int]:
    """Start a daemon with more settings; return its engine's queue threads by name, the layer-2 thread the last."""
    with daemon.settings.open("a") as file:
        file.write(text)
    daemon.start()
    assert daemon.install(1)["op"] == "installed"
    pid = daemon.judging_pid()
    found: dict[str, int] = {}
    count = len(load_settings(daemon.settings).queue.numbers)

    def all_named() -> bool:
        for task in Path(f"/proc/{pid}/task").iterdir():
            name = (task / "comm").read_text().strip()
            if name.startswith("queue-"):
                found[name] = int(task.name)
        return len(found) == count

    poll("a thread for each queue", all_named)
    poll("each says how it is", lambda: len(daemon.logged("thread_settled")) == count)
    return found


def test_threads_have_their_cpu_and_priority(daemon: Daemon) -> None:
    """One CPU per queue for IP, in turn; the layer-2 thread is free; all at the priority; the engine stays nobody."""
    cpus = sorted(os.sched_getaffinity(0))
    chosen = cpus[:2]
    threads = _judging(daemon, f"{QUEUES}[engine]\ncpus = {chosen}\npriority = 3\n")
    wanted = {"queue-0": {chosen[0]}, "queue-1": {chosen[-1]}, "queue-2": set(cpus)}
    assert {name: os.sched_getaffinity(thread) for name, thread in threads.items()} == wanted
    assert {os.sched_getscheduler(thread) for thread in threads.values()} == {os.SCHED_FIFO}
    assert {os.sched_getparam(thread).sched_priority for thread in threads.values()} == {3}
    pid = daemon.judging_pid()
    assert os.sched_getscheduler(pid) == os.SCHED_OTHER, "the engine's main thread only talks to the keeper"
    status = Path(f"/proc/{pid}/status").read_text()
    assert "CapEff:\t0000000000001000" in status
    assert not daemon.logged("thread_not_as_planned")


def test_the_others_leave_the_engine_its_cpu(daemon: Daemon) -> None:
    """Keeper and control run beside the CPU that is the engine's."""
    allowed = os.sched_getaffinity(0)
    chosen = max(allowed)
    threads = _judging(daemon, f"[engine]\ncpus = [{chosen}]\n")
    assert os.sched_getaffinity(threads["queue-0"]) == {chosen}
    assert os.sched_getaffinity(daemon.pid()) == (allowed - {chosen} or allowed)


def test_by_default_the_kernel_decides(daemon: Daemon) -> None:
    """No setting, no binding and no priority."""
    threads = _judging(daemon, QUEUES)
    for thread in threads.values():
        assert os.sched_getaffinity(thread) == os.sched_getaffinity(0)
        assert os.sched_getscheduler(thread) == os.SCHED_OTHER


def _run_ns(daemon: Daemon, thread: int) -> int:
    """Return how long a thread of the engine has been on a CPU."""
    return int(Path(f"/proc/{daemon.judging_pid()}/task/{thread}/schedstat").read_text().split()[0])


def _has_run(daemon: Daemon, thread: int, aim_ns: int) -> bool:
    return _run_ns(daemon, thread) > aim_ns


def test_a_spinning_thread_spins_and_the_layer_two_thread_sleeps(daemon: Daemon) -> None:
    """`always` burns its CPU without any packet, also after a new policy; the queue for other frames stays asleep."""
    threads = _judging(daemon, f'{QUEUES}[engine]\npolling = "always"\n')
    for generation in (2, 3):
        before = {name: _run_ns(daemon, thread) for name, thread in threads.items()}
        for name in ("queue-0", "queue-1"):
            aim = before[name] + 100_000_000
            poll(f"{name} spins", functools.partial(_has_run, daemon, threads[name], aim))
        assert not _has_run(daemon, threads["queue-2"], before["queue-2"] + 50_000_000)
        assert daemon.install(generation)["op"] == "installed"


def test_an_adaptive_thread_sleeps_without_traffic(daemon: Daemon) -> None:
    """Nothing to wait for, nothing to spin for: the kernel shows it asleep."""
    threads = _judging(daemon, '[queue]\ncount = 1\nlayer2 = true\n[engine]\npolling = "adaptive"\n')
    stat = Path(f"/proc/{daemon.judging_pid()}/task/{threads['queue-0']}/stat")
    poll("it sleeps", lambda: stat.read_text().rpartition(")")[2].split()[0] == "S")
    before = _run_ns(daemon, threads["queue-0"])
    assert daemon.install(2)["op"] == "installed"
    assert not _has_run(daemon, threads["queue-0"], before + 50_000_000)


def test_refused_priority_is_loud_and_stops_nothing(daemon: Daemon) -> None:
    """A kernel that refuses SCHED_FIFO leaves an engine that judges, and an error that names what is missing."""
    script = daemon.directory / "engine_without_rt.py"
    script.write_text(
        "import os\n"
        "allowed = os.sched_setscheduler\n"
        "def refuse(thread, policy, param):\n"
        "    if policy == os.SCHED_FIFO:\n"
        "        raise PermissionError(1, 'Operation not permitted')\n"
        "    allowed(thread, policy, param)\n"
        "os.sched_setscheduler = refuse\n"
        "from gateway.engine.__main__ import _leave, main\n"
        "_leave(main())\n"
    )
    with daemon.settings.open("a") as file:
        file.write("[engine]\npriority = 3\n")
    daemon.start(engine_script=script)
    assert daemon.install(1)["op"] == "installed"
    daemon.judging_pid()
    poll("the refusal is said", lambda: len(daemon.logged("thread_not_as_planned")) == 2)
    assert "LimitRTPRIO" in daemon.logged("priority_refused")[0]["hint"]
    assert daemon.logged("thread_not_as_planned")[0]["refused"] == ["SCHED_FIFO priority 3"]


def test_a_sleeping_reader_can_be_woken() -> None:
    """An empty message in the socket's own buffer ends a receive without a time-out; no packet, no answer."""
    require("netns")  # it takes the same capability
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, NETLINK_NETFILTER) as queue:
        queue.bind((0, 0))
        heard: list[bytes] = []
        reader = threading.Thread(target=lambda: heard.append(queue.recv(64)), daemon=True)
        reader.start()
        wake(queue.fileno())
        reader.join(10)
        assert [len(message) for message in heard] == [16]
