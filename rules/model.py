"""The policy as an operator wrote it: frozen models, one per section, nothing decided yet.

In: plain values from `tree` by way of `load`. Out: `Policy` for `check`, `lower` and the control plane's listings.
Must never resolve a reference or apply precedence: that is done in `lower`, once.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, PrivateAttr, StrictBool, model_validator

from fastpath.abi import FailMode, LogMode, Stage
from rules.numbers import EtherType, IcmpType, Port, ProtocolNumber, Vlan, refuse
from rules.rates import RateWord
from rules.tree import Source
from rules.values import (
    Criticality,
    FailWord,
    Group,
    Host,
    Interface,
    LogWord,
    Mac,
    Name,
    NameOrAll,
    Prefix,
    RefuseWord,
    SecurityLevel,
    StageWord,
    Text,
    ZoneKind,
    empty_mapping,
    one_or_many,
)


def whole_version(value: Any) -> Any:
    """Refuse `version: true`, which Python takes for 1."""
    if isinstance(value, bool):
        refuse("POL020", "version must be the number 1")
    return value


Many = BeforeValidator(one_or_many)
Section = BeforeValidator(empty_mapping)
NUMBERS = {"tcp": "ports", "udp": "ports", "icmp": "types", "icmpv6": "types", "ip": "numbers"}


class Strict(BaseModel):
    """Frozen, and a key that nobody declared is a mistake."""

    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True, arbitrary_types_allowed=True)


class Site(Strict):
    """The site as a whole; `ceiling` caps every stage."""

    name: Name
    ceiling: StageWord = Stage.MONITOR
    default_stage: StageWord = Stage.MONITOR
    refuse: RefuseWord = False  # answer what is dropped between zones, instead of keeping silent


class Zone(Strict):
    """Assets with similar security needs, behind ports of their own. SL-T: IEC 62443-3-3, 0 to 4 or 7 of them."""

    kind: ZoneKind
    sl_t: SecurityLevel = 0
    ports: Annotated[tuple[Interface, ...], Many] = ()
    vlans: Annotated[tuple[Vlan, ...], Many] = ()
    prefixes: Annotated[tuple[Prefix, ...], Many] = ()
    address_space: Name = "default"
    description: Text = ""


class Asset(Strict):
    """One device; `behind` names the router asset whose MACs its frames carry."""

    zone: Name
    function: Text = ""
    location: Text = ""
    criticality: Criticality = "medium"
    macs: Annotated[tuple[Mac, ...], Many] = ()
    ips: Annotated[tuple[Host, ...], Many] = ()
    roles: Annotated[tuple[Name, ...], Many] = ()
    behind: Name | None = None
    vendor: Text = ""
    model: Text = ""
    description: Text = ""


class ServiceMember(Strict):
    """One kind of numbers: an EtherType, or an IP protocol with ports, types or numbers."""

    protocol: Literal["tcp", "udp", "icmp", "icmpv6", "ip"] | None = None
    ports: Annotated[tuple[Port, ...], Many] = ()
    types: Annotated[tuple[IcmpType, ...], Many] = ()
    numbers: Annotated[tuple[ProtocolNumber, ...], Many] = ()
    ethertype: Annotated[tuple[EtherType, ...], Many] = ()

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        if getattr(self, "any_of", ()):
            return self
        given = {key for key in ("ports", "types", "numbers", "ethertype") if getattr(self, key)}
        wanted = "ethertype" if self.protocol is None else NUMBERS[self.protocol]
        if given != {wanted}:
            subject = "a service without protocol" if self.protocol is None else f"protocol {self.protocol}"
            refuse("POL021", f"{subject} needs '{wanted}' and nothing else", "several kinds: any_of: [{...}, {...}]")
        return self


class Service(ServiceMember):
    """What a conduit may carry: one member, or several under `any_of`."""

    any_of: Annotated[tuple[ServiceMember, ...], Many] = ()
    description: Text = ""

    @model_validator(mode="after")
    def _one_form(self) -> Self:
        if self.any_of and (self.protocol or self.ports or self.types or self.numbers or self.ethertype):
            refuse("POL021", "any_of stands alone", "move the other keys into a member of any_of")
        return self

    def members(self) -> tuple[ServiceMember, ...]:
        """Return the members, whichever way the service was written."""
        return self.any_of or (self,)


class Selector(Strict):
    """Which endpoints: within a key any of the values, and all of the keys."""

    zone: Annotated[tuple[Name, ...], Many] = ()
    role: Annotated[tuple[Name, ...], Many] = ()
    asset: Annotated[tuple[Name, ...], Many] = ()
    prefix: Annotated[tuple[Prefix, ...], Many] = ()
    group: Annotated[tuple[Group, ...], Many] = ()

    @model_validator(mode="after")
    def _selects(self) -> Self:
        others = bool(self.zone or self.role or self.asset or self.prefix)
        if self.group and others:
            refuse("POL022", "'group' stands alone", "write a conduit of its own for the group")
        if not self.group and not others:
            refuse("POL022", "this selects nothing", "give zone, role, asset or prefix")
        return self


class Opener(Selector):
    """The selector of who opens: a group never sends."""

    @model_validator(mode="after")
    def _sends(self) -> Self:
        if self.group:
            refuse("POL022", "'group' can't be a source", "groups only stand in 'to'")
        return self


class SourceLimit(Strict):
    """How much each source address may send by a conduit."""

    packets: RateWord | None = None
    new_flows: RateWord | None = None

    @model_validator(mode="after")
    def _limits(self) -> Self:
        if not any(getattr(self, name) for name in type(self).model_fields):
            refuse("POL023", "this limits nothing", "like packets: 500/s or new_flows: 20/s")
        return self


class Limit(SourceLimit):
    """How much a conduit carries from its openers, as a whole and for each source address."""

    per_source: SourceLimit | None = None


class Conduit(Strict):
    """A permitted path: who may open what to whom."""

    source: Opener = Field(alias="from")
    destination: Selector = Field(alias="to")
    services: Annotated[tuple[Name, ...], Many] = Field(min_length=1)
    stage: StageWord = Stage.ENFORCE
    fail: FailWord = FailMode.STATIC
    log: LogWord = LogMode.FLOW
    limit: Limit | None = None
    enabled: StrictBool = True
    owner: Text = ""
    reason: Text = ""
    sl_t: SecurityLevel | None = None
    description: Text = ""


class Denial(Strict):
    """How the default deny from some zones to others acts; what an entry leaves out stays as it was, later ones win."""

    source: Annotated[tuple[NameOrAll, ...], Many] = Field(alias="from", min_length=1)
    destination: Annotated[tuple[NameOrAll, ...], Many] = Field(alias="to", min_length=1)
    stage: StageWord | None = None
    refuse: RefuseWord | None = None

    @model_validator(mode="after")
    def _says_something(self) -> Self:
        if self.stage is None and self.refuse is None:
            refuse("POL024", "this entry says nothing", "give stage, refuse or both")
        return self


class Policy(Strict):
    """The whole text. `source_text` positions are kept beside it for `check`."""

    version: Annotated[Literal[1], BeforeValidator(whole_version)]
    site: Site
    zones: Annotated[dict[Name, Zone], Section] = Field(default_factory=dict)
    assets: Annotated[dict[Name, Asset], Section] = Field(default_factory=dict)
    services: Annotated[dict[Name, Service], Section] = Field(default_factory=dict)
    conduits: Annotated[dict[Name, Conduit], Section] = Field(default_factory=dict)
    denials: Annotated[tuple[Denial, ...], Many] = ()
    _text: Source | None = PrivateAttr(default=None)

    def located(self, text: Source) -> Self:
        """Remember where the policy was read from and return it."""
        self._text = text
        return self

    def place(self, *path: str | int) -> tuple[str, int, int]:
        """Return file, line and column of a value, for problems; zeros when the policy was not read from a text."""
        if self._text is None:
            return "policy", 0, 0
        return (self._text.name, *self._text.position(path))


def fields_at(path: tuple[Any, ...]) -> list[str]:
    """Return the keys that the language knows at a path, for "did you mean"."""
    sections: dict[str, type[Strict]] = {"zones": Zone, "assets": Asset, "services": Service, "conduits": Conduit}
    model: type[Strict] = Policy
    if path and path[0] == "site":
        model = Site
    elif path and path[0] == "denials":
        model = Denial
    elif path and path[0] in sections:
        model = sections[path[0]]
        if "any_of" in path:
            model = ServiceMember
        elif path[-1] == "limit":
            model = Limit
        elif path[-1] == "per_source":
            model = SourceLimit
        elif path[-1] in ("from", "to") and len(path) == 3:
            model = Selector
    return [info.alias or name for name, info in model.model_fields.items()]
