"""`simulate`: what a policy would have done to recorded traffic, by the engine's own code; with --policy no daemon."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from gateway.cli.captures import shown_progress, tell_damage
from gateway.cli.failure import Failure
from gateway.cli.in_force import in_force, not_counted
from gateway.cli.policy import compiled
from gateway.cli.session import Output, session
from gateway.cli.simulate_table import show_summary
from gateway.cli.simulate_tape import simulate_tape
from gateway.cli.tape import Since, Until
from gateway.errors import ExitCode

if TYPE_CHECKING:
    from fastpath.replay import Outcome
    from gateway.simulate.candidate import Candidate
    from gateway.simulate.simulation import Frames
    from gateway.simulate.sources import CaptureFile

STAGES: Final = ("as-written", "enforce")


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(simulate)


def simulate(
    context: typer.Context,
    pcap: Annotated[
        list[str] | None,
        typer.Option("--pcap", "-r", help="a capture or a folder of them; FILE=PORT when all came in by it"),
    ] = None,
    tape: Annotated[bool, typer.Option("--tape", help="judge what the daemon has seen, instead of captures")] = False,
    tape_file: Annotated[Path | None, typer.Option(help="the same from a tape's file, or from `tape export`")] = None,
    since: Since = None,
    until: Until = None,
    policy: Annotated[
        Path | None, typer.Option("--policy", "-p", help="judge by this file, not by what is in force")
    ] = None,
    diff: Annotated[
        Path | None, typer.Option("--diff", help="show only what this other policy would do otherwise")
    ] = None,
    ingress: Annotated[
        str | None, typer.Option("--ingress", help="the port or zone that all frames came in by")
    ] = None,
    stage: Annotated[str, typer.Option("--stage", help="as-written, or enforce everything")] = STAGES[0],
    limit_rows: Annotated[int, typer.Option("--limit-rows", min=0, help="how many conversations are shown")] = 50,
) -> None:
    """What would a policy have done to recorded traffic? Judges captures by the engine's own code; sends nothing.

    pcap and pcapng. A capture knows no ports: each frame comes in where the policy says that its source is and goes out
    where its destination is. A tape is asked about the opening of each conversation. -o json: a summary that adds up to
    the frames read; -o jsonl: one line per frame.
    Exit code 7: a capture was damaged; what stood before the damage was judged and shown.
    """
    from gateway.simulate.candidate import Candidate, Stages  # noqa: PLC0415 (needs the compiled engine; --help must not)
    from gateway.simulate.simulation import Simulation  # noqa: PLC0415 (needs the compiled engine; --help must not)
    from gateway.simulate.sources import capture_files  # noqa: PLC0415 (needs the compiled engine; --help must not)

    here = session(context)
    if stage not in STAGES:
        raise Failure(ExitCode.USAGE, f"--stage {stage!r} is neither of {' and '.join(STAGES)}")
    if (tape or tape_file is not None) == bool(pcap):
        raise Failure(ExitCode.USAGE, "captures or a tape?", "give --pcap FILE, or --tape, or --tape-file FILE")
    chosen = compiled(policy) if policy else in_force(here)
    name = str(policy) if policy else "in force"
    live = {} if policy else {"not_counted": not_counted(here)}
    if not pcap:
        if diff or ingress or stage != STAGES[0]:
            raise Failure(ExitCode.USAGE, "--diff, --ingress and --stage are for captures", "a tape knows its ports")
        simulate_tape(here, chosen, name, tape_file, since, until, limit_rows, live)
        return
    files = capture_files(pcap, ingress)
    candidate = Candidate(chosen, name, stages=Stages(stage))
    other = Candidate(compiled(diff), str(diff), stages=Stages(stage)) if diff else None
    run = Simulation(candidate, other, limit_rows=limit_rows)
    frames = _printer(candidate, other) if here.output is Output.JSONL else None
    with shown_progress(files) as progress:
        summary = run.run(files, progress=progress, frames=frames)
    if frames is None:
        here.show(summary.as_dict() | live, show_summary)
    tell_damage(summary.readings)


def _printer(candidate: Candidate, other: Candidate | None) -> Frames:
    from gateway.simulate.lines import difference_lines, frame_lines  # noqa: PLC0415 (as above)

    out = sys.stdout.buffer

    def show(file: CaptureFile, first: int, outcomes: list[Outcome], beside: list[Outcome] | None) -> None:
        path = str(file.path)
        if beside is None or other is None:
            out.writelines(frame_lines(path, first, outcomes, candidate.wording))
        else:
            pairs = list(zip(outcomes, beside, strict=True))
            out.writelines(difference_lines(path, first, pairs, candidate.wording, other.wording))

    return show
