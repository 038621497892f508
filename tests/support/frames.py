"""Random streams of frames for a policy: mostly near misses, so that every line of the semantics page gets decided.

In: a PlainPolicy and a seeded random.Random. Out: `Frame` values, several conversations interleaved. About half of the
frames are spoiled in one thing: place, identity, service, flags, or the bytes themselves (tests/support/breakage.py).
Called by tests/property, tests/fuzz, tests/netns and bench/differential.
"""

from __future__ import annotations

import functools
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from . import dialogs, wire
from .breakage import break_frame
from .plain import Address, Conduit, Frame, PlainPolicy
from .plant import Party, Plant, group_mac
from .twin_frame import ERROR_TYPES, ICMP4, ICMP6

if TYPE_CHECKING:
    import random
    from collections.abc import Callable, Iterator

    from .dialogs import Draft

OPEN_DIALOGS: Final = 6
REMEMBERED_DRAFTS: Final = 48
STRANGE_PROTOCOLS: Final = (0, 2, 4, 41, 47, 50, 51, 59, 89, 112, 132, 135, 255)
STRANGE_ETHERTYPES: Final = (0x0600, 0x0842, 0x8035, 0x8863, 0x88B8, 0x88BA, 0x88CC, 0x8892, 0x88A4, 0xFFFF)
PORTS: Final = (0, 53, 80, 102, 443, 502, 503, 4840, 20000, 44818, 47808, 65535)
PAIR_TRIES: Final = 8
CROSSING_WEIGHT: Final = 8  # conduits that cross zones on a common VLAN are talked about more often than others
SPOIL_SHARE: Final = 0.45
BREAK_SHARE: Final = 0.08


class Stream:
    """Frames for one policy, without end."""

    def __init__(self, policy: PlainPolicy, rng: random.Random, *, well_formed: bool = False) -> None:
        """Prepare; `well_formed` leaves out what the kernel drops before any rule of ours sees it."""
        self._rng = rng
        self._well_formed = well_formed
        self.plant = Plant(policy, rng)
        self._conduits = [
            (conduit, *ends) for conduit, ends in zip(policy.conduits, self.plant.ends, strict=True) if all(ends)
        ]
        crossing = [entry for entry in self._conduits if self._crosses(entry[1], entry[2])]
        self._conduits += crossing * CROSSING_WEIGHT
        self._recent: list[Draft] = []
        self._spoilers: tuple[Callable[[Draft], None], ...] = (
            self._move_in,
            self._move_out,
            self._retag,
            self._forge_source_mac,
            self._change_destination_mac,
            self._forge_source,
            self._forge_source,
            self._change_destination,
            self._change_destination,
            self._change_ports,
            self._change_ports,
            self._change_flags,
            self._change_kind,
        )

    def frames(self, count: int) -> Iterator[Frame]:
        """Yield this many frames."""
        talks: list[Iterator[Draft]] = []
        while count > 0:
            if len(talks) < OPEN_DIALOGS:
                talks.append(self._new_dialog())
            talk = self._rng.choice(talks)
            draft = next(talk, None)
            if draft is None:
                talks.remove(talk)
                continue
            yield self._finish(draft)
            count -= 1

    def _finish(self, draft: Draft) -> Frame:
        self._recent = [*self._recent[1 - REMEMBERED_DRAFTS :], replace(draft)]
        if self._rng.random() < SPOIL_SHARE:
            spoil = self._rng.choice(self._spoilers)
            spoil(draft)
            draft.about += f", {spoil.__name__.strip('_')}"
        frame = draft.frame()
        if not self._well_formed and self._rng.random() < BREAK_SHARE:
            frame = break_frame(frame, self._rng)
        return frame

    # ---- what is talked about ----

    def _new_dialog(self) -> Iterator[Draft]:
        roll = self._rng.random()
        if roll < 0.72 and self._conduits:
            conduit, sources, destinations = self._rng.choice(self._conduits)
            return self._talk_by_conduit(conduit, sources, destinations)
        if roll < 0.86 and self._recent:
            return self._talk_about(self._rng.choice(self._recent))
        return self._talk_at_random()

    def _talk_by_conduit(self, conduit: Conduit, sources: list[Party], targets: list[Party]) -> Iterator[Draft]:
        service = self._rng.choice(conduit.services)
        kind, first, last = self._rng.choice(service.ranges)
        number = self._rng.choice((first, last, self._rng.randint(first, last)))
        without_ip = kind == "ethertype"
        speakers = [party for party in sources if (party.ip is None) == without_ip]
        pair = self._pick_pair(speakers, targets)
        if pair is None:
            return self._talk_at_random()
        source, target = pair
        draft = dialogs.draft_between(self.plant, source, target, f"{conduit.name} {kind} {number}")
        if not without_ip and self._rng.random() < 0.15:
            return self._resolve(draft)
        return self._talk(draft, kind, number)

    def _talk(self, draft: Draft, kind: str, number: int) -> Iterator[Draft]:
        if kind == "tcp":
            return dialogs.talk_tcp(draft, number, self._rng)
        if kind == "udp":
            return dialogs.talk_udp(draft, number, self._rng)
        if kind == "ip":
            return dialogs.talk_other_ip(draft, number, self._rng)
        if kind == "ethertype":
            return dialogs.talk_ethertype(draft, number, self._rng)
        return dialogs.talk_icmp(draft, number, self._rng)

    def _resolve(self, draft: Draft) -> Iterator[Draft]:
        if draft.source is None or draft.source.version == 4:
            return dialogs.talk_arp(draft, self._rng)
        return dialogs.talk_discovery(draft, self._rng)

    def _talk_at_random(self) -> Iterator[Draft]:
        pair = self._pick_pair(self.plant.parties, self.plant.parties + self.plant.groups)
        assert pair is not None, "everybody can at least talk to itself"
        source, target = pair
        draft = dialogs.draft_between(self.plant, source, target, "random pair")
        if source.ip is None:
            return self._talk(draft, "ethertype", self._rng.choice(STRANGE_ETHERTYPES))
        if self._rng.random() < 0.25:
            return self._resolve(draft)
        kind = self._rng.choice(("tcp", "udp", "ip", "icmp"))
        icmp = self._rng.choice((0, 3, 8, 11, 12, 13) if source.ip.version == 4 else (1, 2, 3, 4, 128, 129, 133, 143))
        numbers = {"tcp": self._rng.choice(PORTS), "udp": self._rng.choice(PORTS), "icmp": icmp}
        return self._talk(draft, kind, numbers.get(kind, self._rng.choice(STRANGE_PROTOCOLS)))

    def _talk_about(self, earlier: Draft) -> Iterator[Draft]:
        """Yield an ICMP error about an earlier frame, or the same frame again, or its answer."""
        if earlier.source is None or earlier.destination is None or self._rng.random() < 0.3:
            yield replace(earlier) if self._rng.random() < 0.5 else earlier.reversed()
            return
        version = earlier.source.version
        error = earlier.reversed()
        routers = [party for party in self.plant.parties if party.ip and party.ip.version == version]
        if routers and self._rng.random() < 0.3:
            router = self._rng.choice(routers)
            error.source, error.source_mac = router.ip, router.mac
            error.in_port = self.plant.place(router, router)[0]
        quoted = replace(earlier)
        if self._rng.random() < 0.3:
            self._rng.choice((self._change_ports, self._forge_source, self._change_destination))(quoted)
        quote = quoted.pack(quoted)
        size = self._rng.choice((len(quote), len(quote), 28, 48, 20, 27))
        kind = self._rng.choice((*ERROR_TYPES[version], *ERROR_TYPES[version], 5 if version == 4 else 100))
        error.ethertype = wire.IPV4 if version == 4 else wire.IPV6
        error.pack = lambda made: _pack_error(made, kind, quote[:size])
        error.about = f"ICMP error {kind} about: {earlier.about}"
        yield error

    # ---- how it is spoiled: one thing each ----

    def _pick(self, parties: list[Party], fits: Callable[[Party], bool]) -> Party | None:
        fitting = [party for party in parties if fits(party)]
        return self._rng.choice(fitting) if fitting else None

    def _pick_pair(self, sources: list[Party], targets: list[Party]) -> tuple[Party, Party] | None:
        """Return two who speak the same IP version, preferably of different zones and on a VLAN that both have."""
        found: tuple[Party, Party] | None = None
        for _ in range(PAIR_TRIES):
            if not sources:
                return None
            source = self._rng.choice(sources)
            target = self._pick(targets, functools.partial(_same_version, source))
            if target is not None:
                found = source, target
                if source.zone != target.zone and self.plant.share_a_vlan(source, target):
                    break
        return found

    def _crosses(self, sources: list[Party], targets: list[Party]) -> bool:
        pair = self._pick_pair(sources, targets)
        return pair is not None and pair[0].zone != pair[1].zone and self.plant.share_a_vlan(*pair)

    def _move_in(self, draft: Draft) -> None:
        draft.in_port = self._rng.choice(self.plant.ports)

    def _move_out(self, draft: Draft) -> None:
        draft.out_port = self._rng.choice(self.plant.ports)

    def _retag(self, draft: Draft) -> None:
        draft.vlan = self._rng.choice(self.plant.vlans)

    def _forge_source_mac(self, draft: Draft) -> None:
        other = self._rng.choice(self.plant.parties).mac
        draft.source_mac = other if self._rng.random() < 0.7 else self.plant.random_mac()

    def _change_destination_mac(self, draft: Draft) -> None:
        draft.destination_mac = self._rng.choice((self._rng.choice(self.plant.parties).mac, b"\xff" * 6, None))

    def _other_address(self, address: Address | None) -> Address | None:
        if address is None:
            return None
        if self._rng.random() < 0.2:
            top = (1 << address.bits) - 1
            strange = (0, top, address.value ^ 1, min(address.value + 256, top), self._rng.randrange(top))
            mapped = 0xFFFF << 32 | 0x0A000001 if address.version == 6 else 0x7F000001
            return Address(address.version, self._rng.choice((*strange, mapped)))
        return self._known_address(address.version) or address

    def _known_address(self, version: int) -> Address | None:
        known = self._pick(self.plant.parties + self.plant.groups, lambda party: party.ip is not None)
        if known is None or known.ip is None:
            return None
        if version == 6 and known.ip.version == 4:
            return Address(6, 0xFFFF << 32 | known.ip.value)  # IPv4 in IPv6 clothes is nobody's address
        return known.ip if known.ip.version == version else None

    def _forge_source(self, draft: Draft) -> None:
        draft.source = self._other_address(draft.source)

    def _change_destination(self, draft: Draft) -> None:
        draft.destination = self._other_address(draft.destination)
        if draft.destination is not None and draft.destination.is_multicast:
            draft.destination_mac = group_mac(draft.destination)

    def _change_ports(self, draft: Draft) -> None:
        port = self._rng.choice((draft.destination_port ^ 1, self._rng.choice(PORTS), draft.source_port))
        if self._rng.random() < 0.3:
            draft.source_port = port & 0xFF if draft.pack is dialogs.pack_icmp else port
        else:
            draft.destination_port = port & 0xFF if draft.pack is dialogs.pack_icmp else port

    def _change_flags(self, draft: Draft) -> None:
        draft.flags = self._rng.randrange(256)

    def _change_kind(self, draft: Draft) -> None:
        if draft.pack is dialogs.pack_tcp:
            draft.pack = dialogs.pack_udp
        elif draft.pack is dialogs.pack_udp:
            draft.pack = dialogs.pack_tcp
        draft.protocol = self._rng.choice(STRANGE_PROTOCOLS)
        if draft.source is None:
            draft.ethertype = self._rng.choice(STRANGE_ETHERTYPES)


def _same_version(one: Party, other: Party) -> bool:
    return (one.ip.version if one.ip else 0) == (other.ip.version if other.ip else 0)


def _pack_error(draft: Draft, kind: int, quote: bytes) -> bytes:
    assert draft.source is not None
    assert draft.destination is not None
    own = ICMP4 if draft.source.version == 4 else ICMP6
    body = wire.icmp(draft.source, draft.destination, kind, 1, bytes(4) + quote)
    return wire.ip(draft.source, draft.destination, own, body)
