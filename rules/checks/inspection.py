"""Whether what a conduit says of messages can be kept: somebody reads them, and there is room for what is to be asked.

In: a `Context`. Out: errors; none can be waived, for the engine would not do what the policy says.
"""

from __future__ import annotations

from itertools import combinations
from typing import TYPE_CHECKING

from fastpath.abi import MAX_CLAUSES, MAX_PROFILES, MAX_RANGES, MAX_TURNS
from rules.checks.registry import Finding, check
from rules.constraints_model import clauses_of
from rules.problems import Severity
from rules.profiles import lower_profile
from rules.protocols import INSPECTORS, SPOKEN, key_of
from rules.services import inspected_ranges, inspectors, known_services

if TYPE_CHECKING:
    from collections.abc import Iterator

    from fastpath.abi import Inspector
    from rules.checks.context import Context
    from rules.conduit_model import Conduit
    from rules.service_model import Service


def _inspected(context: Context) -> Iterator[tuple[str, Conduit, dict[str, Service]]]:
    """Yield the conduits whose messages are read, each with the services that it carries."""
    conduits = [(name, conduit) for name, conduit in context.policy.conduits.items() if conduit.inspected]
    known = known_services(context.policy) if conduits else {}
    for name, conduit in conduits:
        yield name, conduit, {service: known[service] for service in conduit.services}


@check(
    "POL040",
    Severity.ERROR,
    "something that the engine does not inspect",
    "A conduit that grants only reading, in words, and lets everything pass would be worse than one that says so.",
    supports="3-2 ZCR 3.1",
    waivable=False,
)
def uninspected(context: Context) -> Iterator[Finding]:
    """Find conduits that say what messages may do, and carry a service whose messages nobody reads."""
    for name, conduit, services in _inspected(context):
        key = next((key for key in ("operations", "constraints") if key in conduit.model_fields_set), "messages")
        for service, meant in services.items():
            if inspectors(meant) is None:
                text = f"nobody inspects service '{service}', so conduit '{name}' can't be held to '{key}'"
                hint = (
                    f"give the service an 'inspect' ({', '.join(INSPECTORS)}), or a conduit of its own without '{key}'"
                )
                yield Finding(("conduits", name, key), text, hint)


@check(
    "POL116",
    Severity.ERROR,
    "a constraint on a protocol that is not spoken",
    "It would hold nothing, and whoever wrote it meant something else.",
    waivable=False,
)
def unspoken(context: Context) -> Iterator[Finding]:
    """Find constraints for protocols that none of the conduit's services speaks."""
    for name, conduit, services in _inspected(context):
        readers: set[Inspector] = set().union(*(inspectors(service) or () for service in services.values()))
        spoken = {protocol for reader in readers for protocol in SPOKEN[reader]}
        for protocol in clauses_of(conduit.constraints):
            if readers and protocol not in spoken:
                text = f"none of the services of conduit '{name}' speaks {key_of(protocol)}"
                hint = f"they speak {', '.join(sorted(key_of(other) for other in spoken))}"
                yield Finding(("conduits", name, "constraints", key_of(protocol)), text, hint)


@check(
    "POL117",
    Severity.ERROR,
    "the same number read in two ways",
    "A frame says its port and nothing else: only one inspector can read what comes there.",
    waivable=False,
)
def read_twice(context: Context) -> Iterator[Finding]:
    """Find services of inspected conduits that share a port, and are not inspected alike."""
    meant = {service: found for _, _, services in _inspected(context) for service, found in services.items()}
    read = [(name, *one) for name, service in sorted(meant.items()) for one in inspected_ranges(service)]
    said = set()
    for (one, kind, span, reader), (other, kind2, span2, reader2) in combinations(read, 2):
        apart = kind is not kind2 or span.last < span2.first or span2.last < span.first
        if apart or reader is reader2 or (one, other) in said:
            continue
        said.add((one, other))
        number = max(span.first, span2.first)
        text = f"{kind.value} {number} is {key_of(reader)} in service '{one}' and {key_of(reader2)} in '{other}'"
        yield Finding(("services", other), text, "give one of them another port, or the same 'inspect'")


def oversized(context: Context) -> Iterator[Finding]:
    """Find profiles that exceed the image's limits: what is asked for is compared with one clause after the other."""
    profiles = set()
    turns = 0
    for name, conduit, services in _inspected(context):
        if any(inspectors(service) is None for service in services.values()):
            continue
        profile = lower_profile(conduit, services)
        if profile is None:
            continue
        profiles.add(profile)
        turns += sum(1 for clause in profile.clauses if clause.rate_interval_ns)
        ranges = sum(len(clause.ranges) for clause in profile.clauses)
        for what, count, limit in (("clauses", len(profile.clauses), MAX_CLAUSES), ("ranges", ranges, MAX_RANGES)):
            if count > limit:
                text = f"conduit '{name}' has {count} {what}; a message is compared with {limit} at most"
                yield Finding(("conduits", name, "constraints"), text, "merge ranges, or split it by asset")
    for what, count, limit in (("different profiles", len(profiles), MAX_PROFILES), ("rates", turns, MAX_TURNS)):
        if count > limit:
            yield Finding(("conduits",), f"{count} {what} of messages; the gateway has room for {limit}")


CHECKS = (uninspected, unspoken, read_twice)
