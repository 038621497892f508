"""What counts as the same thing seen again: one kind of conversation, or one kind of violation.

In: an event of the engine as `event_text` renders it, or a flow record with the names of its generation. Out: a `Sight`
(the key) and what it adds up to. A client's own port is not in the key: it is another one with each connection. Pure.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from fastpath.abi import NO_ASSET, NO_CONDUIT, Reason
from gateway.control.readable import address_text, mac_text, present

if TYPE_CHECKING:
    from collections.abc import Mapping

    from gateway.control.names import Names

TCP: Final = 6
UDP: Final = 17
ICMP: Final = 1
ICMP6: Final = 58
ECHO_REQUEST: Final = {ICMP: 8, ICMP6: 128}
IPV4: Final = 0x0800
IPV6: Final = 0x86DD
DIGEST_DIGITS: Final = 12
ACCEPT: Final = "accept"
DROP: Final = "drop"
# Accepts that a flow record counts, or that are no traffic of anybody's: address resolution, traffic within a zone.
UNTAPED: Final = frozenset(
    {"NONE", "FLOW_ESTABLISHED", "FLOW_PICKUP", "FLOW_RELATED", "NEIGHBOUR_RESOLUTION", "ZONE_INTERNAL"}
)


INSPECTION: Final = ("STREAM_", "MESSAGE_", "PROCESS_")  # reasons that are about what a frame carries


def of_inspection(reason: str) -> bool:
    """Tell whether a reason is about what a permitted conversation carried, of which the tape keeps nothing."""
    return reason.startswith(INSPECTION)


class Where(NamedTuple):
    """Bridge ports and VLAN; "" and 0 where nothing is known or several may be."""

    in_port: str = ""
    out_port: str = ""
    vlan: int = 0


class Sight(NamedTuple):
    """One kind of thing seen: who, whom, by which service, how it was judged. "" stands for nothing known."""

    source: str  # IP address; the MAC of frames without IP
    destination: str
    source_mac: str
    ethertype: int
    protocol: int  # of IP; 0 for frames without
    number: int  # port of the one who was asked, ICMP type; else 0
    reply: int  # 1: the source is the one who was asked, and the policy forbade what it answered
    in_port: str
    out_port: str
    vlan: int
    source_zone: str
    destination_zone: str
    source_asset: str
    destination_asset: str
    service: str
    operation: str  # what an inspected protocol asked for; "" as long as nothing inspects
    conduit: str
    verdict: str
    policy_verdict: str
    reason: str
    stage: str  # of what the policy drops; "" of what it accepts
    digest: str  # of the policy that judged, its first digits


NUMBERS: Final = frozenset({"ethertype", "protocol", "number", "reply", "vlan"})  # the fields that are no texts


@dataclass(slots=True)
class Sum:
    """How often a sight was seen in one stretch of time. Times are nanoseconds since the epoch."""

    first_ns: int
    last_ns: int
    flows: int = 0
    frames: int = 0
    bytes: int = 0

    def add(self, other: Sum) -> None:
        """Take in what was seen besides."""
        self.first_ns = min(self.first_ns, other.first_ns)
        self.last_ns = max(self.last_ns, other.last_ns)
        self.flows += other.flows
        self.frames += other.frames
        self.bytes += other.bytes


def opens_flow(protocol: int, number: int) -> bool:
    """Tell whether the engine keeps a flow record for what this opens."""
    return protocol in (TCP, UDP) or ECHO_REQUEST.get(protocol) == number


def of_event(raw: Mapping[str, Any], text: Mapping[str, Any], *, reply: bool = False) -> tuple[Sight, Sum] | None:
    """Return what an event adds; None for one that a flow record counts, or that is about nobody's traffic.

    The opening of a flow counts the flow; its frames are counted by the flow record. `reply`: by `direction`.
    """
    if text["reason"] in UNTAPED:
        return None
    protocol = raw["protocol"]
    number = raw["source_port"] if reply or protocol in ECHO_REQUEST else raw["destination_port"]
    accepted = text["policy_verdict"] == ACCEPT
    sight = Sight(
        source=text.get("src_ip") or text.get("src_mac", ""),
        destination=text.get("dest_ip") or text.get("dest_mac", ""),
        source_mac=text.get("src_mac", ""), ethertype=raw["ethertype"], protocol=protocol, number=number,
        reply=int(reply),
        in_port=text.get("in_iface") or "", out_port=text.get("out_iface") or "", vlan=raw["vlan"],
        source_zone=text["src_zone"], destination_zone=text["dest_zone"],
        source_asset=text.get("src_asset", ""), destination_asset=text.get("dest_asset", ""),
        service=text.get("service", ""), operation="", conduit=text.get("conduit", ""),
        verdict=text["verdict"], policy_verdict=text["policy_verdict"], reason=text["reason"],
        stage="" if accepted else text.get("stage") or "", digest=text.get("digest", "")[:DIGEST_DIGITS],
    )  # fmt: skip
    at = raw["time_ns"]
    if accepted and opens_flow(protocol, number):
        return sight, Sum(at, at, flows=1)
    return sight, Sum(at, at, frames=1, bytes=raw["length"])


def of_flow(flow: Mapping[str, Any], names: Names, where: Where) -> Sight:
    """Return the sight that a flow record belongs to: the same as of the event of its opening."""
    protocol = flow["protocol"]
    source = address_text(flow["opener"]) or ""
    return Sight(
        source=source, destination=address_text(flow["responder"]) or "",
        source_mac=mac_text(flow["opener_mac"]) or "", ethertype=IPV6 if ":" in source else IPV4,
        protocol=protocol, number=ECHO_REQUEST.get(protocol, flow["responder_port"]),
        reply=0,
        in_port=where.in_port, out_port=where.out_port, vlan=where.vlan,
        source_zone=names.zone(flow["opener_zone"]), destination_zone=names.zone(flow["responder_zone"]),
        source_asset=names.asset(present(flow["opener_asset"], NO_ASSET)) or "",
        destination_asset=names.asset(present(flow["responder_asset"], NO_ASSET)) or "",
        service=names.service(flow["service"]) or "", operation="",
        conduit=names.conduit(present(flow["conduit"], NO_CONDUIT)) or "",
        verdict=ACCEPT, policy_verdict=ACCEPT, reason=Reason.POLICY_CONDUIT.name, stage="",
        digest=names.digest[:DIGEST_DIGITS],
    )  # fmt: skip
