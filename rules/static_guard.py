"""What comes first for every frame, as text: marks are cleared, and what is in quarantine goes no further.

In: the bridge's ports. Out: the chain `guard` and what it leads to, and small scripts for the chain `quarantine`. That
chain holds its lookups only while somebody is in quarantine: nine of them cost a frame more than all the rest of the
way to the queue. Must never depend on a policy. Called by `static` and gateway/kernel/guard.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from rules.static_script import ARP, ICMP, TABLE, Script, braces, foreign

if TYPE_CHECKING:
    from collections.abc import Sequence

QUARANTINE_SETS: Final = {
    "quarantine_mac": "type ether_addr",
    "quarantine_ip4": "type ipv4_addr",
    "quarantine_ip6": "type ipv6_addr",
    "quarantine_nd": "typeof @th,64,128",  # those of quarantine_ip6 again, as neighbour discovery's target field
}
QUARANTINE: Final = "quarantine"
# A policy swap declares these and leaves their rules alone, so that quarantine survives it.
GUARD_CHAINS: Final = (QUARANTINE, "quarantined")
_LOOKUPS: Final = (
    *("ether saddr @quarantine_mac", "ether daddr @quarantine_mac"),
    *("ip saddr @quarantine_ip4", "ip daddr @quarantine_ip4"),
    *(f"{ARP} arp saddr ip @quarantine_ip4", f"{ARP} arp daddr ip @quarantine_ip4"),
    *("ip6 saddr @quarantine_ip6", "ip6 daddr @quarantine_ip6"),
    f"{ICMP['6']} icmpv6 type {{ 135, 136 }} @th,64,128 @quarantine_nd",
)
# chain → hook: frames between the wire and the gateway itself, which is no host of the plant: none pass, at any stage.
LOCAL_HOOKS: Final = {"local_in": "input", "local_out": "output"}
LOCAL_PRIORITY: Final = -20


def declare_guard(script: Script) -> None:
    """Append everything of the guard that has a name; declaring again changes nothing."""
    for name, kind in QUARANTINE_SETS.items():
        script.line(f"add set {TABLE} {name} {{ {kind}; flags timeout; }}")
    for chain in GUARD_CHAINS:
        script.line(f"add chain {TABLE} {chain}")
    for chain, hook in LOCAL_HOOKS.items():
        line = f"type filter hook {hook} priority {LOCAL_PRIORITY}; policy accept;"
        script.line(f"add chain {TABLE} {chain} {{ {line} }}")


def guard_chains(script: Script, ports: Sequence[str], first: Sequence[str] = (), offering: Sequence[str] = ()) -> None:
    """Append the rules: clear the mark, which only the engine may set, drop quarantine and talk to ourselves.

    `first`: where frames of the lane's ports go. `offering`: what counts the frames that go on, and offers them to the
    engine. Both stand here because one more chain at the hook costs every frame.
    """
    script.hook("guard", [*first, foreign(ports), "meta mark set 0", f"jump {QUARANTINE}", *offering])
    script.hook("quarantined", ["counter name c_quarantined drop"])
    ours = braces(ports)
    for chain, where in (("local_in", "iifname"), ("local_out", "oifname")):
        script.hook(chain, [f"{where} {ours} counter name local_dropped drop"] if ours else [])


def quarantine_script(*, occupied: bool) -> str:
    """Return the lines that make the chain `quarantine` look its sets up, or ask nothing."""
    script = Script(0, ("nothing",))
    script.hook(QUARANTINE, [f"{lookup} goto quarantined" for lookup in _LOOKUPS] if occupied else [])
    return script.text()
