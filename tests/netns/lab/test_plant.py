"""The plant works behind a plain bridge: the control case that proves what the experiments measure with."""

from __future__ import annotations

import secrets
import sys
from typing import TYPE_CHECKING

import pytest

from deploy.lab import processes
from deploy.lab.plant import ATTACKER
from deploy.lab.plc import SAFE_SETPOINT, SETPOINT
from deploy.lab.s7_controller import RECIPE

if TYPE_CHECKING:
    from deploy.lab.actors import Actors

pytestmark = pytest.mark.netns

PROBES = 500
WITHIN_S = 20.0


def test_poller_counts_answers(actors: Actors) -> None:
    """Behind a plain bridge an HMI misses nothing and keeps its one connection."""
    actors.start_controller("plc-1")
    poller = actors.start_poller("hmi-1", "plc-1", interval_ms=20)
    processes.wait_for("30 polls", lambda: poller.said()["answered"] >= 30, WITHIN_S)
    last = poller.end()
    assert last["missed"] == 0
    assert last["sent"] == last["answered"]
    assert last["connections"] == 1
    assert last["running"] is False
    assert 0 < last["longest_ms"] < 1000


def test_poller_counts_misses(actors: Actors) -> None:
    """An HMI whose controller is gone counts misses and says why; it does not hide them by reconnecting."""
    controller = actors.start_controller("plc-1")
    poller = actors.start_poller("hmi-1", "plc-1", interval_ms=20)
    controller.end()
    processes.wait_for("a miss", lambda: poller.said()["missed"] > 0, WITHIN_S)
    actors.start_controller("plc-1")
    answered = poller.said()["answered"]
    processes.wait_for("answers again", lambda: poller.said()["answered"] > answered, WITHIN_S)
    last = poller.end()
    assert last["missed"] > 0
    assert last["misses"][0]["why"]
    assert last["connections"] >= 2


def test_wrong_controller_is_a_miss(actors: Actors) -> None:
    """An answer from a controller with another identity is no right answer."""
    actors.start_controller("plc-2")
    wrong = actors.lab.directory / "wrong.json"
    poller = actors.lab.start("hmi-1", [*_poller_argv("10.20.50.11", 5010), "--state", str(wrong)])
    try:
        processes.wait_for("misses", lambda: (processes.read_json(wrong) or {}).get("missed", 0) >= 3, WITHIN_S)
    finally:
        poller.terminate()
        poller.wait(WITHIN_S)
    assert processes.read_json(wrong)["answered"] == 0


def test_attack_works_without_a_boundary(actors: Actors) -> None:
    """Behind a plain bridge the attacker's write changes the register: the experiment can tell the difference."""
    actors.start_controller("plc-1")
    assert actors.register("plc-1") == SAFE_SETPOINT
    assert actors.write(ATTACKER, "plc-1", 4711)
    assert actors.register("plc-1") == 4711
    assert [write["values"] for write in actors.writes("plc-1")] == [[4711]]
    assert actors.read("eng-laptop", "plc-1", register=SETPOINT) == 4711


def test_cpu_stop_works_without_a_boundary(actors: Actors) -> None:
    """Behind a plain bridge the laptop reads the data block and stops the CPU, and the controller says so itself."""
    controller = actors.start_s7_controller("plc-2")
    before = controller.said()
    assert (before["running"], before["stops"]) == (True, 0)
    assert actors.s7("eng-laptop", "plc-2", "read")["values"] == list(RECIPE)
    assert actors.s7("eng-laptop", "plc-2", "stop")["ok"]
    after = controller.said()
    assert (after["running"], after["stops"]) == (False, 1)


def test_write_to_nobody_fails(actors: Actors) -> None:
    """A write that nobody answers is reported as failed."""
    assert not actors.write("eng-laptop", "safety-plc", 1)


@pytest.mark.parametrize("with_mac", [False, True])
def test_spoofed_frames_arrive_without_a_boundary(actors: Actors, with_mac: bool) -> None:
    """Behind a plain bridge the spoofed handshake reaches the controller's host: what a boundary must stop is real."""
    count = actors.lab.run("plc-1", ["cat", "/proc/net/snmp"]).stdout
    actors.start_controller("plc-1")
    sent = actors.spoof(ATTACKER, "hmi-1", "plc-1", 4712, with_mac=with_mac)
    processes.wait_for(
        "TCP segments at the controller", lambda: _tcp_received(actors) >= _tcp_in(count) + sent, WITHIN_S
    )
    assert actors.register("plc-1") == SAFE_SETPOINT


def test_stolen_mac_blinds_an_hmi_without_a_boundary(actors: Actors) -> None:
    """A plain bridge learns the HMI's MAC on the attacker's port, and the HMI misses polls: the danger is real."""
    actors.start_controller("plc-1")
    poller = actors.start_poller("hmi-1", "plc-1")
    sender = actors.start_sender(ATTACKER, "plc-1", secrets.token_bytes(8), rate=500, count=5000, claim="hmi-1")
    try:
        processes.wait_for("a missed poll", lambda: poller.said()["missed"] > 0, WITHIN_S)
    finally:
        sender.terminate()
        sender.wait(WITHIN_S)
    assert poller.end()["missed"] > 0


def test_witness_sees_every_probe(actors: Actors) -> None:
    """A witness counts exactly the frames of its experiment, in order."""
    run = secrets.token_bytes(8)
    witness = actors.start_witness("plc-1", run, PROBES, seconds=WITHIN_S)
    sender = actors.start_sender(ATTACKER, "plc-1", run, rate=2000, count=PROBES)
    assert sender.wait(WITHIN_S) == 0
    witness.process.wait(WITHIN_S)
    assert witness.said() == {
        "seen": PROBES,
        "distinct": PROBES,
        "disordered": 0,
        "first": 0,
        "last": PROBES - 1,
        "overrun": 0,
    }


def test_witness_ignores_other_runs(actors: Actors) -> None:
    """Frames of another experiment are not counted."""
    witness = actors.start_witness("plc-1", secrets.token_bytes(8), PROBES, seconds=WITHIN_S)
    sender = actors.start_sender("hmi-1", "plc-1", secrets.token_bytes(8), rate=5000, count=50, claim="hmi-2")
    assert sender.wait(WITHIN_S) == 0
    assert witness.end()["seen"] == 0


def _poller_argv(address: str, identity: int) -> list[str]:
    module = [sys.executable, "-m", "deploy.lab.hmi"]
    return [*module, "--host", address, "--identity", str(identity), "--interval-ms", "20"]


def _tcp_in(snmp: str) -> int:
    names, values = (line.split() for line in snmp.splitlines() if line.startswith("Tcp:"))
    return int(values[names.index("InSegs")])


def _tcp_received(actors: Actors) -> int:
    return _tcp_in(actors.lab.run("plc-1", ["cat", "/proc/net/snmp"]).stdout)
