"""One event of the engine's ring as a JSON object in Suricata's EVE form, with our fields beside it.

In: the raw fields of an event and the names of its generation. Out: a dict ready for orjson. A number that this version
does not know is shown as a number, never dropped. Called by the events pump for each event.
"""

from __future__ import annotations

from datetime import UTC, datetime
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final

from fastpath.abi import REASON_TEXT, Reason
from gateway.control.readable import readable_event

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from gateway.control.names import Names

ICMP: Final = 1
ICMP6: Final = 58
_PROTOCOLS: Final[dict[int, str]] = {
    1: "ICMP",
    2: "IGMP",
    6: "TCP",
    17: "UDP",
    47: "GRE",
    50: "ESP",
    58: "IPv6-ICMP",
    132: "SCTP",
}
_ETHERTYPES: Final[dict[int, str]] = {
    0x0800: "IPv4",
    0x0806: "ARP",
    0x86DD: "IPv6",
    0x8892: "PROFINET",
    0x88B8: "GOOSE",
    0x88BA: "SV",
    0x88A4: "EtherCAT",
    0x88CC: "LLDP",
    0x88F7: "PTP",
}
# EVE: 1 is the gravest.
_SEVERITY: Final[dict[str, int]] = {
    "IDENTITY": 1,
    "GUARD": 1,
    "FRAME": 2,
    "POLICY": 2,
    "NEIGHBOUR": 3,
    "STREAM": 2,
    "MESSAGE": 1,
    "PROCESS": 1,
}
FLOW_REASONS: Final = frozenset({"POLICY_CONDUIT", "FLOW_PICKUP"})  # of an accept that begins a flow
NANOSECONDS: Final = 1_000_000_000


def timestamp(time_ns: int) -> str:
    """Return nanoseconds since the epoch as EVE writes them: UTC, microseconds."""
    seconds, rest = divmod(time_ns, NANOSECONDS)
    return f"{_whole_seconds(seconds)}.{rest // 1000:06d}+0000"


@lru_cache(maxsize=16)  # events and frames come in the order of time
def _whole_seconds(seconds: int) -> str:
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%S}"


def reason_text(name: str) -> str:
    """Return a reason's sentence; its bare name when this version does not know it."""
    return REASON_TEXT.get(Reason[name], name) if name in Reason.__members__ else name


def event_type(event: Mapping[str, Any]) -> str:
    """Return the EVE type: `alert` in stage alert, `flow` for a permitted opening, `message` for a permitted message.

    Everything else is of type `conduit`.
    """
    if event["policy_verdict"] == "drop":
        return "alert" if event["stage"] == "alert" else "conduit"
    if "message" in event:
        return "message"
    return "flow" if event["reason"] in FLOW_REASONS else "conduit"


class EventText:
    """The renderer; it asks the live host for interface names."""

    def __init__(self, interface_name: Callable[[int], str | None]) -> None:
        self._interface_name = interface_name

    def render(self, raw: Mapping[str, Any], names: Names | None) -> dict[str, Any]:
        """Return the JSON object of one event; keys without a value are left out."""
        event = readable_event(raw)
        kind = event_type(event)
        out: dict[str, Any] = {"timestamp": timestamp(event["time_ns"]), "event_type": kind}
        out |= self._where(event)
        out |= _endpoints(event)
        out |= _identity(event, names)
        out |= _decision(event)
        if "message" in event:
            # EVE's `app_proto`; what Suricata calls an application layer is one protocol here, whatever it lies in.
            out["app_proto"] = event["message"].pop("protocol")
            out["message"] = {name: value for name, value in event["message"].items() if value is not None}
        if kind == "alert":
            out["alert"] = _alert(event)
        return {key: value for key, value in out.items() if value is not None}

    def _where(self, event: Mapping[str, Any]) -> dict[str, Any]:
        return {
            "in_iface": self._interface_name(event["in_ifindex"]),
            "out_iface": self._interface_name(event["out_ifindex"]),
            "vlan": [event["vlan"]] if event["vlan"] else None,
            "src_mac": event["source_mac"],
            "dest_mac": event["destination_mac"],
        }


def _endpoints(event: Mapping[str, Any]) -> dict[str, Any]:
    source = event["source"]
    if source is None:
        number = event["ethertype"]
        return {"ether_type": _ETHERTYPES.get(number, f"{number:#06x}"), "pkt_len": event["length"]}
    protocol = event["protocol"]
    out: dict[str, Any] = {
        "src_ip": source,
        "dest_ip": event["destination"],
        "proto": _PROTOCOLS.get(protocol, str(protocol)),
        "pkt_len": event["length"],
    }
    if event["ethertype"] == 0x0806:
        out["proto"] = "ARP"
    elif protocol in (ICMP, ICMP6):
        out |= {"icmp_type": event["source_port"], "icmp_code": event["destination_port"]}
    elif event["source_port"] or event["destination_port"]:
        out |= {"src_port": event["source_port"], "dest_port": event["destination_port"]}
    return out


def _identity(event: Mapping[str, Any], names: Names | None) -> dict[str, Any]:
    out: dict[str, Any] = {"generation": event["generation"]}
    if names is None:  # a generation before control's memory: numbers are better than nothing
        return out | {"src_zone": f"#{event['source_zone']}", "dest_zone": f"#{event['destination_zone']}"}
    return out | {
        "digest": names.digest[:12],
        "src_zone": names.zone(event["source_zone"]),
        "dest_zone": names.zone(event["destination_zone"]),
        "src_asset": names.asset(event["source_asset"]),
        "dest_asset": names.asset(event["destination_asset"]),
        "conduit": names.conduit(event["conduit"]),
        "service": names.service(event["service"]),
    }


def _decision(event: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "verdict": event["verdict"],
        "policy_verdict": event["policy_verdict"],
        "reason": event["reason"],
        "stage": event["stage"],
        "queue": event["queue"],
        "sequence": event["sequence"],
        "opening": True if event["opening"] else None,
        "sampled": True if event["sampled"] else None,
        "rewritten": True if event["rewritten"] else None,
    }


def _alert(event: Mapping[str, Any]) -> dict[str, Any]:
    name = event["reason"]
    number = Reason[name].value if name in Reason.__members__ else 0
    return {
        "action": "allowed",  # EVE's word for "passed although it matched"
        "signature_id": number,
        "signature": reason_text(name),
        "category": name,
        "severity": _SEVERITY.get(name.partition("_")[0], 2),
    }
