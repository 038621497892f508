"""Services as an operator wrote them: numbers of one kind, several kinds, or a group of other services.

In: plain values from `tree` by way of `load`. Out: frozen models for `services`, which resolves groups.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from pydantic import BeforeValidator, PlainSerializer, WithJsonSchema, model_validator

from fastpath.abi import Inspector
from rules.numbers import EtherType, IcmpType, Port, ProtocolNumber, refuse
from rules.problems import did_you_mean
from rules.protocols import CARRIERS, INSPECTORS, key_of
from rules.strict import Many, Strict
from rules.values import Name, Text

NUMBERS = {"tcp": "ports", "udp": "ports", "icmp": "types", "icmpv6": "types", "ip": "numbers"}


def _inspector(value: Any) -> Inspector:
    if isinstance(value, Inspector):
        return value
    if not isinstance(value, str) or value not in INSPECTORS:
        known = ", ".join(INSPECTORS)
        refuse("POL020", f"'{value}' can't be inspected", did_you_mean(str(value), INSPECTORS) or f"one of {known}")
    return INSPECTORS[value]


InspectorWord = Annotated[
    Inspector,
    BeforeValidator(_inspector),
    PlainSerializer(key_of, return_type=str, when_used="json"),
    WithJsonSchema({"enum": list(INSPECTORS)}),
]


class ServiceMember(Strict):
    """One kind of numbers: an EtherType, or an IP protocol with ports, types or numbers."""

    protocol: Literal["tcp", "udp", "icmp", "icmpv6", "ip"] | None = None
    ports: Annotated[tuple[Port, ...], Many] = ()
    types: Annotated[tuple[IcmpType, ...], Many] = ()
    numbers: Annotated[tuple[ProtocolNumber, ...], Many] = ()
    ethertype: Annotated[tuple[EtherType, ...], Many] = ()
    inspect: InspectorWord | None = None

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        if getattr(self, "any_of", ()) or getattr(self, "group", ()):
            return self
        given = {key for key in ("ports", "types", "numbers", "ethertype") if getattr(self, key)}
        wanted = "ethertype" if self.protocol is None else NUMBERS[self.protocol]
        if self.inspect is not None and self.protocol not in CARRIERS[self.inspect]:
            carried = " or ".join(sorted(CARRIERS[self.inspect]))
            refuse("POL021", f"{key_of(self.inspect)} is carried by {carried}", "move 'inspect' to where the ports are")
        if given != {wanted}:
            subject = "a service without protocol" if self.protocol is None else f"protocol {self.protocol}"
            refuse("POL021", f"{subject} needs '{wanted}' and nothing else", "several kinds: any_of: [{...}, {...}]")
        return self


class Service(ServiceMember):
    """What a conduit may carry: one member, several under `any_of`, or all of the services that `group` names."""

    any_of: Annotated[tuple[ServiceMember, ...], Many] = ()
    group: Annotated[tuple[Name, ...], Many] = ()
    description: Text = ""

    @model_validator(mode="after")
    def _one_form(self) -> Self:
        single = bool(self.protocol or self.ports or self.types or self.numbers or self.ethertype or self.inspect)
        if self.any_of and (single or self.group):
            refuse("POL021", "any_of stands alone", "move the other keys into a member of any_of")
        if self.group and single:
            refuse(
                "POL021", "a group stands alone", "declare the rest as a service of its own and name it in the group"
            )
        return self

    def members(self) -> tuple[ServiceMember, ...]:
        """Return the members of one that is no group, whichever way it was written."""
        return self.any_of or (self,)
