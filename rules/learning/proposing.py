"""The whole of learning: evidence and a policy → conduits that may be added to it, and what is withheld and why.

In: a policy that compiles, evidence, the day. Out: `Learned`. Asks the policy's own checks about every proposal; what
an error names is proposed end by end where it was by role, else withheld. Never proposes what a check of severity
error forbids, and never looks at a clock.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from rules.learning.confidence import Level
from rules.learning.drafting import Draft, drafts
from rules.learning.grouping import Roles
from rules.learning.naming import ServiceNames, conduit_name
from rules.learning.occasions import Occasions
from rules.learning.sifting import Why, sift
from rules.learning.thresholds import Thresholds
from rules.learning.trial import Refusal, Trial, selectors
from rules.learning.use import already, unused
from rules.zoning import Zoning

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import date

    from rules.learning.evidence import Evidence
    from rules.learning.sifting import Key, Sifted, Withheld
    from rules.model import Policy
    from rules.problems import Problem


@dataclass(frozen=True, slots=True)
class Proposal:
    """A conduit that would permit what was seen."""

    name: str
    draft: Draft
    services: tuple[str, ...]
    replaces: tuple[str, ...] = ()  # conduits that permit it today
    notes: tuple[Problem, ...] = ()  # what the checks say of it, short of refusing it

    @property
    def pairs(self) -> int:
        """How many pairs of ends it permits."""
        return len(self.draft.block.pairs())

    @property
    def unseen(self) -> list[str]:
        """The pairs among them that were never seen."""
        return [str(pair) for pair in sorted(self.draft.block.pairs() - {pair for pair, _ in self.draft.traffic})]

    def plain(self) -> dict[str, Any]:
        """Return what of the conduit follows from the evidence, as a policy writes it."""
        source, destination = selectors(self.draft.block)
        windows = {"windows": [self.draft.window]} if self.draft.window else {}
        return {"from": source, "to": destination, "services": list(self.services), **windows}


@dataclass(frozen=True, slots=True)
class Learned:
    """What was learned. `services` are new ones that the proposals name, as a policy writes them."""

    proposals: tuple[Proposal, ...]
    services: dict[str, dict[str, Any]]
    withheld: tuple[Withheld, ...]
    confirmed: tuple[str, ...] = ()  # conduits that permit exactly what was seen
    unused: tuple[str, ...] = ()  # conduits that nobody used


@dataclass(slots=True)
class _Learning:
    """One run."""

    policy: Policy
    thresholds: Thresholds
    trial: Trial
    sifted: Sifted
    roles: Roles
    occasions: Occasions
    one_by_one: set[Key] = field(default_factory=set)

    def proposals(self) -> tuple[list[Proposal], dict[str, dict[str, Any]]]:
        """Return proposals that no error names; each round names ends one by one, or withholds something."""
        while True:
            found, services = self._named()
            refused = self.trial.refusals({one.name: one.plain() for one in found}, services)
            if not refused:
                return found, services
            for one in found:
                if one.name in refused:
                    self._give_way(one.draft, refused[one.name])

    def _named(self) -> tuple[list[Proposal], dict[str, dict[str, Any]]]:
        names = ServiceNames(self.policy)
        taken: dict[str, Any] = dict(self.policy.conduits)
        found = []
        drafted = drafts(self.sifted.traffic, self.one_by_one, self.roles, self.occasions, self.thresholds)
        for draft in drafted:
            services = names.of(draft.numbers)
            name = conduit_name(draft.block.source, draft.block.destination, services, taken)
            taken[name] = None
            replaces = sorted({conduit for one in draft.traffic.values() for conduit in one.conduits})
            found.append(Proposal(name, draft, services, tuple(replaces)))
        return found, names.new

    def _give_way(self, draft: Draft, refusal: Refusal) -> None:
        keys = list(draft.traffic)
        if draft.by_role and not refusal.for_all:
            self.one_by_one.update(keys)
        else:
            left = [key for key in keys if key in self.sifted.traffic]  # another proposal may have given way already
            self.sifted.hold_traffic(Why.CHECK, left, refusal.text, refusal.code)

    def unsure(self, found: list[Proposal], least: Level) -> list[Proposal]:
        """Withhold the proposals that are less sure than asked for, and return the others."""
        sure = [one for one in found if one.draft.confidence.level >= least]
        settled = {key for one in sure for key in one.draft.traffic}
        for one in found:
            if one.draft.confidence.level < least:
                detail = f"{one.draft.confidence.level} confidence: {', '.join(one.draft.confidence.reasons)}"
                for key in one.draft.traffic.keys() - settled:
                    self.sifted.hold(Why.CONFIDENCE, *key, one.draft.traffic[key].seen, detail)
        return sure


def learn(
    policy: Policy,
    evidence: Iterable[Evidence],
    *,
    thresholds: Thresholds | None = None,
    today: date | None = None,
    least: Level = Level.LOW,
    everything: bool = False,
) -> Learned:
    """Return what may be added to a policy. `everything`: also learn from what its conduits permit, to narrow them.

    Raises PolicyError when the policy itself does not compile.
    """
    limits = thresholds or Thresholds()
    rows = list(evidence)
    sifted = sift(policy, rows, limits, everything=everything)
    slots = (slot for one in sifted.traffic.values() for part in one.parts for slot in part.slots)
    roles = Roles(Zoning(policy))
    learning = _Learning(policy, limits, Trial(policy, today), sifted, roles, Occasions(policy, slots, limits))
    found, services = learning.proposals()
    confirmed = (
        already(policy, [(one.draft.block, one.services, one.replaces) for one in found]) if everything else set()
    )
    found = [one for one in found if set(one.replaces).isdisjoint(confirmed)]
    found = learning.unsure(found, least)
    named = {service for one in found for service in one.services}
    services = {name: content for name, content in sorted(services.items()) if name in named}
    said = learning.trial.notes({one.name: one.plain() for one in found}, services)
    proposals = tuple(replace(one, notes=said.get(one.name, ())) for one in found)
    idle = unused(policy, rows) if everything else []
    return Learned(proposals, services, tuple(sifted.withheld()), tuple(sorted(confirmed)), tuple(idle))
