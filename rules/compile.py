"""The whole policy path in one call: load, check, lower.

In: a text, a file or a bundle, and the slots in force. Out: `Compiled`, or PolicyError with every error found.
Pure apart from reading the named file. Called by the control plane, `conduitctl policy check` and the tests.
"""

from __future__ import annotations

import gc
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from rules.bundle import Bundle, read_bundle
from rules.check import WAIVABLE, Examination
from rules.load import load_bundle
from rules.lower import lower
from rules.problems import PolicyError, Problem, Severity, in_file_order
from rules.workshop import Workshop

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from datetime import date
    from pathlib import Path

    from rules.model import Policy
    from rules.records import LoweredPolicy


@dataclass(frozen=True, slots=True)
class Compiled:
    """A policy that may be applied, and what its checks found that does not refuse it: warnings and information."""

    policy: Policy
    lowered: LoweredPolicy
    warnings: tuple[Problem, ...]


@contextmanager
def uncollected() -> Iterator[None]:
    """Keep the garbage collector off: among the millions of objects of a large policy it looks for circles in vain.

    It would take half of the time. What is left behind meanwhile is found when it is on again.
    """
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()


def compile_text(
    text: str,
    name: str = "policy.yaml",
    slots: Mapping[str, int] | None = None,
    today: date | None = None,
    *,
    accepted: bool = False,
) -> Compiled:
    """Compile a policy text."""
    return compile_bundle(Bundle(name, text), slots, today, accepted=accepted)


def compile_file(path: str | Path, slots: Mapping[str, int] | None = None, today: date | None = None) -> Compiled:
    """Compile a policy file."""
    return compile_bundle(read_bundle(path), slots, today)


def compile_bundle(
    bundle: Bundle,
    slots: Mapping[str, int] | None = None,
    today: date | None = None,
    *,
    accepted: bool = False,
    workshop: Workshop | None = None,
) -> Compiled:
    """Compile a policy from all of its files."""
    with uncollected():
        policy = load_bundle(bundle, workshop.files if workshop is not None else None)
        return compile_policy(policy, slots, today, accepted=accepted, workshop=workshop)


def compile_policy(
    policy: Policy,
    slots: Mapping[str, int] | None = None,
    today: date | None = None,
    *,
    accepted: bool = False,
    workshop: Workshop | None = None,
) -> Compiled:
    """Check and lower a loaded policy.

    Without `today` nothing in it is overdue, and every waiver counts. `accepted`: it was in force and comes back; what
    a waiver could have taken on refuses it no more, so that no new check and no expired waiver stops a plant.
    `workshop` saves work that was done for the policy before; the result is the same without it.
    """
    kept = workshop or Workshop()
    population = kept.population(policy)
    examination = Examination(policy, today, population)
    found = examination.before_lowering()
    if accepted:
        found = [_demoted(problem) if problem.code in WAIVABLE else problem for problem in found]
    errors = [problem for problem in found if problem.severity is Severity.ERROR]
    if errors:
        raise PolicyError(errors, [problem for problem in found if problem.severity is not Severity.ERROR])
    lowered = lower(policy, slots, population, kept.texts)
    return Compiled(policy, lowered, in_file_order([*found, *examination.after_lowering(lowered)]))


def _demoted(problem: Problem) -> Problem:
    return replace(problem, severity=Severity.WARNING) if problem.severity is Severity.ERROR else problem
