"""From where to where, from whom to whom: the fallback's chains that follow from the policy alone.

In: a lowered policy and the form of interception. Out: chains that put the source's zone, then its class, then the
relation of the two classes in `meta mark`, and the destination's zone, then its class, in `meta priority`.
Must never accept a frame except through the chains `permit` and `tolerate`, which clear both. Called by `static` only.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from fastpath.abi import Form
from rules.static_identity import Identity, ip_identity, mac_identity
from rules.static_neighbours import address_resolution, neighbour_discovery
from rules.static_script import Script, address_text, classid, interface, mac_text, rule_with, span_text

if TYPE_CHECKING:
    from rules.records import LoweredPolicy
    from rules.static_relations import Relations

IDENTITY_CHAINS = (
    *("zones", "zones_tagged", "permit", "tolerate", "deny", "relation"),
    *("source4", "destination4", "source6", "destination6", "source_mac", "destination_mac"),
    *("resolution", "arp_checked", "arp_unchecked", "arp_target", "arp_relation"),
    *("solicitation", "solicitation_relation", "advertisement", "advertisement_sound", "advertisement_group"),
)


def identity_chains(script: Script, policy: LoweredPolicy, form: Form, numbered: Relations) -> None:
    """Append every chain that does not depend on stages or on open conduits."""
    _zones(script, policy)
    _endings(script, form)
    identity4, identity6 = ip_identity(policy, ipv4=True), ip_identity(policy, ipv4=False)
    _addresses(script, identity4, ipv4=True)
    _addresses(script, identity6, ipv4=False)
    _mac_addresses(script, policy)
    by_pair = numbered.by_pair.items()
    pairs = (f"{source} . {classid(destination)} : {number}" for (source, destination), number in by_pair)
    script.chain(
        "relation",
        [rule_with(pairs, "meta mark set meta mark . meta priority map %s return"), "goto violation"],
    )
    several_spaces = len({zone.space for zone in policy.zones}) > 1
    address_resolution(script, identity4, several_spaces=several_spaces)
    neighbour_discovery(script, identity6)


def _zones(script: Script, policy: LoweredPolicy) -> None:
    names = {port.number: interface(port.name) for port in policy.ports}
    untagged = {names[entry.port]: entry.zone for entry in policy.port_zones if entry.vlan == 0}
    script.chain(
        "zones",
        [
            "meta mark set 0 meta priority set 0:0",
            "ether type { 8021q, 8021ad } goto zones_tagged",
            rule_with((f"{key} : {zone}" for key, zone in untagged.items()), "meta mark set iifname map %s"),
            rule_with(
                (f"{key} : {classid(zone)}" for key, zone in untagged.items()), "meta priority set oifname map %s"
            ),
        ],
    )
    # VLAN id 0 is a priority tag: such a frame belongs where an untagged one does.
    tagged = {f"{names[entry.port]} . {entry.vlan}": entry.zone for entry in policy.port_zones}
    script.map("tagged_sources", (f"{key} : {zone}" for key, zone in tagged.items()))
    script.map("tagged_destinations", (f"{key} : {classid(zone)}" for key, zone in tagged.items()))
    script.chain(
        "zones_tagged",
        [
            "meta mark set iifname . vlan id map @tagged_sources",
            "meta priority set oifname . vlan id map @tagged_destinations",
        ],
    )


def _endings(script: Script, form: Form) -> None:
    """Append the chains that end a judgement. In BRNF the engine never sees some frames: those are counted apart."""
    untouched = "meta mark set 0 meta priority set 0:0"
    for chain, counter, verdict in (
        ("permit", "accepted", f"{untouched} accept"),
        ("tolerate", "would_drop", f"{untouched} accept"),
        ("deny", "dropped", "drop"),
    ):
        queued = f"counter name static_{counter} {verdict}"
        if form is Form.BRIDGE:
            script.chain(chain, [queued])
        else:
            script.chain(chain, [f"ether type {{ ip, ip6 }} {queued}", f"counter name l2_{counter} {verdict}"])


def _addresses(script: Script, identity: Identity, *, ipv4: bool) -> None:
    digit, ip = ("4", "ip") if ipv4 else ("6", "ip6")

    def text(address: int) -> str:
        return address_text(address, ipv4=ipv4)

    checked = (f"{z} . {mac_text(m)} . {text(a)} : {c}" for (z, m, a), c in identity.source_macs.items())
    sources = (f"{z} . {text(a)} : {c}" for (z, a), c in identity.source_hosts.items())
    source_spans = (f"{z} . {span_text(f, t, ipv4=ipv4)} : {c}" for z, f, t, c in identity.source_spans)
    destinations = (f"{classid(z)} . {text(a)} : {classid(c)}" for (z, a), c in identity.destination_hosts.items())
    spans = (f"{classid(z)} . {span_text(f, t, ipv4=ipv4)} : {classid(c)}" for z, f, t, c in identity.destination_spans)
    script.chain(
        f"source{digit}",
        [
            rule_with(checked, f"meta mark set meta mark . ether saddr . {ip} saddr map %s return"),
            rule_with(sources, f"meta mark set meta mark . {ip} saddr map %s return"),
            rule_with(source_spans, f"meta mark set meta mark . {ip} saddr map %s return"),
            "goto violation",
        ],
    )
    script.chain(
        f"destination{digit}",
        [
            rule_with(destinations, f"meta priority set meta priority . {ip} daddr map %s return"),
            rule_with(spans, f"meta priority set meta priority . {ip} daddr map %s return"),
            "goto violation",
        ],
    )


def _mac_addresses(script: Script, policy: LoweredPolicy) -> None:
    sources, destinations = mac_identity(policy)
    source = (f"{zone} . {mac_text(mac)} : {klass}" for (zone, mac), klass in sources.items())
    destination = (
        f"{classid(zone)} . {mac_text(mac)} : {classid(klass)}" for (zone, mac), klass in destinations.items()
    )
    script.chain(
        "source_mac",
        [rule_with(source, "meta mark set meta mark . ether saddr map %s return"), "goto violation"],
    )
    script.chain(
        "destination_mac",
        [rule_with(destination, "meta priority set meta priority . ether daddr map %s return"), "goto violation"],
    )
