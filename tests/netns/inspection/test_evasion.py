"""A seeded share of `make evasion`: every disguise with every operation once, with and without inspection.

What is forbidden is looked for at the servers themselves; the trial without inspection shows that it would be found.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import pytest

from tests.evasion.cases import cases
from tests.evasion.ground import ground
from tests.evasion.matrix import broken, broken_again, carried_out, control, inspection
from tests.evasion.operations import OPERATIONS
from tests.support.capability import require

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.evasion.trial import Finding, Trial

pytestmark = [pytest.mark.netns, pytest.mark.timeout(240)]

# Any TCP delivers these, whatever the device: without inspection each of them must come to effect.
CERTAIN: Final = {
    "plain",
    "split at every byte",
    "one-byte segments",
    "orders of up to 4 segments",
    "identical overlaps",
    "data in SYN",
    "sequence wrap",
    "RST tricks",
    "windows and probes",
    "odd flags",
}


@pytest.fixture(scope="module")
def trials(seed: int) -> Iterator[tuple[Trial, Trial, list[Finding]]]:
    """The same cases without and with inspection, and which of the permitted it breaks."""
    require("netns")
    require("nfqueue")
    chosen = cases(seed, variants=1)
    with ground() as standing:
        before, after = control(standing, chosen), inspection(standing, chosen)
        yield before, after, broken_again(standing, broken(before.findings, after.findings), "reset")


def test_every_operation_comes_to_effect_without_inspection(trials: tuple[Trial, Trial, list[Finding]]) -> None:
    """The servers show what was done: a harness that saw nothing would prove nothing."""
    findings = trials[0].findings
    seen = carried_out(findings)
    assert {one.case.operation.name for one in seen} == {one.name for one in OPERATIONS if one.forbidden}
    lost = [one.case.name for one in findings if one.case.transform.name in CERTAIN and not one.executed]
    assert not lost


def test_nothing_forbidden_reaches_the_devices(trials: tuple[Trial, Trial, list[Finding]]) -> None:
    """No register, no attribute, no CPU, no identity is other than it was, whichever case may have done it."""
    after = trials[1]
    assert [one.case.name for one in carried_out(after.findings)] == []
    assert after.deeds == {}


def test_what_is_permitted_is_answered_in_the_same_disguises(trials: tuple[Trial, Trial, list[Finding]]) -> None:
    """Readings come through unless something in their disguise is refused by design."""
    _, after, lost = trials
    assert [f"{one.case.name}: {one.reply.outcome}" for one in lost] == []
    assert any(one.executed for one in after.findings if not one.case.operation.forbidden)
