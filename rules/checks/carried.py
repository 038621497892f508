"""What conduits carry: services that nobody uses, that say too little, that people chat by, that hide nothing.

In: a `Context`. Out: findings about `services` and about conduits by the port numbers that they permit.
Which numbers a word stands for is said once, in the service library (rules/services.yaml).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from rules.checks.registry import Finding, check
from rules.problems import Severity
from rules.records import ServiceKind
from rules.services import known_services, library, service_ranges, service_size

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from rules.checks.context import Context
    from rules.numbers import NumberRange
    from rules.service_model import Service

PERSONAL = ("smtp", "submission", "pop3", "imap", "irc", "xmpp", "sip", "h323", "stun")
CLEAR_TEXT = ("ftp", "telnet", "tftp", "http", "rlogin", "vnc")
MANY_NUMBERS = 1024  # a service of more says nothing about what it is for
PLANT = ("control", "safety", "supervisory", "engineering")
Numbers = dict[ServiceKind, list["NumberRange"]]


@check("POL207", Severity.WARNING, "unused service", "What no conduit carries is forgotten, or a conduit is missing.")
def unused(context: Context) -> Iterator[Finding]:
    """Find services of the policy that neither a conduit nor another service names."""
    policy = context.policy
    used = {service for conduit in policy.conduits.values() for service in conduit.services}
    used |= {inner for service in policy.services.values() for inner in service.group}
    for name in policy.services:
        if name not in used:
            yield Finding(("services", name), f"no conduit carries service '{name}'", "remove it, or name it")


@check(
    "POL212",
    Severity.WARNING,
    "service of nearly everything",
    "A conduit with every port permits what nobody thought of.",
    supports="3-3 SR 5.2 RE 1, SR 7.7",
)
def too_broad(context: Context) -> Iterator[Finding]:
    """Find conduits that carry a service of very many numbers, or all of TCP, UDP or IP by protocol number."""
    broad = {name: why for name, service in known_services(context.policy).items() if (why := _breadth(service))}
    for name, conduit in context.policy.conduits.items():
        for at, service in enumerate(conduit.services):
            if service in broad:
                text = f"conduit '{name}' carries service '{service}', {broad[service]}"
                yield Finding(("conduits", name, "services", at), text, "name the ports that it needs")


def _breadth(service: Service) -> str:
    size = service_size(service)
    return f"which names {size} ports or types" if size > MANY_NUMBERS else ""


@check(
    "POL227",
    Severity.WARNING,
    "mail, chat or calls into the plant",
    "What people write to each other carries what they click on: it stays out of control systems.",
    supports="3-3 SR 5.3",
)
def between_people(context: Context) -> Iterator[Finding]:
    """Find conduits that carry person-to-person services into or out of the plant's own zones."""
    plant = context.of_kinds(*PLANT)
    for name, service, word in _carrying(context, PERSONAL):
        reach = context.reaches[name]
        zones = (reach.sources | reach.targets) & plant
        if zones:
            text = f"conduit '{name}' carries {word} (service '{service}') with zone '{min(zones)}'"
            yield Finding(("conduits", name), text, "let alarms leave by a relay in the DMZ")


@check(
    "POL228",
    Severity.WARNING,
    "clear-text administration of a cell",
    "Passwords and commands can be read, repeated and changed on the way.",
    supports="3-3 SR 1.5, SR 3.1, SR 4.1",
)
def clear_text(context: Context) -> Iterator[Finding]:
    """Find conduits into control and safety zones that carry services that encrypt nothing."""
    for name, service, word in _carrying(context, CLEAR_TEXT):
        cells = context.reaches[name].targets & context.cells
        if cells:
            text = f"conduit '{name}' carries {word} (service '{service}') into cell '{min(cells)}'"
            yield Finding(("conduits", name), text, "ssh, https or a jump host's own encryption instead")


def _carrying(context: Context, words: Iterable[str]) -> Iterator[tuple[str, str, str]]:
    """Yield conduits with the first of their services that includes numbers of one of these library services."""
    numbers = {word: service_ranges(library()[word]) for word in words}
    found: dict[str, str] = {}
    for name, service in known_services(context.policy).items():
        if service_size(service) <= MANY_NUMBERS:  # beyond, POL212 says it
            carried = service_ranges(service)
            word = next((word for word, ranges in numbers.items() if _meet(carried, ranges)), None)
            if word is not None:
                found[name] = word
    for name, conduit in context.policy.conduits.items():
        for service_name in conduit.services:
            if service_name in found:
                yield name, service_name, found[service_name]
                break


def _meet(some: Numbers, others: Numbers) -> bool:
    return any(
        one.first <= two.last and two.first <= one.last
        for kind, ranges in some.items()
        for one in ranges
        for two in others.get(kind, ())
    )


CHECKS = (unused, too_broad, between_people, clear_text)
