"""The policy in force as lists for people: zones, assets, conduits, stages, flows.

In: the control plane. Out: answer models. Reads only; a list is a copy of one moment.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from fastpath.abi import FLOW_CLOSED, LANE_GENERATIONS, NO_ASSET, NO_CONDUIT
from gateway.control.api.answers import AssetRow, ConduitRow, FlowRow, LaneAnswer, LaneRow, StagesAnswer, ZoneRow
from gateway.control.api.models import FlowsQuery, StageState
from gateway.control.event_text import timestamp
from gateway.control.readable import address_text, present
from gateway.control.stages import STAGE_NAMES, StageObject
from rules.inside import inside

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gateway.control.core import Core
    from gateway.control.in_force import PolicyInForce
    from gateway.control.names import NameBook
    from gateway.control.plane import ControlPlane
    from gateway.segment_readers import FlowFilter
    from rules.conduit_model import Limit, Selector

_PROTOCOLS = {1: "icmp", 6: "tcp", 17: "udp", 58: "icmpv6"}


def stage_state(core: Core, policy: PolicyInForce, target: StageObject) -> StageState:
    """Return one stage object as operators see it."""
    override = core.overrides.get(target.key)
    return StageState(
        object=target.key,
        conduit=target.conduit,
        pair=target.pair,
        stage=STAGE_NAMES[policy.stages.current(target)],
        effective=STAGE_NAMES[policy.stages.effective(target)],
        policy_stage=STAGE_NAMES[policy.stages.own(target)],
        overridden=override is not None,
        who=override.who if override else None,
        since=override.since if override else None,
        reason=override.reason if override else None,
    )


def stages(core: Core) -> StagesAnswer:
    """Return every stage object."""
    policy = core.policy()
    found = [stage_state(core, policy, target) for target in policy.stages.objects()]
    return StagesAnswer(
        ceiling=found[0],
        conduits=[state for state in found if state.conduit is not None],
        pairs=[state for state in found if state.pair is not None],
    )


def zones(core: Core) -> list[ZoneRow]:
    """Return every zone."""
    model = core.policy().compiled.policy
    return [
        ZoneRow(
            name=name,
            kind=zone.kind,
            sl_t=zone.sl_t.written(),
            ports=list(zone.ports),
            vlans=list(zone.vlans),
            prefixes=[str(prefix) for prefix in zone.prefixes],
            assets=sum(asset.zone == name for asset in model.assets.values()),
            description=zone.description,
        )
        for name, zone in model.zones.items()
    ]


def assets(plane: ControlPlane) -> list[AssetRow]:
    """Return every asset."""
    rows = []
    for name, asset in plane.core.policy().compiled.policy.assets.items():
        macs = [mac.hex(":") if isinstance(mac, bytes) else str(mac) for mac in asset.macs]
        ips = [str(ip) for ip in asset.ips]
        rows.append(
            AssetRow(
                name=name,
                zone=asset.zone,
                function=asset.function,
                location=asset.location,
                criticality=asset.criticality,
                roles=list(asset.roles),
                macs=macs,
                ips=ips,
                behind=asset.behind,
                quarantined=plane.quarantine.covering(macs, ips) is not None,
            )
        )
    return rows


def conduits(plane: ControlPlane) -> list[ConduitRow]:
    """Return every conduit with its stage and traffic."""
    policy = plane.core.policy()
    traffic = plane.counters.by_conduit(max((c.slot for c in policy.lowered.conduits), default=-1) + 1)
    rows = []
    for record in policy.lowered.conduits:
        model = policy.compiled.policy.conduits[record.name]
        state = stage_state(plane.core, policy, StageObject(conduit=record.name))
        sums = traffic.get(record.slot, {"accepted": 0, "dropped": 0})
        rows.append(
            ConduitRow(
                name=record.name,
                source=selector_text(model.source),
                via=model.via,
                destination=selector_text(model.destination),
                services=list(model.services),
                stage=state.stage,
                effective=state.effective,
                overridden=state.overridden,
                open=policy.state.conduit_open(record.slot),
                fail=record.fail.name.lower(),
                log=record.log.name.lower(),
                limit=limit_text(model.limit),
                inside=inside(model),
                windows=list(model.windows),
                next_change=plane.core.windows.next_change(policy, record.name),
                requires=list(model.requires),
                owner=model.owner,
                reason=model.reason,
                accepted=sums["accepted"],
                dropped=sums["dropped"],
            )
        )
    return rows


def limit_text(limit: Limit | None) -> str:
    """Return a limit as one line: `packets 500/s, new_flows 20/min, each source packets 100/s`."""
    if limit is None:
        return ""
    each = limit.per_source
    rates = {"packets": limit.packets, "new_flows": limit.new_flows}
    if each is not None:
        rates |= {"each source packets": each.packets, "each source new_flows": each.new_flows}
    return ", ".join(f"{what} {rate}" for what, rate in rates.items() if rate is not None)


def selector_text(selector: Selector) -> str:
    """Return a selector as one line: `zone control, role plc`."""
    parts = []
    for key in ("zone", "role", "asset", "prefix", "group"):
        values = [value.hex(":") if isinstance(value, bytes) else str(value) for value in getattr(selector, key)]
        if values:
            parts.append(f"{key} {'|'.join(values)}")
    return ", ".join(parts)


def flows(plane: ControlPlane, query: FlowsQuery) -> Iterator[FlowRow]:
    """Yield known flows that the query asks for."""
    for flow in plane.flows.flows(_flow_filter(plane.core.book, query)):
        yield _flow_row(plane, flow)


def _flow_filter(book: NameBook, query: FlowsQuery) -> FlowFilter | None:
    """Return what tells a wanted entry of the flow table; a generation whose names are forgotten has none."""
    if not query.asset and not query.conduit:
        return None

    def wanted(generation: int, conduit: int, opener: int, responder: int) -> bool:
        names = book.of(generation)
        if names is None:
            return False
        if query.conduit and query.conduit != names.conduit(present(conduit, NO_CONDUIT)):
            return False
        ends = (names.asset(present(asset, NO_ASSET)) for asset in (opener, responder))
        return not query.asset or query.asset in ends

    return wanted


def lane(plane: ControlPlane, frames: int, limit: int) -> LaneAnswer:
    """Return the fast lane; reads the kernel, so run it in a thread."""
    core = plane.core
    mark = core.current.state.lane_mark if core.current else 0
    found = core.kernel.lane_entries(limit + 1) if mark else []
    rows = [LaneRow.model_validate(entry, from_attributes=True) for entry in found[:limit] if entry.current]
    return LaneAnswer(
        open=mark != 0,
        mode=core.settings.lane.mode,
        generation=mark & LANE_GENERATIONS,
        frames=frames,
        flows=rows,
        more=len(found) > limit,
    )


def _flow_row(plane: ControlPlane, flow: dict[str, Any]) -> FlowRow:
    names = plane.core.book.of(flow["generation"])
    opener_asset, responder_asset = (present(flow[f"{end}_asset"], NO_ASSET) for end in ("opener", "responder"))
    return FlowRow(
        opener=address_text(flow["opener"]),
        opener_port=flow["opener_port"],
        responder=address_text(flow["responder"]),
        responder_port=flow["responder_port"],
        protocol=_PROTOCOLS.get(flow["protocol"], str(flow["protocol"])),
        opener_asset=names.asset(opener_asset) if names else None,
        responder_asset=names.asset(responder_asset) if names else None,
        opener_zone=names.zone(flow["opener_zone"]) if names else f"#{flow['opener_zone']}",
        responder_zone=names.zone(flow["responder_zone"]) if names else f"#{flow['responder_zone']}",
        conduit=names.conduit(present(flow["conduit"], NO_CONDUIT)) if names else None,
        service=names.service(flow["service"]) if names else None,
        opener_frames=flow["opener_frames"],
        responder_frames=flow["responder_frames"],
        opener_bytes=flow["opener_bytes"],
        responder_bytes=flow["responder_bytes"],
        first_seen=timestamp(flow["first_seen_ns"]),
        last_seen=timestamp(flow["last_seen_ns"]),
        closed=bool(flow["flags"] & FLOW_CLOSED),
    )
