"""`simulate --tape`: what a policy says of everything that the daemon has seen, instead of captures."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from gateway.cli.session import console, print_pairs, print_rows
from gateway.cli.tape import observations

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from gateway.cli.session import Session
    from rules.compile import Compiled


def simulate_tape(
    here: Session,
    compiled: Compiled,
    name: str,
    file: Path | None,
    since: str | None,
    until: str | None,
    rows: int,
    beside: Mapping[str, Any],
) -> None:
    """Judge a tape (the daemon's, or a file's) and show what would change. `beside` goes into the answer as it is."""
    from gateway.tape.replay import TapeReplay  # noqa: PLC0415 (needs the compiled engine; --help must not)
    from gateway.tape.summary import summary  # noqa: PLC0415 (as above)

    replay = TapeReplay(compiled)
    found = replay.run(observations(here, file, since, until))
    content = summary(found, name, compiled.lowered.digest.hex(), rows)
    here.show(content | dict(beside), _table)


def _table(content: dict[str, Any]) -> None:
    policy = content["policy"]
    parts = ("accepted", "dropped", "would_drop", "not_replayed")
    print_pairs(
        [
            ("policy", f"{policy['name']}, {policy['digest'][:12]}"),
            ("tape", f"{content['observations']} conversations and violations, {content['frames']} frames"),
            *((part.replace("_", " "), f"{content[part]['frames']} frames") for part in parts),
        ]
    )
    for part, title in (("lost", "permitted then, forbidden now"), ("gained", "forbidden then, permitted now")):
        found = content[part]
        console().print(f"\n{title}: {found['frames']} frames, {found['flows']} flows", style="bold")
        columns = ("from", "to", "service", "then", "now", "flows", "frames", "last seen")
        if found["rows"]:
            print_rows(columns, (_row(row) for row in found["rows"]))
        if found["more"]:
            console().print(f"and {found['more']} more: --limit-rows")


def _row(row: dict[str, Any]) -> list[Any]:
    ends = [f"{row[f'{end}_asset'] or row[end]} in {row[f'{end}_zone']}" for end in ("src", "dst")]
    said = [f"{row[when]['conduit'] or row[when]['reason']}" for when in ("then", "now")]
    return [*ends, row["service"], *said, row["flows"], row["frames"], row["last_seen"][:19]]
