"""`status`, `doctor`, `counters`, `explain`: what is going on, and why."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from gateway.cli.failure import Failure
from gateway.cli.session import console, print_pairs, print_rows, session
from gateway.errors import ExitCode

Watch = Annotated[float | None, typer.Option("--watch", "-w", min=0.2, help="show again every so many seconds")]


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command()(status)
    app.command()(doctor)
    app.command()(counters)
    app.command()(explain)


def status(context: typer.Context, watch: Watch = None) -> None:
    """The gateway at a glance: engine, policy in force, site ceiling, what is degraded."""
    here = session(context)
    here.watch(watch, lambda: here.client.get("/v1/status"), _status_table)


def _status_table(content: dict[str, Any]) -> None:
    policy, engine = content["policy"], content["engine"]
    print_pairs(
        [
            ("state", content["state"]),
            ("site", policy and policy["site"]),
            ("engine", f"{engine['state']}, pid {engine['pid']}, {engine['restarts']} restarts"),
            ("interception", content["interception"]),
            ("policy", policy and f"generation {policy['generation']}, {policy['name']}, {policy['digest'][:12]}"),
            ("applied", policy and f"{policy['applied']} by {policy['who']}"),
            ("ceiling", content["ceiling"]),
            ("stage overrides", content["overrides"]),
            ("in quarantine", content["quarantined"]),
            ("events lost", content["events_lost"] + content["events_file_lost"]),
            ("up", f"{content['uptime_seconds']} s, version {content['version']}"),
        ]
    )
    if policy and policy["file_differs"]:
        console().print("the policy file says something else than the policy in force", style="yellow")
    if (pending := content["pending"]) is not None:
        what = pending["name"] if pending["what"] == "policy" else f"the stage of {pending['name']}"
        text = f"{what} waits to be confirmed: goes back by itself in {pending['seconds_left']:.0f} s"
        console().print(text, style="yellow", markup=False)
    for part, text in content["trouble"].items():
        console().print(f"{part}: {text}", style="red")


def doctor(context: typer.Context) -> None:
    """What this machine can do, which interception is used and why, what is degraded. Works without the daemon."""
    here = session(context)
    try:
        content = here.client.get("/v1/doctor")
    except Failure as failure:
        if failure.exit_code is not ExitCode.UNREACHABLE:
            raise
        content = _doctor_alone(failure)
    here.show(content, _doctor_table)


def _doctor_alone(failure: Failure) -> dict[str, Any]:
    from gateway.control import doctor as examination  # noqa: PLC0415 (needs the compiled engine; --help must not)
    from gateway.control.kernel_link import probed  # noqa: PLC0415 (needs the compiled engine; --help must not)

    capabilities = probed()
    form = examination.form_of(capabilities)
    findings = [
        {"level": "warning", "topic": "daemon", "text": failure.detail, "hint": failure.hint},
        *(finding.model_dump() for finding in examination.machine_findings(capabilities, form)),
        *(finding.model_dump() for finding in examination.host_findings(form, running=False)),
    ]
    return {"interception": form.name.lower() if form else None, "capabilities": capabilities, "findings": findings}


def _doctor_table(content: dict[str, Any]) -> None:
    for finding in content["findings"]:
        style = {"ok": "green", "warning": "yellow", "bad": "bold red"}.get(finding["level"], "")
        console().print(f"{finding['level']:8} {finding['topic']}: {finding['text']}", style=style)
        if finding["hint"]:
            console().print(f"         → {finding['hint']}")


def counters(context: typer.Context, watch: Watch = None) -> None:
    """Every frame accounted for: judged, in the fast lane, left to the kernel's static rules, lost. It closes."""
    here = session(context)
    here.watch(watch, lambda: here.client.get("/v1/counters"), _counters_table)


def _counters_table(content: dict[str, Any]) -> None:
    names = (
        "frames_before_queue", "judged_accepted", "dropped", "lane", "static", "lost", "waiting", "unaccounted",
        "judged", "accepted", "would_drop", "static_accepted", "static_dropped", "static_would_drop", "quarantined",
        "l2", "l2_accepted", "l2_dropped", "l2_would_drop",
    )  # fmt: skip
    print_pairs((name, content[name]) for name in names)
    print_rows(
        ("reason", "passed", "dropped"),
        ((reason, sums["passed"], sums["dropped"]) for reason, sums in sorted(content["by_reason"].items())),
    )
    print_rows(
        ("conduit", "accepted", "dropped"),
        ((name, sums["accepted"], sums["dropped"]) for name, sums in content["by_conduit"].items()),
    )


def explain(
    context: typer.Context,
    source: Annotated[str, typer.Argument(help="who would open it: an asset, an IP or a MAC")],
    destination: Annotated[str, typer.Argument(help="to whom: an asset, an IP or a MAC")],
    service: Annotated[str, typer.Argument(help="a service's name, or like tcp/502, udp/47808, icmp/8, arp")],
    policy: Annotated[
        Path | None, typer.Option("--policy", help="ask this file instead of the running gateway")
    ] = None,
    source_zone: Annotated[str | None, typer.Option(help="where SOURCE is, for an address no zone lists")] = None,
    destination_zone: Annotated[str | None, typer.Option(help="where DESTINATION is")] = None,
    at: Annotated[
        str | None, typer.Option("--at", help="with windows as they are then: 2026-11-28T06:00, the site's local time")
    ] = None,
    message: Annotated[
        str | None, typer.Option("--message", help="what SOURCE then sends, in hexadecimal, where messages are judged")
    ] = None,
) -> None:
    """Would it pass, by which conduit, for which reason, in which stage? Asks the engine's own code, sends nothing."""
    here = session(context)
    asked = {"source": source, "destination": destination, "service": service}
    asked |= {"source_zone": source_zone or "", "destination_zone": destination_zone or "", "at": at or ""}
    asked |= {"message": message or ""}
    given = {name: value for name, value in asked.items() if value}
    content = _explain_file(policy, given) if policy else here.client.get("/v1/explain", **given)
    here.show(content, _explain_table)


def _explain_file(path: Path, asked: dict[str, str]) -> dict[str, Any]:
    from gateway.cli.policy import compiled  # noqa: PLC0415 (needs the compiled engine; --help must not)
    from gateway.control.explain_file import explain_policy  # noqa: PLC0415 (needs the compiled engine; --help must not)

    return explain_policy(compiled(path), asked)


def _explain_table(content: dict[str, Any]) -> None:
    passes = content["verdict"] == "accept"
    would = " (the policy forbids it; the stage lets it pass)" if passes and content["policy_verdict"] == "drop" else ""
    console().print(("passes" if passes else "is dropped") + would, style="green" if passes else "red")
    print_pairs(
        [
            ("from", f"{content['source']} in {content['source_zone']}"),
            ("to", f"{content['destination']} in {content['destination_zone']}"),
            ("service", content["service"]),
            ("policy says", content["policy_verdict"]),
            ("the sender gets", content["answer"] or "nothing" if content["verdict"] == "drop" else None),
            ("reason", f"{content['reason']}: {content['text']}"),
            ("conduit", content["conduit"]),
            ("permits inside", "\n".join(content["inside"]) or None),
            ("the message asks", "\n".join(content["asks"]) or None),
            ("note", content["note"]),
            ("stage", content["stage"]),
            ("ceiling", content["ceiling"]),
        ]
    )
    for part in content["parts"]:
        console().print(f"  {part['service']}: {part['verdict']} {part['reason']} {part['conduit'] or ''}")
