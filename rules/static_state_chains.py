"""What is permitted now, and what becomes of a violation: the fallback's only chains that change at run time.

In: a lowered policy, the effective stages of the zone pairs and the closed conduits. Out: small chains that return
when the answer is no. They hold sets and never maps: the kernel empties a map that a transaction removes before the
frames that are under way have left it, and those frames would be dropped.
Must never accept a frame except by going to the chains `permit` and `tolerate`. Called by `static` only.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from fastpath.abi import Stage
from rules.pairs import PairStages
from rules.records import LoweredPolicy, ServiceKind
from rules.static_relations import Relations, permitted
from rules.static_script import Script, classid, rule_with

if TYPE_CHECKING:
    from collections.abc import Mapping
    from collections.abc import Set as AbstractSet

# kind → chain that is asked for it, and where it goes when the answer is yes; the same for answers to such a frame
FORWARD: Final = {
    ServiceKind.TCP: ("may_tcp", "permit"),
    ServiceKind.UDP: ("may_udp", "udp_accepted"),
    ServiceKind.IP: ("may_ip", "permit"),
    ServiceKind.ICMP4: ("may_icmp4", "icmp4_accepted"),
    ServiceKind.ICMP6: ("may_icmp6", "icmp6_accepted"),
    ServiceKind.ETHERTYPE: ("may_ethertype", "permit"),
}
REVERSE: Final = {ServiceKind.TCP: ("may_tcp_reverse", "permit"), ServiceKind.UDP: ("may_udp_reverse", "udp_reply")}
MANY_PAIRS: Final = 4096  # nft takes a second for 100,000
ECHO_REQUEST: Final = {ServiceKind.ICMP4: ("4", 8), ServiceKind.ICMP6: ("6", 128)}  # RFC 792, RFC 4443
STATE_CHAINS: Final = (
    *("violation", "neighbour", "anything", "may_echo4_reverse", "may_echo6_reverse"),
    *(chain for chain, _ in FORWARD.values()),
    *(chain for chain, _ in REVERSE.values()),
)


def state_chains(
    script: Script,
    policy: LoweredPolicy,
    numbered: Relations,
    stages: Mapping[tuple[int, int], Stage],
    closed: AbstractSet[int],
) -> None:
    """Append every chain that depends on effective pair stages or on which conduits are closed."""
    now = permitted(policy, numbered, closed)
    _violation(script, PairStages.of(stages))
    script.chain("neighbour", [rule_with(map(str, now.neighbours), "meta mark %s goto permit"), "goto violation"])
    # `fail: open`: between these endpoints every sound IP service passes, both ways.
    script.chain("anything", [rule_with(map(str, now.every_ip_service), "meta mark %s goto permit")])
    for asked, allowed in ((FORWARD, now.forward), (REVERSE, now.reverse)):
        for kind, (chain, target) in asked.items():
            pairs = (f"{relation} . {classid(service)}" for relation, service in allowed[kind])
            script.chain(chain, [rule_with(pairs, f"meta mark . meta priority %s goto {target}")])
    for kind, (digit, request) in ECHO_REQUEST.items():
        echo = {
            service.klass
            for service in policy.services
            if service.kind is kind and service.first <= request <= service.last
        }
        answered = (str(relation) for relation, service in now.reverse[kind] if service in echo)
        script.chain(f"may_echo{digit}_reverse", [rule_with(answered, f"meta mark %s goto icmp{digit}_reply")])


def _violation(script: Script, stages: PairStages) -> None:
    """Append what becomes of a violation: pairs that tolerate it are listed, and the rest denies.

    Only where nearly a million pairs would be listed it is the other way round. The zones come from our own maps: each
    pair of them, the unknown zone's included, is one of `stages`.
    """
    strict = stages.count(Stage.ENFORCE)
    tolerating = len(stages) - strict > max(MANY_PAIRS, strict)
    listed = (f"{a} . {classid(b)}" for a, b in stages.enforced(is_it=tolerating))
    listed_end, other_end = ("deny", "tolerate") if tolerating else ("tolerate", "deny")
    pairs = rule_with(listed, f"meta mark . meta priority %s goto {listed_end}")
    script.chain("violation", ["jump zones", pairs, f"goto {other_end}"])
