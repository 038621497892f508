"""Every page of a check keeps its word: its example has that finding, the fix heals it, the waiver takes it on."""

from __future__ import annotations

import re
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from rules.checks.catalogue import BY_CODE, CHECKS
from rules.checks.explain import body, known_codes, page
from rules.checks.text_codes import TEXT_CODES
from rules.compile import compile_text
from rules.problems import PolicyError, Severity

if TYPE_CHECKING:
    from rules.problems import Problem

TODAY = date(2027, 1, 15)
FENCE = re.compile(r"^```(\w+)\n(.*?)^```$", re.DOTALL | re.MULTILINE)
ALSO = re.compile(r"hence also (POL\d{3})")
RULES = Path(__file__).resolve().parents[3] / "rules"


def blocks(code: str, kind: str) -> list[str]:
    """Return the fenced blocks of one kind on a page."""
    return [text for fence, text in FENCE.findall(body(code)) if fence == kind]


def problems(text: str) -> tuple[Problem, ...]:
    """Return everything that is found about a policy text."""
    try:
        return compile_text(text, today=TODAY).warnings
    except PolicyError as error:
        return (*error.problems, *error.beside)


def fixed(text: str, patch: str) -> str:
    """Apply a page's diff: its '-' lines, found in the text, become its '+' lines."""
    lines = patch.splitlines(keepends=True)
    old = "".join(line[1:] for line in lines if line[0] == "-")
    new = "".join(line[1:] for line in lines if line[0] == "+")
    text += "" if text.endswith("\n") else "\n"
    assert text.count(old) == 1, f"not there exactly once: {old!r}"
    return text.replace(old, new)


@pytest.mark.parametrize("code", BY_CODE)
def test_the_example_has_the_finding(code: str) -> None:
    """Exactly that code, besides those that the page says come along, with the severity that the check has."""
    found = problems(blocks(code, "yaml")[0])
    assert {problem.code for problem in found} == {code, *ALSO.findall(body(code))}
    assert {problem.severity for problem in found if problem.code == code} == {BY_CODE[code].severity}
    assert all(problem.line > 0 for problem in found)


@pytest.mark.parametrize("code", [code for code in BY_CODE if code != "POL113"])
def test_the_fix_heals_it(code: str) -> None:
    """After the page's change the code is gone, and nothing worse has come."""
    found = problems(fixed(blocks(code, "yaml")[0], blocks(code, "diff")[0]))
    assert code not in {problem.code for problem in found}
    assert [str(problem) for problem in found if problem.severity is Severity.ERROR] == []


@pytest.mark.parametrize("code", [check.code for check in CHECKS if check.waivable])
def test_the_waiver_takes_it_on(code: str) -> None:
    """With the page's waiver every finding of the code is marked and no error; the day after, all is as before."""
    example, waiver = blocks(code, "yaml")
    before = problems(example)
    after = compile_text(f"{example}\n{waiver}", today=TODAY).warnings
    waived = [problem for problem in after if problem.code == code]
    assert len(waived) == sum(problem.code == code for problem in before)
    assert all(problem.waived and problem.waived.who == "J. Doe" for problem in waived)
    assert {p.code for p in after if p.waived is None} == {p.code for p in before if p.code != code}
    late = problems(f"{example}\n{waiver}".replace("2027-06-30", "2027-01-14"))
    assert {p.code for p in late} == {*(p.code for p in before), "POL223"}
    assert all(p.waived is None for p in late)


@pytest.mark.parametrize("code", [check.code for check in CHECKS if not check.waivable])
def test_what_cannot_be_waived_says_so(code: str) -> None:
    """The page shows no waiver but a reason."""
    assert len(blocks(code, "yaml")) == 1
    assert re.search(r"## Waiver\n\nNone: ", body(code))


def test_every_code_in_the_source_is_known() -> None:
    """A code that is raised anywhere has its line in the index, and no code stands for two things."""
    used = set()
    for path in RULES.rglob("*.py"):
        if path.name != "text_codes.py":
            used |= set(re.findall(r'"(POL\d{3})"', path.read_text(encoding="utf-8")))
    assert used <= set(known_codes())
    assert not BY_CODE.keys() & TEXT_CODES.keys()


def test_pages_say_what_the_registry_says() -> None:
    """Title, severity and reference come from the check, and no page is left over."""
    assert page("POL202").startswith("# POL202: business network straight into a cell\n\n**error** · can be waived")
    assert "supports IEC 62443-3-2 ZCR 3.2" in page("POL202")
    assert page("POL013").startswith("# POL013: not an IP address")
    assert {path.stem for path in (RULES / "checks" / "pages").iterdir()} == set(BY_CODE)
