"""Another policy asked about everything on the tape: the opening frame of each sight made up again and judged.

In: observations and a candidate policy. Out: what it says of each, beside what was said then. The compiled engine
judges, as in `explain` and `simulate`. What cannot be made up again from what the tape keeps (broken frames, neighbour
discovery) is what no policy changes, and a reply follows what it answers: both are passed on as they were. The tape
keeps no messages either: what was refused inside a conversation is refused still, where its conduit is inspected.
Windows count as they were at the end of the quarter of an hour in which something was seen.
"""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from fastpath.abi import FIRST_SERVICE_CLASS, Stage
from fastpath.judge import Judge, Judgement
from gateway.control.explain_frame import ServiceNumber, arp_frame, ip_frame, other_frame
from gateway.control.names import Names
from gateway.simulate.openings import Openings
from gateway.simulate.words import Said
from gateway.tape.sight import ACCEPT, DROP, Sight, Sum, of_inspection
from gateway.tape.store import SLOT_NS
from rules.image import build_image
from rules.records import ServiceKind
from rules.state import build_state, set_ports

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from gateway.tape.store import Observation
    from rules.compile import Compiled

ARP: Final = 0x0806
GENERATION: Final = 1
NEIGHBOUR_DISCOVERY: Final = range(133, 138)  # ICMPv6 types: RFC 4861
ECHO_REPLIES: Final = {1: 0, 58: 129}  # protocol → type: they follow what they answer
_KINDS: Final = {6: ServiceKind.TCP, 17: ServiceKind.UDP, 1: ServiceKind.ICMP4, 58: ServiceKind.ICMP6}


@dataclass(frozen=True, slots=True)
class Replayed:
    """One sight, what was said of it then, and what the candidate says; None where it cannot be asked again."""

    sight: Sight
    sum: Sum
    said: Said | None
    slots: tuple[int, ...] = ()  # beginnings (ns) of the quarters of an hour that the sum is about

    @property
    def is_lost(self) -> bool:
        """Tell whether the candidate forbids what the policy of the time permitted."""
        return self.said is not None and self.sight.policy_verdict != DROP == self.said.policy_verdict

    @property
    def is_gained(self) -> bool:
        """Tell whether the candidate permits what the policy of the time forbade."""
        return self.said is not None and self.sight.policy_verdict == DROP != self.said.policy_verdict


class TapeReplay:
    """One candidate, ready to be asked."""

    def __init__(self, compiled: Compiled) -> None:
        lowered = compiled.lowered
        self._names = Names(lowered, GENERATION)
        state = build_state(lowered, GENERATION, {})
        set_ports(state, {port.number: port.number for port in lowered.ports})
        self._inspected = {conduit.name for conduit in lowered.conduits if conduit.profile is not None}
        # Asked is whether a conversation may be opened: a made-up datagram carries no message that could be read.
        openings = replace(lowered, conduits=tuple(replace(conduit, profile=None) for conduit in lowered.conduits))
        self._judge = Judge(build_image(openings, GENERATION), state)
        self._openings = Openings(compiled, state)
        self._ports = {port.name: port.number for port in lowered.ports}
        zones = {zone.number: zone.name for zone in lowered.zones}
        self._ways: dict[str, list[tuple[int, int]]] = {}  # zone → (port, VLAN)
        for owned in lowered.port_zones:
            self._ways.setdefault(zones[owned.zone], []).append((owned.port, owned.vlan))

    def run(self, observations: Iterable[Observation]) -> Iterator[Replayed]:
        """Yield every observation with the candidate's answer; one that windows split comes once for each answer.

        Its counts are then shared out by the quarters of an hour in which it was seen.
        """
        for observation in observations:
            sight = observation.sight
            answers: dict[Said | None, list[int]] = {}
            until, said = 0, None
            for slot in observation.slots:
                seen = min(slot + SLOT_NS - 1, max(slot, observation.sum.last_ns))
                if seen >= until:
                    until = self._openings.turn_to_ns(seen)[1]
                    said = self._said(sight)
                answers.setdefault(said, []).append(slot)
            for answer, slots in answers.items():
                yield Replayed(sight, _share(observation.sum, slots, len(observation.slots)), answer, tuple(slots))

    def _said(self, sight: Sight) -> Said | None:
        made = opening_frame(sight)
        if made is None:
            return None
        ethertype, payload = made
        self._judge.forget_flows()
        found = self._judge.judge(
            payload,
            ethertype=ethertype,
            in_ifindex=self._port(sight.in_port, sight.source_zone, sight.vlan),
            out_ifindex=self._port(sight.out_port, sight.destination_zone, sight.vlan),
            vlan=sight.vlan,
            source_mac=_mac(sight.source_mac) or bytes(6),
            destination_mac=_mac(sight.destination),
        )
        said = self._in_words(found)
        if of_inspection(sight.reason) and said.policy_verdict == ACCEPT and said.conduit in self._inspected:
            verdict = DROP if said.stage == "enforce" else ACCEPT
            return replace(said, verdict=verdict, policy_verdict=DROP, reason=sight.reason)
        return said

    def _port(self, name: str, zone: str, vlan: int) -> int:
        """Return the port of that name, else one of the zone's, with the VLAN where it can be; 0 is no port."""
        if name in self._ports:
            return self._ports[name]
        ways = self._ways.get(zone, [])
        return next((port for port, tag in ways if tag == vlan), ways[0][0] if ways else 0)

    def _in_words(self, found: Judgement) -> Said:
        names = self._names
        return Said(
            found.verdict.name.lower(),
            found.policy_verdict.name.lower(),
            found.reason.name,
            Stage(found.stage).name.lower() if found.stage else None,
            names.conduit(found.conduit),
            names.zone(found.source_zone),
            names.zone(found.destination_zone),
            names.asset(found.source_asset),
            names.asset(found.destination_asset),
            names.service(found.service) if found.service >= FIRST_SERVICE_CLASS else None,
        )


def opening_frame(sight: Sight) -> tuple[int, bytes] | None:
    """Return (EtherType, payload from the network header on) of what opens a sight; None: it cannot be made again."""
    if (
        sight.reply
        or ECHO_REPLIES.get(sight.protocol) == sight.number
        or sight.reason.startswith("FRAME_")
        or (sight.protocol == 58 and sight.number in NEIGHBOUR_DISCOVERY)
    ):
        return None
    source, destination = _address(sight.source), _address(sight.destination)
    if sight.ethertype == ARP:
        mac = _mac(sight.source_mac)
        return None if mac is None or source is None or destination is None else arp_frame(mac, source, destination)
    if source is None or destination is None:
        return other_frame(ServiceNumber(ServiceKind.ETHERTYPE, sight.ethertype))
    kind = _KINDS.get(sight.protocol, ServiceKind.IP)
    number = sight.protocol if kind is ServiceKind.IP else sight.number
    return ip_frame(source, destination, ServiceNumber(kind, number))


def _address(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(text)
    except ValueError:
        return None


def _mac(text: str) -> bytes | None:
    raw = text.replace(":", "")
    return bytes.fromhex(raw) if len(raw) == 12 and text.count(":") == 5 else None


def _share(whole: Sum, slots: list[int], count: int) -> Sum:
    """Return the part of a sum that falls to some of its quarters of an hour; the tape keeps no finer account."""
    if len(slots) == count:
        return whole
    part = len(slots) / count
    return Sum(
        max(whole.first_ns, slots[0]), min(whole.last_ns, slots[-1] + SLOT_NS - 1),
        round(whole.flows * part), round(whole.frames * part), round(whole.bytes * part),
    )  # fmt: skip
