"""`explain SRC DST SERVICE`: would it pass, by which conduit, for which reason, in which stage.

In: names or addresses and a compiled policy with its image and stages. Out: the engine's own judgement of a made-up
opening frame, in words: the same compiled code decides, so this page cannot disagree with the data path.
With a message of the opener's the same is asked of the conversation that carries it. Works on a copy of the state:
neither flows nor counters nor the live segment are touched. Also used offline.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final

from fastpath.abi import Reason, Stage, Verdict
from fastpath.judge import Judge
from gateway.control.event_text import reason_text
from gateway.control.explain_ends import End, Places
from gateway.control.explain_frame import IPAddress, ServiceNumber, arp_frame, ip_frame, other_frame, service_numbers
from gateway.control.explain_message import Sent, asks, conversation, message_bytes
from gateway.errors import ConfigError
from rules.image import build_image
from rules.inside import inside
from rules.records import ServiceKind
from rules.state import ceiling, set_ports

if TYPE_CHECKING:
    from fastpath.judge import Judgement
    from gateway.control.names import Names
    from rules.compile import Compiled
    from rules.records import ConduitRecord

ARP: Final = 0x0806
PAUSE_NS: Final = 86_400_000_000_000  # between the frames of a conversation: a day fills what any rate allows


@dataclass(frozen=True, slots=True)
class Question:
    """What is asked; zones only for addresses that the policy does not place."""

    source: str
    destination: str
    service: str
    source_zone: str | None = None
    destination_zone: str | None = None
    message: str | None = None  # what the opener then sends, in hexadecimal


class Explainer:
    """Answers for one generation; `state` is a copy (`StateMap.snapshot`) or a fresh one (`build_state`)."""

    def __init__(self, compiled: Compiled, names: Names, image: bytes, state: bytearray) -> None:
        self._policy = compiled.policy
        self._lowered = compiled.lowered
        self._names = names
        self._places = Places(compiled.lowered, names)
        # A made-up frame has made-up interfaces: each port's number stands for its ifindex.
        set_ports(state, {port.number: port.number for port in compiled.lowered.ports})
        self._judge = Judge(image, state)
        self._state = state
        self._conduits = {conduit.slot: conduit for conduit in compiled.lowered.conduits}
        self._ceiling = ceiling(state)

    def answer(self, question: Question) -> dict[str, Any]:
        """Return the judgement in words. Raises ConfigError when the question cannot be asked."""
        source = self._places.end(question.source, question.source_zone)
        destination = self._places.end(question.destination, question.destination_zone)
        message = None if question.message is None else message_bytes(question.message)
        parts = [
            {"service": str(number)} | self._judged(source, destination, number, message)
            for number in service_numbers(self._policy, question.service)
        ]
        first = dict(parts[0])
        first |= {"source": question.source, "destination": question.destination, "service": question.service}
        first["parts"] = parts if any(_outcome(part) != _outcome(parts[0]) for part in parts) else []
        return first

    def addresses(self, question: Question) -> tuple[list[str], list[str]]:
        """Return the (MACs, IPs) of both ends, to look for in quarantine."""
        ends = (
            self._places.end(question.source, question.source_zone),
            self._places.end(question.destination, question.destination_zone),
        )
        return [mac for end in ends for mac in end.macs], [str(address) for end in ends for address in end.addresses]

    def _judged(self, source: End, destination: End, service: ServiceNumber, message: bytes | None) -> dict[str, Any]:
        self._judge.forget_flows()
        frames = list[Sent]()
        if message is None:
            found = self._opening(source, destination, service)
        else:
            frames = conversation(*self._addresses(source, destination, service), service, message)
            found = self._conversation(source, destination, frames)
        reason = Reason(found.reason).name
        return {
            "verdict": Verdict(found.verdict).name.lower(),
            "policy_verdict": Verdict(found.policy_verdict).name.lower(),
            "reason": reason,
            "text": reason_text(reason),
            "stage": Stage(found.stage).name.lower() if found.stage in (1, 2, 3) else None,
            "ceiling": self._ceiling.name.lower(),
            "conduit": self._names.conduit(found.conduit),
            "inside": self._inside(self._names.conduit(found.conduit)),
            "source_zone": self._names.zone(found.source_zone),
            "destination_zone": self._names.zone(found.destination_zone),
            "source_asset": self._names.asset(found.source_asset),
            "destination_asset": self._names.asset(found.destination_asset),
            "answer": answer_text(found.answer, service),
        } | self._said_of_messages(found, service, frames)

    def _opening(self, source: End, destination: End, service: ServiceNumber) -> Judgement:
        ethertype, payload = self._frame(source, destination, service)
        found = self._asked(self._judge, source, destination, ethertype, payload)
        if Reason(found.reason) >= Reason.STREAM_AHEAD:
            # A made-up datagram is empty: whether it may be sent is a question to the policy without inspection.
            conduits = tuple(replace(conduit, profile=None) for conduit in self._lowered.conduits)
            image = build_image(replace(self._lowered, conduits=conduits), self._names.generation)
            found = self._asked(Judge(image, self._state), source, destination, ethertype, payload)
        return found

    def _conversation(self, source: End, destination: End, frames: list[Sent]) -> Judgement:
        """Judge a conversation up to its last frame, or up to what of it is refused before."""
        said = []
        for number, sent in enumerate(frames):
            ends = (source, destination) if sent.from_opener else (destination, source)
            said.append(self._asked(self._judge, *ends, sent.ethertype, sent.payload, number * PAUSE_NS))
            if said[-1].policy_verdict is Verdict.DROP:
                break
        return said[-1]

    def _asked(
        self, judge: Judge, source: End, destination: End, ethertype: int, payload: bytes, time_ns: int = 0
    ) -> Judgement:
        in_port, out_port, vlan = self._places.ports(source.zone, destination.zone)
        return judge.judge(
            payload,
            ethertype=ethertype,
            in_ifindex=in_port,
            out_ifindex=out_port,
            vlan=vlan,
            source_mac=source.mac,
            destination_mac=destination.mac,
            time_ns=time_ns,
        )

    def _said_of_messages(self, found: Judgement, service: ServiceNumber, frames: list[Sent]) -> dict[str, Any]:
        """Return what the last frame's messages ask for, and what has to be known of their verdict."""
        conduit = None if found.conduit is None else self._conduits[found.conduit]
        inspector = self._lowered.inspectors.get(found.service)
        if conduit is None or conduit.profile is None or inspector is None:
            return {} if not frames or conduit is None else {"note": "nobody reads this conduit's messages"}
        if not frames:
            passes = found.policy_verdict is Verdict.ACCEPT
            return {"note": "each message is judged by what is permitted inside: --message asks"} if passes else {}
        lines = asks(inspector, service, frames)
        return {"asks": lines, "note": message_note(found, conduit, is_whole=bool(lines))}

    def _inside(self, name: str | None) -> list[str]:
        conduit = self._policy.conduits.get(name) if name is not None else None
        return inside(conduit) if conduit is not None else []

    def _frame(self, source: End, destination: End, service: ServiceNumber) -> tuple[int, bytes]:
        if service.kind is ServiceKind.ETHERTYPE and service.number != ARP:
            return other_frame(service)
        arp = service.kind is ServiceKind.ETHERTYPE
        one, other = self._addresses(source, destination, service)
        return arp_frame(source.mac, one, other) if arp else ip_frame(one, other, service)

    @staticmethod
    def _addresses(source: End, destination: End, service: ServiceNumber) -> tuple[IPAddress, IPAddress]:
        four = service.kind in (ServiceKind.ICMP4, ServiceKind.ETHERTYPE)
        wanted = 6 if service.kind is ServiceKind.ICMP6 else 4 if four else None
        for one in source.addresses:
            for other in destination.addresses:
                if one.version == other.version and wanted in (None, one.version):
                    return one, other
        detail = f"{source.label} and {destination.label} have no addresses of one IP version for {service}"
        raise ConfigError("address_family", detail, "name addresses in place of assets, or another service")


def answer_text(answer: bytes | None, service: ServiceNumber) -> str | None:
    """Return what the sender of a dropped frame gets (`refuse: reset`), None for silence."""
    if answer is None:
        return None
    return "TCP reset" if service.kind is ServiceKind.TCP else "ICMP administratively prohibited"


def message_note(found: Judgement, conduit: ConduitRecord, *, is_whole: bool) -> str | None:
    """Return what of a message's verdict can't be known from the policy alone."""
    if found.reason is Reason.PROCESS_STEP:
        return "no last value is known here: on the gateway it is what was read or written last at this place"
    if found.policy_verdict is Verdict.DROP:
        return None
    if not is_whole:
        return "the message is not complete: what there is of it passes"
    if conduit.profile is not None and any(clause.rate_interval_ns for clause in conduit.profile.clauses):
        return "here each rate's whole allowance is left; on the gateway others may have used it"
    return None


def _outcome(part: dict[str, Any]) -> tuple[Any, ...]:
    return part["verdict"], part["policy_verdict"], part["reason"], part["conduit"]
