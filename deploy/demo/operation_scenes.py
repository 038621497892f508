"""The story's inspected conduits: they permit operations, not ports. What is not permitted comes back as a refusal.

In: a `Plant` at work in enforce. Out: asserted statements. The controllers say what was done to them; the client says
that it was refused and did not wait in vain; the log says what was asked. Called by the live story in this order.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final

from deploy.demo.narrator import StoryError
from deploy.demo.stage_scenes import ENGINEER, HMI, TARGET
from deploy.lab.gateway import DEFAULT_POLICY
from deploy.lab.plc import LEVEL, SAFE_SETPOINT, SETPOINT
from deploy.lab.s7_controller import RECIPE

if TYPE_CHECKING:
    from deploy.demo.plant_at_work import Plant

OPERATING: Final = "hmi-polls-plcs"
TENDING: Final = "engineering-programs-plcs"
# What the policy is given: a line of it, and what then stands behind it.
HMI_OPERATIONS: Final = (
    "    from: {zone: supervisory, role: hmi}\n    to: {zone: control, role: plc}\n    services: [modbus]\n",
    """\
    operations: [read, write]
    constraints:
      modbus:
        - {operation: read}
        - {operation: write, address: 10, value: 1000-2500, rate: 30/min burst 5}
""",
)
SCADA_OPERATIONS: Final = (
    "    from: {asset: scada-server}\n    to: {zone: control, role: plc}\n    services: [modbus]\n",
    """\
    operations: [read, write]
    constraints: {modbus: [{operation: read}, {operation: write, address: 20-39}]}
""",
)
ENGINEERING_OPERATIONS: Final = (
    "    services: [modbus, s7]\n",
    "    operations: [read, write, diagnose]\n    messages: full\n",
)
SAFETY_OPERATIONS: Final = (
    "    to: {asset: safety-plc}\n    services: [modbus]\n",
    "    operations: [read]\n",
)
OPERATIONS: Final = (HMI_OPERATIONS, SCADA_OPERATIONS, ENGINEERING_OPERATIONS, SAFETY_OPERATIONS)
DOSING: Final = "plc-2"
DOSING_S7: Final = f"{DOSING}-s7"
IN_BAND: Final = SAFE_SETPOINT + 100
ABOVE_BAND: Final = 2501  # the policy's band ends at 2500
FORBIDDEN: Final = SETPOINT + 1
PATIENCE_S: Final = 4.0  # how long the HMI's client would wait for an answer
S7_PATIENCE_MS: Final = 5000  # as long as python-snap7 waits
PLC_STOP: Final = 0x29  # S7comm function
UNSAID: Final = frozenset({"transaction", "reference"})  # numbers that tell a reader nothing


def inspected_policy() -> str:
    """Return the example policy with operations on every conduit that leads to a controller."""
    text = DEFAULT_POLICY.read_text()
    for place, operations in OPERATIONS:
        if text.count(place) != 1:
            raise StoryError(f"the example policy no longer has {place.strip()!r} once")
        text = text.replace(place, place + operations)
    return text


def inspection_begins(plant: Plant) -> None:
    """The same conduits say what may be done inside; stations begin anew, since nobody saw how they had begun."""
    say, desk = plant.narrator, plant.desk
    say.scene("Inspection: conduits permit operations, not ports")
    plant.end_polling("until here hmi-1 polled from the beginning and missed nothing")
    before = desk.digest()
    after = desk.apply(inspected_policy())
    say.check("a policy with operations is in force", after != before, f"{before[:12]} → {after[:12]}")
    plant.start_polling()
    plant.hmi_is_well()


def hmi_operates(plant: Plant) -> None:
    """The HMI reads and moves its set point within the band; another register and another value are refused."""
    say = plant.narrator
    say.scene("Operations: the HMI's conduit permits reading, and one register within a band")
    level = plant.actors.read(HMI, TARGET, register=LEVEL)
    say.check(f"{HMI} reads the tank's level", level is not None, f"register {LEVEL} = {level}")
    plant.permitted_write(HMI, IN_BAND)
    plant.permitted_write(HMI, SAFE_SETPOINT)
    _refused_write(plant, FORBIDDEN, 1, "MESSAGE_CONSTRAINT")
    _refused_write(plant, SETPOINT, ABOVE_BAND, "PROCESS_VALUE")
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
