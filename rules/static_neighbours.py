"""Address resolution in the kernel's fallback: ARP and IPv6 neighbour discovery, lines a to f of the meaning.

In: the identity elements of a family. Out: chains that judge who may ask for whom, or answer.
Must never accept a sender whose claims contradict each other. Called by `static_identity_chains` only.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from rules.static_script import ARP, Script, address_text, classid, mac_text, raw_span_text, rule_with, span_text

if TYPE_CHECKING:
    from rules.static_identity import Identity

# A number that only this frame holds: the key under which one of its fields is compared with another. Random and
# deleted at once, so that nobody can find an entry that another frame left.
COMPARE_NONCE: Final = "meta mark set numgen random mod 4294967295"


def address_resolution(script: Script, identity: Identity, *, several_spaces: bool) -> None:
    """Append ARP, lines a to f of the meaning.

    A sender with MACs to check is found by a key that holds its MAC twice, which proves that the frame's MAC and the
    ARP sender's agree. nft cannot compare two fields otherwise; for senders without MACs one field is put into a set
    under a number drawn for this frame and the other is looked up there. So are sender and target, where another
    address space may know the sender's address: an announcement of an unchecked address is no question about that one.
    """

    def text(address: int) -> str:
        return address_text(address, ipv4=True)

    checked = (
        f"{z} . {mac_text(m)} . {mac_text(m)} . {text(a)} : {c}" for (z, m, a), c in identity.source_macs.items()
    )
    hosts = (f"{z} . {text(a)} : {c}" for (z, a), c in identity.source_hosts.items())
    spans = (f"{z} . {span_text(f, t, ipv4=True)} : {c}" for z, f, t, c in identity.source_spans)
    targets = (f"{classid(z)} . {text(a)} : {classid(c)}" for (z, a), c in identity.destination_hosts.items())
    target_spans = (
        f"{classid(z)} . {span_text(f, t, ipv4=True)} : {classid(c)}" for z, f, t, c in identity.destination_spans
    )
    sender = "meta mark . ether saddr . arp saddr ether . arp saddr ip"
    forget = _forget("arp_compare", "ether saddr")
    script.chain(
        "resolution",
        [
            "@nh,0,48 != 0x000108000604 goto violation",  # Ethernet, IPv4, lengths 6 and 4
            f"{ARP} arp saddr ip 0.0.0.0 goto violation",
            rule_with(checked, f"{ARP} meta mark set {sender} map %s goto arp_checked"),
            COMPARE_NONCE,
            "update @arp_compare { meta mark . ether saddr }",
            f"{ARP} meta mark . arp saddr ether @arp_compare {forget} goto arp_unchecked",
            forget,
            "goto violation",
        ],
    )
    gratuitous = (f"{text(a)} . {text(a)}" for a in identity.checked_addresses())
    script.chain(
        "arp_checked",
        [rule_with(gratuitous, f"{ARP} arp saddr ip . arp daddr ip %s goto permit"), "goto arp_target"],
    )
    script.chain(
        "arp_unchecked",
        [
            *(_drop_announcement() if several_spaces else ()),
            "jump zones",
            rule_with(hosts, f"{ARP} meta mark set meta mark . arp saddr ip map %s goto arp_target"),
            rule_with(spans, f"{ARP} meta mark set meta mark . arp saddr ip map %s goto arp_target"),
            "goto violation",
        ],
    )
    script.chain(
        "arp_target",
        [
            rule_with(targets, f"{ARP} meta priority set meta priority . arp daddr ip map %s goto arp_relation"),
            rule_with(target_spans, f"{ARP} meta priority set meta priority . arp daddr ip map %s goto arp_relation"),
            "goto violation",
        ],
    )
    script.chain("arp_relation", ["jump relation", "goto neighbour"])


def neighbour_discovery(script: Script, identity: Identity) -> None:
    """Append solicitations and advertisements, lines a to f of the meaning.

    nft 1.0.6 has no name for the target field (bits 64 to 191 of the ICMPv6 message), hence the raw payload and the
    named maps: an anonymous map with a raw key loads, but makes `nft list` abort.
    """
    hosts = (f"{classid(z)} . {raw_span_text(a, a)} : {classid(c)}" for (z, a), c in identity.destination_hosts.items())
    spans = (f"{classid(z)} . {raw_span_text(f, t)} : {classid(c)}" for z, f, t, c in identity.destination_spans)
    script.map("nd_hosts", hosts)
    script.map("nd_prefixes", spans)
    script.chain(
        "solicitation",
        [
            "ip6 saddr :: goto violation",
            "jump source6",
            "meta priority set meta priority . @th,64,128 map @nd_hosts goto solicitation_relation",
            "meta priority set meta priority . @th,64,128 map @nd_prefixes goto solicitation_relation",
            "goto violation",
        ],
    )
    script.chain("solicitation_relation", ["jump relation", "goto neighbour"])
    script.chain(
        "advertisement",
        [
            "ip6 saddr :: goto violation",
            COMPARE_NONCE,
            "update @nd_compare { meta mark . @nh,64,128 }",
            f"meta mark . @th,64,128 @nd_compare {_forget('nd_compare', '@nh,64,128')} goto advertisement_sound",
            _forget("nd_compare", "@nh,64,128"),
            "goto violation",
        ],
    )
    script.chain(
        "advertisement_sound",
        [
            "jump zones",
            "ip6 daddr ff00::/8 goto advertisement_group",
            "jump source6",
            "jump destination6",
            "jump relation",
            "goto neighbour",
        ],
    )
    checked = (f"{z} . {mac_text(m)} . {address_text(a, ipv4=False)}" for z, m, a in identity.source_macs)
    script.chain(
        "advertisement_group",
        [rule_with(checked, "meta mark . ether saddr . ip6 saddr %s goto permit"), "goto violation"],
    )


def _drop_announcement() -> tuple[str, ...]:
    """Return the rules that drop ARP whose sender is its own target."""
    forget = _forget("arp_ip_compare", "arp saddr ip")
    return (
        COMPARE_NONCE,
        f"{ARP} update @arp_ip_compare {{ meta mark . arp saddr ip }}",
        f"{ARP} meta mark . arp daddr ip @arp_ip_compare {forget} goto violation",
        f"{ARP} {forget}",
    )


def _forget(name: str, field: str) -> str:
    """Return the statement that deletes this frame's entry from a compare set."""
    return f"delete @{name} {{ meta mark . {field} }}"
