"""Native bridge interception on the stock kernel: what br_netfilter cannot show the engine.

    office-laptop ── ent0 ┐
                          ├ gw: bridge, conduitd (form bridge) ┬ ctl0 ── plc-1    untagged and VLAN 100
    hmi-1 ────────── sup0 ┘                                    untagged and VLAN 100

Every case has a frame that must arrive and one, sent first, that must not: the one that arrives ends the watch.
"""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Final

import pytest

from deploy.lab.plant import host
from deploy.lab.processes import wait_for

if TYPE_CHECKING:
    from collections.abc import Callable

    from deploy.lab.gateway import LabGateway
    from tests.vm.conftest import Station

pytestmark = pytest.mark.vm

HMI, PLC, LAPTOP = host("hmi-1"), host("plc-1"), host("office-laptop")
WATCH_SECONDS: Final = 60
BULK_BYTES: Final = 2_000_000
GOOSE_GROUP: Final = bytes.fromhex("010ccd010001")
GOOSE, PROFINET, VLAN, IPV4, ARP = 0x88B8, 0x8892, 0x8100, 0x0800, 0x0806


def ethernet(destination: bytes, source: bytes, *types: int) -> bytes:
    """Return the MAC header; every number behind the addresses is 16 bits, so a tag is (VLAN, id, EtherType)."""
    return destination + source + b"".join(number.to_bytes(2, "big") for number in types)


def udp4(source: bytes, destination: bytes, port: int, content: bytes) -> bytes:
    """Return an IPv4 datagram (RFC 791, RFC 768), UDP without a checksum."""
    udp = b"".join(n.to_bytes(2, "big") for n in (port, port, 8 + len(content), 0)) + content
    length = (20 + len(udp)).to_bytes(2, "big")
    header = bytearray(b"\x45\x00" + length + bytes(4) + b"\x40\x11\0\0" + source + destination)
    total = sum(int.from_bytes(header[at : at + 2], "big") for at in range(0, 20, 2))
    total = (total & 0xFFFF) + (total >> 16)
    header[10:12] = (~total & 0xFFFF).to_bytes(2, "big")
    return bytes(header) + udp


def arp_request(source_mac: bytes, source: bytes, target: bytes) -> bytes:
    """Return an Ethernet frame asking for `target` (RFC 826)."""
    question = bytes.fromhex("0001080006040001") + source_mac + source + bytes(6) + target
    return ethernet(b"\xff" * 6, source_mac, ARP) + question


def counters(gateway: LabGateway) -> dict[str, Any]:
    """Return the account over the socket: starting conduitctl takes seconds in here."""
    status, body = gateway.api("GET", "/v1/counters")
    assert status == 200, body
    account: dict[str, Any] = body
    return account


def reason(gateway: LabGateway, name: str, what: str) -> int:
    """Return how many frames the engine passed or dropped for a reason."""
    return int(counters(gateway)["by_reason"].get(name, {}).get(what, 0))


def watched(
    station: Callable[..., Station], sender: str, frames: list[bytes], *needles: bytes
) -> list[tuple[int, int]]:
    """Send frames from a host and return, per needle, how often plc-1 saw it and under which VLAN."""
    witness = station("plc-1", "watch", "eth0", str(WATCH_SECONDS), *(needle.hex() for needle in needles)).ready()
    station(sender, "send", "eth0", *(frame.hex() for frame in frames)).answer(WATCH_SECONDS)
    words = witness.answer(WATCH_SECONDS + 30)
    return [(int(words[at + 1]), int(words[at + 2])) for at in range(0, len(words), 3)]


def test_the_probe_chooses_the_native_form(gateway: LabGateway) -> None:
    """A kernel with nft_queue is intercepted in the bridge family, and the daemon says so."""
    assert "uses the form `bridge`" in " ".join(gateway.ctl("doctor", check=False).stdout.split())


def test_address_resolution_follows_the_conduits(gateway: LabGateway, station: Callable[..., Station]) -> None:
    """The engine judges ARP: the station that has a conduit may ask for its controller, the office laptop may not."""
    refused = arp_request(LAPTOP.mac_bytes, LAPTOP.ip4_bytes, PLC.ip4_bytes)
    asked = arp_request(HMI.mac_bytes, HMI.ip4_bytes, PLC.ip4_bytes)
    station("office-laptop", "send", "eth0", refused.hex()).answer(WATCH_SECONDS)
    wait_for("the refused question to be counted", lambda: reason(gateway, "NEIGHBOUR_NO_CONDUIT", "dropped"), 10)
    passed = reason(gateway, "NEIGHBOUR_RESOLUTION", "passed")
    laptops, hmis = watched(station, "hmi-1", [asked], refused[14:], asked[14:])
    assert (laptops[0], hmis[0]) == (0, 1)
    assert reason(gateway, "NEIGHBOUR_RESOLUTION", "passed") > passed


def test_a_borrowed_sender_in_arp_is_refused(gateway: LabGateway, station: Callable[..., Station]) -> None:
    """An ARP whose sender hardware address is not the frame's source MAC does not pass: nobody's cache is poisoned."""
    forged = bytearray(arp_request(LAPTOP.mac_bytes, HMI.ip4_bytes, PLC.ip4_bytes))
    forged[22:28] = HMI.mac_bytes
    station("office-laptop", "send", "eth0", bytes(forged).hex()).answer(WATCH_SECONDS)
    wait_for("the forged frame to be counted", lambda: reason(gateway, "IDENTITY_NEIGHBOUR", "dropped"), 10)


def test_a_tagged_frame_is_judged_by_its_vlan(gateway: LabGateway, station: Callable[..., Station]) -> None:
    """VLAN 100 has its own zones and a conduit: its frame arrives with its tag. The same one in VLAN 200 does not."""
    source, destination = bytes([10, 21, 40, 5]), bytes([10, 21, 50, 5])
    frames = []
    for vlan in (200, 100):
        tagged = ethernet(PLC.mac_bytes, HMI.mac_bytes, VLAN, vlan, IPV4)
        frames.append(tagged + udp4(source, destination, 40000, b"in step, vlan %d" % vlan))
    nobodys, ours = watched(station, "hmi-1", frames, b"in step, vlan 200", b"in step, vlan 100")
    assert nobodys[0] == 0
    assert ours == (1, 100)
    assert reason(gateway, "IDENTITY_PORT_UNKNOWN", "dropped") > 0


def test_layer_two_protocols_need_a_conduit(gateway: LabGateway, station: Callable[..., Station]) -> None:
    """A GOOSE frame to the group that the conduit names arrives; PROFINET to the same group does not."""
    goose = ethernet(GOOSE_GROUP, HMI.mac_bytes, GOOSE) + b"breaker tripped".ljust(46, b"\0")
    other = ethernet(GOOSE_GROUP, HMI.mac_bytes, PROFINET) + b"set output on".ljust(46, b"\0")
    others, gooses = watched(station, "hmi-1", [other, goose], b"set output on", b"breaker tripped")
    assert (others[0], gooses[0]) == (0, 1)
    assert reason(gateway, "POLICY_NO_CONDUIT", "dropped") > 0


def received(gateway: LabGateway) -> list[int]:
    """Return how many frames each queue's thread has received; the queue for frames without IP is the last."""
    return [int(queue["received"]) for queue in counters(gateway)["per_queue"]]


def test_frames_without_ip_have_a_queue_of_their_own(gateway: LabGateway, station: Callable[..., Station]) -> None:
    """GOOSE, ARP and doubly tagged frames go to the last queue; IP goes to the first, with a tag or without."""
    head = ethernet(PLC.mac_bytes, HMI.mac_bytes)
    datagram = udp4(bytes([10, 21, 40, 5]), bytes([10, 21, 50, 5]), 40000, b"either queue")
    tag, service_tag = VLAN.to_bytes(2, "big") + b"\0\x64", b"\x88\xa8\0\x64"
    ip = IPV4.to_bytes(2, "big") + datagram
    layer2 = [
        ethernet(GOOSE_GROUP, HMI.mac_bytes, GOOSE) + bytes(46),
        head + tag + GOOSE.to_bytes(2, "big") + bytes(46),
        head + tag + tag + ip,
        head + service_tag + tag + ip,
        arp_request(HMI.mac_bytes, HMI.ip4_bytes, PLC.ip4_bytes),
    ]
    repeats = 20
    for frames, queue in ((layer2, 1), ([head + ip, head + tag + ip], 0)):
        before = received(gateway)
        assert len(before) == 2
        station("hmi-1", "send", "eth0", *(frame.hex() for frame in frames * repeats)).answer(WATCH_SECONDS)
        sent = len(frames) * repeats
        wait_for(
            f"queue {queue} to get its frames",
            lambda at=queue, old=before, n=sent: received(gateway)[at] >= old[at] + n,
            20,
        )
        assert received(gateway)[1 - queue] - before[1 - queue] < repeats, "no kind of frame went to the other queue"


def test_a_bulk_transfer_arrives_whole(gateway: LabGateway, station: Callable[..., Station]) -> None:
    """2,000,000 bytes have the same hash on both sides, some of them by the fast lane, and the counts close."""
    before = counters(gateway)
    server = station("plc-1", "serve", "5020", str(BULK_BYTES)).ready()
    received = station("hmi-1", "fetch", PLC.ip4, "5020").answer(240)
    assert received == server.answer(30)
    assert int(received[1]) == BULK_BYTES

    seen: dict[str, Any] = {}

    def closed() -> bool:
        seen.update(counters(gateway))
        return bool(seen["frames_before_queue"] == seen["judged"] + seen["lane"] + seen["static"] + seen["lost"])

    wait_for("the counters to close", closed, 20)
    passed = seen["judged"] + seen["lane"] - before["judged"] - before["lane"]
    assert passed > BULK_BYTES // 65536
    assert seen["lane"] > before["lane"], "an established flow of a conduit without inspection stays in the kernel"
    assert seen["lost"] == 0


def test_a_change_ends_every_stay_in_the_lane(gateway: LabGateway) -> None:
    """A stage change is a new generation of the lane on this kernel too, and what was in it is judged again."""
    generation = gateway.api("GET", "/v1/lane")[1]["generation"]
    enforce = {"stage": "enforce", "force": True, "reason": "rehearsal"}
    assert gateway.api("PUT", "/v1/stages", enforce)[0] == HTTPStatus.OK
    after = gateway.api("GET", "/v1/lane")[1]
    assert after["open"]
    assert after["generation"] > generation
    assert after["flows"] == []
