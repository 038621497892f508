"""The story's inspected conduits: they permit operations, not ports. What is not permitted comes back as a refusal.

In: a `Plant` at work, in monitor for the first scene and in enforce for the others. Out: asserted statements. The
controllers say what was done to them; the client says that it was refused and did not wait in vain; the log says what
was asked. Called by the live story in this order.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final

from deploy.demo.plant_at_work import OPERATING
from deploy.demo.stage_scenes import ENGINEER, HMI, TARGET
from deploy.lab.plc import LEVEL, SAFE_SETPOINT, SETPOINT
from deploy.lab.s7_controller import DOSE, RECIPE

if TYPE_CHECKING:
    from deploy.demo.plant_at_work import Plant

TENDING: Final = "engineering-programs-plcs"
DOSES: Final = "scada-runs-dosing"
SCADA: Final = "scada-server"
DOSING: Final = "plc-2"
DOSING_S7: Final = f"{DOSING}-s7"
IN_BAND: Final = SAFE_SETPOINT + 100
JUMP: Final = SAFE_SETPOINT + 251  # within the band; the policy's largest step is 250
ABOVE_BAND: Final = 2501  # the policy's band ends at 2500
FORBIDDEN: Final = SETPOINT + 1
STRAY: Final = 1  # what the HMI writes there in monitor
DOSE_IN_BAND: Final = 300
DOSE_ABOVE: Final = 401  # the policy's band ends at 400
PATIENCE_S: Final = 4.0  # how long the HMI's client would wait for an answer
S7_PATIENCE_MS: Final = 5000  # as long as python-snap7 waits
PLC_STOP: Final = 0x29  # S7comm function
UNSAID: Final = frozenset({"transaction", "reference"})  # numbers that tell a reader nothing


def watched(plant: Plant) -> None:
    """In monitor a permitted station's forbidden write passes too, and is recorded with what it asked for."""
    say, desk, actors = plant.narrator, plant.desk, plant.actors
    say.scene("Monitor: what permitted stations do inside of their conduits is watched, too")
    moment = desk.now()
    answered = actors.write(HMI, TARGET, STRAY, register=FORBIDDEN)
    say.check(
        f"{HMI}'s write to register {FORBIDDEN} reaches {TARGET}",
        answered and actors.register(TARGET, FORBIDDEN) == STRAY,
        f"register {FORBIDDEN} = {actors.register(TARGET, FORBIDDEN)}",
    )
    event = desk.event_since(
        moment, "would-drop of the HMI's write", conduit=OPERATING, verdict="accept", policy_verdict="drop"
    )
    asked = event["message"]
    say.check(
        "recorded as would-drop, with what was asked",
        event["reason"] == "MESSAGE_CONSTRAINT" and asked["fields"]["address"] == FORBIDDEN,
        f"{event['reason']}: modbus {asked['operation']}, {_fields(asked)}",
    )
    plant.hmi_is_well()


def hmi_operates(plant: Plant) -> None:
    """The HMI reads and moves its set point within the band; all else is refused."""
    say = plant.narrator
    say.scene("Operations: the HMI's conduit permits reading, and one register within a band, by small steps")
    level = plant.actors.read(HMI, TARGET, register=LEVEL)
    say.check(f"{HMI} reads the tank's level", level is not None, f"register {LEVEL} = {level}")
    plant.permitted_write(HMI, IN_BAND)
    plant.permitted_write(HMI, SAFE_SETPOINT)
    _refused_write(plant, FORBIDDEN, 7, "MESSAGE_CONSTRAINT")
    _refused_write(plant, SETPOINT, ABOVE_BAND, "PROCESS_VALUE")
    _refused_write(plant, SETPOINT, JUMP, "PROCESS_STEP")
    plant.hmi_is_well()


def _refused_write(plant: Plant, register: int, value: int, reason: str) -> None:
    say, actors = plant.narrator, plant.actors
    moment, taken = plant.desk.now(), len(actors.writes(TARGET))
    before = actors.register(TARGET, register)
    outcome = actors.try_write(HMI, TARGET, value, register=register, within_s=PATIENCE_S)
    holds = len(actors.writes(TARGET)) == taken and actors.register(TARGET, register) == before
    say.check(
        f"its write of {value} to register {register} does not reach {TARGET}",
        holds and not outcome["ok"],
        f"register stays {before}",
    )
    say.check(
        "it is refused at once: the connection is reset",
        outcome["took_ms"] < PATIENCE_S * 1000,
        f"after {outcome['took_ms']:.0f} ms of {PATIENCE_S * 1000:.0f}: {outcome['detail']}",
    )
    event = plant.desk.event_since(
        moment, "the refused write", conduit=OPERATING, reason=reason, verdict="drop", app_proto="modbus"
    )
    asked = event["message"]
    say.check(
        "recorded with what was asked",
        asked["operation"] == "write" and asked["fields"]["address"] == register,
        f"{reason}: modbus {asked['operation']}, {_fields(asked)}",
    )


def cpu_stop(plant: Plant) -> None:
    """The engineering laptop reads a data block; its CPU stop does not come through."""
    say, actors = plant.narrator, plant.actors
    say.scene(f"Operations: {ENGINEER} reads {DOSING}'s data block, and tries to stop its CPU")
    controller = actors.start_s7_controller(DOSING)
    answer = actors.s7(ENGINEER, DOSING, "read")
    say.check(
        f"{ENGINEER} reads DB 1",
        answer["ok"] and answer["values"] == list(RECIPE),
        f"{len(answer['values'])} bytes, in {answer['took_ms']:.0f} ms",
    )
    moment = plant.desk.now()
    outcome = actors.s7(ENGINEER, DOSING, "stop")
    state = controller.said()
    say.check(
        f"its CPU stop does not reach {DOSING}: the CPU runs",
        not outcome["ok"] and state["running"] and state["stops"] == 0,
        f"the controller says: running, {state['stops']} stops taken",
    )
    say.check(
        "it is refused at once: the connection is reset",
        outcome["took_ms"] < S7_PATIENCE_MS,
        f"after {outcome['took_ms']:.0f} ms of {S7_PATIENCE_MS}: {outcome['detail']}",
    )
    event = plant.desk.event_since(
        moment, "the refused stop", conduit=TENDING, reason="MESSAGE_OPERATION", verdict="drop", app_proto="s7comm"
    )
    asked = event["message"]
    say.check(
        "recorded with what was asked",
        asked["operation"] == "control" and asked["fields"]["function"] == PLC_STOP,
        f"MESSAGE_OPERATION: s7comm {asked['operation']}, {_fields(asked)}",
    )
    again = actors.s7(ENGINEER, DOSING, "read")
    say.check("a new connection reads on", again["ok"] and again["values"] == list(RECIPE), again["detail"])
    plant.hmi_is_well()


def scada_doses(plant: Plant) -> None:
    """The SCADA server sets the dose, one word of the data block, within its band; above it is refused."""
    say, actors = plant.narrator, plant.actors
    say.scene(f"Operations: {SCADA} sets {DOSING}'s dose, within the band")
    within = actors.s7(SCADA, DOSING, "write", value=DOSE_IN_BAND)
    say.check(
        f"{SCADA} may set a dose of {DOSE_IN_BAND}",
        within["ok"] and _dose(plant) == DOSE_IN_BAND,
        f"DB 1, bytes 4-5: {_dose(plant)}",
    )
    moment = plant.desk.now()
    above = actors.s7(SCADA, DOSING, "write", value=DOSE_ABOVE)
    say.check(
        f"a dose of {DOSE_ABOVE} does not reach {DOSING}",
        not above["ok"] and _dose(plant) == DOSE_IN_BAND,
        f"DB 1, bytes 4-5: still {_dose(plant)}",
    )
    event = plant.desk.event_since(
        moment, "the refused dose", conduit=DOSES, reason="PROCESS_VALUE", verdict="drop", app_proto="s7comm"
    )
    asked = event["message"]
    say.check(
        "recorded with what was asked",
        asked["operation"] == "write" and asked["fields"]["value"] == DOSE_ABOVE,
        f"PROCESS_VALUE: s7comm {asked['operation']}, {_fields(asked)}",
    )
    plant.hmi_is_well()


def _dose(plant: Plant) -> int:
    block = plant.actors.said(DOSING_S7)["block"]
    return int.from_bytes(bytes(block[DOSE : DOSE + 2]))


def the_log(plant: Plant) -> None:
    """What an operator sees of it: `conduitctl events`."""
    say = plant.narrator
    say.scene("The log shows both: `conduitctl events`")
    refused = _events(plant, "--type", "conduit", "--verdict", "drop")
    for name, operation, protocol in ((OPERATING, "write", "modbus"), (TENDING, "control", "s7comm")):
        found = [event for event in refused if _is(event, name, protocol, operation)]
        say.check(
            f"--type conduit: what {name} refused",
            bool(found),
            "; ".join(f"{protocol} {operation} {_fields(one['message'])} {one['reason']}" for one in found),
        )
    passed = [e for e in _events(plant, "--type", "message", "--conduit", TENDING) if _is(e, TENDING, "s7comm", "read")]
    say.check(
        "--type message: what passed, where the conduit says messages: full",
        bool(passed) and all(event["verdict"] == "accept" for event in passed),
        f"s7comm read, {_fields(passed[-1]['message'])}, and {len(passed) - 1} more" if passed else "none",
    )


def _events(plant: Plant, *terms: str) -> list[dict[str, Any]]:
    said = plant.gateway.ctl("-o", "jsonl", "events", "--limit", "4096", *terms).stdout
    return [json.loads(line) for line in said.splitlines()]


def _is(event: dict[str, Any], conduit: str, protocol: str, operation: str) -> bool:
    asked = event.get("message")
    return (
        asked is not None
        and (event.get("conduit"), event["app_proto"]) == (conduit, protocol)
        and asked.get("operation") == operation
        and not asked["answer"]
    )


def _fields(message: dict[str, Any]) -> str:
    return " ".join(f"{name}={value}" for name, value in message["fields"].items() if name not in UNSAID)
