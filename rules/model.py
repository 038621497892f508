"""The policy as an operator wrote it: frozen models, one per section, nothing decided yet.

In: plain values from `tree` by way of `load`. Out: `Policy` for `check`, `lower` and the control plane's listings.
Must never resolve a reference or apply precedence: that is done in `lower`, once.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal, Self, get_args

from pydantic import BeforeValidator, Field, GetJsonSchemaHandler, PrivateAttr, WithJsonSchema, model_validator
from pydantic_core import CoreSchema

from fastpath.abi import Stage
from rules.conduit_model import Conduit
from rules.levels import NONE, SecurityLevel
from rules.nodes import Source
from rules.numbers import Vlan, refuse
from rules.service_model import Service
from rules.strict import Many, Section, Strict
from rules.times import Date, TimeZoneName
from rules.values import (
    Criticality,
    Host,
    Interface,
    Mac,
    Name,
    NameOrAll,
    Prefix,
    ProblemCode,
    RefuseWord,
    RelativePath,
    StageWord,
    Text,
    ZoneKind,
)
from rules.windows_model import Cycle, Window


def whole_version(value: Any) -> Any:
    """Refuse `version: true`, which Python takes for 1."""
    if isinstance(value, bool):
        refuse("POL020", "version must be the number 1")
    return value


class Site(Strict):
    """The site as a whole; `ceiling` caps every stage."""

    name: Name
    ceiling: StageWord = Stage.MONITOR
    default_stage: StageWord = Stage.MONITOR
    refuse: RefuseWord = False  # answer what is dropped between zones, instead of keeping silent
    timezone: TimeZoneName = "UTC"  # of every window and cycle that names none


class Zone(Strict):
    """Assets with similar security needs, behind ports of their own. SL-T is what they need, SL-C what they can do."""

    kind: ZoneKind
    sl_t: SecurityLevel = NONE
    sl_c: SecurityLevel | None = None  # None: nobody has said
    parent: Name | None = None
    criticality: Criticality = "medium"
    location: Text = ""
    owner: Text = ""
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
    vendor: Text = ""
    model: Text = ""
    firmware: Text = ""
    serial: Text = ""
    owner: Text = ""
    sl_c: SecurityLevel | None = None  # None: its zone's
    macs: Annotated[tuple[Mac, ...], Many] = ()
    ips: Annotated[tuple[Host, ...], Many] = ()
    roles: Annotated[tuple[Name, ...], Many] = ()
    behind: Name | None = None
    description: Text = ""


class Role(Strict):
    """What assets do, so that conduits need not name each of them."""

    description: Text = ""


class Waiver(Strict):
    """A check's finding at one object that somebody has accepted, until a day."""

    code: ProblemCode
    at: Text  # section and name: conduits/eng-plc; a section alone for what a check says of the whole
    who: Text = Field(min_length=1)
    why: Text = Field(min_length=1)
    until: Date


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


DELIMITERS = (",", ";", "\t", "|")


def _delimiter(value: Any) -> Any:
    if value not in DELIMITERS:
        refuse("POL066", f"{value!r} can't separate cells", "one of ',', ';', '|' and a tab (\"\\t\")")
    return value


class Inventory(Strict):
    """Assets from a spreadsheet: which column holds which key, and what every row has that no column says."""

    csv: RelativePath
    delimiter: Annotated[str, BeforeValidator(_delimiter), WithJsonSchema({"enum": [*DELIMITERS]})] | None = (
        None  # None: seen from the first line
    )
    columns: Annotated[dict[Name, Text], Section] = Field(default_factory=dict)  # our key → the header's word
    zone: Name | None = None
    roles: Annotated[tuple[Name, ...], Many] = ()


class _FileName(BeforeValidator):
    """A mapping, or only the name of the file."""

    def __get_pydantic_json_schema__(self, core: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        return {"anyOf": [{"type": "string", "minLength": 1}, handler(core)]}


def _file_name(value: Any) -> Any:
    return {"csv": value} if isinstance(value, str) else value


class Policy(Strict):
    """The whole policy: the main text and everything it includes. Positions are kept beside it for `check`."""

    version: Annotated[Literal[1], BeforeValidator(whole_version)]
    include: Annotated[tuple[RelativePath, ...], Many] = ()
    inventory: Annotated[tuple[Annotated[Inventory, _FileName(_file_name)], ...], Many] = ()
    site: Site
    zones: Annotated[dict[Name, Zone], Section] = Field(default_factory=dict)
    assets: Annotated[dict[Name, Asset], Section] = Field(default_factory=dict)
    roles: Annotated[dict[Name, Annotated[Role, Section]], Section] | None = None  # None: any word is a role
    services: Annotated[dict[Name, Service], Section] = Field(default_factory=dict)
    windows: Annotated[dict[Name, Window], Section] = Field(default_factory=dict)
    cycles: Annotated[dict[Name, Cycle], Section] = Field(default_factory=dict)
    conduits: Annotated[dict[Name, Conduit], Section] = Field(default_factory=dict)
    denials: Annotated[tuple[Denial, ...], Many] = ()
    waivers: Annotated[tuple[Waiver, ...], Many] = ()
    _text: Source | None = PrivateAttr(default=None)
    _files: Mapping[str, bytes] = PrivateAttr(default_factory=dict)

    def located(self, text: Source, files: Mapping[str, bytes] | None = None) -> Self:
        """Remember where the policy was read from, and the files that came with it, and return it."""
        self._text = text
        self._files = files or {}
        return self

    def attachment(self, name: str) -> bytes | None:
        """Return the content of a file that the policy names (a window's `ics`), by its name in the policy."""
        return self._files.get(name)

    def place(self, *path: str | int) -> tuple[str, int, int]:
        """Return file, line and column of a value, for problems; zeros when the policy was not read from a text."""
        return self._text.place(path) if self._text is not None else ("policy", 0, 0)


def fields_at(path: tuple[Any, ...]) -> list[str]:
    """Return the keys that the language knows at a path, for "did you mean"."""
    model: type[Strict] | None = Policy
    entries = False  # the next part of the path is a name of the operator's, or a position
    for part in path:
        if model is None:
            return []
        if entries or isinstance(part, int):
            entries = False
            continue
        fields = {info.alias or name: info.annotation for name, info in model.model_fields.items()}
        annotation = fields.get(part)
        model, entries = _model_in(annotation), dict in _origins(annotation)
    return [] if model is None else [info.alias or name for name, info in model.model_fields.items()]


def _parts(annotation: Any) -> list[Any]:
    """Return an annotation and everything it is made of."""
    found, at = [annotation], 0
    while at < len(found):
        found += get_args(found[at])
        at += 1
    return found


def _model_in(annotation: Any) -> type[Strict] | None:
    return next((part for part in _parts(annotation) if isinstance(part, type) and issubclass(part, Strict)), None)


def _origins(annotation: Any) -> set[Any]:
    return {getattr(part, "__origin__", None) for part in _parts(annotation)}
