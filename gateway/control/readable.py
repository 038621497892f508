"""Raw fields of the segments as values that people read: addresses, MACs, words; absent things become None.

In: dicts of `abi.EVENT` fields as the readers return them, single numbers and addresses. Out: the same with words.
Names of zones, assets, conduits and services are not known here: they depend on the generation (`names`). Pure.
"""

from __future__ import annotations

import ipaddress
import struct
from typing import TYPE_CHECKING, Any, Final

from fastpath import abi
from gateway.segment_readers import reason_name

if TYPE_CHECKING:
    from collections.abc import Mapping

_VERDICTS: Final = {verdict.value: verdict.name.lower() for verdict in abi.Verdict}
_FIELDS: Final = struct.Struct(f"<{abi.ACCESS_FIELDS}Q")
_HIGHS: Final = struct.Struct("<2Q")
_STAGES: Final = {stage.value: stage.name.lower() for stage in abi.Stage}


def address_text(raw: bytes) -> str | None:
    """Return the text of a 16-byte address, None for the zero that frames without IP carry."""
    if not any(raw):
        return None
    address = ipaddress.IPv6Address(raw)
    return str(address.ipv4_mapped or address)


def mac_text(raw: bytes) -> str | None:
    """Return a MAC as text, None when the kernel did not tell it."""
    return raw.hex(":") if any(raw) else None


def present(number: int, absent: int) -> int | None:
    """Return a number, None when it is the one that stands for nothing."""
    return None if number == absent else number


def readable_event(raw: Mapping[str, Any]) -> dict[str, Any]:
    """Return an event with words for reason, verdicts, stage, addresses and MACs."""
    event = {name: value for name, value in raw.items() if not name.startswith("reserved")}
    for name in ("source", "destination"):
        event[name] = address_text(raw[name])
    for name in ("source_mac", "destination_mac"):
        event[name] = mac_text(raw[name])
    for name in ("source_asset", "destination_asset"):
        event[name] = present(raw[name], abi.NO_ASSET)
    event["conduit"] = present(raw["conduit"], abi.NO_CONDUIT)
    event["reason"] = reason_name(raw["reason"])
    event["verdict"] = _VERDICTS.get(raw["verdict"], str(raw["verdict"]))
    event["policy_verdict"] = _VERDICTS.get(raw["policy_verdict"], str(raw["policy_verdict"]))
    event["stage"] = _STAGES.get(raw["stage"])
    event["opening"] = bool(raw["flags"] & abi.EVENT_TCP_OPENING)
    event["sampled"] = bool(raw["flags"] & abi.EVENT_SAMPLED)
    if "message" in raw:
        event["message"] = readable_message(raw["message"])
    event["rewritten"] = bool(raw["flags"] & abi.EVENT_REWRITTEN)
    return event


def readable_message(raw: Mapping[str, Any]) -> dict[str, Any]:
    """Return what an inspected message asked for: protocol, operation, and its fields; a range as [low, high]."""
    protocol = abi.Protocol(raw["protocol"])
    low = _FIELDS.unpack(raw["low"])
    highs = dict(zip(raw["wide"], _HIGHS.unpack(raw["high"]), strict=True))
    fields: dict[str, int | list[int]] = {}
    for at, name in enumerate(abi.FIELD_NAMES[protocol]):
        if raw["present"] >> at & 1:
            fields[name] = [low[at], highs[at]] if at in highs else low[at]
    return {
        "protocol": protocol.name.lower().replace("_", "-"),
        "operation": abi.Operation(raw["operation"]).name.lower() if raw["operation"] else None,
        "answer": bool(raw["answer"]),
        "depth": raw["depth"],
        "index": raw["index"],
        "fields": fields,
    }
