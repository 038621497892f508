"""What was learned as tables for people: proposals with what speaks for them, then what was withheld and why.

In: the JSON form of what was learned. Out: text on the terminal.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any, Final

from gateway.cli.session import console, print_rows

if TYPE_CHECKING:
    from pathlib import Path

    from rules.bundle import Bundle
    from rules.learning.proposing import Learned

WITHHELD_SHOWN: Final = 50
SERVICES_SHOWN: Final = 3
_SECOND: Final = 19  # characters of a time down to the second


def show_learned(content: dict[str, Any]) -> None:
    """Print what was learned."""
    out = console()
    out.print(f"proposed: {len(content['proposals'])}", style="bold")
    if content["proposals"]:
        columns = ("conduit", "from", "to", "services", "windows", "confidence", "frames", "quarter-hours", "last seen",
                   "pairs", "never seen", "checks")  # fmt: skip
        print_rows(columns, (_row(one) for one in content["proposals"]))
    for one in content["proposals"]:
        out.print(f"{one['name']}: {one['confidence']}: {'; '.join(one['reasons'])}", markup=False)
    for key, title in (("confirmed", "permit exactly what was seen"), ("unused", "carried nothing")):
        if content[key]:
            out.print(f"\n{title}: {', '.join(content[key])}", markup=False)
    _withheld(content["withheld"])
    if content["inventory"]:
        out.print("\nlines that the inventory may lack:", style="bold")
        for line in content["inventory"]:
            out.print(f"  {line}", markup=False)


def _row(one: dict[str, Any]) -> list[Any]:
    conduit = one["conduit"]
    ends = [_selector(conduit[side]) for side in ("from", "to")]
    seen = one["seen"]
    checks = sorted({note["code"] for note in one["notes"]})
    when = [seen["frames"], seen["quarter_hours"], seen["last_seen"][:_SECOND]]
    about = [conduit["services"], conduit.get("windows", []), one["confidence"]]
    return [one["name"], *ends, *about, *when, one["pairs"], len(one["never_seen"]), checks]


def _selector(content: dict[str, Any]) -> str:
    return " ".join(f"{key} {', '.join(value) if isinstance(value, list) else value}" for key, value in content.items())


def _withheld(rows: list[dict[str, Any]]) -> None:
    if not rows:
        return
    console().print(f"\nwithheld: {len(rows)}", style="bold")
    columns = ("why", "from", "to", "services", "frames", "last seen", "detail")
    print_rows(columns, (_withheld_row(row) for row in rows[:WITHHELD_SHOWN]))
    if len(rows) > WITHHELD_SHOWN:
        console().print(f"and {len(rows) - WITHHELD_SHOWN} more: -o json", style="yellow")


def _withheld_row(row: dict[str, Any]) -> list[Any]:
    ends = [f"{row[end]['name']} {row[end]['zone']}".strip() for end in ("src", "dst")]
    more = len(row["services"]) - SERVICES_SHOWN
    more = len(row["services"]) - SERVICES_SHOWN
    services = ", ".join(row["services"][:SERVICES_SHOWN]) + (f" and {more} more" if more > 0 else "")
    detail = f"{row['code']}: {row['detail']}" if row["code"] else row["detail"]
    return [row["why"], *ends, services, row["frames"], row["last_seen"][:_SECOND], detail]


def tell_accepted(bundle: Bundle, learned: Learned, path: Path) -> None:
    """Say on standard error what was written and what comes next."""
    from gateway.learning.accepting import included_as  # noqa: PLC0415 (loads YAML and models; --help must not)

    if not learned.proposals:
        print("nothing was proposed, so nothing was written", file=sys.stderr)
        return
    name = included_as(bundle, path)
    print(f"{path}: conduits {len(learned.proposals)}; loads with {bundle.name} and passes its checks", file=sys.stderr)
    print(f'next: read it, add "{name}" under include: of the policy, then conduitctl policy plan', file=sys.stderr)
