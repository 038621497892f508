"""The keeper's small parts: restart pauses, heartbeats, the lock, proposals, notifications, the engine's obedience."""

from __future__ import annotations

import asyncio
import os
import socket
import subprocess
import sys
import threading
from dataclasses import asdict
from pathlib import Path

import pytest

from fastpath import abi
from gateway import segments
from gateway.channel import Channel, pair
from gateway.engine.judging import Judging, LoadedGeneration
from gateway.engine.serve import Engine, EngineParts
from gateway.errors import ConfigError, ControlError, ExitCode, InternalError
from gateway.keeper import installs
from gateway.keeper.child import Restarts, describe_end
from gateway.keeper.generation import Generation
from gateway.keeper.heartbeat import HeartbeatWatch
from gateway.keeper.installs import Installs
from gateway.keeper.notify import ServiceNotifier
from gateway.keeper.run_lock import run_lock
from gateway.placement import ThreadPlan
from gateway.segments import SegmentKind, attach

ROOT = Path(__file__).resolve().parents[3]
NETLINK_NETFILTER = 12  # linux/netlink.h
PLANS = [ThreadPlan(number, "off", None, 0) for number in (0, 1)]


def test_restart_pauses_grow_to_five_seconds_and_reset() -> None:
    """At once, 0.1 s doubling to 5 s; a child that worked for a while starts over."""
    restarts = Restarts()
    assert [restarts.next_delay(0) for _ in range(9)] == [0.0, 0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 5.0, 5.0]
    assert restarts.next_delay(60) == 0.0
    assert restarts.count == 10


def test_ends_are_told_in_words() -> None:
    """Signals by name, exits by code."""
    assert [describe_end(code) for code in (3, -11, -99)] == ["exit code 3", "SIGSEGV", "signal 99"]


def test_heartbeat_that_stands_still_is_found_and_a_paused_keeper_is_not_held_against_it() -> None:
    """Only the queue that stood still for more than a second of our own regular looks is named."""
    fd = segments.create_counters((0, 1))
    counters = attach(SegmentKind.COUNTERS, fd, writable=True)
    os.close(fd)
    beat = abi.COUNTERS_HEADER_BYTES + abi.QUEUE_COUNTERS.offsets["heartbeat_ns"]
    watch = HeartbeatWatch(counters, 0.0)
    for tenth in range(1, 11):
        counters.view[beat] = tenth
        assert watch.stale_queue(tenth / 10) is None
    assert watch.stale_queue(9.0) is None  # we slept, not they
    found = [watch.stale_queue(9.0 + tenth / 10) for tenth in range(1, 13)]
    assert found[:10] == [None] * 10
    assert found[11] == 0


def test_lock_names_its_holder_and_is_free_afterwards(tmp_path: Path) -> None:
    """One holder at a time; the refusal names the process; a released lock can be taken."""
    with run_lock(tmp_path / "run"), pytest.raises(ConfigError, match=str(os.getpid())), run_lock(tmp_path / "run"):
        pass
    with run_lock(tmp_path / "run"):
        pass


def test_unusable_run_dir_is_a_config_error(tmp_path: Path) -> None:
    """A file where the directory should be is refused with its name."""
    (tmp_path / "run").write_text("")
    with pytest.raises(ConfigError, match="run"), run_lock(tmp_path / "run"):
        pass


def _generation(number: int) -> Generation:
    return Generation(number, os.memfd_create("image"), os.memfd_create("state"))


def test_proposals_are_accepted_refused_and_never_mixed() -> None:
    """Accepted ones are kept, refused ones closed; a second one meanwhile and a reused number are refused."""

    async def play() -> None:
        held = Installs()
        first = asyncio.create_task(held.propose(_generation(1)))
        proposal = await held.next()
        assert await held.propose(_generation(2)) == "another install is under way"
        held.accept(proposal)
        assert await first is None
        assert held.number == 1
        second = asyncio.create_task(held.propose(_generation(2)))
        closed = (await held.next()).generation.image_fd
        held.engine_ended("SIGSEGV")
        assert "SIGSEGV" in str(await second)
        with pytest.raises(OSError, match="Bad file"):
            os.fstat(closed)
        assert held.number == 1
        assert held.in_force is not None
        same = Generation(1, os.dup(held.in_force.image_fd), os.dup(held.in_force.state_fd))
        assert await held.propose(same) is None
        assert "another image" in str(await held.propose(_generation(1)))
        held.in_force.close()

    asyncio.run(play())


def test_proposal_without_an_engine_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """It never comes into force after control stopped waiting: neither by time nor by control's death."""
    monkeypatch.setattr(installs, "UNSENT_SECONDS", 0.01)

    async def play() -> None:
        held = Installs()
        assert "no engine" in str(await held.propose(_generation(1)))
        orphan = asyncio.create_task(held.propose(_generation(2)))
        await asyncio.sleep(0)
        await held.settle()
        assert "control ended" in str(await orphan)
        held.closed = True
        assert "stopping" in str(await held.propose(_generation(3)))

    asyncio.run(play())


def test_notifier_reads_its_environment(tmp_path: Path) -> None:
    """Half the watchdog's interval, datagrams to the socket; silence when there is no manager or it is gone."""
    path = tmp_path / "notify"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(path))
        environment = {"NOTIFY_SOCKET": str(path), "WATCHDOG_USEC": "3000000", "WATCHDOG_PID": "7"}
        notifier = ServiceNotifier.from_environment(environment, 7)
        assert notifier.interval == 1.5
        notifier.tell("READY=1", "STATUS=x")
        assert manager.recv(100) == b"READY=1\nSTATUS=x"
    notifier.tell("WATCHDOG=1")
    notifier.close()
    other = ServiceNotifier.from_environment(environment, 8)
    assert other.interval is None
    other.close()
    silent = ServiceNotifier.from_environment({}, 1)
    silent.tell("READY=1")
    silent.close()


class ScriptedWorker:
    """A worker that adopts at once, or refuses, or ends by itself."""

    def __init__(self, *, refuses: bool = False, ends: bool = False) -> None:
        self.refuses = refuses
        self.ends = ends
        self.installed: list[int] = []
        self.stopped = threading.Event()

    def install(self, image: memoryview, state: memoryview) -> None:
        """Note or refuse it."""
        if self.refuses:
            raise ValueError("not this one")
        self.installed.append(abi.IMAGE_HEADER.unpack_from(image)["generation"])

    def run(self) -> None:
        """Wait for the stop."""
        if not self.ends:
            self.stopped.wait()

    def stop(self) -> None:
        """Stop."""
        self.stopped.set()

    def adopted(self, generation: int) -> bool:
        """Return whether it was the last one installed."""
        return self.installed[-1:] == [generation]


def _image(generation: int, zones: int = 2) -> int:
    header = (abi.IMAGE_MAGIC, abi.ABI_VERSION, abi.IMAGE_HEADER_BYTES, generation, 4096, bytes(32), bytes(32), 0)
    return segments.create_image((abi.IMAGE_HEADER.pack(*header, zones, 1, 10, 0, 0, 0)).ljust(4096, b"\0"))


def _state(generation: int, zones: int = 2) -> int:
    ports = abi.STATE_HEADER.size
    pairs = ports + abi.STATE_PORT_SLOTS * abi.STATE_PORT.size
    size = pairs + zones * zones + 10
    header = (abi.STATE_MAGIC, abi.ABI_VERSION, abi.STATE_HEADER.size, size, generation, 1, 0, zones, 10)
    return segments.create_state(
        abi.STATE_HEADER.pack(*header, ports, pairs, size - 10, 0, bytes(60)).ljust(size, b"\0")
    )


def _loaded(generation: int) -> LoadedGeneration:
    image, state = _image(generation), _state(generation)
    loaded = LoadedGeneration(
        generation, attach(SegmentKind.IMAGE, image), attach(SegmentKind.STATE, state, writable=False)
    )
    os.close(image)
    os.close(state)
    return loaded


def _nobody_sleeps() -> None:
    """Scripted workers wait for no queue."""


def test_workers_divided_over_a_generation_end_the_process() -> None:
    """The first refusal changes nothing; a later one cannot be undone, so it is an InternalError."""
    with pytest.raises(ValueError, match="not this one"):
        Judging([ScriptedWorker(refuses=True), ScriptedWorker()], PLANS, _nobody_sleeps).install(_loaded(1))
    with pytest.raises(InternalError, match="queue 1"):
        Judging([ScriptedWorker(), ScriptedWorker(refuses=True)], PLANS, _nobody_sleeps).install(_loaded(1))


def test_worker_that_ends_by_itself_ends_the_process() -> None:
    """Nobody would read its queue any more: the keeper must notice at once."""
    ended: list[ExitCode] = []
    happened = threading.Event()
    judging = Judging(
        [ScriptedWorker(ends=True)], PLANS[:1], _nobody_sleeps, lambda code: (ended.append(code), happened.set())[0]
    )
    judging.prepare()
    judging.install(_loaded(1))
    judging.go()
    assert happened.wait(5)
    judging.stop()
    assert ended == [ExitCode.INTERNAL]


class Conversation:
    """An engine in a thread, with a scripted worker, and the keeper's end of its channel."""

    def __init__(self) -> None:
        ours, theirs = pair()
        self.keeper = Channel(ours)
        self.worker = ScriptedWorker()
        self.dropped = threading.Event()
        self.failure: list[Exception] = []
        parts = EngineParts(lambda _seat: self.worker, lambda _image: None, lambda _priority: self.dropped.set())
        self.theirs = Channel(theirs)
        self.engine = Engine(self.theirs, parts)
        self.thread = threading.Thread(target=self._serve, daemon=True)
        self.thread.start()

    def _serve(self) -> None:
        try:
            self.engine.serve()
        except (ControlError, InternalError) as error:
            self.failure.append(error)
        finally:
            self.theirs.close()

    def start(self) -> None:
        """Send a valid start."""
        fds = [segments.create_counters((0,)), segments.create_events(1), segments.create_flows(1, 1024)]
        fds.append(segments.create_streams(1))
        fds.append(os.memfd_create("answers"))
        fds.append(socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, NETLINK_NETFILTER).detach())
        self.keeper.send({"op": "start", "threads": [asdict(PLANS[0])], "copy_bytes": 256, "polling_us": 1000}, fds)
        for fd in fds:
            os.close(fd)

    def install(self, number: int, image: int, state: int) -> str:
        """Send an install and return the answer's op and error."""
        self.keeper.send({"op": "install", "generation": number}, (image, state))
        os.close(image)
        os.close(state)
        return self.answer()

    def answer(self) -> str:
        """Return the next answer."""
        message = self.keeper.receive()
        assert message is not None
        return f"{message.op} {message.body.get('error', '')}".strip()


def test_engine_obeys_in_order() -> None:
    """Ready after dropping privileges; wrong pairs refused; a good one installed; go; stop ends it."""
    talk = Conversation()
    talk.start()
    assert talk.answer() == "ready"
    assert talk.dropped.is_set()
    assert "different generations" in talk.install(2, _image(1), _state(2))
    assert "zone_count" in talk.install(1, _image(1, zones=3), _state(1))
    assert "sealed" in talk.install(1, os.memfd_create("x"), _state(1))
    assert talk.worker.installed == []
    assert talk.install(1, _image(1), _state(1)) == "installed"
    talk.keeper.send({"op": "go"})
    assert talk.install(2, _image(2), _state(2)) == "installed"
    talk.keeper.send({"op": "stop"})
    talk.thread.join(5)
    assert talk.worker.stopped.is_set()
    assert not talk.failure
    talk.keeper.close()


@pytest.mark.parametrize(
    "body", [{"op": "go"}, {"op": "install", "generation": 1}, {"op": "nonsense"}, {"op": "start"}]
)
def test_engine_ends_on_a_message_out_of_order(body: dict[str, object]) -> None:
    """A keeper that talks nonsense is of another version: the engine ends and is started anew."""
    talk = Conversation()
    talk.keeper.send(body)
    talk.thread.join(5)
    assert isinstance(talk.failure[0], ControlError)
    talk.keeper.close()


def _check(settings: str, directory: Path) -> subprocess.CompletedProcess[str]:
    """Run `conduitd --check` in a process of its own: it sets up the logging of a whole process."""
    file = directory / "c.toml"
    file.write_text(settings)
    words = [sys.executable, "-m", "gateway.conduitd", "--settings", str(file), "--check"]
    return subprocess.run(words, capture_output=True, text=True, timeout=30, check=False, cwd=ROOT)


def test_check_prints_every_setting(tmp_path: Path) -> None:
    """`conduitd --check` prints the settings complete and ends with 0."""
    done = _check("[queue]\ncount = 3\n", tmp_path)
    assert done.returncode == ExitCode.OK
    assert "queue.count = 3" in done.stdout.splitlines()


def test_check_of_wrong_settings_ends_with_three(tmp_path: Path) -> None:
    """A wrong key: exit code 3 and its name on stderr."""
    done = _check("speed = 3\n", tmp_path)
    assert done.returncode == ExitCode.REFUSED
    assert "speed" in done.stderr


def test_check_refuses_a_cpu_that_is_not_there(tmp_path: Path) -> None:
    """What only this machine can tell is told before the start as well."""
    done = _check("[engine]\ncpus = [4095]\n", tmp_path)
    assert done.returncode == ExitCode.REFUSED
    assert "no CPU 4095" in done.stderr
