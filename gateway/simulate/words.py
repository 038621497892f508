"""Numbers of a simulation as words: what was said, of whom, by the names of the policy that said it.

In: `Judged` and `Talk` of the replay. Out: `Said` and `Spoken`, made once for each distinct value. Pure.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Final

from fastpath.abi import FIRST_SERVICE_CLASS, Reason, Stage, Verdict
from fastpath.replay import Unjudged
from gateway.control.readable import address_text, mac_text

if TYPE_CHECKING:
    from fastpath.replay import Judged, Talk
    from gateway.control.names import Names

_VERDICTS: Final = {verdict.value: verdict.name.lower() for verdict in Verdict}
_STAGES: Final = {stage.value: stage.name.lower() for stage in Stage}
_REASONS: Final = {reason.value: reason.name for reason in Reason}
_PROTOCOLS: Final = {1: "icmp", 6: "tcp", 17: "udp", 58: "icmpv6"}
_KIND_WITHOUT_IP: Final = 0  # fastpath.frame: KIND_L2
_ARP: Final = 0x0806
UNJUDGED_TEXT: Final = {
    Unjudged.LINK_TYPE: "link type or family that the gateway does not read",
    Unjudged.LINK_CUT: "cut within the link header",
}


@dataclass(frozen=True, slots=True)
class Said:
    """What a policy says of a frame, in its names; all None but the zones when it was not judged."""

    verdict: str | None
    policy_verdict: str | None
    reason: str | None
    stage: str | None
    conduit: str | None
    source_zone: str | None
    destination_zone: str | None
    source_asset: str | None
    destination_asset: str | None
    service: str | None  # as the policy calls it; None for one that no conduit names


@dataclass(frozen=True, slots=True)
class Spoken:
    """Who spoke to whom and of what. `service` is like tcp/502, icmp/8, arp, ethertype/0x88b8: the server's number."""

    source: str | None
    destination: str | None
    service: str
    reply: bool  # the source is the one who was asked


REMEMBERED: Final = 65_536  # judgements, and conversations, in words
NOT_JUDGED: Final = Said(None, None, None, None, None, None, None, None, None, None)


class Wording:
    """The words of one policy; remembers what it has said already."""

    def __init__(self, names: Names) -> None:
        self._names = names
        self._said: dict[Judged, Said] = {}

    def said(self, judged: Judged) -> Said:
        """Return a judgement in words."""
        if not judged.verdict:
            return NOT_JUDGED
        found = self._said.get(judged)
        if found is None:
            names = self._names
            if len(self._said) >= REMEMBERED:
                self._said.clear()  # a capture of spoofed addresses has a judgement for each pair of assets
            found = self._said[judged] = Said(
                _VERDICTS[judged.verdict],
                _VERDICTS[judged.policy_verdict],
                _REASONS[judged.reason],
                _STAGES.get(judged.stage),
                names.conduit(judged.conduit),
                names.zone(judged.source_zone),
                names.zone(judged.destination_zone),
                names.asset(judged.source_asset),
                names.asset(judged.destination_asset),
                names.service(judged.service) if judged.service >= FIRST_SERVICE_CLASS else None,
            )
        return found


@lru_cache(maxsize=REMEMBERED)  # the frames of a capture are of far fewer conversations
def spoken(talk: Talk) -> Spoken:
    """Return who spoke in words."""
    return Spoken(_end(talk.source), _end(talk.destination), service_text(talk), talk.reply)


@lru_cache(maxsize=REMEMBERED)
def _end(address: bytes) -> str | None:
    return mac_text(address) if len(address) == 6 else address_text(address)


def service_text(talk: Talk) -> str:
    """Return what was asked for, whether or not the policy has a name for it."""
    if talk.ethertype == _ARP:
        return "arp"
    if talk.kind == _KIND_WITHOUT_IP:
        return f"ethertype/{talk.ethertype:#06x}"
    word = _PROTOCOLS.get(talk.protocol)
    return f"ip/{talk.protocol}" if word is None else f"{word}/{talk.number}"
