"""Proposals put to the policy's own checks, as if somebody had written them.

In: a policy that compiles, conduits and services to add. Out: for each conduit the error that names it, or what the
checks say of it besides. Knows no check: whatever refuses a policy refuses a proposal. Raises PolicyError for a policy
that does not compile without the proposals.
"""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING, Any, NamedTuple

from fastpath.abi import Stage
from rules.check import Examination
from rules.compile import compile_policy
from rules.conduit_model import Conduit
from rules.learning.evidence import ADDRESS, ASSET, GROUP
from rules.problems import Severity
from rules.service_model import Service
from rules.workshop import Workshop

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import date

    from rules.learning.grouping import Block, Side
    from rules.model import Policy
    from rules.problems import Problem

SAID = "learned"  # stands for an owner and a reason: whoever accepts a proposal gives both


class Refusal(NamedTuple):
    """The error that keeps a conduit from being proposed; `for_all`: it names none of them, but came with them."""

    code: str
    text: str
    for_all: bool = False


def selectors(block: Block) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return `from` and `to` as a policy writes them."""
    return _selector(block.source), _selector(block.destination)


def _selector(side: Side) -> dict[str, Any]:
    names = [end.name for end in side.ends]
    kind = side.ends[0].kind
    if side.role:
        return {"zone": side.zone, "role": side.role}
    if kind == ASSET:
        return {"asset": names[0] if len(names) == 1 else names}
    if kind == ADDRESS:
        return {"zone": side.zone, "prefix": [f"{name}/{128 if ':' in name else 32}" for name in names]}
    if kind == GROUP:
        return {"group": names}
    raise ValueError(f"{side.ends[0]} can't be selected")


class Trial:
    """One policy that proposals are tried on; what follows from its zones and assets is worked out once."""

    def __init__(self, policy: Policy, today: date | None) -> None:
        self._policy = policy
        self._today = today
        self._workshop = Workshop()

    def with_proposals(self, conduits: Mapping[str, Any], services: Mapping[str, Any]) -> Policy:
        """Return the policy as it would be."""
        said = {"owner": SAID, "reason": SAID, "stage": Stage.MONITOR.name.lower()}
        more = {name: Conduit.model_validate({**said, **content}) for name, content in conduits.items()}
        new = {name: Service.model_validate(content) for name, content in services.items()}
        update = {"conduits": self._policy.conduits | more, "services": self._policy.services | new}
        return self._policy.model_copy(update=update)

    def refusals(self, conduits: Mapping[str, Any], services: Mapping[str, Any]) -> dict[str, Refusal]:
        """Return which conduits are refused and why, by name."""
        candidate = self.with_proposals(conduits, services)
        problems = Examination(candidate, self._today, self._workshop.population(candidate)).before_lowering()
        errors = [problem for problem in problems if problem.severity is Severity.ERROR]
        found: dict[str, Refusal] = {}
        for problem in errors:
            section, _, name = problem.at.partition("/")
            if section == "conduits" and name in conduits:
                found.setdefault(name, Refusal(problem.code, problem.message))
        if errors and not found:
            first = errors[0]
            found = {name: Refusal(first.code, first.message, for_all=True) for name in conduits}
        return found

    def notes(self, conduits: Mapping[str, Any], services: Mapping[str, Any]) -> dict[str, tuple[Problem, ...]]:
        """Return what else the checks say of each, also what shows only when the policy is lowered."""
        found: dict[str, list[Problem]] = defaultdict(list)
        candidate = self.with_proposals(conduits, services)
        for problem in compile_policy(candidate, today=self._today, workshop=self._workshop).warnings:
            section, _, name = problem.at.partition("/")
            if section == "conduits" and name in conduits:
                found[name].append(problem)
        return {name: tuple(problems) for name, problems in found.items()}
