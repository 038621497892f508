"""Pages of docs/reference that are made from the code, so that they cannot disagree with it.

In: `fastpath.abi`. Out: Markdown text. `python -m gateway.reference` writes docs/reference/reasons.md; a contract test
compares the page with `reasons_page()`. Must never be imported by the daemon.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Final

from fastpath.abi import FIRST_DROP_REASON, REASON_TEXT, Reason

REASONS_PAGE: Final = Path("docs") / "reference" / "reasons.md"
INTRODUCTION: Final = """\
# Reasons

<!-- Made by `python -m gateway.reference` from fastpath/abi.py; change it there. -->

Every frame that the gateway judges gets exactly one reason. It stands in events (`reason`), in
`conduitctl events` and in the counters (`by_reason`). Numbers never change their meaning; new ones are added.
What decides between them, in which order: [What the policy means](semantics.md).
"""


def reasons_page() -> str:
    """Return the page of all reasons."""
    accepting = [reason for reason in Reason if reason < FIRST_DROP_REASON]
    dropping = [reason for reason in Reason if reason >= FIRST_DROP_REASON]
    accept = _table("The policy accepts", accepting)
    drop = _table("The policy drops (in `enforce`; in `monitor` and `alert` the frame passes and is counted)", dropping)
    return f"{INTRODUCTION}\n{accept}\n{drop}"


def _table(title: str, reasons: list[Reason]) -> str:
    rows = [f"| {reason.value} | `{reason.name}` | {REASON_TEXT[reason]} |" for reason in reasons]
    return "\n".join((f"## {title}", "", "| number | reason | meaning |", "|---|---|---|", *rows, ""))


def main() -> int:
    """Write the page into the documentation of the current directory."""
    if not REASONS_PAGE.parent.is_dir():
        sys.stderr.write(f"{REASONS_PAGE.parent} is not here: run this in the project's directory\n")
        return 1
    REASONS_PAGE.write_text(reasons_page(), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
