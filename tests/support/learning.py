"""Plants and what was seen in them, drawn by hypothesis or written by hand: what learning is tested with.

In: draws, or a few words. Out: policies as plain values, observations of a tape, evidence.
"""

from __future__ import annotations

import json
from typing import Any, Final

from hypothesis import strategies as st

from fastpath.abi import Reason
from gateway.tape.sight import Sight, Sum
from gateway.tape.store import Observation
from rules.learning.evidence import ASSET, SLOT_S, End, Evidence, Number, Pair, Seen

BEGINNING: Final = 1_790_000_000 // 86_400 * 86_400  # a midnight, UTC
NS: Final = 1_000_000_000
KINDS: Final = ("supervisory", "control", "safety", "dmz", "enterprise", "engineering", "vendor")
ROLES: Final = ("r0", "r1", "no")  # a role may be called like a word of YAML
PROTOCOLS: Final = {"tcp": 6, "udp": 17, "icmp": 1}
NUMBERS: Final = (("tcp", 502), ("tcp", 102), ("tcp", 1234), ("udp", 44818), ("tcp", 44818), ("icmp", 8), ("udp", 53))


def end(zone: str, name: str, kind: str = ASSET) -> End:
    """Return an end."""
    return End(zone, kind, name)


def seen(quarters: int = 40, *, frames: int = 0, beginning: int = BEGINNING, every: int = 1) -> Seen:
    """Return something seen in so many quarters of an hour."""
    slots = [beginning + n * every * SLOT_S for n in range(quarters)]
    return Seen(slots[0] * NS, (slots[-1] + SLOT_S - 1) * NS, frames or 10 * quarters, 0, frozenset(slots))


def asked(
    source: End, destination: End, number: str = "tcp/502", reason: Reason = Reason.POLICY_NO_CONDUIT, **more: Any
) -> Evidence:
    """Return evidence of somebody who asked somebody else."""
    protocol, _, digits = number.partition("/")
    what = Number(protocol, int(digits, 0))
    return Evidence(Pair(source, destination), what, reason, more.pop("when", None) or seen(), **more)


def text(policy: dict[str, Any]) -> str:
    """Return a policy as the text that it is read from."""
    return json.dumps(policy)


def mac(zone: int, host: int) -> str:
    """Return the MAC of an asset."""
    return f"02:00:00:00:{zone:02x}:{host:02x}"


@st.composite
def plants(draw: st.DrawFn) -> dict[str, Any]:
    """Draw three to four zones with assets, roles, a window, and perhaps conduits."""
    kinds = draw(st.lists(st.sampled_from(KINDS), min_size=3, max_size=4))
    zones = {
        f"z{n}": {"kind": kind, "ports": [f"p{n}"], "prefixes": [f"10.{n}.0.0/24"]} for n, kind in enumerate(kinds)
    }
    assets = {}
    for zone in range(len(kinds)):
        for host in range(1, draw(st.integers(1, 6)) + 1):
            roles = draw(st.lists(st.sampled_from(ROLES), max_size=2, unique=True))
            assets[f"a{zone}{host}"] = {
                "zone": f"z{zone}", "ips": [f"10.{zone}.0.{host}"], "macs": [mac(zone, host)], "roles": roles,
            }  # fmt: skip
    safe = [n for n, kind in enumerate(kinds) if kind in ("supervisory", "dmz", "engineering")]
    conduits = {}
    if len(safe) >= 2 and draw(st.booleans()):
        conduits["known"] = {
            "from": {"zone": f"z{safe[0]}"}, "to": {"zone": f"z{safe[1]}"}, "services": ["modbus"],
            "enabled": draw(st.booleans()), "owner": "me", "reason": "it",
        }  # fmt: skip
    return {
        "version": 1,
        "site": {"name": "plant"},
        "zones": zones,
        "assets": assets,
        "windows": {"nights": {"weekly": [{"days": ["mon", "tue", "wed", "thu", "fri", "sat", "sun"],
                                           "from": "00:00", "to": "05:00"}]}},
        "conduits": conduits,
    }  # fmt: skip


@st.composite
def tapes(draw: st.DrawFn, plant: dict[str, Any]) -> list[Observation]:
    """Draw what a tape of the plant holds: mostly asset to asset, some of it strange."""
    zones = len(plant["zones"])
    found: dict[Sight, Observation] = {}
    for _ in range(draw(st.integers(1, 12))):
        here, there = draw(st.permutations(range(zones)))[:2]
        protocol, number = draw(st.sampled_from(NUMBERS))
        everyone = draw(st.booleans())  # whole zones, so that roles come about
        for source in _hosts(draw, plant, here, everyone=everyone):
            for destination in _hosts(draw, plant, there, everyone=everyone):
                one = _sight(draw, (here, source), (there, destination), protocol, number)
                found.setdefault(one, _observation(draw, one))
    return list(found.values())


def _hosts(draw: st.DrawFn, plant: dict[str, Any], zone: int, *, everyone: bool) -> list[int]:
    known = [int(name[2:]) for name in plant["assets"] if name.startswith(f"a{zone}")]
    if everyone:
        return known
    return [draw(st.sampled_from([*known, 99]))]  # 99: an address of the zone's that is no asset's


def _sight(draw: st.DrawFn, source: tuple[int, int], destination: tuple[int, int], protocol: str, number: int) -> Sight:
    odd = draw(st.sampled_from(("", "", "", "", "", "", "", "spoof", "stranger", "broken", "reply", "quarantine")))
    (here, host), (there, peer) = source, destination
    reason = {"broken": "FRAME_TRUNCATED", "quarantine": "GUARD_QUARANTINE"}.get(odd, "POLICY_NO_CONDUIT")
    return Sight(
        source="172.16.0.1" if odd == "stranger" else f"10.{here}.0.{host}", destination=f"10.{there}.0.{peer}",
        source_mac="02:00:00:00:ff:ff" if odd == "spoof" else mac(here, host), ethertype=0x0800,
        protocol=PROTOCOLS[protocol], number=number, reply=int(odd == "reply"), in_port=f"p{here}",
        out_port=f"p{there}", vlan=0, source_zone=f"z{here}", destination_zone=f"z{there}", source_asset="",
        destination_asset="", service="",
        operation="", conduit="", verdict="accept", policy_verdict="drop", reason=reason, stage="monitor", digest="0",
    )  # fmt: skip


def _observation(draw: st.DrawFn, one: Sight) -> Observation:
    at_night = draw(st.booleans())
    days = draw(st.sets(st.integers(0, 5), min_size=1, max_size=5))
    quarter = draw(st.integers(0, 19 if at_night else 95))
    slots = tuple(sorted((BEGINNING + day * 86_400 + quarter * SLOT_S) * NS for day in days))
    frames = draw(st.integers(1, 1000))
    return Observation(one, Sum(slots[0], slots[-1] + 5 * NS, 0, frames, 60 * frames), slots)
