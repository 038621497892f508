"""Names for what was learned: services by exactly their numbers, conduits by who asks whom for what.

In: numbers and sides, names that are taken. Out: names that the policy language takes (at most 63 characters), the same
for the same evidence. A service is only ever named when it means these numbers and no others.
"""

from __future__ import annotations

import hashlib
import re
from typing import TYPE_CHECKING, Any, Final

from rules.learning.evidence import Number
from rules.services import known_services, service_ranges, service_size

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from rules.learning.grouping import Side
    from rules.model import Policy
    from rules.service_model import Service

LONGEST: Final = 63
MANY: Final = 32  # numbers: services of more are never what was seen, to the number
_WORDS: Final = {"icmp4": "icmp", "icmp6": "icmpv6"}
_KEYS: Final = {"tcp": "ports", "udp": "ports", "icmp": "types", "icmpv6": "types", "ip": "numbers"}
_UNFIT: Final = re.compile(r"[^A-Za-z0-9._-]+")


class ServiceNames:
    """The services of a policy by their numbers, and new ones for numbers that no service has by itself."""

    def __init__(self, policy: Policy) -> None:
        self._known = known_services(policy)
        self.new: dict[str, dict[str, Any]] = {}
        used = {name for conduit in policy.conduits.values() for name in conduit.services}
        rank = {name: (name not in used, name not in policy.services, at) for at, name in enumerate(self._known)}
        self._exact: dict[frozenset[Number], str] = {}
        for name in sorted(self._known, key=lambda name: rank[name]):
            if service_size(self._known[name]) <= MANY:
                self._exact.setdefault(_numbers(self._known[name]), name)

    def of(self, numbers: Iterable[Number]) -> tuple[str, ...]:
        """Return the services that together mean exactly these numbers, the largest first where several would do."""
        left = set(numbers)
        found = []
        fitting = [wanted for wanted in self._exact if wanted <= left]
        for wanted in sorted(fitting, key=lambda wanted: (-len(wanted), self._exact[wanted])):
            if wanted <= left:
                left -= wanted
                found.append(self._exact[wanted])
        return tuple(sorted(found + [self._added(number) for number in sorted(left)]))

    def _added(self, number: Number) -> str:
        name = base = str(number).replace("/", "-")
        content = _declared(number)
        while name in self._known or self.new.get(name, content) != content:
            name = f"{base}-only" if name == base else f"{name}-only"  # somebody's tcp-1234 that means something else
        self.new[name] = content
        return name


def _declared(number: Number) -> dict[str, Any]:
    if number.protocol == "ethertype":
        return {"ethertype": number.number}
    return {"protocol": number.protocol, _KEYS[number.protocol]: [number.number]}


def _numbers(service: Service) -> frozenset[Number]:
    return frozenset(
        Number(_WORDS.get(kind.value, kind.value), at)
        for kind, ranges in service_ranges(service).items()
        for span in ranges
        for at in range(span.first, span.last + 1)
    )


def conduit_name(source: Side, destination: Side, services: tuple[str, ...], taken: Mapping[str, Any]) -> str:
    """Return a name that is not taken: like hmi-to-plc-modbus."""
    what = services[0] if len(services) == 1 else "-".join(services[:2]) if len(services) == 2 else f"{services[0]}-etc"
    whole = f"{_side(source)}-to-{_side(destination)}-{what}"
    base = _short(whole if whole[:1].isalpha() else f"from-{whole}", LONGEST)
    name, number = base, 1
    while name in taken:
        number += 1
        name = f"{_short(base, LONGEST - len(str(number)) - 1)}-{number}"
    return name


def _side(side: Side) -> str:
    first = side.ends[0]
    if side.role:
        return side.role
    return _UNFIT.sub("-", first.name if len(side.ends) == 1 or not first.zone else first.zone).strip("-")


def _short(text: str, most: int) -> str:
    """Cut a text that is too long, and end it with what tells it from others that begin alike."""
    if len(text) <= most:
        return text
    mark = hashlib.sha256(text.encode()).hexdigest()[:6]
    return f"{text[: most - 7]}-{mark}"
