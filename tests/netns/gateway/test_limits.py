"""A limit holds for all queues together: what reached the servers is counted by witnesses beside them."""

from __future__ import annotations

import secrets
import time
from typing import TYPE_CHECKING, Final

import pytest

from deploy.lab.gateway import DEFAULT_POLICY, LabGateway
from deploy.lab.processes import wait_for
from tests.netns.gateway.conftest import closed_books, set_stage

if TYPE_CHECKING:
    from collections.abc import Iterator

    from deploy.lab.actors import Actors
    from deploy.lab.topology import Lab

pytestmark = pytest.mark.netns

RATE: Final = 200
BURST: Final = 50
STORM: Final = 3_000  # frames per sender
PATHS: Final = (("hmi-1", "plc-1"), ("hmi-2", "plc-2"), ("scada-server", "plc-1"), ("scada-server", "plc-2"))
CONDUIT: Final = f"""\
services:
  probe: {{protocol: udp, ports: [40000]}}

conduits:
  probes:
    from: {{zone: supervisory}}
    to: {{zone: control}}
    services: [probe]
    limit: {{packets: {RATE}/s burst {BURST}}}
    owner: tests
    reason: a storm that a limit holds
"""


@pytest.fixture
def gateway(lab: Lab) -> Iterator[LabGateway]:
    """A gateway of two queues with a limited conduit beside the operators' own."""
    text = DEFAULT_POLICY.read_text().replace("conduits:\n", CONDUIT, 1)
    made = LabGateway(lab, text, queues=2)
    made.start()
    set_stage(made, "enforce")
    yield made
    made.stop()


def test_a_storm_is_held_to_the_rate_over_all_queues_and_costs_no_poll(
    lab: Lab, actors: Actors, gateway: LabGateway
) -> None:
    """Four senders, two queues: burst and rate reach the servers, hardly less, no frame more; polls go on."""
    run = secrets.token_bytes(8)
    poller = actors.start_poller("hmi-1", "plc-1")
    witnesses = [actors.start_witness(node, run, STORM * 4, 60) for node in ("plc-1", "plc-2")]
    began = time.monotonic()
    storm = [
        actors.start_sender(node, target, run, rate=STORM // 3, count=STORM, source_port=41000 + number)
        for number, (node, target) in enumerate(PATHS)
    ]
    for sender in storm:
        sender.wait(30)
    wait_for(
        "the storm to be judged",
        lambda: sum(gateway.api("GET", "/v1/counters")[1]["by_conduit"]["probes"].values()) >= STORM * len(PATHS),
        20.0,
    )
    lasted = time.monotonic() - began
    counts = closed_books(gateway)
    queues = [queue["dropped"] for queue in counts["per_queue"]]  # the third is for frames without IP
    arrived = sum(witness.end()["seen"] for witness in witnesses)
    assert sum(map(bool, queues)) == 2, f"the storm met one queue only: {queues}"
    complaints = counts["by_reason"]["FLOW_RELATED"]["passed"]  # the servers' "port unreachable": answers, not counted
    assert arrived == counts["by_conduit"]["probes"]["accepted"] - complaints
    assert BURST + RATE <= arrived <= BURST + RATE * lasted + 1
    assert counts["by_reason"]["LIMIT_PACKETS"]["dropped"] == STORM * len(PATHS) - arrived
    assert poller.end()["missed"] == 0
