"""What a code means: its page, its line in the index.

In: the checks, and beside this module `pages/CODE.md`: meaning, an example that triggers it, a fix, a waiver.
Out: Markdown for `conduitctl policy explain-code` and docs/reference/checks. Tests run every example, fix and waiver.
"""

from __future__ import annotations

from functools import cache
from importlib.resources import files

from rules.checks.catalogue import BY_CODE, CHECKS
from rules.checks.registry import Check
from rules.checks.text_codes import TEXT_CODES

INDEX = """\
# Checks

Every problem that a policy can have has a code, which never changes its meaning. `conduitctl policy check FILE` finds
them, `conduitctl policy explain-code CODE` prints a code's page.

- An **error** refuses the policy; what is in force stays in force. A **warning** travels with the change to whoever
  approves it. **Information** is only told. With `--strict`, warnings fail the command too.
- A **waiver** in the policy takes on one code at one object: it names who, why and the last day. The finding is still
  listed, as waived; an error becomes a warning. After that day it counts for nothing ([POL223](POL223.md)), and one
  that has nothing to waive is pointed out ([POL224](POL224.md)). What is in force stays in force, also past that day:
  dates are looked at when a policy is checked or applied.
- Of one code at most 100 are listed; the rest are counted.
- "Supports" names requirements of IEC 62443 that a check helps with. It claims no compliance.

"""


def known_codes() -> tuple[str, ...]:
    """Return every code there is, in order."""
    return tuple(sorted(BY_CODE.keys() | TEXT_CODES.keys()))


@cache
def body(code: str) -> str:
    """Return what is written about a check's code; OSError when nothing is."""
    return files("rules.checks").joinpath("pages", f"{code}.md").read_text(encoding="utf-8")


def page(code: str) -> str:
    """Return a code's page; KeyError for one that does not exist."""
    check = BY_CODE.get(code)
    if check is None:
        return f"# {code}: {TEXT_CODES[code]}\n\nA mistake in the text itself; the message says what is wrong where.\n"
    return f"# {code}: {check.title}\n\n{_facts(check)}\n\n{check.why}\n\n{body(code)}"


def _facts(check: Check) -> str:
    facts = [f"**{check.severity.value}**", "can be waived" if check.waivable else "can't be waived"]
    if check.supports:
        facts.append(f"supports IEC 62443-{check.supports}")
    if check.dated:
        facts.append("asked with today's date only")
    return " · ".join(facts)


def index() -> str:
    """Return the page of all codes."""
    rows = [
        f"| [{check.code}]({check.code}.md) | {check.severity.value} | {check.title} | {check.supports} |"
        for check in sorted(CHECKS, key=lambda check: check.code)
    ]
    table = "\n".join(("| code | severity | what | supports |", "|---|---|---|---|", *rows))
    lines = [f"| {code} | {line} |" for code, line in TEXT_CODES.items()]
    text = "\n".join(("| code | what |", "|---|---|", *lines))
    head = "Errors, found while loading; none can be waived. Their messages say what is wrong where."
    return f"{INDEX}## The policy as a whole\n\n{table}\n\n## Mistakes in the text\n\n{head}\n\n{text}\n"
