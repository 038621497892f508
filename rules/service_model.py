"""Services as an operator wrote them: numbers of one kind, several kinds, or a group of other services.

In: plain values from `tree` by way of `load`. Out: frozen models for `services`, which resolves groups.
"""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import model_validator

from rules.numbers import EtherType, IcmpType, Port, ProtocolNumber, refuse
from rules.strict import Many, Strict
from rules.values import Name, Text

NUMBERS = {"tcp": "ports", "udp": "ports", "icmp": "types", "icmpv6": "types", "ip": "numbers"}


class ServiceMember(Strict):
    """One kind of numbers: an EtherType, or an IP protocol with ports, types or numbers."""

    protocol: Literal["tcp", "udp", "icmp", "icmpv6", "ip"] | None = None
    ports: Annotated[tuple[Port, ...], Many] = ()
    types: Annotated[tuple[IcmpType, ...], Many] = ()
    numbers: Annotated[tuple[ProtocolNumber, ...], Many] = ()
    ethertype: Annotated[tuple[EtherType, ...], Many] = ()

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        if getattr(self, "any_of", ()) or getattr(self, "group", ()):
            return self
        given = {key for key in ("ports", "types", "numbers", "ethertype") if getattr(self, key)}
        wanted = "ethertype" if self.protocol is None else NUMBERS[self.protocol]
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
        single = bool(self.protocol or self.ports or self.types or self.numbers or self.ethertype)
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
