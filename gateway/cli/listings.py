"""`zones`, `assets`, `conduits`, `flows`, `lane`: the policy in force and what it lets through, as lists."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from gateway.cli.session import console, print_pairs, print_rows, session
from gateway.cli.state import Watch


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command()(zones)
    app.command()(assets)
    app.command()(conduits)
    app.command()(flows)
    app.command()(lane)
    app.command()(journal)


def zones(context: typer.Context) -> None:
    """Zones: groups of assets with similar security needs, and the ports behind which they are."""
    here = session(context)
    columns = ("name", "kind", "sl_t", "ports", "vlans", "prefixes", "assets", "description")
    here.show(here.client.get("/v1/zones"), lambda content: _rows(columns, content["zones"]))


def assets(
    context: typer.Context, zone: Annotated[str | None, typer.Option(help="only assets of this zone")] = None
) -> None:
    """Assets: devices with their zone, addresses and roles."""
    here = session(context)
    content = here.client.get("/v1/assets")
    content["assets"] = [asset for asset in content["assets"] if zone is None or asset["zone"] == zone]
    columns = ("name", "zone", "function", "criticality", "roles", "macs", "ips", "behind", "quarantined")
    here.show(content, lambda found: _rows(columns, found["assets"]))


def conduits(context: typer.Context, watch: Watch = None) -> None:
    """Conduits: the only permitted paths between zones, their stages and their traffic."""
    here = session(context)
    traffic = ("accepted", "dropped")
    columns = (
        "name",
        "source",
        "destination",
        "services",
        "stage",
        "effective",
        "open",
        "windows",
        "next_change",
        "fail",
        "limit",
        *traffic,
    )
    here.watch(watch, lambda: here.client.get("/v1/conduits"), lambda content: _rows(columns, content["conduits"]))


def flows(
    context: typer.Context,
    asset: Annotated[str | None, typer.Option(help="only flows of this asset")] = None,
    conduit: Annotated[str | None, typer.Option(help="only flows of this conduit")] = None,
    limit: Annotated[int, typer.Option(min=1, max=100_000)] = 1000,
    watch: Watch = None,
) -> None:
    """Flows: the conversations that the engine knows now, who opened them and by which conduit."""
    here = session(context)
    asked: dict[str, Any] = {"asset": asset, "conduit": conduit, "limit": limit}
    here.watch(watch, lambda: here.client.get("/v1/flows", **asked), _flows_table)


def _flows_table(content: dict[str, Any]) -> None:
    print_rows(
        ("opener", "responder", "protocol", "service", "conduit", "frames", "bytes", "last seen"),
        (
            (
                _end(flow, "opener"),
                _end(flow, "responder"),
                flow["protocol"],
                flow["service"],
                flow["conduit"],
                f"{flow['opener_frames']}/{flow['responder_frames']}",
                f"{flow['opener_bytes']}/{flow['responder_bytes']}",
                flow["last_seen"],
            )
            for flow in content["flows"]
        ),
    )
    if content["more"]:
        console().print("there are more: --limit", style="yellow")


def _end(flow: dict[str, Any], end: str) -> str:
    name = flow[f"{end}_asset"]
    return f"{flow[end]}:{flow[f'{end}_port']}" + (f" ({name})" if name else "")


def lane(
    context: typer.Context,
    limit: Annotated[int, typer.Option(min=1, max=100_000)] = 1000,
    watch: Watch = None,
) -> None:
    """The fast lane: flows that the engine lets stay in the kernel, one row for each direction."""
    here = session(context)
    here.watch(watch, lambda: here.client.get("/v1/lane", limit=limit), _lane_table)


def _lane_table(content: dict[str, Any]) -> None:
    state = f"open, generation {content['generation']}" if content["open"] else "closed"
    print_pairs([("lane", state), ("mode", content["mode"]), ("frames", content["frames"])])
    print_rows(
        ("source", "destination", "protocol", "MAC", "packets", "bytes", "judged again in"),
        (
            (
                f"{flow['source']}:{flow['source_port']}",
                f"{flow['destination']}:{flow['destination_port']}",
                flow["protocol"],
                flow["source_mac"],
                flow["packets"],
                flow["bytes"],
                f"{flow['seconds_left']} s",
            )
            for flow in content["flows"]
        ),
    )
    if content["more"]:
        console().print("there are more: --limit", style="yellow")


def journal(
    context: typer.Context,
    limit: Annotated[int, typer.Option(min=1, max=10_000)] = 50,
    verify: Annotated[bool, typer.Option("--verify", help="walk the whole hash chain")] = False,
) -> None:
    """The journal: who did what, when, with which result. Needs the role engineer."""
    here = session(context)
    here.show(
        here.client.get("/v1/journal", limit=limit, verify=verify), lambda content: _journal(content, verify=verify)
    )


def _journal(content: dict[str, Any], *, verify: bool) -> None:
    columns = ("number", "time", "user", "role", "action", "result", "detail")
    _rows(columns, content["entries"])
    if verify:
        broken = content["broken_at"]
        text = "the hash chain is whole" if broken is None else f"the hash chain is broken at entry {broken}"
        console().print(text, style="green" if broken is None else "bold red")


def _rows(columns: tuple[str, ...], rows: list[dict[str, Any]]) -> None:
    print_rows([column.replace("_", " ") for column in columns], ([row[column] for column in columns] for row in rows))
