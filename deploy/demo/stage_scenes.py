"""The story's first half: monitor, alert, enforce, and an attacker who claims to be the HMI.

In: a `Plant` at work. Out: asserted statements. Whether an attack worked is always read from the controller's own
registers. Called by the live story in this order.
"""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING, Final

from deploy.lab.plant import ATTACKER
from deploy.lab.plc import SAFE_SETPOINT

if TYPE_CHECKING:
    from deploy.demo.plant_at_work import Plant

TARGET: Final = "plc-1"
HMI: Final = "hmi-1"
ENGINEER: Final = "eng-laptop"
FLOOD_RATE: Final = 500  # frames per second: a bridge that learned would lose the HMI between any two of its frames
FLOOD_FRAMES: Final = 1000
FLOOD_WITHIN_S: Final = 20.0


def monitor(plant: Plant) -> None:
    """Watching: the forbidden write passes and is recorded as would-drop."""
    say, desk = plant.narrator, plant.desk
    say.scene("Monitor: the gateway watches and drops nothing")
    say.check("the site's ceiling is monitor", desk.ceiling() == "monitor", f"digest {desk.digest()[:12]}")
    moment = desk.now()
    value = plant.attack(reaches=True)
    event = desk.event_since(
        moment,
        "would-drop of the attacker's frame",
        src_asset=ATTACKER,
        dest_asset=TARGET,
        verdict="accept",
        policy_verdict="drop",
        stage="monitor",
    )
    say.check(
        "recorded as would-drop",
        event["reason"] == "POLICY_NO_CONDUIT",
        f"{ATTACKER} → {TARGET}: verdict accept, policy says drop, {event['reason']}",
    )
    repair(plant, value)
    plant.hmi_is_well()


def alert(plant: Plant) -> None:
    """Warning: the forbidden write still passes, and an alert is raised."""
    say, desk = plant.narrator, plant.desk
    say.scene("Alert: still nothing is dropped, but somebody is told")
    desk.set_ceiling("alert")
    moment = desk.now()
    value = plant.attack(reaches=True)
    event = desk.event_since(
        moment,
        "an alert about the attacker",
        event_type="alert",
        src_asset=ATTACKER,
        dest_asset=TARGET,
        verdict="accept",
        policy_verdict="drop",
    )
    say.check("an alert is raised", event["stage"] == "alert", f"{event['alert']['signature']}")
    repair(plant, value)
    plant.hmi_is_well()


def enforce(plant: Plant) -> None:
    """Enforcing: the forbidden write does not reach the controller; permitted ones do."""
    say, desk = plant.narrator, plant.desk
    say.scene("Enforce: the boundary is drawn, and the plant goes on")
    desk.set_ceiling("enforce")
    moment = desk.now()
    plant.attack(reaches=False)
    event = desk.event_since(
        moment,
        "the drop of the attacker's frame",
        src_asset=ATTACKER,
        dest_asset=TARGET,
        verdict="drop",
        policy_verdict="drop",
        stage="enforce",
    )
    say.check("recorded as dropped", True, f"{event['reason']}: {event['src_zone']} → {event['dest_zone']}")
    plant.permitted_write(ENGINEER, SAFE_SETPOINT + 1)
    plant.permitted_write(ENGINEER, SAFE_SETPOINT)
    plant.hmi_is_well()


def spoof(plant: Plant) -> None:
    """The attacker puts the HMI's address on his frames, first with his own MAC, then with the HMI's."""
    say, desk = plant.narrator, plant.desk
    say.scene(f"Spoof: the attacker in enterprise claims to be {HMI}")
    for with_mac in (False, True):
        moment = desk.now()
        taken = len(plant.actors.writes(TARGET))
        value = plant.next_value()
        sent = plant.actors.spoof(ATTACKER, HMI, TARGET, value, with_mac=with_mac)
        event = desk.event_since(
            moment, "the drop of a spoofed frame", verdict="drop", src_zone="enterprise", src_ip=plant.address(HMI)
        )
        whose = f"{HMI}'s address and MAC" if with_mac else f"{HMI}'s address, own MAC"
        unchanged = plant.actors.register(TARGET) == SAFE_SETPOINT and len(plant.actors.writes(TARGET)) == taken
        say.check(
            f"{sent} frames with {whose} change nothing",
            unchanged,
            f"{event['reason']}; register stays {plant.actors.register(TARGET)}",
        )
    stolen_mac(plant)


def stolen_mac(plant: Plant) -> None:
    """The attacker floods with the HMI's MAC, so that a bridge would learn it on his port and blind the HMI."""
    run = secrets.token_bytes(8)
    witness = plant.actors.start_witness(TARGET, run, FLOOD_FRAMES, seconds=FLOOD_WITHIN_S)
    flood = plant.actors.start_sender(ATTACKER, TARGET, run, rate=FLOOD_RATE, count=FLOOD_FRAMES, claim=HMI)
    flood.wait(FLOOD_WITHIN_S)
    seen = witness.end()["seen"]
    plant.narrator.check(f"of {FLOOD_FRAMES} frames with {HMI}'s stolen MAC none arrives", seen == 0, f"{seen} seen")
    plant.hmi_is_well()


def repair(plant: Plant, wrong: int) -> None:
    """The engineer undoes what the attacker wrote."""
    plant.narrator.tell(f"the engineer finds {wrong} in the set point and puts it right")
    plant.permitted_write(ENGINEER, SAFE_SETPOINT)
