"""What a policy may say but probably shouldn't: warnings, never errors.

In: a sound `Policy` and its `Zoning`. Out: warnings POL2xx at their place. Called by `check`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from rules.addresses import PrefixIndex, address_block, prefix_block
from rules.membership import DESTINATION, MembershipTable
from rules.problems import Problem, Severity
from rules.records import ServiceKind
from rules.services import known_services, member_ranges

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rules.conduit_model import Conduit
    from rules.model import Policy
    from rules.zoning import Zoning

OUTSIDE = {"enterprise", "vendor", "remote"}
CELLS = {"control", "safety"}


def advice(policy: Policy, zoning: Zoning) -> list[Problem]:
    """Return the policy's warnings."""
    found = [*_unused_services(policy), *_assets(policy), *_jump_hosts_out_of_reach(policy, zoning)]
    for name, conduit in policy.conduits.items():
        found += _conduit(policy, zoning, name, conduit)
    return found


def _warning(policy: Policy, path: tuple[str | int, ...], code: str, message: str, hint: str = "") -> Problem:
    return Problem(*policy.place(*path), message, hint, code, Severity.WARNING)


def _conduit(policy: Policy, zoning: Zoning, name: str, conduit: Conduit) -> Iterator[Problem]:
    here = ("conduits", name)
    for side, selector in (("from", conduit.source), ("to", conduit.destination)):
        if not zoning.matches_something(selector):
            yield _warning(
                policy,
                (*here, side),
                "POL201",
                f"'{side}' of conduit '{name}' matches nothing",
                "no asset fits all of its keys",
            )
    sources, targets = zoning.reached_zones(conduit.opener()), zoning.reached_zones(conduit.destination)
    kinds = {zone: policy.zones[zone].kind for zone in (sources | targets) & set(policy.zones)}
    if {kinds.get(z) for z in sources} & OUTSIDE and {kinds.get(z) for z in targets} & CELLS:
        yield _warning(
            policy, here, "POL202", f"conduit '{name}' reaches a cell without passing the DMZ", "end it in the DMZ"
        )
    if any(kinds.get(zone) == "safety" for zone in targets) and _can_write(policy, conduit):
        yield _warning(
            policy, here, "POL203", f"conduit '{name}' can change a safety system", "a read-only path is safer"
        )
    shared = sorted(sources & targets)
    if shared:
        text = f"conduit '{name}' joins zone '{shared[0]}' with itself"
        yield _warning(policy, here, "POL206", text, "traffic inside a zone is not judged")
    if conduit.requires:
        text = f"conduit '{name}' requires {', '.join(conduit.requires)}, which nothing can prove yet: it stays closed"
        yield _warning(policy, (*here, "requires"), "POL248", text, "leave it out, or wait for sessions")
    if not conduit.owner:
        yield _warning(policy, here, "POL204", f"conduit '{name}' has no owner", "who answers for it?")
    if not conduit.reason:
        yield _warning(policy, here, "POL205", f"conduit '{name}' has no reason", "what stops working without it?")


def _can_write(policy: Policy, conduit: Conduit) -> bool:
    """Until operations are inspected, every service but ICMP may carry a write."""
    services = known_services(policy)
    kinds = {member_ranges(m)[0] for name in conduit.services for m in services[name].members()}
    return not kinds <= {ServiceKind.ICMP4, ServiceKind.ICMP6}


def _jump_hosts_out_of_reach(policy: Policy, zoning: Zoning) -> Iterator[Problem]:
    """Warn of a `via` that no conduit leads to from where its people are; seen zone by zone, not host by host."""
    jumps = {conduit.via: None for conduit in policy.conduits.values() if conduit.via is not None}
    if not jumps:
        return
    table = MembershipTable(policy, zoning)
    conduits = list(policy.conduits.values())
    reached_from: dict[str, set[str]] = {}
    for jump in jumps:
        asset = policy.assets[jump]
        ends = [table.of_address(asset.zone, address_block(ip), jump, asset) for ip in asset.ips]
        leading = {end.conduit for found in ends for end in found if end.side == DESTINATION}
        zones = (zoning.reached_zones(conduits[order].opener()) for order in leading)
        reached_from[jump] = {asset.zone}.union(*zones)
    for name, conduit in policy.conduits.items():
        if conduit.via is not None:
            cut_off = sorted(zoning.reached_zones(conduit.source) - reached_from[conduit.via])
            if cut_off:
                text = f"no conduit leads from zone '{cut_off[0]}' to jump host '{conduit.via}'"
                hint = "nobody there can use this conduit: add one that ends at the jump host"
                yield _warning(policy, ("conduits", name, "via"), "POL249", text, hint)


def _unused_services(policy: Policy) -> Iterator[Problem]:
    used = {service for conduit in policy.conduits.values() for service in conduit.services}
    used |= {service for group in policy.services.values() for service in group.group}
    for name in policy.services:
        if name not in used:
            yield _warning(
                policy, ("services", name), "POL207", f"no conduit carries service '{name}'", "remove it, or name it"
            )


def _assets(policy: Policy) -> Iterator[Problem]:
    own: dict[str, PrefixIndex[None]] = {}
    for name, zone in policy.zones.items():
        index = own.setdefault(name, PrefixIndex())
        for prefix in zone.prefixes:
            index.add(prefix_block(prefix), None)
    for name, asset in policy.assets.items():
        if policy.zones[asset.zone].prefixes:
            for at, ip in enumerate(asset.ips):
                if not ip.is_link_local and next(own[asset.zone].around(address_block(ip)), None) is None:
                    text = f"address {ip} of '{name}' lies in no prefix of its zone '{asset.zone}'"
                    yield _warning(policy, ("assets", name, "ips", at), "POL208", text, "extend the zone's prefixes")
        if asset.behind and policy.assets[asset.behind].zone != asset.zone:
            text = (
                f"router '{asset.behind}' is in zone '{policy.assets[asset.behind].zone}', '{name}' in '{asset.zone}'"
            )
            yield _warning(policy, ("assets", name, "behind"), "POL209", text, "frames come in by the router's ports")
        if not asset.ips and not asset.macs:
            yield _warning(policy, ("assets", name), "POL210", f"asset '{name}' has neither address nor MAC", "")
