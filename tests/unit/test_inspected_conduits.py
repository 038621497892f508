"""Inspected conduits in the decision: what their conversations carry decides, at their stage, and over policies."""

from __future__ import annotations

from typing import Any, Final

import pytest
from scapy.layers.inet import ICMP, IP, TCP, UDP
from scapy.layers.l2 import Ether
from scapy.packet import Raw

from fastpath.abi import Reason, Verdict
from fastpath.judge import Judgement
from tests.support.gate import CTL, HMI, PLC, SUP, Gate

HMI_IP, PLC_IP = "10.1.0.1", "10.2.0.1"
READ: Final = bytes.fromhex("0001 0000 0006 01 03 0000 0001")
WRITE: Final = bytes.fromhex("0002 0000 0006 01 06 0000 0001")
ANSWER: Final = bytes.fromhex("0001 0000 0005 01 03 02 0007")
SERVICES: Final = {
    "modbus-tcp": {"protocol": "tcp", "ports": [502], "inspect": "modbus"},
    "enip-udp": {"protocol": "udp", "ports": [44818], "inspect": "enip"},
}


class Dialog:
    """A conversation of the HMI with the PLC through a judge."""

    def __init__(self, **conduit: Any) -> None:
        self.gate = Gate(**self._sections(conduit))
        self.sent = {HMI: 1000, PLC: 5000}

    def swap(self, **conduit: Any) -> None:
        """Put the same plant with another conduit in force."""
        self.gate.swap(**self._sections(conduit))

    def _sections(self, conduit: dict[str, Any]) -> dict[str, Any]:
        poll = {
            "from": {"zone": "supervisory"},
            "to": {"zone": "control"},
            "services": list(SERVICES),
            "stage": "enforce",
        }
        return {"services": SERVICES, "conduits": {"poll": poll | conduit}}

    def send(self, sender: str, data: bytes = b"", flags: str = "PA") -> Judgement:
        """Send a segment where its sender stands; one that passes moves it on."""
        hmi = sender == HMI
        ports = {"sport": 40000, "dport": 502} if hmi else {"sport": 502, "dport": 40000}
        addresses = {"src": HMI_IP, "dst": PLC_IP} if hmi else {"src": PLC_IP, "dst": HMI_IP}
        other = self.sent[PLC if hmi else HMI]
        packet = IP(**addresses) / TCP(**ports, flags=flags, seq=self.sent[sender], ack=other) / Raw(data)
        judged = self.gate(packet, **({} if hmi else back()))
        if judged.verdict is Verdict.ACCEPT:
            self.sent[sender] += len(data) + ("S" in flags)
        return judged

    def open(self) -> None:
        """Shake hands."""
        assert self.send(HMI, flags="S").reason is Reason.POLICY_CONDUIT
        assert self.send(PLC, flags="SA").reason is Reason.FLOW_ESTABLISHED
        assert self.send(HMI, flags="A").reason is Reason.FLOW_ESTABLISHED


def back() -> dict[str, Any]:
    """Return how a frame of the PLC comes in."""
    mac = {"source_mac": bytes.fromhex(PLC.replace(":", "")), "destination_mac": bytes.fromhex(HMI.replace(":", ""))}
    return {"in_ifindex": CTL, "out_ifindex": SUP} | mac


def test_reading_passes_and_writing_does_not() -> None:
    """The operation decides, and after a refusal nothing of the conversation passes."""
    dialog = Dialog(operations=["read"])
    dialog.open()
    assert dialog.send(HMI, READ).reason is Reason.FLOW_ESTABLISHED
    assert dialog.send(PLC, ANSWER).reason is Reason.FLOW_ESTABLISHED
    refused = dialog.send(HMI, WRITE)
    assert (refused.verdict, refused.reason) == (Verdict.DROP, Reason.MESSAGE_OPERATION)
    assert dialog.send(HMI, READ).reason is Reason.STREAM_REFUSED
    dialog.sent = {HMI: 90000, PLC: 70000}
    assert dialog.send(HMI, flags="S").reason is Reason.FLOW_ESTABLISHED
    assert dialog.send(PLC, flags="SA").reason is Reason.FLOW_ESTABLISHED
    assert dialog.send(HMI, READ).reason is Reason.FLOW_ESTABLISHED


@pytest.mark.parametrize("stage", ["monitor", "alert"])
def test_below_enforce_it_passes_and_is_followed(stage: str) -> None:
    """A violation is said, the frame passes, and what follows is judged in its place."""
    dialog = Dialog(operations=["read"], stage=stage)
    dialog.open()
    for data, reason in ((WRITE, Reason.MESSAGE_OPERATION), (READ, Reason.FLOW_ESTABLISHED)):
        judged = dialog.send(HMI, data)
        assert (judged.verdict, judged.reason) == (Verdict.ACCEPT, reason)


def test_another_policy_judges_the_next_message() -> None:
    """The stream goes on under another policy, which decides by itself."""
    dialog = Dialog(operations=["read"])
    dialog.open()
    dialog.send(HMI, WRITE[:5])
    dialog.swap(operations=["read", "write"])
    assert dialog.send(HMI, WRITE[5:]).reason is Reason.FLOW_ESTABLISHED
    dialog.swap(operations=["read"])
    assert dialog.send(HMI, WRITE).reason is Reason.MESSAGE_OPERATION


def test_a_conversation_that_was_not_inspected_is_begun_anew() -> None:
    """While nobody looks nothing is followed; inspection that comes takes no byte of before on trust."""
    dialog = Dialog()
    dialog.open()
    assert dialog.send(HMI, WRITE).reason is Reason.FLOW_ESTABLISHED
    dialog.swap(operations=["read"])
    assert dialog.send(HMI, READ).reason is Reason.STREAM_PICKUP
    assert dialog.send(HMI, flags="A").reason is Reason.FLOW_ESTABLISHED
    dialog.swap()
    assert dialog.send(HMI, WRITE).reason is Reason.FLOW_ESTABLISHED


def test_a_conversation_that_nobody_saw_begin() -> None:
    """In the middle of a stream only what carries nothing passes, from either side."""
    dialog = Dialog(operations=["read"])
    assert dialog.send(HMI, READ).reason is Reason.STREAM_PICKUP
    assert dialog.send(PLC, ANSWER).reason is Reason.STREAM_PICKUP
    assert dialog.send(HMI, flags="A").reason is Reason.FLOW_PICKUP
    assert dialog.send(PLC, ANSWER).reason is Reason.STREAM_PICKUP


@pytest.mark.parametrize("refuse", ["reset", "answer", "silent"])
def test_who_comes_back_to_a_forgotten_conversation_is_told(refuse: str) -> None:
    """After long silence its place may be another's: keep-alives pass, the next request is answered by a reset."""
    dialog = Dialog(operations=["read"], refuse=refuse)
    dialog.open()
    assert dialog.send(HMI, READ).reason is Reason.FLOW_ESTABLISHED
    assert dialog.send(PLC, ANSWER).reason is Reason.FLOW_ESTABLISHED
    dialog.gate.judge.forget_flows()
    probe = dialog.send(HMI, flags="A")
    assert (probe.verdict, probe.answer) == (Verdict.ACCEPT, None)
    asked = dialog.send(HMI, READ)
    assert (asked.verdict, asked.reason) == (Verdict.DROP, Reason.STREAM_PICKUP)
    if refuse == "silent":
        assert asked.answer is None
        return
    assert asked.answer is not None
    reset = Ether(asked.answer)[TCP]
    assert (reset.flags, reset.seq, reset.dport) == ("R", dialog.sent[PLC], 40000)
    dialog.sent = {HMI: 90000, PLC: 70000}
    assert dialog.send(HMI, flags="S").verdict is Verdict.ACCEPT
    assert dialog.send(PLC, flags="SA").verdict is Verdict.ACCEPT
    assert dialog.send(HMI, READ).reason is Reason.FLOW_ESTABLISHED


def test_flows_that_nobody_inspects_do_not_push_out_one_with_a_stream() -> None:
    """They are taken up again at their next frame; an inspected conversation would have to begin anew."""
    services = SERVICES | {"time": {"protocol": "udp", "ports": [123]}}
    between = {"from": {"zone": "supervisory"}, "to": {"zone": "control"}, "stage": "enforce"}
    poll = between | {"services": list(SERVICES), "operations": ["read"]}
    conduits = {"poll": poll, "time": between | {"services": ["time"]}}
    dialog = Dialog(operations=["read"])
    dialog.gate = Gate(flows=4, services=services, conduits=conduits)
    dialog.open()
    assert dialog.send(HMI, READ).reason is Reason.FLOW_ESTABLISHED
    for port in range(2000, 2100):
        asked = IP(src=HMI_IP, dst=PLC_IP) / UDP(sport=port, dport=123) / Raw(b"t")
        assert dialog.gate(asked).reason is Reason.POLICY_CONDUIT
        told = IP(src=PLC_IP, dst=HMI_IP) / UDP(sport=123, dport=port) / Raw(b"t")
        assert dialog.gate(told, **back()).reason is Reason.FLOW_ESTABLISHED
    assert dialog.send(PLC, ANSWER).reason is Reason.FLOW_ESTABLISHED


def test_datagrams_and_what_no_inspector_reads() -> None:
    """UDP is judged from its first datagram on; a datagram that is refused leaves no flow."""
    dialog = Dialog(operations=["diagnose"])
    datagram = IP(src=HMI_IP, dst=PLC_IP) / UDP(sport=40000, dport=44818)
    identity = bytes.fromhex("6300") + bytes(22)
    assert dialog.gate(datagram / Raw(identity + identity[:20])).reason is Reason.MESSAGE_MALFORMED
    assert dialog.gate(datagram / Raw(identity)).reason is Reason.POLICY_CONDUIT
    assert dialog.gate(datagram / Raw(identity)).reason is Reason.FLOW_ESTABLISHED
    assert dialog.gate(datagram / Raw(READ)).reason is Reason.MESSAGE_PROTOCOL
    assert dialog.gate(IP(src=HMI_IP, dst=PLC_IP) / ICMP()).reason is Reason.POLICY_NO_CONDUIT


@pytest.mark.parametrize("open_", [True, False])
def test_nothing_goes_on_by_the_other_reading(open_: bool) -> None:
    """Whose port is the server's, an opener chooses: what an inspected conduit opened is no other conduit's."""
    services = SERVICES | {"report": {"protocol": "tcp", "ports": [40000]}}
    back_way = {
        "from": {"zone": "control"}, "to": {"zone": "supervisory"}, "services": ["report"], "stage": "enforce",
    }  # fmt: skip
    poll = {
        "from": {"zone": "supervisory"}, "to": {"zone": "control"}, "services": ["modbus-tcp"], "stage": "enforce",
        "operations": ["read"], "enabled": open_,
    }  # fmt: skip
    gate = Gate(services=services, conduits={"poll": poll, "report": back_way})
    alive = IP(src=PLC_IP, dst=HMI_IP) / TCP(sport=502, dport=40000, flags="A", seq=5000, ack=1000)
    asked = IP(src=HMI_IP, dst=PLC_IP) / TCP(sport=40000, dport=502, flags="PA", seq=1000, ack=5000) / Raw(WRITE)
    if not open_:
        assert gate(asked).verdict is Verdict.DROP
    gate(alive, **back())
    assert gate(asked).verdict is Verdict.DROP
    assert gate(asked).conduit == 0
    opening = IP(src=PLC_IP, dst=HMI_IP) / TCP(sport=45000, dport=40000, flags="S", seq=1)
    assert gate(opening, **back()).reason is Reason.POLICY_CONDUIT


def test_a_changed_write_leaves_no_value_behind() -> None:
    """It goes on, but is never carried out: the next step is measured from what the device still holds."""
    clauses = [{"operation": "read"}, {"operation": "write", "unit": 1, "step": 50}]
    dialog = Dialog(constraints={"modbus": clauses}, refuse="answer")
    dialog.open()
    dialog.send(HMI, READ)
    dialog.send(PLC, ANSWER)  # register 0 holds 7
    refusal = bytes.fromhex("0002 0000 0003 01 80 01")
    for value, reason in ((60, Reason.PROCESS_STEP), (100, Reason.PROCESS_STEP), (50, Reason.FLOW_ESTABLISHED)):
        asked = dialog.send(HMI, WRITE[:-2] + value.to_bytes(2, "big"))
        assert asked.reason is reason
        if asked.verdict is Verdict.DROP:
            dialog.sent[HMI] += len(WRITE)
            assert dialog.send(PLC, refusal).reason is Reason.FLOW_ESTABLISHED


def test_a_changed_request_takes_no_turn() -> None:
    """One that asks for two file records, of which one is not permitted, uses up nothing of the other one's rate."""
    dialog = Dialog(constraints={"modbus": [{"function": 20, "file": 1, "rate": "1/min"}]}, refuse="answer")
    dialog.open()
    permitted, other = bytes.fromhex("06 0001 0000 0001"), bytes.fromhex("06 0002 0000 0001")
    both = bytes.fromhex("0002 0000 0011 01 14 0e") + permitted + other
    assert dialog.send(HMI, both).reason is Reason.MESSAGE_CONSTRAINT
    dialog.sent[HMI] += len(both)
    assert dialog.send(PLC, bytes.fromhex("0002 0000 0003 01 80 01")).reason is Reason.FLOW_ESTABLISHED
    one = bytes.fromhex("0003 0000 000a 01 14 07") + permitted
    assert dialog.send(HMI, one).reason is Reason.FLOW_ESTABLISHED
    assert dialog.send(HMI, one).reason is Reason.PROCESS_RATE
