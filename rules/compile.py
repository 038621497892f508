"""The whole policy path in one call: load, check, lower.

In: a text, a file or a bundle, and the slots in force. Out: `Compiled`, or PolicyError with every error found.
Pure apart from reading the named file. Called by the control plane, `conduitctl policy check` and the tests.
"""

from __future__ import annotations

import gc
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from rules.bundle import Bundle, read_bundle
from rules.check import check
from rules.load import load_bundle
from rules.lower import lower
from rules.problems import PolicyError, Problem, Severity

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from rules.model import Policy
    from rules.records import LoweredPolicy


@dataclass(frozen=True, slots=True)
class Compiled:
    """A policy that may be applied, and what its checks warned of."""

    policy: Policy
    lowered: LoweredPolicy
    warnings: tuple[Problem, ...]


@contextmanager
def _uncollected() -> Iterator[None]:
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


def compile_text(text: str, name: str = "policy.yaml", slots: Mapping[str, int] | None = None) -> Compiled:
    """Compile a policy text."""
    return compile_bundle(Bundle(name, text), slots)


def compile_file(path: str | Path, slots: Mapping[str, int] | None = None) -> Compiled:
    """Compile a policy file."""
    return compile_bundle(read_bundle(path), slots)


def compile_bundle(bundle: Bundle, slots: Mapping[str, int] | None = None) -> Compiled:
    """Compile a policy from all of its files."""
    with _uncollected():
        return compile_policy(load_bundle(bundle), slots)


def compile_policy(policy: Policy, slots: Mapping[str, int] | None = None) -> Compiled:
    """Check and lower a loaded policy."""
    found = check(policy)
    errors = [problem for problem in found if problem.severity is Severity.ERROR]
    if errors:
        raise PolicyError(errors)
    return Compiled(policy, lower(policy, slots), tuple(found))
