"""What a frame asks for: the fallback's chains from the protocol to the service class.

In: the service ranges of a lowered policy. Out: chains that put the service class in `meta priority`, beside the
relation in `meta mark`, and ask the chains of `static_state_chains` whether that is permitted now.
Must never accept a frame themselves, except answers that a pinhole of ours allows. Called by `static` only.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from rules.records import LoweredPolicy, ServiceKind
from rules.static_script import ICMP, Script, classid, number_span_text, rule_with

if TYPE_CHECKING:
    from collections.abc import Iterable

SERVICE_CHAINS: Final = (
    *("entry", "ipv4", "ipv6", "layer2", "other4", "other6", "stream", "tcp_opening", "tcp_ongoing"),
    *("datagram", "udp_reply", "udp_accepted", "udp_accepted4", "udp_accepted6"),
    *("icmp4", "icmp4_accepted", "icmp4_reply", "icmp6", "icmp6_accepted", "icmp6_reply"),
)
PROTOCOLS: Final = (
    *("ip : goto ipv4", "ip6 : goto ipv6", "arp : goto resolution"),
    *("8021q : goto violation", "8021ad : goto violation"),  # a second tag under the first
)
# SPEC: RFC 8200 section 4, RFC 6275, RFC 7401, RFC 5533: hop-by-hop, routing, fragment, destination options, mobility,
# HIP, shim6.
EXTENSION_HEADERS: Final = "{ 0, 43, 44, 60, 135, 139, 140 }"
# Without SYN any of FIN 0x01, RST 0x04, ACK 0x10; with SYN 0x02 only ACK.
POSSIBLE_FLAGS: Final = ("0x01", "0x04", "0x05", "0x10", "0x11", "0x12", "0x14", "0x15")


def service_chains(script: Script, policy: LoweredPolicy) -> None:
    """Append the chains from the entry to the service classes."""
    same_zone = (f"{zone.number} . {classid(zone.number)}" for zone in policy.zones)
    script.chain(
        "entry",
        [
            "jump zones",
            rule_with(same_zone, "meta mark . meta priority %s goto permit"),
            "meta mark 0 goto violation",
            "meta priority 0:0 goto violation",
            rule_with(PROTOCOLS, "meta protocol vmap %s"),
            "goto layer2",
        ],
    )
    _network_layer(script)
    for chain, field in (("other4", "ip protocol"), ("other6", "ip6 nexthdr")):
        _ask(script, chain, [_service(policy, ServiceKind.IP, field, "may_ip"), "jump anything"])
    ethertype = _service(policy, ServiceKind.ETHERTYPE, "meta protocol", "may_ethertype")
    _ask(script, "layer2", ["jump source_mac", "jump destination_mac", "jump relation", ethertype])
    _tcp(script, policy)
    _udp(script, policy)
    for digit, ip, icmp in (("4", "ip", "icmp"), ("6", "ip6", "icmpv6")):
        _icmp(script, policy, digit, ip, icmp)


def _ask(script: Script, chain: str, rules: Iterable[str]) -> None:
    """Append a chain in which what no rule permitted is a violation."""
    script.chain(chain, [*rules, "goto violation"])


def _service(policy: LoweredPolicy, kind: ServiceKind, field: str, chain: str, *, of: str = "") -> str:
    """Return the rule that classifies a number (`of` a protocol) and asks a chain whether that class is permitted."""
    ranges = (
        f"{number_span_text(service.first, service.last)} : {classid(service.klass)}"
        for service in policy.services
        if service.kind is kind
    )
    return rule_with(ranges, f"{of} meta priority set {field} map %s jump {chain}".strip())


def _network_layer(script: Script) -> None:
    script.chain(
        "ipv4",
        [
            "ip frag-off & 0x3fff != 0 goto violation",
            "jump source4",
            "jump destination4",
            "jump relation",
            "ip protocol vmap { tcp : goto stream, udp : goto datagram, icmp : goto icmp4 }",
            "goto other4",
        ],
    )
    script.chain(
        "ipv6",
        [
            f"ip6 nexthdr {EXTENSION_HEADERS} goto violation",
            "ip6 nexthdr icmpv6 icmpv6 type vmap { 135 : goto solicitation, 136 : goto advertisement }",
            "jump source6",
            "jump destination6",
            "jump relation",
            "ip6 nexthdr vmap { tcp : goto stream, udp : goto datagram, icmpv6 : goto icmp6 }",
            "goto other6",
        ],
    )


def _tcp(script: Script, policy: LoweredPolicy) -> None:
    """Append TCP. One lookup on SYN, FIN, RST and ACK sorts out impossible flags and headers cut before them."""
    possible = ", ".join(f"{flags} : goto tcp_ongoing" for flags in POSSIBLE_FLAGS)
    _ask(script, "stream", [f"tcp flags & (fin | syn | rst | ack) vmap {{ syn : goto tcp_opening, {possible} }}"])
    answers = _service(policy, ServiceKind.TCP, "tcp sport", "may_tcp_reverse")
    script.chain("tcp_ongoing", [answers, "goto tcp_opening"])
    _ask(script, "tcp_opening", [_service(policy, ServiceKind.TCP, "tcp dport", "may_tcp"), "jump anything"])


def _udp(script: Script, policy: LoweredPolicy) -> None:
    """Append UDP. A permitted datagram opens a pinhole for its answer; a full set must not cost the datagram."""
    _ask(
        script,
        "datagram",
        [
            "udp length < 8 goto violation",
            _service(policy, ServiceKind.UDP, "udp dport", "may_udp"),
            _service(policy, ServiceKind.UDP, "udp sport", "may_udp_reverse"),
            "jump anything",
        ],
    )
    script.chain(
        "udp_reply",
        [
            "iifname . ip saddr . udp sport . ip daddr . udp dport @udp4_pinholes goto permit",
            "iifname . ip6 saddr . udp sport . ip6 daddr . udp dport @udp6_pinholes goto permit",
        ],
    )
    script.chain(
        "udp_accepted",
        ["meta protocol vmap { ip : jump udp_accepted4, ip6 : jump udp_accepted6 }", "goto permit"],
    )
    for digit, ip in (("4", "ip"), ("6", "ip6")):
        key = f"oifname . {ip} daddr . udp dport . {ip} saddr . udp sport"
        script.chain(f"udp_accepted{digit}", [f"update @udp{digit}_pinholes {{ {key} }}"])


def _icmp(script: Script, policy: LoweredPolicy, digit: str, ip: str, icmp: str) -> None:
    kind = ServiceKind.ICMP4 if digit == "4" else ServiceKind.ICMP6
    known = _service(policy, kind, f"{icmp} type", f"may_icmp{digit}", of=ICMP[digit])
    answer = f"{ICMP[digit]} {icmp} type echo-reply jump may_echo{digit}_reverse"
    _ask(script, f"icmp{digit}", [known, answer, "jump anything"])
    script.chain(
        f"icmp{digit}_reply",
        [f"{ICMP[digit]} iifname . {ip} saddr . {ip} daddr . {icmp} id @echo{digit}_pinholes goto permit"],
    )
    request = f"oifname . {ip} daddr . {ip} saddr . {icmp} id"
    script.chain(
        f"icmp{digit}_accepted",
        [f"{ICMP[digit]} {icmp} type echo-request update @echo{digit}_pinholes {{ {request} }}", "goto permit"],
    )
