"""Policy swaps while frames fly: streams of frames in which the policy changes and conversations go on.

In: a drawn policy and a seeded random.Random. Out: operations for tests/support/judging, with `Swap` among them. The
policy after a swap has the same zones and ports, at most the same conduits by name (each in its slot, as control keeps
them), and other assets, selectors, services, limits and stages. Called by tests/property and bench/differential.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

from rules.compile import compile_text
from rules.problems import PolicyError

from .frames import Stream
from .judging import PAUSE_SHARE, PAUSES_NS, TOGGLE_SHARE, Pause, Swap, draw_toggle
from .policies import DrawnPolicy, draw_conduit, draw_limit, draw_mac, policy_text

if TYPE_CHECKING:
    import random
    from collections.abc import Iterator, Mapping

    from .judging import Operation
    from .plain import Asset, Conduit, Frame, PlainPolicy

SWAP_SHARE: Final = 0.015
AGAIN_SHARE: Final = 0.5  # of the frames come once more, mostly from before a swap: flows are found again by them
REMEMBERED_FRAMES: Final = 80
CHANGED_SHARE: Final = 0.3
ATTEMPTS: Final = 40


def draw_swaps(drawn: DrawnPolicy, rng: random.Random, frames: int) -> Iterator[Operation]:
    """Yield a stream of frames with swaps, toggles and pauses in between."""
    slots = {conduit.name: conduit.slot for conduit in drawn.compiled.lowered.conduits}
    current, stream = drawn, Stream(drawn.plain, rng).frames(frames)
    before: list[Frame] = []
    for _ in range(frames):
        if rng.random() < SWAP_SHARE:
            current = changed(drawn, slots, rng)
            stream = Stream(current.plain, rng).frames(frames)
            yield Swap(current)
        if rng.random() < TOGGLE_SHARE:
            yield draw_toggle(current, rng)
        if rng.random() < PAUSE_SHARE:
            yield Pause(rng.choice(PAUSES_NS))
        frame = rng.choice(before) if before and rng.random() < AGAIN_SHARE else next(stream)
        before = [*before[1 - REMEMBERED_FRAMES :], frame]
        yield frame


def changed(drawn: DrawnPolicy, slots: Mapping[str, int], rng: random.Random) -> DrawnPolicy:
    """Return another policy of the same site that the product accepts; at last the same one."""
    for attempt in range(ATTEMPTS):
        plain = change(drawn.plain, rng)
        text = policy_text(plain)
        try:
            return DrawnPolicy(plain, text, compile_text(text, "changed.yaml", slots), attempt)
        except PolicyError:
            continue
    return drawn


def change(policy: PlainPolicy, rng: random.Random) -> PlainPolicy:
    """Return a policy in which something is different; it may break a rule of the checks."""
    assets = tuple(_change_asset(asset, policy, rng) for asset in policy.assets)
    kept = tuple(asset for asset in assets if rng.random() > CHANGED_SHARE / 3)
    conduits = tuple(_change_conduit(conduit, policy, rng) for conduit in policy.conduits)
    left = tuple(conduit for conduit in conduits if rng.random() > CHANGED_SHARE / 3)
    return replace(policy, assets=kept, conduits=left or conduits)


def _change_asset(asset: Asset, policy: PlainPolicy, rng: random.Random) -> Asset:
    if rng.random() > CHANGED_SHARE:
        return asset
    ways = (
        {"macs": (draw_mac(rng, int(asset.name[1:])),)},
        {"macs": ()},
        {"roles": ()},
        {"zone": rng.choice(policy.zones).name},
        {"name": f"{asset.name}x"},
    )
    return replace(asset, **rng.choice(ways))


def _change_conduit(conduit: Conduit, policy: PlainPolicy, rng: random.Random) -> Conduit:
    if rng.random() > CHANGED_SHARE:
        return conduit
    other = draw_conduit(rng, int(conduit.name[1:]), policy.zones, policy.assets)
    ways = (
        other,
        replace(conduit, services=other.services),
        replace(conduit, limit=draw_limit(rng)),
        replace(conduit, limit=None),
        replace(conduit, enabled=not conduit.enabled),
        replace(conduit, stage=other.stage),
    )
    return rng.choice(ways)
