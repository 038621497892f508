"""What a change opens and closes, as `rules.paths` says it, against the slow twin's idea of who may open what.

Random small policies and random changes of them; every address, MAC and service number at which anything can turn is
asked of both.
"""

from __future__ import annotations

import random
import re
from dataclasses import replace
from typing import TYPE_CHECKING, Final

import pytest

from rules.compare import compare_texts
from rules.compile import compile_text
from rules.parties import ANYWHERE
from rules.paths import PathChange, compare_paths
from rules.problems import PolicyError
from tests.support.plain import Address, PlainPolicy, Prefix
from tests.support.policies import SERVICES, DrawnPolicy, compiled_policy, policy_text
from tests.support.twin_identity import Endpoint, Identity

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

CASES: Final = 40
PARTS: Final = 4
CHANGES: Final = (1, 1, 2, 4)
SERVICE_TEXT: Final = re.compile(r"(\w+)/(\w+)(?:-(\w+))?(?: \(.*\))?\Z")
KINDS: Final = {"icmp": "icmp4", "icmpv6": "icmp6"}
Fact = tuple[str, str, str, str, str, tuple[str, int]]  # how, zones, labels, number


def changed(rng: random.Random, drawn: DrawnPolicy) -> DrawnPolicy:
    """Return the policy with one to four random changes that the product accepts."""
    while True:
        plain = drawn.plain
        for _ in range(rng.choice(CHANGES)):
            plain = rng.choice(MUTATIONS)(rng, plain)
        text = policy_text(plain)
        try:
            return DrawnPolicy(plain, text, compile_text(text, "changed.yaml", {}), 0)
        except PolicyError:
            continue


def _conduit(rng: random.Random, plain: PlainPolicy) -> PlainPolicy:
    """Change one conduit: open or shut, other services, ends exchanged."""
    if not plain.conduits:
        return plain
    which = rng.randrange(len(plain.conduits))
    old = plain.conduits[which]
    new = rng.choice(
        (
            replace(old, enabled=not old.enabled),
            replace(old, services=tuple(rng.sample(SERVICES, 2))),
            replace(old, source=rng.choice(plain.conduits).source),
        )
    )
    return replace(plain, conduits=(*plain.conduits[:which], new, *plain.conduits[which + 1 :]))


def _fewer_conduits(rng: random.Random, plain: PlainPolicy) -> PlainPolicy:
    kept = [conduit for conduit in plain.conduits if rng.random() < 0.8]
    return replace(plain, conduits=tuple(kept))


def _asset(rng: random.Random, plain: PlainPolicy) -> PlainPolicy:
    """Change one asset: gone, in another zone, without roles, without its first address."""
    if not plain.assets:
        return plain
    which = rng.randrange(len(plain.assets))
    old = plain.assets[which]
    new = rng.choice(
        (
            (),
            (replace(old, zone=rng.choice(plain.zones).name),),
            (replace(old, roles=()),),
            (replace(old, ips=old.ips[1:]),),
        )
    )
    return replace(plain, assets=(*plain.assets[:which], *new, *plain.assets[which + 1 :]))


def _zones(rng: random.Random, plain: PlainPolicy) -> PlainPolicy:
    """Give one zone another address space or fewer prefixes, or reorder all: numbers change, names don't."""
    zones = list(plain.zones)
    which = rng.randrange(len(zones))
    way = rng.choice(("order", "prefixes", "space"))
    if way == "order":
        rng.shuffle(zones)
    elif way == "prefixes":
        zones[which] = replace(zones[which], prefixes=zones[which].prefixes[1:])
    else:
        zones[which] = replace(zones[which], space=rng.choice(("", "line-b", "line-c")))
    return replace(plain, zones=tuple(zones))


MUTATIONS: Final[tuple[Callable[[random.Random, PlainPolicy], PlainPolicy], ...]] = (
    _conduit,
    _conduit,
    _fewer_conduits,
    _asset,
    _zones,
)


class Asked:
    """Every address, MAC and number at which the answers of two policies can differ."""

    def __init__(self, old: PlainPolicy, new: PlainPolicy) -> None:
        both = (old, new)
        self._spaces = tuple({zone.name: zone.space for zone in plain.zones} for plain in both)
        self._by_space = tuple({space: blocks_of(plain, space) for space in spaces_of(plain)} for plain in both)
        self.blocks = set().union(*(blocks for side in self._by_space for blocks in side.values()))
        self.addresses = {address for block in self.blocks for address in self._edges(block)}
        self.macs = {mac for plain in both for asset in plain.assets for mac in asset.macs}
        self.macs |= {mac for plain in both for c in plain.conduits for mac in c.destination.group_macs}
        spans = {span for plain in both for c in plain.conduits for service in c.services for span in service.ranges}
        self.numbers = {(kind, number) for kind, first, last in spans for number in (first, last, last + 1)}

    def _edges(self, block: Prefix) -> Iterator[Address]:
        """Where an address of a block that is in no inner one must lie: at an edge of the block or of an inner one."""
        bits = 32 if block.version == 4 else 128
        for inner in self.blocks:
            if block.covers(inner):
                size = 1 << (bits - inner.length)
                for value in (inner.value - 1, inner.value, inner.value + size - 1, inner.value + size):
                    if 0 <= value < 1 << bits and block.holds(Address(block.version, value)):
                        yield Address(block.version, value)

    def label(self, zone: str, address: Address) -> str:
        """The innermost block around an address in its zone's address spaces, as the product writes blocks."""
        if zone == ANYWHERE:
            return str(address)
        sides = zip(self._spaces, self._by_space, strict=True)
        near = set().union(*(blocks[spaces[zone]] for spaces, blocks in sides))
        inner = max((block for block in near if block.holds(address)), key=lambda block: block.length)
        return str(Address(inner.version, inner.value)) if inner.length == address.bits else str(inner)


def spaces_of(plain: PlainPolicy) -> set[str]:
    """Return the address spaces of a policy's zones."""
    return {zone.space for zone in plain.zones}


def blocks_of(plain: PlainPolicy, space: str) -> set[Prefix]:
    """Return every prefix and address that a policy names in an address space."""
    identity = Identity(plain)
    ends = [end for conduit in plain.conduits for end in (conduit.opener, conduit.destination)]
    single = [ip for asset in plain.assets if identity.zones[asset.zone].space == space for ip in asset.ips]
    single += [ip for end in ends for ip in end.group_ips]
    found = {Prefix(ip.version, ip.value, ip.bits) for ip in single}
    found |= {prefix for zone in plain.zones if zone.space == space for prefix in zone.prefixes}
    return found | {p for end in ends for p in end.prefixes if identity._space_of_prefix(end, p) == space}


def parties(identity: Identity, asked: Asked) -> dict[tuple[str, Address | bytes], Endpoint]:
    """Return (zone or ANYWHERE, address or MAC) → endpoint, for everything asked that the policy knows."""
    found: dict[tuple[str, Address | bytes], Endpoint] = {}
    for zone in identity.zones.values():
        for address in asked.addresses:
            endpoint = identity.endpoint_of_ip(address, zone.space)
            if endpoint is not None and endpoint.zone in (None, zone.name):
                found[endpoint.zone or ANYWHERE, address] = endpoint
        for mac in asked.macs:
            endpoint = identity.endpoint_of_mac(mac, zone.space)
            if endpoint is not None and endpoint.zone in (None, zone.name):
                found[endpoint.zone or ANYWHERE, mac] = endpoint
    return found


def permitted(plain: PlainPolicy, asked: Asked) -> set[tuple[str, str, Address | bytes, Address | bytes, str, int]]:
    """Return every (zones, addresses, service number) that the twin's policy lets open."""
    identity = Identity(plain)
    known = parties(identity, asked)
    found = set()
    for conduit in plain.conduits:
        if not conduit.open_at_first:
            continue
        spans = [span for service in conduit.services for span in service.ranges]
        numbers = [(kind, n) for kind, n in asked.numbers if any(k == kind and a <= n <= b for k, a, b in spans)]
        sources = [key for key, e in known.items() if not e.is_group and identity.match(conduit.opener, e)]
        targets = [key for key, e in known.items() if identity.match(conduit.destination, e)]
        for source_zone, source in sources:
            for zone, target in targets:
                if source_zone == zone or isinstance(source, bytes) != isinstance(target, bytes):
                    continue
                by_mac = isinstance(source, bytes)
                found |= {
                    (source_zone, zone, source, target, kind, n)
                    for kind, n in numbers
                    if by_mac == (kind == "ethertype")
                }
    return found


def facts_of_twin(old: DrawnPolicy, new: DrawnPolicy) -> set[Fact]:
    """Return what is gained and lost, by the names that people see."""
    asked = Asked(old.plain, new.plain)
    before, after = permitted(old.plain, asked), permitted(new.plain, asked)
    known_before, known_after = (parties(Identity(one.plain), asked) for one in (old, new))

    def label(zone: str, address: Address | bytes) -> str:
        for known in (known_after, known_before):
            if (zone, address) in known and (asset := known[zone, address].asset) is not None:
                return asset
        return address.hex(":") if isinstance(address, bytes) else asked.label(zone, address)

    return {
        (how, zone, other, label(zone, source), label(other, target), (kind, number))
        for how, found in (("gained", after - before), ("lost", before - after))
        for zone, other, source, target, kind, number in found
    }


def facts_of_product(changes: tuple[PathChange, ...], numbers: set[tuple[str, int]]) -> set[Fact]:
    """Expand the product's answer to single facts at the numbers asked."""
    found: set[Fact] = set()
    for change in changes:
        for text in change.services:
            match = SERVICE_TEXT.fullmatch(text)
            assert match is not None, text
            kind, first = KINDS.get(match[1], match[1]), int(match[2], 0)
            last = int(match[3], 0) if match[3] else first
            inside = [(k, n) for k, n in numbers if k == kind and first <= n <= last]
            found |= {
                (change.how, change.source_zone, change.destination_zone, source, target, number)
                for source in change.sources
                for target in change.destinations
                for number in inside
            }
    return found


@pytest.mark.parametrize("part", range(PARTS))
def test_gained_and_lost_paths_are_the_twins(part: int, seed: int) -> None:
    """Every path that a random change opens or closes is named, and no other."""
    seen = 0
    for case in range(part, CASES, PARTS):
        rng = random.Random(seed * 7919 + case)
        old = compiled_policy(rng)
        new = changed(rng, old)
        asked = Asked(old.plain, new.plain)
        said = facts_of_product(compare_paths(old.compiled.lowered, new.compiled.lowered), asked.numbers)
        expected = facts_of_twin(old, new)
        assert said == expected, f"seed {seed} case {case}: {sorted(said ^ expected)[:5]}\n{old.text}\n{new.text}"
        seen += len(expected)
    assert seen > 0, "the changes change nothing: this proves nothing"


def test_first_policy_gains_everything_it_permits(seed: int) -> None:
    """Without a policy before, every permitted path is gained."""
    for case in range(10):
        rng = random.Random(seed + case)
        drawn = compiled_policy(rng)
        nothing = replace(drawn.plain, conduits=())
        asked = Asked(nothing, drawn.plain)
        said = facts_of_product(compare_paths(None, drawn.compiled.lowered), asked.numbers)
        empty = DrawnPolicy(nothing, "", drawn.compiled, 0)
        assert said == facts_of_twin(empty, drawn), f"seed {seed} case {case}"


def test_there_and_back_is_nothing(seed: int) -> None:
    """A policy against itself differs in nothing, and A→B undone by B→A: what one gains the other loses."""
    for case in range(40):
        rng = random.Random(seed * 31 + case)
        old = compiled_policy(rng)
        new = changed(rng, old)
        again = compile_text(old.text, "again.yaml", {})
        assert compare_texts(old.compiled.policy, again.policy) == ()
        assert compare_paths(old.compiled.lowered, again.lowered) == ()
        assert old.compiled.lowered.digest == again.lowered.digest
        there = compare_texts(old.compiled.policy, new.compiled.policy)
        back = compare_texts(new.compiled.policy, old.compiled.policy)
        opposite = {"added": "removed", "removed": "added", "changed": "changed"}
        assert {(c.section, c.name, c.how) for c in there} == {(c.section, c.name, opposite[c.how]) for c in back}
        forth = compare_paths(old.compiled.lowered, new.compiled.lowered)
        away = compare_paths(new.compiled.lowered, old.compiled.lowered)
        assert _directions(forth) == {
            ("lost" if how == "gained" else "gained", *rest) for how, *rest in _directions(away)
        }
        same = old.compiled.lowered.digest == new.compiled.lowered.digest
        assert not (same and forth), f"case {case}: equal digests, and yet paths change"
        assert same or there, f"case {case}: the digests differ, and no object does"


def _directions(changes: tuple[PathChange, ...]) -> set[tuple[object, ...]]:
    return {(c.how, c.source_zone, c.destination_zone, c.pairs, c.conduits) for c in changes}


@pytest.mark.parametrize(
    ("old", "new", "behaves_alike"),
    [
        ("owner: ops", "owner: process", True),
        ("reason: old", "reason: new", True),
        ("log: flow", "log: all", False),
        ("fail: static", "fail: closed", False),
    ],
)
def test_described_and_behavioural_fields_are_both_told(old: str, new: str, behaves_alike: bool) -> None:
    """A new owner changes no digest and is told all the same; a new fail mode changes both."""
    base = """\
version: 1
site: {name: works}
zones:
  a: {kind: supervisory, ports: [a0], prefixes: [10.1.0.0/16]}
  b: {kind: control, ports: [b0], prefixes: [10.2.0.0/16]}
conduits:
  c: {from: {zone: a}, to: {zone: b}, services: [modbus], %s}
"""
    before, after = compile_text(base % old), compile_text(base % new)
    (found,) = compare_texts(before.policy, after.policy)
    assert (found.section, found.name, found.how) == ("conduits", "c", "changed")
    (field,) = found.fields
    name, _, value = new.partition(": ")
    assert (field.field, field.new) == (name, value)
    assert (before.lowered.digest == after.lowered.digest) is behaves_alike
    assert compare_paths(before.lowered, after.lowered) == ()
