"""A gate between two zones: a policy of tests/unit/rules/building in force in an offline judge.

In: sections of the policy to replace, and IP packets from the HMI to the PLC (or as keywords say). Out: judgements.
Called by the unit tests of limits and refusing.
"""

from __future__ import annotations

from typing import Any

from fastpath.judge import Judge, Judgement
from rules import state
from rules.image import build_image
from rules.lower import lower
from rules.slots import remember_slots
from tests.unit.rules.building import policy_of

HMI, PLC = "02:00:00:00:01:01", "02:00:00:00:02:01"
SUP, CTL = 11, 12


class Gate:
    """A policy that answers between its two zones, and frames through its judge."""

    def __init__(self, *, flows: int = 65536, **sections: Any) -> None:
        site = {"name": "works", "ceiling": "enforce", "default_stage": "enforce", "refuse": "reset"}
        self.generation = 0
        self.slots: dict[str, int] = {}
        self.site = site
        self.judge = Judge(*self._compiled(sections), flows=flows)

    def _compiled(self, sections: dict[str, Any]) -> tuple[bytes, bytearray]:
        self.generation += 1
        lowered = lower(policy_of(**({"site": self.site} | sections)), self.slots)
        self.slots = remember_slots(self.slots, {conduit.name: conduit.slot for conduit in lowered.conduits})
        self.state = state.build_state(lowered, self.generation, {"sup0": SUP, "ctl0": CTL})
        return build_image(lowered, self.generation), self.state

    def swap(self, **sections: Any) -> None:
        """Put another policy in force, with slots as control gives them; flows and limits go on."""
        self.judge.install(*self._compiled(sections))

    def __call__(self, packet: Any, *, cut: int | None = None, **more: Any) -> Judgement:
        """Judge a packet from the HMI to the PLC."""
        payload = bytes(packet)
        here: dict[str, Any] = {
            "ethertype": 0x86DD if payload and payload[0] >> 4 == 6 else 0x0800,
            "in_ifindex": SUP,
            "out_ifindex": CTL,
            "source_mac": bytes.fromhex(HMI.replace(":", "")),
            "destination_mac": bytes.fromhex(PLC.replace(":", "")),
            "length": len(payload),
        }
        return self.judge.judge(payload[:cut], **(here | more))
