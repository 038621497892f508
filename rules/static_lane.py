"""The fast lane as text: flows that the engine lets stay in the kernel, until a generation or their time is over.

In: the policy's ports, whether the lane is wanted. Out: sets of flows, a chain in front of the queue that lets their
frames pass, and rules of `static` that put a flow in. The mark of the engine's verdict is part of a flow's key: it
holds the generation, and `lane_generation` says which one is in force: replacing two elements ends every flow's stay.
Must never permit what the engine did not: an entry is made only from a frame that the engine itself marked.
Called by `static` and gateway/kernel.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from fastpath.abi import MARK_LANE, MARK_LANE_MASK
from rules.static_script import TABLE, Script, interface, rule_with

if TYPE_CHECKING:
    from collections.abc import Mapping

# "Passed by the lane": neither the queue nor `static` asks further. Set by the chain `lane` alone, cleared in `guard`.
MARK_LANED: Final = 0x00C00002
LANE_HOOK: Final = "lane"
LANE_PRIORITY: Final = -10  # behind quarantine, in front of the queue
LANE_COUNTER: Final = "lane"
GENERATION_MAP: Final = "lane_generation"
GENERATION_KEYS: Final = {"ip": 0x0800, "ip6": 0x86DD}
# A flow is judged again by the engine at least this often, whatever happens. Shorter than the 180 s after which the
# engine forgets a silent UDP flow (docs/reference/semantics.md): a flow in the lane is never silent there.
LANE_SECONDS: Final = 30
LANE_ELEMENTS: Final = 65536  # per set; an element takes about 250 bytes
PORT_SHIFT: Final = 24  # in a key's mark the number of the port that a frame came in by stands above the generation
# All that the engine knows a flow by. The last field is both addresses and both ports in one, which stand together in a
# header without options. Four fields because nft 1.0.6 can't list a set of five, with raw ones among them: it aborts.
_KEYS: Final = {
    "4": "meta mark . oif . ether saddr . @nh,96,96",
    "6": "meta mark . oif . ether saddr . @nh,64,288",
}
LANE_SETS: Final = ("lane_tcp4", "lane_udp4", "lane_tcp6", "lane_udp6")
LANE_CHAINS: Final = ("lane_ip4", "lane_ip6", "lane_taken", "lane_entered", "lane_enter4", "lane_enter6")
# What may pass unjudged of a flow: nothing that opens or ends a connection, and no header cut short or impossible.
_PASSING: Final = {"tcp": "tcp flags & (fin | syn | rst | ack) == ack tcp doff >= 5", "udp": "udp length >= 8"}
# The next header of IPv6 must be TCP or UDP itself: behind an extension header nothing passes, fragments neither.
_PLAIN: Final = {"4": "ip hdrlength 5 ip frag-off & 0x3fff == 0 ip protocol", "6": "ip6 nexthdr"}
_BY_VERSION: Final = "ether type vmap { ip : goto %s4, ip6 : goto %s6 }"


def lane_chains(script: Script, ports: Mapping[int, str], *, on: bool) -> None:
    """Append everything that the lane consists of; while it is off, only chains that ask nothing.

    `ports` are names by number: those between which a flow may stay in the kernel.
    """
    from_port = {number: f"lane_from_{number}" for number in sorted(ports)} if on else {}
    enter_port = {number: f"lane_enter_{number}" for number in from_port}
    for chain in (*LANE_CHAINS, *from_port.values(), *enter_port.values()):
        script.line(f"add chain {TABLE} {chain}")
    hook = f"type filter hook forward priority {LANE_PRIORITY}; policy accept;"
    script.line(f"add chain {TABLE} {LANE_HOOK} {{ {hook} }}")
    if not on:
        for chain in (LANE_HOOK, *LANE_CHAINS):
            script.hook(chain, ["accept"] if chain == "lane_entered" else [])
        return
    _declare(script)
    script.hook(LANE_HOOK, [_by_port(ports, from_port)])
    script.hook("lane_entered", [_by_port(ports, enter_port), "accept"])
    for number, chain in from_port.items():
        numbered = f"meta mark set meta mark or {number << PORT_SHIFT:#010x}"
        # `ether type` is that of the link header: a tagged frame's is 0x8100, so that the lane never sees one. Without
        # an element in the map the lane is closed.
        generation = f"meta mark set ether type map @{GENERATION_MAP}"
        by_version = _BY_VERSION.replace("%s", "lane_ip")
        script.hook(chain, [generation, "meta mark 0 accept", numbered, by_version])
        script.hook(enter_port[number], [numbered, _BY_VERSION.replace("%s", "lane_enter"), "accept"])
    for digit, key in _KEYS.items():
        sets = {name: f"{_PLAIN[digit]} {name[5:8]}" for name in LANE_SETS if name.endswith(digit)}
        taken = (f"{plain} {_PASSING[name[5:8]]} {key} @{name} goto lane_taken" for name, plain in sets.items())
        script.hook(f"lane_ip{digit}", [*taken, "meta mark set 0"])
        # A full set must not cost the frame: `add` then ends its rule, and the next one accepts.
        added = (f"{plain} add @{name} {{ {key} }}" for name, plain in sets.items())
        script.hook(f"lane_enter{digit}", [*added, "accept"])
    script.hook("lane_taken", [f"meta mark set {MARK_LANED:#010x} counter name {LANE_COUNTER} accept"])


def _declare(script: Script) -> None:
    limits = f"size {LANE_ELEMENTS}; flags dynamic,timeout; timeout {LANE_SECONDS}s; counter;"
    script.line(f"add map {TABLE} {GENERATION_MAP} {{ type ether_type : mark; size {len(GENERATION_KEYS)}; }}")
    for name in LANE_SETS:
        script.line(f"add set {TABLE} {name} {{ typeof {_KEYS[name[-1]]}; {limits} }}")


def _by_port(ports: Mapping[int, str], chains: Mapping[int, str]) -> str:
    return rule_with(
        (f"{interface(ports[number])} : goto {chain}" for number, chain in chains.items()), "iifname vmap %s"
    )


def unqueued() -> str:
    """Return the rule in front of the queue statement that spares the lane's frames."""
    return f"meta mark {MARK_LANED:#010x} accept"


def ending() -> list[str]:
    """Return the rules of `static` for the lane's frames, and for those with whose mark a flow enters it.

    The generation of the mark is not compared: an entry of an older one is never found, and its time runs out. `add`
    leaves an entry that exists as it is, so that its time runs out as well.
    """
    return [
        f"meta mark {MARK_LANED:#010x} accept",
        f"meta mark & {MARK_LANE_MASK:#010x} == {MARK_LANE:#010x} counter name judged_accepted goto lane_entered",
    ]


def lane_script() -> str:
    """Return the lane alone as one transaction: for trying whether a kernel takes it."""
    script = Script(0, ("nothing",))
    script.line(f"add table {TABLE}")
    for counter in ("judged_accepted", LANE_COUNTER):
        script.line(f"add counter {TABLE} {counter}")
    script.line(f"add chain {TABLE} static")
    lane_chains(script, {1: "probe0"}, on=True)
    script.hook("static", ending())
    return script.text()
