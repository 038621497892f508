"""The live story: builds the water works, starts the gateway, plays every scene, takes everything down.

In: a narrator. Out: an exit status: 0 only if every statement held. Cleans up on success, failure and Ctrl-C alike.
Called by `python -m deploy.demo`.
"""

from __future__ import annotations

import os
import signal
import subprocess
from typing import TYPE_CHECKING, Final

from deploy.demo import change_scenes, crash_scenes, operation_scenes, stage_scenes
from deploy.demo.narrator import StoryError
from deploy.demo.operator_desk import OperatorDesk
from deploy.demo.plant_at_work import Plant
from deploy.lab.actors import Actors
from deploy.lab.gateway import LabGateway
from deploy.lab.namespaces import LabError
from deploy.lab.plant import ATTACKER
from deploy.lab.topology import Lab

if TYPE_CHECKING:
    from types import FrameType

    from deploy.demo.narrator import Narrator

SCENES: Final = (
    stage_scenes.monitor,
    operation_scenes.watched,
    stage_scenes.alert,
    stage_scenes.enforce,
    stage_scenes.spoof,
    change_scenes.policy_change,
    change_scenes.refused_policy,
    change_scenes.quarantine,
    crash_scenes.engine_dies,
    crash_scenes.control_dies,
    operation_scenes.hmi_operates,
    operation_scenes.cpu_stop,
    operation_scenes.scada_doses,
    operation_scenes.the_log,
)
PROBLEMS: Final = (StoryError, LabError, OSError, subprocess.SubprocessError, KeyError, TypeError, ValueError)
LOGS_BEGIN: Final = "\n--- "  # as LabGateway.last_log_lines heads each file
INTERRUPTED: Final = 130  # the shell's status for SIGINT


def play(narrator: Narrator) -> int:
    """Play the story in a lab of its own; return the exit status."""
    lab = Lab(f"cgd{os.getpid() % 1_000_000}")
    for number in (signal.SIGTERM, signal.SIGINT):  # also where a shell's background job began with SIGINT ignored
        signal.signal(number, _as_interrupt)
    gateway: LabGateway | None = None
    try:
        narrator.title(
            "conduit-gateway: a water works and an attacker",
            "live: network namespaces, real Modbus and S7, real NFQUEUE; the controllers themselves are the judges",
        )
        narrator.scene("The plant comes up behind the gateway")
        lab.up()
        gateway = LabGateway(lab)
        plant = _come_up(narrator, lab, gateway)
        for scene in SCENES:
            scene(plant)
        crash_scenes.close_the_books(plant)
        gateway.stop()
        narrator.done("LIVE story complete")
    except PROBLEMS as error:
        problem = f"{type(error).__name__}: {error}".partition(LOGS_BEGIN)[0]  # the logs follow anyway
        narrator.failed(problem, gateway.last_log_lines() if gateway else "")
        return 1
    except KeyboardInterrupt:
        narrator.tell("interrupted: taking the lab down")
        return INTERRUPTED
    finally:
        lab.down()
    return 0


def _come_up(narrator: Narrator, lab: Lab, gateway: LabGateway) -> Plant:
    actors = Actors(lab)
    narrator.tell(f"{len(lab.nodes())} namespaces: {', '.join(lab.nodes())}")
    for controller in ("plc-1", "plc-2"):
        actors.start_controller(controller)
    gateway.start()
    desk = OperatorDesk(gateway)
    plant = Plant(narrator, actors, gateway, desk)
    plant.start_polling()
    actors.knows(ATTACKER, "plc-1")
    status = desk.status()
    narrator.check(
        "the gateway judges",
        desk.engine_state() == "judging",
        f"interception {status['interception']}, policy {desk.digest()[:12]}",
    )
    plant.hmi_is_well()
    return plant


def _as_interrupt(_number: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt
