"""The kernel's `static` ruleset and the slow twin agree, frame by frame, on a real bridge.

A seeded share of the differential run; `python -m bench.differential --frames 0 --kernel N` runs as many as asked for.
"""

from __future__ import annotations

from typing import Final

import pytest

from tests.support.bridge_rig import BridgeRig
from tests.support.static_duel import run_static

pytestmark = pytest.mark.netns
SHARE_FRAMES: Final = 2_000
PORTS: Final = ("p0", "p1", "p2")
FRAME: Final = b"\x02\x00\x00\x00\x00\x01" + b"\x02\x00\x00\x00\x00\x02" + b"\x88\xb8" + bytes(46)
QUIET_SECONDS: Final = 0.2


def test_rig_passes_everything_without_rules() -> None:
    """Control: with no ruleset each frame reaches every other port, and the witness sees it once."""
    with BridgeRig(PORTS) as rig:
        rig.send("p0", FRAME, 1)
        seen = [entry for entry in rig.seen(QUIET_SECONDS) if entry[1] == 1]
    assert sorted(seen) == [("p1", 1), ("p2", 1)]


def test_rig_shows_a_drop() -> None:
    """Control: a ruleset that drops is seen to drop; the agreement below is no artefact of a deaf witness."""
    with BridgeRig(PORTS) as rig:
        rig.load(
            "add table bridge conduit\n"
            "add chain bridge conduit c { type filter hook forward priority 0; policy accept; }\n"
            'add rule bridge conduit c oifname "p2" drop\n'
        )
        rig.send("p0", FRAME, 1)
        seen = [entry for entry in rig.seen(QUIET_SECONDS) if entry[1] == 1]
    assert seen == [("p1", 1)]


def test_static_equals_twin(seed: int) -> None:
    """Every copy of every frame of the seeded share leaves the bridge exactly where the twin says so."""
    result = run_static(SHARE_FRAMES, seed)
    assert result.frames == SHARE_FRAMES
    assert result.passed > 0
    assert result.mismatches == [], f"seed {seed}: {len(result.mismatches)} differences\n{result.mismatches[0]}"
