"""Each frame of the table ends as the meaning says, by the kernel's counters and by the far side."""

from __future__ import annotations

import pytest
from scapy.layers.inet import IP, UDP
from scapy.layers.inet6 import ICMPv6EchoReply, ICMPv6EchoRequest
from scapy.layers.l2 import Dot1Q

from fastpath.abi import Form, Stage
from rules.static import effective_stages, render_toggle
from tests.netns.kernel.frames import CASES, PAYLOAD, TAG, ether, ping, six, tcp
from tests.netns.kernel.plant import EVENTS, HMI, HMI6, PLC, PLC6, POLL, SYNC, plant
from tests.netns.kernel.wire import PORTS, Wire, wait_until

pytestmark = pytest.mark.netns


@pytest.fixture
def wire(standing_wire: Wire, script: str) -> Wire:
    """The plant's ruleset; loaded again only after a case that loaded something else (all of them do it by `load`)."""
    if standing_wire.loaded != script:
        standing_wire.load(script)
    return standing_wire


UNICAST = [case for case in CASES if not case[1][0] & 1]  # flooded frames have a test of their own
ALL_ENDINGS = ("static_accepted", "static_dropped", "l2_accepted", "l2_dropped")
VERDICT_IN = {Stage.MONITOR: "would_drop", Stage.ALERT: "would_drop", Stage.ENFORCE: "dropped"}


@pytest.mark.parametrize(
    ("frame", "source", "destination", "verdict"), [c[1:] for c in UNICAST], ids=[c[0] for c in UNICAST]
)
def test_frame(wire: Wire, frame: bytes, source: int, destination: int, verdict: str) -> None:
    """Ends as the table says."""
    assert wire.judge(frame, source, destination) == verdict


@pytest.mark.parametrize("stage", list(Stage))
def test_ceiling_decides_over_violations(wire: Wire, stage: Stage) -> None:
    """What no conduit permits passes and is counted below enforce, and is dropped in enforce; conduits are the same."""
    policy = plant(PORTS, vlan=100)
    wire.load(render_toggle(policy, stages=effective_stages(policy, stage)))
    for name, frame, source, destination, verdict in CASES:
        if not frame[0] & 1 and name in {
            "spoofed IP",
            "first fragment",
            "tcp opening",
            "arp probe",
            "tagged, no such VLAN",
        }:
            expected = VERDICT_IN[stage] if verdict == "dropped" else verdict
            assert (name, wire.judge(frame, source, destination)) == (name, expected)


def test_closing_a_conduit_stops_it_and_its_answers(wire: Wire) -> None:
    """A closed conduit passes neither openings nor answers; opened again it does."""
    policy = plant(PORTS, vlan=100)
    opening, answer = tcp(2, 3, "S", 40100, 502), tcp(3, 2, "SA", 502, 40100)
    wire.load(render_toggle(policy, closed={POLL}))
    assert [wire.judge(opening, 2, 3), wire.judge(answer, 3, 2)] == ["dropped", "dropped"]
    wire.load(render_toggle(policy, closed={SYNC, EVENTS}))
    assert [wire.judge(opening, 2, 3), wire.judge(answer, 3, 2)] == ["accepted", "accepted"]


def test_udp_answer_passes_only_after_the_question(wire: Wire) -> None:
    """A datagram opens a pinhole for its answer and for no other; a closed conduit shuts it at once."""
    question = bytes(ether(2, 3) / IP(src=HMI, dst=PLC) / UDP(sport=6001, dport=20000) / PAYLOAD)
    answer = bytes(ether(3, 2) / IP(src=PLC, dst=HMI) / UDP(sport=20000, dport=6001) / PAYLOAD)
    other = bytes(ether(3, 2) / IP(src=PLC, dst=HMI) / UDP(sport=20000, dport=6002) / PAYLOAD)
    assert wire.judge(answer, 3, 2) == "dropped"
    assert wire.judge(question, 2, 3) == "accepted"
    assert wire.judge(answer, 3, 2) == "accepted"
    assert wire.judge(other, 3, 2) == "dropped"
    wire.load(render_toggle(plant(PORTS, vlan=100), closed={SYNC}))
    assert wire.judge(answer, 3, 2) == "dropped"


@pytest.mark.parametrize("tag", [{}, {"tag": TAG}], ids=["untagged", "tagged"])
def test_pong_passes_only_after_the_ping(wire: Wire, tag: dict[str, Dot1Q]) -> None:
    """An echo reply passes once its request did, in both IP versions."""
    number = 32 if tag else 31
    four = ping(2, 3, HMI, PLC, 8, number, **tag), ping(3, 2, PLC, HMI, 0, number, **tag)
    ping6 = six(2, 3, HMI6, PLC6, ICMPv6EchoRequest(id=number), PAYLOAD, **tag)
    pong6 = six(3, 2, PLC6, HMI6, ICMPv6EchoReply(id=number), PAYLOAD, **tag)
    for question, answer in (four, (ping6, pong6)):
        assert wire.judge(answer, 3, 2) == "dropped"
        assert wire.judge(question, 2, 3) == "accepted"
        assert wire.judge(answer, 3, 2) == "accepted"


@pytest.mark.parametrize("name", ["goose", "goose from elsewhere", "other EtherType"])
def test_groups_are_judged_at_each_port(wire: Wire, name: str) -> None:
    """Each copy of a flooded frame ends on its own; the forbidden ones reach nobody."""
    _, frame, source, port, verdict = next(case for case in CASES if case[0] == name)
    before = wire.counts()
    wire.received(port)
    wire.send(source, frame)

    def both_copies_ended() -> bool:
        after = wire.counts()
        return sum(after[ending] - before[ending] for ending in ALL_ENDINGS) == 2

    wait_until(both_copies_ended, "both copies end")
    if verdict == "accepted":
        assert wire.arrives(frame, port)
    else:
        assert frame not in wire.received(port)


def test_form_is_told_apart(wire: Wire, form: Form) -> None:
    """Under BRNF, frames that the engine never sees are counted apart; under BRIDGE there are none."""
    before = wire.counts()
    assert wire.judge({c[0]: c for c in CASES}["arp"][1], 2, 3) == "accepted"
    after = wire.counts()
    moved = {name for name in after if after[name] == before[name] + 1}
    if form is Form.BRNF:
        assert moved == {"l2_before", "l2_accepted"}
    else:
        assert moved == {"frames_before_queue", "static", "static_accepted"}
