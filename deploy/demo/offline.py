"""The offline story: the same policy, compiler, image and engine code, on frames built here instead of on a wire.

In: a narrator and the reason why it is not live. Out: an exit status: 0 only if every statement held.
Must never claim what only a kernel can show: no queue, no bridge, no crash is played; every heading says OFFLINE.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from deploy.demo.change_scenes import MISTAKES, changed_policy, wrong_policy
from deploy.demo.conversation import Conversation, Sent
from deploy.demo.narrator import StoryError
from deploy.lab import frames, plant
from deploy.lab.actors import identity
from deploy.lab.hmi import POLLED_REGISTERS
from deploy.lab.plant import ATTACKER
from deploy.lab.plc import SAFE_SETPOINT, SETPOINT
from fastpath.abi import STATE_HEADER, Reason, Stage, Verdict
from fastpath.judge import Judge
from rules.compile import compile_text
from rules.image import build_image, build_state
from rules.problems import PolicyError

if TYPE_CHECKING:
    from deploy.demo.narrator import Narrator
    from fastpath.judge import Judgement

ETHERNET_BYTES: Final = 14
IFINDEX: Final = {zone.port: number for number, zone in enumerate(plant.ZONES, start=11)}
HMI: Final = "hmi-1"
PLC: Final = "plc-1"
ENGINEER: Final = "eng-laptop"
FIRST_PORT: Final = 50000
LEVELS: Final = [identity(PLC), *[SAFE_SETPOINT] * (POLLED_REGISTERS - 1)]  # what the controller answers a poll
# What the HMI's conduit says of its writes: register, value, and the reason of what is refused.
WRITES: Final = (
    (SETPOINT, SAFE_SETPOINT + 100, None),
    (SETPOINT + 1, 7, Reason.MESSAGE_CONSTRAINT),
    (SETPOINT, 2501, Reason.PROCESS_VALUE),
    (SETPOINT, SAFE_SETPOINT + 351, Reason.PROCESS_STEP),  # from what was written last
)
SECOND_NS: Final = 1_000_000_000


class Desk:
    """One compiled policy under the engine's own judge."""

    def __init__(self, text: str) -> None:
        compiled = compile_text(text, "water-works.yaml", {})
        self.digest = compiled.lowered.digest.hex()
        self._state = build_state(compiled.lowered, 1, IFINDEX)
        self._judge = Judge(build_image(compiled.lowered, 1), self._state)
        self._time_ns = SECOND_NS

    def set_ceiling(self, stage: Stage) -> None:
        """Store the site's ceiling; effective with the next frame."""
        self._state[STATE_HEADER.offsets["ceiling"]] = stage

    def judge(self, sent: Sent) -> Judgement:
        """Judge a frame that enters at the port of its source's zone and would leave at its target's."""
        source, target, frame = sent
        self._time_ns += SECOND_NS
        return self._judge.judge(
            frame[ETHERNET_BYTES:],
            ethertype=int.from_bytes(frame[12:ETHERNET_BYTES]),
            in_ifindex=_port(source),
            out_ifindex=_port(target),
            source_mac=frame[6:12],
            destination_mac=frame[:6],
            time_ns=self._time_ns,
        )


def play(narrator: Narrator, reason: str) -> int:
    """Play the story; return the exit status."""
    narrator.title(
        "conduit-gateway: a water works and an attacker — OFFLINE",
        f"This machine does not permit the live story: {reason}.\n"
        "The same policy and the same engine judge constructed frames instead; "
        "queues, bridges and crashes are not shown.",
    )
    try:
        _stages(narrator)
        _spoof(narrator)
        _operations(narrator)
        _policies(narrator)
    except StoryError as error:
        narrator.failed(str(error), "")
        return 1
    narrator.done("OFFLINE story complete")
    return 0


def _stages(narrator: Narrator) -> None:
    desk = Desk(changed_policy()[0])
    polling = Conversation(HMI, PLC, FIRST_PORT)
    for sent in polling.opening():
        desk.judge(sent)
    rows = []
    for stage in Stage:
        narrator.scene(f"{stage.name.capitalize()} (OFFLINE): the attacker's Modbus write and the HMI's poll")
        desk.set_ceiling(stage)
        attack = desk.judge(_opening(ATTACKER, PLC))
        expected = Verdict.DROP if stage is Stage.ENFORCE else Verdict.ACCEPT
        narrator.check(
            f"the attacker's frame: {expected.name.lower()}, policy says drop",
            attack.verdict == expected
            and attack.policy_verdict == Verdict.DROP
            and attack.reason == Reason.POLICY_NO_CONDUIT,
            _told(attack),
        )
        poll, answer = _polled(desk, polling)
        narrator.check(
            "the HMI's poll and its answer: accept",
            poll.verdict == Verdict.ACCEPT and answer.verdict == Verdict.ACCEPT,
            f"{_told(poll)}; {_told(answer)}",
        )
        rows.append((stage.name.lower(), _told(attack), _told(poll)))
    narrator.table("OFFLINE: what the engine said", ("stage", "attacker's write", "HMI's poll"), rows)


def _spoof(narrator: Narrator) -> None:
    narrator.scene(f"Spoof (OFFLINE): the attacker claims to be {HMI}")
    desk = Desk(changed_policy()[0])
    desk.set_ceiling(Stage.ENFORCE)
    for label, mac in (("own MAC", plant.host(ATTACKER).mac_bytes), (f"{HMI}'s MAC", plant.host(HMI).mac_bytes)):
        frame = _opening(HMI, PLC).frame
        spoofed = desk.judge(Sent(ATTACKER, PLC, frame[:6] + mac + frame[12:]))
        holds = spoofed.verdict == Verdict.DROP and spoofed.reason == Reason.IDENTITY_SOURCE_ZONE
        narrator.check(f"{HMI}'s address with {label} from enterprise: drop", holds, _told(spoofed))


def _operations(narrator: Narrator) -> None:
    narrator.scene("Operations (OFFLINE): the HMI's conduit permits one register within a band, by small steps")
    desk = Desk(changed_policy()[0])
    desk.set_ceiling(Stage.ENFORCE)
    for number, (register, value, refused) in enumerate(WRITES):
        conversation = Conversation(HMI, PLC, FIRST_PORT + number)  # a refused one carries nothing more
        for sent in conversation.opening():
            desk.judge(sent)
        if number == 0:
            _polled(desk, conversation)  # a step needs to know from where
        write = desk.judge(conversation.asked(frames.modbus_write(register, value)))
        expected = Verdict.ACCEPT if refused is None else Verdict.DROP
        narrator.check(
            f"its write of {value} to register {register}: {expected.name.lower()}",
            write.verdict == expected and (refused is None or write.reason == refused),
            _told(write),
        )


def _policies(narrator: Narrator) -> None:
    narrator.scene("Policy change and refusal (OFFLINE)")
    original, changed = (Desk(text) for text in changed_policy())
    narrator.check(
        "a changed policy has another digest",
        original.digest != changed.digest,
        f"{original.digest[:12]} and {changed.digest[:12]}",
    )
    for desk, expected in ((original, Verdict.ACCEPT), (changed, Verdict.DROP)):
        desk.set_ceiling(Stage.ENFORCE)
        write = desk.judge(_opening(ENGINEER, PLC))
        narrator.check(
            f"engineering's Modbus under {desk.digest[:12]}: {expected.name.lower()}",
            write.verdict == expected,
            _told(write),
        )
    try:
        compile_text(wrong_policy(), "wrong.yaml", {})
    except PolicyError as error:
        for problem in error.problems:
            narrator.tell(f"{problem.path}:{problem.line}:{problem.column}: {problem.message}")
        narrator.check(
            "a wrong policy is refused with every mistake named",
            len(error.problems) >= len(MISTAKES),
            f"{len(error.problems)} messages",
        )
    else:
        raise StoryError("the wrong policy was compiled")


def _port(host: str) -> int:
    zone = plant.host(host).zone
    return next(IFINDEX[candidate.port] for candidate in plant.ZONES if candidate.name == zone)


def _opening(source: str, target: str) -> Sent:
    return Conversation(source, target, FIRST_PORT).opening()[0]


def _polled(desk: Desk, polling: Conversation) -> tuple[Judgement, Judgement]:
    asked = polling.asked(frames.modbus_read(0, POLLED_REGISTERS))
    return desk.judge(asked), desk.judge(polling.answered(frames.modbus_values(LEVELS)))


def _told(judgement: Judgement) -> str:
    return f"{Verdict(judgement.verdict).name.lower()}, {Reason(judgement.reason).name}"
