"""Which evidence counts, and what is withheld before anything is proposed.

In: evidence, the policy at hand. Out: `Traffic` by pair and number, and what is withheld with its reason.
Evidence is what the policy forbids for want of a conduit; with `everything` also what its conduits permitted. A reply
says that the opening was answered and never is an opening itself. Must never let through what nobody identified, what
was broken or spoofed, what came from quarantine, or what looks like somebody searching.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Final

from fastpath.abi import Reason
from rules.learning.evidence import ADDRESS, GROUP, Number, Pair, Seen, together
from rules.services import known_services, service_ranges

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from rules.learning.evidence import Evidence
    from rules.learning.thresholds import Thresholds
    from rules.model import Policy

Key = tuple[Pair, Number]
PERMITTED: Final = frozenset({Reason.POLICY_CONDUIT, Reason.FLOW_ESTABLISHED, Reason.FLOW_PICKUP})
IGNORED: Final = frozenset({Reason.ZONE_INTERNAL, Reason.NEIGHBOUR_RESOLUTION, Reason.FLOW_RELATED, Reason.NONE})
PORTS: Final = frozenset({"tcp", "udp"})
EPHEMERAL: Final = 32_768  # where clients' own ports begin on most systems
ERRORS: Final = {
    "icmp": frozenset({3, 11, 12}),
    "icmpv6": frozenset({1, 2, 3, 4}),
}  # they follow the flow they are about
ANSWERED: Final = frozenset({"tcp", "icmp", "icmpv6"})  # whose silence means something


class Why(StrEnum):
    """Why something is not proposed."""

    UNKNOWN = "unknown address"
    GROUP = "unknown group"
    IDENTITY = "not who it says"
    BROKEN = "broken frames"
    QUARANTINE = "quarantine"
    CLOSED = "conduit closed"
    LIMIT = "over a limit"
    RESOLUTION = "address resolution"
    REPLY = "only answers seen"
    ANSWERS = "looks like answers"
    ERROR = "error message"
    SCAN = "looks like a scan"
    SWEEP = "looks like a sweep"
    NUMBER = "no service"
    CHECK = "refused by a check"
    CONFIDENCE = "too little seen"


TEXT: Final = {
    Why.UNKNOWN: "the policy knows no such address: an asset is missing from the inventory, or does not belong there",
    Why.GROUP: "no conduit names this group: write one with to: {group: ...} if somebody must hear it",
    Why.IDENTITY: "address, MAC and port do not belong together: a spoof, or a device that moved",
    Why.BROKEN: "frames that no policy permits",
    Why.QUARANTINE: "it came from an asset in quarantine",
    Why.CLOSED: "a conduit permits it and was closed",
    Why.LIMIT: "a conduit permits it up to a limit",
    Why.RESOLUTION: "address resolution follows the conduits",
    Why.REPLY: "only answers were seen: who opened the conversation, and when, nobody knows",
    Why.ANSWERS: "a client's own port, of one who opens conversations the other way",
    Why.ERROR: "ICMP errors follow the flow that they are about",
    Why.SCAN: "more ports of one destination than a purpose has",
    Why.SWEEP: "more addresses that are no asset's than a purpose has",
    Why.NUMBER: "no service can name this number",
    Why.CHECK: "the policy's checks forbid it",
    Why.CONFIDENCE: "seen too little to say",
}


@dataclass(slots=True)
class Traffic:
    """What one source asked of one destination by one number."""

    parts: list[Seen] = field(default_factory=list)
    conduits: set[str] = field(default_factory=set)
    answered: bool | None = None  # None: nobody could know

    @property
    def seen(self) -> Seen:
        """When and how often."""
        return together(self.parts)


@dataclass(frozen=True, slots=True)
class Withheld:
    """What is not proposed, and why; `code` is a check's."""

    why: Why
    pair: Pair
    numbers: tuple[Number, ...]
    seen: Seen
    detail: str
    code: str = ""
    macs: tuple[str, ...] = ()


@dataclass(slots=True)
class Sifted:
    """What counts, and the rest."""

    traffic: dict[Key, Traffic] = field(default_factory=dict)
    kept_back: dict[tuple[Why, Pair, str, str], dict[Number, list[Seen]]] = field(default_factory=dict)
    macs: dict[Pair, set[str]] = field(default_factory=dict)

    def hold(self, why: Why, pair: Pair, number: Number, seen: Seen, detail: str = "", code: str = "") -> None:
        """Withhold something; `code` is a check's."""
        self.kept_back.setdefault((why, pair, detail or TEXT[why], code), {}).setdefault(number, []).append(seen)

    def hold_traffic(self, why: Why, keys: Iterable[Key], detail: str = "", code: str = "") -> None:
        """Withhold what was taken for traffic before."""
        for key in keys:
            self.hold(why, *key, self.traffic.pop(key).seen, detail, code)

    def withheld(self) -> Iterator[Withheld]:
        """Yield what is withheld, in an order of its own."""
        order = {why: at for at, why in enumerate(Why)}
        rows = sorted(self.kept_back.items(), key=lambda row: (order[row[0][0]], row[0][1:]))
        for (why, pair, detail, code), found in rows:
            seen = together(seen for parts in found.values() for seen in parts)
            macs = tuple(sorted(self.macs.get(pair, ()))) if why is Why.UNKNOWN else ()
            yield Withheld(why, pair, tuple(sorted(found)), seen, detail, code, macs)


def sift(policy: Policy, evidence: Iterable[Evidence], thresholds: Thresholds, *, everything: bool = False) -> Sifted:
    """Return what counts and what is withheld."""
    sifted = Sifted()
    replies: dict[Key, list[Evidence]] = {}
    passed: set[Key] = set()
    for one in evidence:
        key = (one.pair, one.number)
        if one.reply:
            replies.setdefault(key, []).append(one)
            continue
        why = _why(one)
        if why is not None:
            sifted.hold(why, one.pair, one.number, one.seen, _closed(one))
            sifted.macs.setdefault(one.pair, set()).update({one.source_mac} - {""})
        elif one.reason is Reason.POLICY_NO_CONDUIT or (everything and one.reason in PERMITTED):
            traffic = sifted.traffic.setdefault(key, Traffic())
            traffic.parts.append(one.seen)
            if one.conduit is not None:
                traffic.conduits.add(one.conduit)
            if one.passed and one.reason is Reason.POLICY_NO_CONDUIT:
                passed.add(key)
    _answer(sifted, replies, passed)
    _doubt(policy, sifted, thresholds)
    return sifted


def _closed(one: Evidence) -> str:
    if one.reason is not Reason.POLICY_CONDUIT_CLOSED or one.conduit is None:
        return ""
    return f"conduit '{one.conduit}' permits it and was closed"


def _why(one: Evidence) -> Why | None:
    """Return why a thing seen is no evidence at all; None: it is, or it is nobody's business."""
    reason = one.reason
    if reason in (Reason.IDENTITY_SOURCE_UNKNOWN, Reason.IDENTITY_DESTINATION_UNKNOWN, Reason.IDENTITY_PORT_UNKNOWN):
        about_group = reason is Reason.IDENTITY_DESTINATION_UNKNOWN and one.pair.destination.kind == GROUP
        return Why.GROUP if about_group else Why.UNKNOWN
    if reason.name.startswith("IDENTITY_"):
        return Why.IDENTITY
    if reason.name.startswith("FRAME_"):
        return Why.BROKEN
    if reason.name.startswith("LIMIT_"):
        return Why.LIMIT
    return {
        Reason.GUARD_QUARANTINE: Why.QUARANTINE,
        Reason.POLICY_CONDUIT_CLOSED: Why.CLOSED,
        Reason.NEIGHBOUR_NO_CONDUIT: Why.RESOLUTION,
    }.get(reason)


def _answer(sifted: Sifted, replies: dict[Key, list[Evidence]], passed: set[Key]) -> None:
    for key, traffic in sifted.traffic.items():
        if key in replies:
            traffic.answered = True
        elif key in passed and key[1].protocol in ANSWERED:
            traffic.answered = False
    held = {(pair, number) for (_, pair, *_), numbers in sifted.kept_back.items() for number in numbers}
    for key, parts in replies.items():
        if key not in sifted.traffic and key not in held:
            for one in parts:
                if one.reason is Reason.POLICY_NO_CONDUIT:
                    sifted.hold(Why.REPLY, *key, one.seen)


def _doubt(policy: Policy, sifted: Sifted, thresholds: Thresholds) -> None:
    """Withhold what no service can name, what answers, and what searches."""
    traffic = sifted.traffic
    sifted.hold_traffic(Why.ERROR, [key for key in traffic if key[1].number in ERRORS.get(key[1].protocol, ())])
    sifted.hold_traffic(Why.NUMBER, [key for key in traffic if key[1].protocol in PORTS and key[1].number == 0])
    # Frames without IP are judged by MAC, and only an asset's MAC can be selected.
    sifted.hold_traffic(
        Why.NUMBER,
        [k for k in traffic if k[1].protocol == "ethertype" and ADDRESS in (k[0].source.kind, k[0].destination.kind)],
    )
    served = _served(policy)
    spoken = {pair for pair, _ in traffic}
    answers = [
        (pair, number)
        for pair, number in traffic
        if number.protocol in PORTS
        and number.number >= EPHEMERAL
        and number not in served
        and Pair(pair.destination, pair.source) in spoken
    ]
    sifted.hold_traffic(Why.ANSWERS, answers)
    ports: dict[Pair, list[Key]] = {}
    for key in traffic:
        if key[1].protocol in PORTS:
            ports.setdefault(key[0], []).append(key)
    for keys in ports.values():
        if len(keys) > thresholds.ports:
            detail = f"{len(keys)} ports of one destination (more than {thresholds.ports} looks like a scan)"
            sifted.hold_traffic(Why.SCAN, keys, detail)
    _doubt_sweeps(sifted, thresholds)


def _doubt_sweeps(sifted: Sifted, thresholds: Thresholds) -> None:
    unlisted: dict[tuple[object, Number], list[Key]] = {}
    for pair, number in sifted.traffic:
        if pair.destination.kind == ADDRESS and not sifted.traffic[pair, number].answered:
            unlisted.setdefault((pair.source, number), []).append((pair, number))
    for keys in unlisted.values():
        if len(keys) > thresholds.unlisted:
            detail = f"{len(keys)} addresses that are no asset's, without an answer"
            detail += f" (more than {thresholds.unlisted} looks like a sweep)"
            sifted.hold_traffic(Why.SWEEP, keys, detail)


def _served(policy: Policy) -> set[Number]:
    """Return the high ports that a service names one by one."""
    return {
        Number(kind.value, port)
        for service in known_services(policy).values()
        for kind, ranges in service_ranges(service).items()
        if kind.value in PORTS
        for span in ranges
        if span.last - span.first < 100
        for port in range(max(span.first, EPHEMERAL), span.last + 1)
    }
