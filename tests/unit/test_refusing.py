"""What the engine sends back to whom it drops: byte for byte what scapy makes of the same standard, never too much."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, Any

import pytest

from fastpath.abi import Reason, Stage, Verdict
from rules import state
from tests.support.gate import HMI, PLC, Gate

scapy = pytest.importorskip("scapy.all")

if TYPE_CHECKING:
    from collections.abc import Iterator

V4 = {"src": "10.1.0.1", "dst": "10.2.0.1"}
V6 = {"src": "fd00:1::1", "dst": "fd00:2::1"}


@pytest.fixture(scope="module")
def gate() -> Gate:
    """Return a gate that permits Modbus only."""
    return Gate()


def answered(packet: Any) -> bytes:
    """Return an answer's bytes with scapy's own lengths and checksums."""
    return bytes(scapy.Ether(dst=HMI, src=PLC) / packet)


def reset(request: Any, **fields: Any) -> bytes:
    """Return the reset that RFC 9293 asks for."""
    tcp = request[scapy.TCP]
    segment = scapy.TCP(sport=tcp.dport, dport=tcp.sport, window=0, **fields)
    return answered(back(request) / segment)


def back(request: Any, tos: int = 0) -> Any:
    """Return the IP header of an answer."""
    if request.version == 6:
        return scapy.IPv6(src=request.dst, dst=request.src, hlim=64)
    return scapy.IP(src=request.dst, dst=request.src, ttl=64, id=0, flags="DF", tos=tos)


def ends(version: int) -> Any:
    """Return the IP header of a request."""
    return scapy.IP(**V4) if version == 4 else scapy.IPv6(**V6)


@pytest.mark.parametrize("version", [4, 6])
@pytest.mark.parametrize(
    ("flags", "data", "fields"),
    [
        ("S", b"", {"flags": "RA", "seq": 0, "ack": 1_000_001}),
        ("S", b"early", {"flags": "RA", "seq": 0, "ack": 1_000_006}),
        ("A", b"abc", {"flags": "R", "seq": 77, "ack": 0}),
        ("SA", b"", {"flags": "R", "seq": 77, "ack": 0}),
        ("F", b"bye", {"flags": "RA", "seq": 0, "ack": 1_000_004}),
        ("PA", b"x" * 1400, {"flags": "R", "seq": 77, "ack": 0}),
    ],
)
def test_a_reset_answers_exactly(gate: Gate, version: int, flags: str, data: bytes, fields: dict[str, Any]) -> None:
    """Sequence and acknowledgement of RFC 9293 section 3.5.2, right checksums, from whom the frame was for."""
    options = [("MSS", 1460), ("NOP", None)]
    segment = scapy.TCP(sport=40000, dport=22, seq=1_000_000, ack=77, flags=flags, options=options)
    request = ends(version) / segment / data
    request = type(request)(bytes(request))
    found = gate(request)
    assert found.reason is Reason.POLICY_NO_CONDUIT
    assert found.answer == reset(request, **fields)
    assert gate(request, cut=100).answer == found.answer, "the copy range does not matter"


def test_a_reset_looks_behind_options(gate: Gate) -> None:
    """IP options move the segment; sequence numbers wrap."""
    request = scapy.IP(options=[scapy.IPOption_NOP()] * 8, **V4) / scapy.TCP(sport=5, dport=22, seq=2**32 - 1)
    request = scapy.IP(bytes(request))
    assert gate(request).answer == reset(request, flags="RA", seq=0, ack=0)


@pytest.mark.parametrize("size", [0, 4, 512, 520, 521, 1400])
def test_prohibited_v4_quotes_up_to_576_bytes(gate: Gate, size: int) -> None:
    """ICMP 3/13 with precedence 6, quoting the datagram without its padding."""
    request = scapy.IP(bytes(scapy.IP(**V4) / scapy.UDP(sport=5, dport=161) / (b"q" * size)))
    quote = bytes(request)[:548]
    expected = answered(back(request, 0xC0) / scapy.ICMP(type=3, code=13) / scapy.Raw(quote))
    assert gate(request).answer == expected
    assert gate(bytes(request) + bytes(18)).answer == expected, "padding is not quoted"
    cut = answered(back(request, 0xC0) / scapy.ICMP(type=3, code=13) / scapy.Raw(quote[:100]))
    assert gate(request, cut=100).answer == cut, "no more than was copied"


@pytest.mark.parametrize("size", [0, 5, 1184, 1185, 1400])
def test_prohibited_v6_quotes_up_to_1280_bytes(gate: Gate, size: int) -> None:
    """ICMPv6 1/1 with its pseudo header's checksum."""
    request = scapy.IPv6(bytes(scapy.IPv6(**V6) / scapy.UDP(sport=5, dport=161) / (b"q" * size)))
    message = scapy.ICMPv6DestUnreach(code=1) / scapy.Raw(bytes(request)[:1232])
    assert gate(request).answer == answered(back(request) / message)


def test_echo_requests_and_other_protocols_are_prohibited(gate: Gate) -> None:
    """Whatever runs over IP gets an answer, however short it is."""
    for request in (scapy.IP(**V4) / scapy.ICMP(), scapy.IP(proto=47, **V4) / b"ab"):
        whole = scapy.IP(bytes(request))
        expected = answered(back(whole, 0xC0) / scapy.ICMP(type=3, code=13) / scapy.Raw(bytes(whole)))
        assert gate(whole).answer == expected
    request = scapy.IPv6(bytes(scapy.IPv6(**V6) / scapy.ICMPv6EchoRequest(id=7)))
    message = scapy.ICMPv6DestUnreach(code=1) / scapy.Raw(bytes(request))
    assert gate(request).answer == answered(back(request) / message)


def test_the_answer_wears_the_frames_tag() -> None:
    """A tagged frame is answered in its VLAN; where the destination MAC was not seen, the port's stands for it."""
    zones = {
        "supervisory": {"kind": "supervisory", "ports": ["sup0"], "vlans": [7], "prefixes": ["10.1.0.0/16"]},
        "control": {"kind": "control", "ports": ["ctl0"], "vlans": [7], "prefixes": ["10.2.0.0/16"]},
    }
    assets = {
        "hmi": {"zone": "supervisory", "macs": [HMI], "ips": [V4["src"]]},
        "plc": {"zone": "control", "macs": [PLC], "ips": [V4["dst"]]},
    }
    request = scapy.IP(bytes(scapy.IP(**V4) / scapy.TCP(dport=22)))
    untagged = reset(request, flags="RA", seq=0, ack=1)
    found = Gate(zones=zones, assets=assets)(request, vlan=7)
    assert found.answer == untagged[:12] + b"\x81\x00\x00\x07" + untagged[12:]
    unseen = Gate()(request, destination_mac=None)
    assert unseen.answer == untagged[:6] + bytes(6) + untagged[12:]


def silent_frames() -> Iterator[tuple[str, Any, dict[str, Any]]]:
    """Yield what must never be answered, though all of it is dropped."""
    syn = scapy.TCP(dport=22)
    four, six = scapy.IP(**V4), scapy.IPv6(**V6)
    yield "reset", four / scapy.TCP(dport=22, flags="R"), {}
    yield "reset with ack", four / scapy.TCP(dport=22, flags="RA"), {}
    for kind in (3, 4, 5, 11, 12):
        yield f"ICMP error {kind}", four / scapy.ICMP(type=kind), {}
    for kind in (1, 2, 3, 4, 100, 137):
        yield f"ICMPv6 error {kind}", six / scapy.ICMPv6Unknown(type=kind, msgbody=bytes(12)), {}
    yield "fragment", scapy.IP(flags="MF", **V4) / syn, {}
    yield "later fragment", scapy.IP(frag=5, **V4) / syn, {}
    yield "group MAC", four / syn, {"destination_mac": b"\x01\x00\x5e\x00\x00\x01"}
    yield "broadcast MAC", four / syn, {"destination_mac": b"\xff" * 6}
    yield "no MAC at all", four / syn, {"destination_mac": bytes(6)}
    yield "spoofed MAC", four / syn, {"source_mac": b"\x02\x00\x00\x00\x01\x02"}
    yield "spoofed zone", scapy.IP(src="10.2.0.7", dst="10.2.0.1") / syn, {}
    yield "unknown source", scapy.IP(src="10.9.0.7", dst="10.2.0.1") / syn, {}
    yield "unknown destination", scapy.IP(src="10.1.0.1", dst="10.9.0.7") / syn, {}
    yield "directed broadcast", scapy.IP(src="10.1.0.1", dst="10.2.255.255") / scapy.UDP(dport=9), {}
    yield "cut short", bytes(four / syn)[:30], {}
    yield "ARP", scapy.ARP(psrc="10.1.0.1", pdst="10.2.0.1", hwsrc=HMI), {"ethertype": 0x0806}
    yield "LLDP", bytes(60), {"ethertype": 0x88CC}


@pytest.mark.parametrize(("packet", "more"), [pytest.param(p, m, id=name) for name, p, m in silent_frames()])
def test_what_is_never_answered(gate: Gate, packet: Any, more: dict[str, Any]) -> None:
    """Errors, resets, groups, fragments, spoofs and what is no IP are dropped in silence."""
    found = gate(packet, **more)
    assert found.answer is None
    if found.reason is not Reason.NEIGHBOUR_RESOLUTION:
        assert found.verdict is Verdict.DROP


def test_listed_groups_are_never_answered() -> None:
    """A group that a conduit names is known to the policy, and still nobody's own address."""
    conduits = {"g": {"from": {"zone": "control"}, "to": {"group": ["10.2.0.255"]}, "services": ["modbus"]}}
    packet = scapy.IP(src="10.1.0.1", dst="10.2.0.255") / scapy.UDP(dport=9)
    assert Gate(conduits=conduits)(packet).answer is None


def test_only_what_is_dropped_is_answered() -> None:
    """In monitor and alert it passes: then there is nothing to say. Silent pairs stay silent."""
    loud = Gate()
    packet = scapy.IP(**V4) / scapy.TCP(dport=22)
    assert loud(packet).answer is not None
    for stage in (Stage.MONITOR, Stage.ALERT):
        state.set_pair_stage(loud.state, 1, 2, stage)
        assert loud(packet).answer is None
    state.set_pair_stage(loud.state, 1, 2, Stage.ENFORCE)
    assert loud(packet).answer is not None, "a stage change forgets nothing"
    denials = [{"from": "supervisory", "to": "control", "refuse": "silent"}]
    assert Gate(denials=denials)(packet).answer is None
    one_way = [{"from": "control", "to": "supervisory", "refuse": "reset"}]
    site = {"name": "works", "ceiling": "enforce", "default_stage": "enforce"}
    assert Gate(site=site, denials=one_way)(packet).answer is None


def test_a_closed_conduit_and_a_limit_are_answered_and_a_fast_connection_is_not_reset() -> None:
    """Closed: reset. Over the limit: a new connection is reset, an existing one only loses the segment."""
    limit = {"packets": "1/min burst 2"}
    polls = {"from": {"asset": "hmi"}, "to": {"asset": "plc"}, "services": ["modbus"], "limit": limit}
    limited = Gate(conduits={"polls": polls})
    opening = scapy.IP(**V4) / scapy.TCP(sport=6, dport=502)
    going_on = scapy.IP(**V4) / scapy.TCP(sport=6, dport=502, flags="A")
    assert [limited(p).reason for p in (opening, going_on)] == [Reason.POLICY_CONDUIT, Reason.FLOW_ESTABLISHED]
    over, new = limited(going_on), limited(scapy.IP(**V4) / scapy.TCP(sport=7, dport=502))
    assert (over.reason, over.verdict, over.answer) == (Reason.LIMIT_PACKETS, Verdict.DROP, None)
    assert new.reason is Reason.LIMIT_PACKETS
    assert new.answer is not None
    closed = Gate(conduits={"polls": polls | {"enabled": False}})(opening)
    assert closed.reason is Reason.POLICY_CONDUIT_CLOSED
    assert closed.answer is not None


def assert_sound(answer: bytes) -> None:
    """Check lengths and checksums of an untagged answer by their definition (RFC 1071)."""
    packet = answer[14:]
    version, head = packet[0] >> 4, 20 if packet[0] >> 4 == 4 else 40
    body = packet[head:]
    if version == 4:
        assert int.from_bytes(packet[2:4], "big") == len(packet) <= 576
        assert words(packet[:20]) == 0xFFFF
    else:
        assert int.from_bytes(packet[4:6], "big") == len(body) <= 1240
    protocol = packet[9] if version == 4 else packet[6]
    pseudo = b"" if protocol == 1 else packet[head - 8 if version == 4 else 8 : head] + bytes((0, protocol))
    assert words(pseudo + (len(body).to_bytes(2, "big") if pseudo else b"") + body) == 0xFFFF


def words(content: bytes) -> int:
    """Return the ones' complement sum of 16-bit words."""
    total = sum(int.from_bytes(content[at : at + 2].ljust(2, b"\0"), "big") for at in range(0, len(content), 2))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return total


def test_answers_to_rubbish_are_sound(gate: Gate, seed: int) -> None:
    """Mutated and cut frames never crash the builder; whatever is answered has right lengths and checksums."""
    rng = random.Random(seed)
    kinds = [
        scapy.IP(options=[scapy.IPOption_NOP()] * 4, **V4) / scapy.TCP(dport=22, options=[("MSS", 1460)]) / b"abcd",
        scapy.IP(**V4) / scapy.UDP(dport=9) / (b"u" * 700),
        scapy.IP(**V4) / scapy.ICMP() / b"ping",
        scapy.IP(proto=47, **V4) / b"ggg",
        scapy.IPv6(**V6) / scapy.TCP(dport=22) / b"x",
        scapy.IPv6(**V6) / scapy.UDP(dport=9) / (b"u" * 1500),
    ]
    seen = 0
    for _ in range(4000):
        payload = bytearray(bytes(rng.choice(kinds)))
        for _ in range(rng.choice((0, 0, 1, 2))):
            payload[rng.randrange(len(payload))] = rng.randrange(256)
        cut = rng.choice((None, rng.randrange(len(payload) + 1)))
        answer = gate(bytes(payload), cut=cut, ethertype=0x86DD if payload[0] >> 4 == 6 else 0x0800).answer
        if answer is None:
            continue
        seen += 1
        assert_sound(answer)
    assert seen > 500
