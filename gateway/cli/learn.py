"""`learn`: what was seen → conduits to read, confirm and add to the policy; needs the daemon only for its own tape."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from gateway.cli.captures import shown_progress, tell_damage
from gateway.cli.failure import Failure
from gateway.cli.in_force import bundle_in_force
from gateway.cli.learn_table import show_learned, tell_accepted
from gateway.cli.policy import refused_policy
from gateway.cli.session import Session, session
from gateway.cli.tape import Since, Until, observations
from gateway.errors import ExitCode

if TYPE_CHECKING:
    from gateway.simulate.summary import Reading
    from rules.bundle import Bundle
    from rules.compile import Compiled
    from rules.learning.evidence import Evidence

STAGES: Final = ("monitor", "alert", "enforce")
LEVELS: Final = ("low", "medium", "high")


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(learn)


def learn(
    context: typer.Context,
    tape: Annotated[bool, typer.Option("--tape", help="learn from what the daemon has seen (usual)")] = False,
    tape_file: Annotated[Path | None, typer.Option(help="the same from a tape's file, or from `tape export`")] = None,
    pcap: Annotated[
        list[str] | None, typer.Option("--pcap", "-r", help="a capture or a folder of them; FILE=PORT as in simulate")
    ] = None,
    since: Since = None,
    until: Until = None,
    policy: Annotated[
        Path | None, typer.Option("--policy", "-p", help="add to this file, not to what is in force")
    ] = None,
    everything: Annotated[
        bool, typer.Option("--all", help="learn from what conduits permitted too, to replace those that are too broad")
    ] = False,
    accept: Annotated[Path | None, typer.Option("--accept", help="write the proposals to this new file")] = None,
    stage: Annotated[str, typer.Option("--stage", help="the stage that accepted conduits get")] = STAGES[0],
    owner: Annotated[str, typer.Option("--owner", help="who answers for accepted conduits")] = "to be confirmed",
    min_confidence: Annotated[
        str, typer.Option("--min-confidence", help="low, medium or high: what is less sure is withheld")
    ] = LEVELS[1],
    members: Annotated[
        int, typer.Option("--members", min=1, help="a role needs so many members seen before it stands for them")
    ] = 2,
    member_percent: Annotated[
        int, typer.Option("--member-percent", min=1, max=100, help="and so many percent of its members")
    ] = 80,
    pair_percent: Annotated[
        int, typer.Option("--pair-percent", min=1, max=100, help="and of the pairs that it would permit")
    ] = 80,
    ports: Annotated[int, typer.Option("--ports", min=1, help="more ports of one destination look like a scan")] = 16,
    ingress: Annotated[
        str | None, typer.Option("--ingress", help="the port or zone that all frames of captures came in by")
    ] = None,
) -> None:
    """Which conduits would permit what was seen and is forbidden today?

    Proposes, never changes anything. Roles stand for assets where enough of them were seen; what a check of severity
    error forbids is withheld, as are unknown addresses, spoofs, broken frames and scans. --accept writes a
    fragment of the policy with what was seen above each conduit.
    """
    here = session(context)
    _refuse_contradictions(pcap, stage, min_confidence, from_tape=tape or tape_file is not None)
    from gateway.learning.accepting import accept as write  # noqa: PLC0415 (loads YAML and models; --help must not)
    from gateway.learning.accepting import refuse_existing  # noqa: PLC0415 (as above)
    from gateway.learning.report import report  # noqa: PLC0415 (as above)
    from rules.learning.confidence import Level  # noqa: PLC0415 (as above)
    from rules.learning.fragment import Accepting  # noqa: PLC0415 (as above)
    from rules.learning.proposing import learn as learned_from  # noqa: PLC0415 (as above)
    from rules.learning.thresholds import Thresholds  # noqa: PLC0415 (as above)
    from rules.problems import PolicyError  # noqa: PLC0415 (as above)

    if accept is not None:
        refuse_existing(accept)
    bundle, compiled = _policy(here, policy)
    today = datetime.now().astimezone().date()
    readings: tuple[Reading, ...] = ()
    if pcap:
        evidence, readings = _from_captures(compiled, bundle.name, pcap, ingress)
        source = f"{len(readings)} capture{'s' if len(readings) > 1 else ''}"
    else:
        evidence = _from_tape(here, compiled, tape_file, since, until)
        source = "the decision tape" if tape_file is None else tape_file.name
    try:
        learned = learned_from(
            compiled.policy,
            evidence,
            thresholds=Thresholds(members, member_percent, pair_percent, ports),
            today=today,
            least=Level[min_confidence.upper()],
            everything=everything,
        )
        if accept is not None and learned.proposals:
            write(bundle, learned, Accepting(today, source, stage, owner), accept)
    except PolicyError as error:
        raise refused_policy(Path(bundle.name), error) from error
    here.show(report(learned), show_learned)
    if accept is not None:
        tell_accepted(bundle, learned, accept)
    tell_damage(readings)


def _refuse_contradictions(pcap: list[str] | None, stage: str, min_confidence: str, *, from_tape: bool) -> None:
    if from_tape and pcap:
        raise Failure(ExitCode.USAGE, "captures or a tape?", "give --pcap FILE, or --tape, or --tape-file FILE")
    for option, given, known in (("--stage", stage, STAGES), ("--min-confidence", min_confidence, LEVELS)):
        if given not in known:
            raise Failure(ExitCode.USAGE, f"{option} {given!r} is none of {', '.join(known)}")


def _policy(here: Session, file: Path | None) -> tuple[Bundle, Compiled]:
    """Return the policy to add to, from all of its files. Raises Failure."""
    from rules.bundle import read_bundle  # noqa: PLC0415 (loads YAML and models; --help must not)
    from rules.compile import compile_bundle  # noqa: PLC0415 (as above)
    from rules.problems import PolicyError  # noqa: PLC0415 (as above)

    try:
        bundle = read_bundle(file) if file is not None else bundle_in_force(here)
        return bundle, compile_bundle(bundle)
    except PolicyError as error:
        raise refused_policy(file or Path("the policy in force"), error) from error


def _from_tape(
    here: Session, compiled: Compiled, file: Path | None, since: str | None, until: str | None
) -> list[Evidence]:
    from gateway.learning.from_tape import evidence  # noqa: PLC0415 (needs the compiled engine; --help must not)

    return evidence(compiled, observations(here, file, since, until))


def _from_captures(
    compiled: Compiled, name: str, pcap: list[str], ingress: str | None
) -> tuple[list[Evidence], tuple[Reading, ...]]:
    from gateway.learning.from_captures import evidence  # noqa: PLC0415 (needs the compiled engine; --help must not)
    from gateway.simulate.sources import capture_files  # noqa: PLC0415 (as above)

    files = capture_files(pcap, ingress)
    with shown_progress(files) as progress:
        return evidence(compiled, name, files, progress)
