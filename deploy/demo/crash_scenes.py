"""The story's end: the engine is killed again and again, then control is; the boundary holds and the plant runs.

In: a `Plant` at work in enforce. Out: asserted statements; closing counts. Kills only pids of its own daemon's
children. Called by the live story in this order.
"""

from __future__ import annotations

import secrets
import threading
import time
from typing import TYPE_CHECKING, Any, Final, Self

from deploy.demo.stage_scenes import ENGINEER, TARGET
from deploy.lab import processes
from deploy.lab.plant import ATTACKER
from deploy.lab.plc import SAFE_SETPOINT

if TYPE_CHECKING:
    from deploy.demo.plant_at_work import Plant

ENGINE: Final = "gateway.engine"
CONTROL: Final = "gateway.control"
DEAD_FOR_S: Final = 3.0
KILL_EVERY_S: Final = 0.01  # the keeper restarts at once: kill faster than an engine can start
BACK_WITHIN_S: Final = 15.0
LEAK_RATE: Final = 500  # forbidden frames per second while the engine is dead
LEAK_SECONDS: Final = 5.0


class EngineKiller:
    """Keeps the engine dead: kills every engine that the keeper starts, until the block is left."""

    def __init__(self, plant: Plant) -> None:
        self._plant = plant
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._kill_on, name="engine-killer", daemon=True)
        self.killed: set[int] = set()

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def _kill_on(self) -> None:
        while not self._over.wait(KILL_EVERY_S):
            pid = self._plant.gateway.kill_child(ENGINE)
            if pid is not None:
                self.killed.add(pid)


def engine_dies(plant: Plant) -> None:
    """Kill -9 the engine for seconds on end; the kernel's static rules hold the same boundary."""
    say, gateway = plant.narrator, plant.gateway
    say.scene("Kill -9 of the engine, again and again: the kernel holds the boundary")
    port = plant.poll_port()
    static_before = plant.desk.counters()["static"]
    run = secrets.token_bytes(8)
    frames = int(LEAK_RATE * LEAK_SECONDS)
    witness = plant.actors.start_witness(TARGET, run, frames, seconds=60.0)
    sender = plant.actors.start_sender(ATTACKER, TARGET, run, rate=LEAK_RATE, count=frames)
    with EngineKiller(plant) as killer:
        until = time.monotonic() + DEAD_FOR_S
        processes.wait_for("the first engine to be killed", lambda: killer.killed, BACK_WITHIN_S)
        while time.monotonic() < until:
            plant.attack(reaches=False)
        plant.hmi_is_well()
        plant.permitted_write(ENGINEER, SAFE_SETPOINT)
    processes.wait_for("the engine to judge again", gateway.is_judging, BACK_WITHIN_S)
    back = plant.desk.now()
    say.check("a new engine judges", len(killer.killed) > 0, f"after {len(killer.killed)} engines were killed")
    static_after = plant.desk.counters()["static"]
    say.check(
        "the kernel's static rules judged meanwhile",
        static_after > static_before,
        f"{static_after - static_before} frames",
    )
    sender.wait(BACK_WITHIN_S)
    seen = witness.end()
    say.check(
        f"of {frames} forbidden frames sent across the crashes none arrived",
        seen["seen"] == 0,
        f"witness on {TARGET}: {seen['seen']} seen, {seen['overrun']} overrun",
    )
    plant.poll_is_read(port, back)
    plant.hmi_is_well()


def control_dies(plant: Plant) -> None:
    """Kill -9 of control: judging goes on, and control finds again what was in force."""
    say, desk, gateway = plant.narrator, plant.desk, plant.gateway
    say.scene("Kill -9 of control: judging goes on without it")
    digest = desk.digest()
    pid = gateway.kill_child(CONTROL)
    say.check("control is killed", pid is not None, f"pid {pid}")
    killed = time.monotonic()
    plant.attack(reaches=False)
    gateway.wait_until_judging()
    say.check("control answers again", True, f"{time.monotonic() - killed:.1f} s after the kill")
    say.check(
        "the same policy is in force, in enforce",
        desk.digest() == digest and desk.ceiling() == "enforce",
        f"digest {digest[:12]}",
    )
    plant.attack(reaches=False)
    plant.hmi_is_well()


def close_the_books(plant: Plant) -> dict[str, dict[str, Any]]:
    """End the traffic, show the counts, and assert that they close to the packet."""
    say = plant.narrator
    say.scene("The books: every frame is accounted for")
    ended = plant.end_polling("hmi-1 polled to the end and missed nothing")
    plant.desk.settle()
    counters = plant.gateway.json("counters")  # as an operator asks: conduitctl counters -o json
    kinds = ("frames_before_queue", "judged", "accepted", "dropped", "would_drop", "static", "lost", "unaccounted")
    say.table("Frames", ("kind", "count"), [(kind, counters[kind]) for kind in kinds])
    reasons = sorted(counters["by_reason"].items(), key=lambda item: str(item[0]))
    say.table("By reason", ("reason", "passed", "dropped"), [_row(name, value) for name, value in reasons])
    conduits = sorted(counters["by_conduit"].items())
    say.table("By conduit", ("conduit", "accepted", "dropped"), [_row(name, value) for name, value in conduits])
    rows = [
        (scene, value, "reached the register" if arrived else "did not arrive")
        for scene, value, arrived in plant.attacks
    ]
    say.table("The attacker's writes", ("scene", "value", "the controller says"), rows)
    total = counters["judged_accepted"] + counters["dropped"] + counters["static"] + counters["lost"]
    before = counters["frames_before_queue"]
    say.check(
        "counts close to the packet",
        counters["unaccounted"] == 0 and before == total,
        f"{before} before the queue = {counters['judged_accepted']} accepted + {counters['dropped']} dropped "
        f"+ {counters['static']} static + {counters['lost']} lost",
    )
    return ended


def _row(name: str, value: Any) -> tuple[object, ...]:
    return (name, *value.values()) if isinstance(value, dict) else (name, value)
