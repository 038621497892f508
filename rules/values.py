"""The scalar types of the policy language and what each refuses, with a code and a hint.

In: plain values from the YAML tree. Out: annotated types for `model`. Every refusal is a PydanticCustomError whose
type is the problem code, so that `load` only has to add the position.
Must never accept a value that the kernel or the image would read differently (IPv4-mapped IPv6, VLAN 4095, port 0).
"""

from __future__ import annotations

import re
from enum import IntEnum
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

from pydantic import BeforeValidator, PlainSerializer, WithJsonSchema

from fastpath.abi import FailMode, LogMode, MessageLog, RefuseMode, Stage
from rules.numbers import refuse
from rules.problems import did_you_mean

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

IPAddress = IPv4Address | IPv6Address
IPNetwork = IPv4Network | IPv6Network
E = TypeVar("E", bound=IntEnum)

NAME = re.compile(r"[A-Za-z][A-Za-z0-9._-]{0,62}\Z")
# IFNAMSIZ is 16 with its final NUL. The kernel takes more characters; these need no quoting in nft, shells and reports.
INTERFACE = re.compile(r"[A-Za-z0-9_.+@-]{1,15}\Z", re.ASCII)
NO_PORTS = (".", "..", "lo")
MAC = re.compile(r"[0-9a-fA-F]{2}([:-][0-9a-fA-F]{2}){5}\Z")
MAPPED = IPv6Network("::ffff:0:0/96")
PROBLEM_CODE = re.compile(r"POL[0-9]{3}\Z", re.ASCII)
MAX_PATH = 255
LIMITED_BROADCAST = IPv4Address("255.255.255.255")
OPERATIONS = ("read", "write", "control", "program", "admin", "diagnose")  # what a PDU asks for
PROOFS = ("session", "step-up", "attestation")
CRITICALITIES = ("low", "medium", "high", "critical")
ZONE_KINDS = ("safety", "control", "supervisory", "engineering", "dmz", "enterprise", "vendor", "remote", "wireless")


def _name(value: Any) -> str:
    if not isinstance(value, str) or not NAME.match(value):
        refuse("POL019", f"'{value}' is no name", "a letter, then up to 62 letters, digits, '.', '_' or '-'")
    return value


def _name_or_all(value: Any) -> str:
    return "*" if value == "*" else _name(value)


def _interface(value: Any) -> str:
    if not isinstance(value, str) or not INTERFACE.match(value) or value in NO_PORTS:
        hint = "1 to 15 of letters, digits, '.', '_', '-', '+' and '@', and not the loopback"
        refuse("POL020", f"'{value}' is no interface name", hint)
    return value


def _text(value: Any) -> Any:
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else "" if value is None else value


def _address(value: Any) -> IPAddress:
    if isinstance(value, (IPv4Address, IPv6Address)):
        return value
    try:
        address = ip_address(value) if isinstance(value, str) else None
    except ValueError:
        address = None
    if address is None:
        hint = "an address, without a prefix length" if "/" in str(value) else "like 10.20.0.11 or 2001:db8:20::11"
        refuse("POL013", f"'{value}' is no IP address", hint)
    if isinstance(address, IPv6Address) and address in MAPPED:
        refuse("POL013", f"'{value}' is an IPv4 address in IPv6 clothes", f"write {address.ipv4_mapped}")
    if isinstance(address, IPv6Address) and address.scope_id:
        refuse("POL013", f"'{value}' names an interface", "leave out the '%' and what follows")
    return address


def _host(value: Any) -> IPAddress:
    address = _address(value)
    if address.is_multicast or address.is_unspecified or address == LIMITED_BROADCAST:
        refuse(
            "POL013", f"'{address}' can't be an asset's address", "groups belong into a conduit's 'to: {group: ...}'"
        )
    return address


def _prefix(value: Any) -> IPNetwork:
    if isinstance(value, (IPv4Network, IPv6Network)):
        return value
    try:
        network = ip_network(value, strict=False) if isinstance(value, str) else None
    except ValueError:
        network = None
    if network is None:
        refuse("POL014", f"'{value}' is no prefix", "like 10.20.0.0/24 or 2001:db8:20::/64")
    if isinstance(network, IPv6Network) and (MAPPED.subnet_of(network) or network.subnet_of(MAPPED)):
        refuse("POL014", f"'{value}' covers IPv4-mapped addresses", "write 2000::/3 and fc00::/7, or IPv4 prefixes")
    if ip_address(str(value).split("/")[0]) != network.network_address:
        refuse("POL014", f"'{value}' has bits set beyond its length", f"write {network}")
    if network.network_address.is_multicast:
        refuse("POL014", f"'{value}' is a multicast prefix", "list the groups in a conduit's 'to: {group: ...}'")
    return network


def _mac_bytes(value: Any) -> bytes:
    if isinstance(value, bytes):
        return value
    if not isinstance(value, str) or not MAC.match(value):
        refuse("POL015", f"'{value}' is no MAC address", 'six pairs of hex digits, like "02:00:00:00:20:01"')
    return bytes.fromhex(value.replace("-", "").replace(":", ""))


def mac_text(mac: bytes) -> str:
    """Return the usual form of a MAC."""
    return mac.hex(":")


def _mac(value: Any) -> bytes:
    mac = _mac_bytes(value)
    if mac[0] & 1:
        refuse("POL015", f"'{mac_text(mac)}' is a group MAC", "an asset's own MAC has an even first byte")
    if mac == bytes(6):
        refuse("POL015", "the MAC of zeros is nobody's", "")
    return mac


def _group(value: Any) -> IPAddress | bytes:
    if isinstance(value, bytes) or (isinstance(value, str) and MAC.match(value)):
        mac = _mac_bytes(value)
        if not mac[0] & 1:
            refuse("POL015", f"'{mac_text(mac)}' is a single device's MAC", "a group MAC has an odd first byte")
        return mac
    address = _address(value)
    if address.is_unspecified:
        refuse("POL013", f"'{address}' is no group address", "")
    return address


def _word(words: dict[str, E]) -> Callable[[Any], E]:
    def choose(value: Any) -> E:
        if isinstance(value, IntEnum):
            return value  # type: ignore[return-value]
        if not isinstance(value, str) or value not in words:
            hint = did_you_mean(str(value), words)
            refuse("POL020", f"'{value}' is not one of {', '.join(words)}", hint if "mean" in hint else "")
        return words[value]

    return choose


def _one_of(words: tuple[str, ...], what: str) -> Callable[[Any], str]:
    def choose(value: Any) -> str:
        if not isinstance(value, str) or value not in words:
            refuse("POL020", f"'{value}' is no {what}", did_you_mean(str(value), words))
        return str(value)

    return choose


def _relative_path(value: Any) -> str:
    """Which folder it may not leave is asked in `bundle`, which knows where the naming file stands."""
    plain = isinstance(value, str) and 0 < len(value) <= MAX_PATH and "\\" not in value
    if not plain or value.startswith("/"):
        refuse("POL054", f"'{value}' is no path of a file beside the policy", "like conduits/water.yaml, with '/'")
    return str(value)


def _problem_code(value: Any) -> str:
    if not isinstance(value, str) or not PROBLEM_CODE.match(value):
        refuse("POL055", f"'{value}' is no code of a check", "like POL202")
    return value


def _refuse_word(value: Any) -> bool:
    """`reset` answers what is dropped, `silent` does not."""
    words = {"silent": False, "reset": True}
    if not isinstance(value, str) or value not in words:
        hint = did_you_mean(str(value), words)
        refuse("POL020", f"'{value}' is not one of silent, reset", hint if "mean" in hint else "")
    return words[value]


def _refusing(value: bool | None) -> str | None:  # noqa: FBT001 the serializer's own form
    return None if value is None else "reset" if value else "silent"


_as_word = PlainSerializer(lambda member: member.name.lower(), return_type=str, when_used="json")
_as_text = PlainSerializer(str, return_type=str, when_used="json")
_as_mac = PlainSerializer(mac_text, return_type=str, when_used="json")
_as_group = PlainSerializer(
    lambda g: mac_text(g) if isinstance(g, bytes) else str(g), return_type=str, when_used="json"
)


def _shape(pattern: str) -> WithJsonSchema:
    return WithJsonSchema({"type": "string", "pattern": f"^({pattern})$"})


def _words(words: Iterable[str]) -> WithJsonSchema:
    return WithJsonSchema({"enum": list(words)})


STAGES = {stage.name.lower(): stage for stage in Stage}
FAILS = {mode.name.lower(): mode for mode in FailMode}
LOGS = {mode.name.lower(): mode for mode in LogMode}
MESSAGE_LOGS = {mode.name.lower(): mode for mode in MessageLog}
REFUSALS = {mode.name.lower(): mode for mode in RefuseMode}
NAME_SHAPE = r"[A-Za-z][A-Za-z0-9._-]{0,62}"
MAC_SHAPE = r"[0-9a-fA-F]{2}([:-][0-9a-fA-F]{2}){5}"
ADDRESS_SHAPE = r"[0-9]{1,3}(\.[0-9]{1,3}){3}|[0-9a-fA-F:]*:[0-9a-fA-F:.]*"

Name = Annotated[str, BeforeValidator(_name), _shape(NAME_SHAPE)]
NameOrAll = Annotated[str, BeforeValidator(_name_or_all), _shape(rf"\*|{NAME_SHAPE}")]
RefuseWord = Annotated[
    bool,
    BeforeValidator(_refuse_word),
    PlainSerializer(_refusing, return_type=str, when_used="json"),
    _words(("silent", "reset")),
]
Interface = Annotated[str, BeforeValidator(_interface), _shape(r"[A-Za-z0-9_.+@-]{1,15}")]
Text = Annotated[str, BeforeValidator(_text), WithJsonSchema({"type": ["string", "integer", "null"]})]
Host = Annotated[Any, BeforeValidator(_host), _as_text, _shape(ADDRESS_SHAPE)]
Prefix = Annotated[Any, BeforeValidator(_prefix), _as_text, _shape(rf"({ADDRESS_SHAPE})(/[0-9]{{1,3}})?")]
Mac = Annotated[Any, BeforeValidator(_mac), _as_mac, _shape(MAC_SHAPE)]
Group = Annotated[Any, BeforeValidator(_group), _as_group, _shape(rf"{MAC_SHAPE}|{ADDRESS_SHAPE}")]
ZoneKind = Annotated[str, BeforeValidator(_one_of(ZONE_KINDS, "kind of zone")), _words(ZONE_KINDS)]
Criticality = Annotated[str, BeforeValidator(_one_of(CRITICALITIES, "criticality")), _words(CRITICALITIES)]
Operation = Annotated[str, BeforeValidator(_one_of(OPERATIONS, "operation")), _words(OPERATIONS)]
Proof = Annotated[str, BeforeValidator(_one_of(PROOFS, "proof that a conduit can require")), _words(PROOFS)]
RelativePath = Annotated[str, BeforeValidator(_relative_path), _shape(r"[^/\\][^\\]{0,254}")]
ProblemCode = Annotated[str, BeforeValidator(_problem_code), _shape(r"POL[0-9]{3}")]
StageWord = Annotated[Stage, BeforeValidator(_word(STAGES)), _as_word, _words(STAGES)]
FailWord = Annotated[FailMode, BeforeValidator(_word(FAILS)), _as_word, _words(FAILS)]
LogWord = Annotated[LogMode, BeforeValidator(_word(LOGS)), _as_word, _words(LOGS)]
MessageLogWord = Annotated[MessageLog, BeforeValidator(_word(MESSAGE_LOGS)), _as_word, _words(MESSAGE_LOGS)]
RefusalWord = Annotated[RefuseMode, BeforeValidator(_word(REFUSALS)), _as_word, _words(REFUSALS)]
