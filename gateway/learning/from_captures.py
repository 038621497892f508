"""Captures → evidence: every frame judged by the policy at hand, as `simulate` does.

In: a compiled policy, capture files. Out: `Evidence`, and how far each file was read. A capture does not say which end
opened a conversation that it begins in the middle of: there, the end whose port is a service's was asked. The policy
is judged with every service of few numbers named by a conduit that joins nobody, which changes no verdict.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from fastpath.abi import Reason
from gateway.control.readable import address_text, mac_text
from gateway.learning.ends import ECHO_REPLY, number_of, pair_of
from gateway.simulate.candidate import Candidate, Stages
from gateway.simulate.simulation import Simulation
from rules.compile import compile_policy
from rules.conduit_model import Conduit
from rules.learning.evidence import SLOT_S, Evidence, Pair, Seen
from rules.services import known_services, service_size

if TYPE_CHECKING:
    from collections.abc import Iterable

    from fastpath.replay import Judged, Outcome, Talk
    from gateway.simulate.simulation import Progress
    from gateway.simulate.sources import CaptureFile
    from gateway.simulate.summary import Reading
    from rules.compile import Compiled
    from rules.model import Policy

_NS: Final = 1_000_000_000
_WITHOUT_IP: Final = 0  # fastpath.frame: KIND_L2
FEW: Final = 100  # numbers: a service of more says nothing about who was asked
_NEVER_A_REPLY: Final = ("IDENTITY_", "FRAME_")
_NEW_FLOW: Final = Reason.POLICY_CONDUIT


@dataclass(slots=True)
class _Tally:
    """When frames of which the same was said were seen."""

    first_ns: int
    last_ns: int
    frames: int = 0
    slots: set[int] = field(default_factory=set)


def evidence(
    compiled: Compiled, name: str, files: Iterable[CaptureFile], progress: Progress | None = None
) -> tuple[list[Evidence], tuple[Reading, ...]]:
    """Return what captures say of a policy. Raises ConfigError for a file that is no capture."""
    candidate = Candidate(_knowing_services(compiled), name, stages=Stages.AS_WRITTEN)
    tallies: dict[tuple[Judged, Talk], _Tally] = {}

    def count(_file: CaptureFile, _first: int, outcomes: list[Outcome], _other: list[Outcome] | None) -> None:
        for one in outcomes:
            if one.unjudged:
                continue
            at = one.time_ns
            key = (one.judged, one.talk)
            tally = tallies.get(key)
            if tally is None:
                tally = tallies[key] = _Tally(at, at)
            tally.first_ns = min(tally.first_ns, at)
            tally.last_ns = max(tally.last_ns, at)
            tally.frames += 1
            tally.slots.add(at // _NS // SLOT_S * SLOT_S)

    summary = Simulation(candidate, limit_rows=0).run(files, progress=progress, frames=count)
    found = [_evidence(candidate, judged, talk, tally) for (judged, talk), tally in tallies.items()]
    return found, summary.readings


def _knowing_services(compiled: Compiled) -> Compiled:
    policy = compiled.policy
    services = [name for name, service in known_services(policy).items() if service_size(service) <= FEW]
    zone = next((name for name, zone in policy.zones.items() if zone.prefixes), None)
    asset = next(iter(policy.assets), None)
    if not services or (zone is None and asset is None):
        return compiled
    # From somebody to itself: within a zone nothing is judged (semantics.md, line 2), so it permits nobody anything.
    itself = {"asset": asset} if asset is not None else {"zone": zone}
    idle = Conduit.model_validate({"from": itself, "to": itself, "services": services, "stage": "monitor"})
    more = {_free_name(policy): idle}
    return compile_policy(policy.model_copy(update={"conduits": policy.conduits | more}), accepted=True)


def _free_name(policy: Policy) -> str:
    name = "services-by-name"
    while name in policy.conduits:
        name += "-"
    return name


def _evidence(candidate: Candidate, judged: Judged, talk: Talk, tally: _Tally) -> Evidence:
    said = candidate.wording.said(judged)
    reason = Reason(judged.reason)
    text = mac_text if talk.kind == _WITHOUT_IP else address_text
    pair = pair_of(said, text(talk.source) or "", text(talk.destination) or "")
    number = number_of(talk.ethertype, 0 if talk.kind == _WITHOUT_IP else talk.protocol, talk.number)
    seen = Seen(
        tally.first_ns, tally.last_ns, tally.frames, tally.frames if reason is _NEW_FLOW else 0, frozenset(tally.slots)
    )
    if (talk.reply or number in ECHO_REPLY) and not reason.name.startswith(_NEVER_A_REPLY):
        number = ECHO_REPLY.get(number, number)
        return Evidence(Pair(pair.destination, pair.source), number, reason, seen, reply=True, conduit=said.conduit)
    return Evidence(pair, number, reason, seen, conduit=said.conduit)
