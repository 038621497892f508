"""The matrix of `make evasion`: every disguise against every operation, with and without inspection.

`python -m tests.evasion.matrix [--variants N] [--seed N] [--refuse reset|silent|answer] [--control] [--only NAME]`.
First the control case: the same conduit without inspection, at a ceiling that lets all pass; what the device carries
out there is proved to work. Then inspection: nothing forbidden may be carried out, and what is permitted must be
answered, or be on the list of what is refused by design. Prints both; exit status 1 when the outcome is another.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections import Counter
from typing import TYPE_CHECKING, Final

from tests.evasion.cases import Case, cases
from tests.evasion.client import Outcome
from tests.evasion.ground import ground
from tests.evasion.operations import OPERATIONS
from tests.evasion.transforms import TRANSFORMS
from tests.evasion.trial import Finding, Trial, run

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tests.evasion.ground import Ground

DEFAULT_SEED: Final = 62443
NAMED: Final = 60  # of the cases that went wrong
REPEATS: Final = 3


def control(standing: Ground, chosen: Sequence[Case]) -> Trial:
    """Run the cases through an uninspected conduit where nothing is refused."""
    standing.inspects = False
    standing.apply(inspected=False, ceiling="monitor", reason="control")
    return run(standing, chosen)


def inspection(standing: Ground, chosen: Sequence[Case], refuse: str = "reset") -> Trial:
    """Run the cases through the inspected conduit, in enforce."""
    standing.inspects = True
    standing.apply(inspected=True, refuse=refuse)
    return run(standing, chosen)


def table(findings: Sequence[Finding], *, forbidden: bool) -> str:
    """Return a matrix: a row for each transform, a column for each operation, executed/refused/silent."""
    operations = [one for one in OPERATIONS if one.forbidden is forbidden]
    counts: dict[tuple[str, str], Counter[str]] = {}
    for finding in findings:
        if finding.case.operation.forbidden is forbidden:
            cell = counts.setdefault((finding.case.transform.name, finding.case.operation.name), Counter())
            cell[word(finding)] += 1
    first = "executed" if forbidden else "answered"
    lines = [f"{first}/refused/silent".ljust(32) + "".join(one.name.rjust(27) for one in operations)]
    for transform in TRANSFORMS:
        row = [counts.get((transform.name, one.name)) for one in operations]
        if any(row):
            cells = [f"{cell['executed']}/{cell['refused']}/{cell['silent']}" if cell else "" for cell in row]
            lines.append(transform.name.ljust(32) + "".join(cell.rjust(27) for cell in cells))
    return "\n".join(lines)


def word(finding: Finding) -> str:
    """Return which of the three columns a finding counts in; an error message from the device's side is a refusal."""
    if finding.executed:
        return "executed"
    return "silent" if finding.reply.outcome in (Outcome.SILENT, Outcome.UNOPENED) else "refused"


def carried_out(findings: Sequence[Finding]) -> list[Finding]:
    """Return the forbidden cases that the device carried out."""
    return [finding for finding in findings if finding.case.operation.forbidden and finding.executed]


def broken(before: Sequence[Finding], after: Sequence[Finding]) -> list[Finding]:
    """Return the permitted cases that inspection broke: answered without it, nothing refused by design in them."""
    answered = {finding.case.port for finding in before if finding.executed}
    return [
        finding
        for finding in after
        if not finding.case.operation.forbidden
        and not finding.executed
        and not finding.case.transform.by_design
        and finding.case.port in answered
    ]


def broken_again(standing: Ground, lost: Sequence[Finding], refuse: str) -> list[Finding]:
    """Return those of the broken cases that are always answered without inspection and never with it.

    Some devices answer some disguises by chance: pymodbus looks at one message for each arrival, and two that arrive
    together are one answer or two.
    """
    chosen = [finding.case for finding in lost]
    without, inside = {case.port for case in chosen}, set[int]()
    for _ in range(REPEATS if chosen else 0):
        without &= {finding.case.port for finding in control(standing, chosen).findings if finding.executed}
        inside |= {finding.case.port for finding in inspection(standing, chosen, refuse).findings if finding.executed}
    return [finding for finding in lost if finding.case.port in without - inside]


def by_design(findings: Sequence[Finding]) -> dict[str, int]:
    """Return how many permitted cases were refused by design, by transform."""
    counts = Counter(
        finding.case.transform.name
        for finding in findings
        if not finding.case.operation.forbidden and not finding.executed and finding.case.transform.by_design
    )
    return dict(counts)


def report(title: str, findings: Sequence[Finding], took_s: float) -> None:
    """Print one trial."""
    forbidden = sum(finding.case.operation.forbidden for finding in findings)
    permitted = [finding for finding in findings if not finding.case.operation.forbidden]
    print(f"\n== {title}: {len(findings)} cases in {took_s:.0f} s\n")
    print(table(findings, forbidden=True))
    print()
    print(table(findings, forbidden=False))
    print(f"\nforbidden: {forbidden} cases, {len(carried_out(findings))} carried out by the device")
    print(f"permitted: {len(permitted)} cases, {sum(finding.executed for finding in permitted)} answered")


def name_some(title: str, findings: Sequence[Finding]) -> None:
    """Print the names of findings."""
    if findings:
        print(f"\n{title}: {len(findings)}")
        for finding in findings[:NAMED]:
            print(f"  {finding.case.name}: {finding.reply.outcome}")


def unarmed(findings: Sequence[Finding]) -> list[Finding]:
    """Return the cases of the control trial that came to nothing even without inspection."""
    return [finding for finding in findings if not finding.executed]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run both trials and print them."""
    parser = argparse.ArgumentParser(prog="python -m tests.evasion.matrix", description=__doc__)
    parser.add_argument("--variants", type=int, help="at most so many variants of each transform and operation")
    parser.add_argument("--seed", type=int, default=DEFAULT_SEED)
    parser.add_argument("--refuse", choices=("reset", "silent", "answer"), default="reset")
    parser.add_argument("--control", action="store_true", help="only the control case: prove that the disguises work")
    parser.add_argument("--ring", choices=("netns", "vm"), default="netns", help="vm: tags, for native interception")
    parser.add_argument("--only", default="", help="transforms whose name contains this")
    given = parser.parse_args(arguments)
    chosen = [
        one for one in cases(given.seed, variants=given.variants, ring=given.ring) if given.only in one.transform.name
    ]
    print(f"seed {given.seed}, {len(chosen)} cases")
    with ground() as standing:
        began = time.monotonic()
        before = control(standing, chosen)
        report("control: an uninspected conduit, nothing refused", before.findings, time.monotonic() - began)
        name_some("came to nothing without inspection too", unarmed(before.findings))
        if given.control:
            return 0 if carried_out(before.findings) else 1
        began = time.monotonic()
        after = inspection(standing, chosen, given.refuse)
        report(f"inspection: only reading permitted, refuse {given.refuse}", after.findings, time.monotonic() - began)
        once = broken(before.findings, after.findings)
        lost = broken_again(standing, once, given.refuse)
    name_some("answered by chance, with inspection and without", [finding for finding in once if finding not in lost])
    return verdict(before, after, lost)


def verdict(before: Trial, after: Trial, lost: Sequence[Finding]) -> int:
    """Print what counts, and return the exit status."""
    armed = {finding.case.port for finding in carried_out(before.findings)}
    leaked = carried_out(after.findings)
    name_some("CARRIED OUT UNDER INSPECTION", leaked)
    name_some("BROKEN ALTHOUGH PERMITTED", lost)
    for what, deeds in after.deeds.items():
        print(f"THE DEVICE IS NOT AS IT WAS: {what}: {deeds}")
    designed = by_design(after.findings)
    for name, amount in designed.items():
        why = next(one.by_design for one in TRANSFORMS if one.name == name)
        print(f"refused by design: {amount} permitted of {name}: {why}")
    tried = sum(finding.case.operation.forbidden for finding in after.findings)
    print(f"\nforbidden: {tried} tried, {len(armed)} proved to work without inspection; {len(leaked)} carried out")
    print(f"permitted: {len(after.findings) - tried} tried, {len(lost)} broken, {sum(designed.values())} by design")
    return 1 if leaked or lost or after.deeds or not armed else 0


if __name__ == "__main__":
    sys.exit(main())
