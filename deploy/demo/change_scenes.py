"""The story's middle: a policy changes, a wrong one is refused, a station elsewhere is quarantined. All in enforce.

In: a `Plant` at work. Out: asserted statements. Called by the live story in this order.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from deploy.demo.narrator import StoryError
from deploy.demo.stage_scenes import ENGINEER, TARGET
from deploy.lab import processes
from deploy.lab.gateway import DEFAULT_POLICY
from deploy.lab.plc import SAFE_SETPOINT

if TYPE_CHECKING:
    from deploy.demo.plant_at_work import Plant

ELSEWHERE: Final = "hmi-2"
QUARANTINE_WITHIN_S: Final = 10.0
PROGRAMMING: Final = "    services: [modbus, s7]\n"
WITHOUT_MODBUS: Final = "    services: [s7]\n"
# Each pair is one mistake somebody makes; the refusal must name every one of them at once.
MISTAKES: Final = (
    ("    from: {asset: scada-server}\n", "    from: {asset: skada-server}\n"),
    ("    services: [https]\n", "    services: [htpps]\n"),
    ("10.20.50.11", "10.20.40.11"),
    ("    fail: closed\n", "    fail: shut\n"),
)


def changed_policy() -> tuple[str, str]:
    """Return the policy in force and one that takes Modbus away from the engineering station."""
    text = DEFAULT_POLICY.read_text()
    if text.count(PROGRAMMING) != 1:
        raise StoryError(f"the example policy no longer has one line {PROGRAMMING.strip()!r}")
    return text, text.replace(PROGRAMMING, WITHOUT_MODBUS)


def wrong_policy() -> str:
    """Return the example policy with mistakes."""
    text = DEFAULT_POLICY.read_text()
    for right, wrong in MISTAKES:
        if right not in text:
            raise StoryError(f"the example policy no longer has {right.strip()!r}")
        text = text.replace(right, wrong, 1)
    return text


def policy_change(plant: Plant) -> None:
    """A policy is replaced under traffic, and put back."""
    say, desk = plant.narrator, plant.desk
    say.scene("Policy change: engineering loses Modbus, under traffic, in enforce")
    original, changed = changed_policy()
    before = desk.digest()
    after = desk.apply(changed)
    say.check("another policy is in force", after != before, f"{before[:12]} → {after[:12]}")
    say.check("the ceiling stays enforce", desk.ceiling() == "enforce", "stages outlive a policy change")
    answered = plant.actors.write(ENGINEER, TARGET, plant.next_value())
    register = plant.actors.register(TARGET)
    say.check(f"{ENGINEER} may no longer write", not answered and register == SAFE_SETPOINT, f"register {register}")
    again = desk.apply(original)
    say.check("the first policy is back", again == before, f"{after[:12]} → {again[:12]}")
    plant.permitted_write(ENGINEER, SAFE_SETPOINT)
    plant.hmi_is_well()


def refused_policy(plant: Plant) -> None:
    """A wrong policy is refused, with every mistake named; nothing in force changes."""
    say, desk = plant.narrator, plant.desk
    say.scene("A wrong policy is refused")
    before = desk.digest()
    refusal = desk.apply_refused(wrong_policy())
    for message in refusal.messages:
        say.tell(message)
    say.check(
        f"all {len(MISTAKES)} mistakes are named with their line",
        len(refusal.messages) >= len(MISTAKES),
        f"{len(refusal.messages)} messages, HTTP {refusal.status}",
    )
    say.check("what is in force has not changed", desk.digest() == before, f"digest {before[:12]}")
    plant.attack(reaches=False)
    plant.hmi_is_well()


def quarantine(plant: Plant) -> None:
    """A station with a live connection is cut off; its neighbour does not notice."""
    say, desk = plant.narrator, plant.desk
    say.scene(f"Quarantine elsewhere: {ELSEWHERE} is cut off while it polls plc-2")
    before = plant.misses(ELSEWHERE)
    say.check(f"{ELSEWHERE} polls plc-2 until now", before == 0, f"{before} missed")
    desk.quarantine(ELSEWHERE, "demonstration: strange behaviour seen")
    processes.wait_for(f"{ELSEWHERE} to miss polls", lambda: plant.misses(ELSEWHERE) > 0, QUARANTINE_WITHIN_S)
    say.check(f"the live flow of {ELSEWHERE} is cut", plant.misses(ELSEWHERE) > 0, f"{plant.misses(ELSEWHERE)} missed")
    plant.hmi_is_well()
    desk.release(ELSEWHERE)
    released = plant.now()
    processes.wait_for(
        f"{ELSEWHERE} to poll again", lambda: plant.answered_since(ELSEWHERE, released), QUARANTINE_WITHIN_S
    )
    say.check(f"released, {ELSEWHERE} polls again", True, f"after {plant.now() - released:.1f} s")
