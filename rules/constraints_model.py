"""What a conduit permits inside, as an operator wrote it: clauses by protocol, with numbers, ranges and names.

In: plain values from `tree` by way of `load`. Out: frozen models for `check` and `profiles`; one model per protocol,
made from the fields of `fastpath.abi` and the words of `rules.protocols`, so that a misspelt field is found where it
stands. Must never accept a number that the field can't have.
"""

from __future__ import annotations

import re
from typing import Annotated, Any, Self

from pydantic import (
    BeforeValidator,
    Field,
    PlainSerializer,
    SerializerFunctionWrapHandler,
    WithJsonSchema,
    create_model,
    model_serializer,
    model_validator,
)

from fastpath.abi import FIELD_NAMES, Protocol
from rules.numbers import NumberRange, refuse, whole
from rules.problems import did_you_mean
from rules.protocols import PROTOCOLS, WORDS, key_of
from rules.rates import RateWord
from rules.strict import Many, Strict
from rules.values import Operation

NUMBER = r"0x[0-9a-fA-F]{1,16}|[0-9]{1,20}"
RANGE = re.compile(rf"\s*({NUMBER})\s*-\s*({NUMBER})\s*\Z")
CODE = "POL077"
MOST_RANGES = 256  # of one field of one clause
MAX_STEP = (1 << 63) - 1
STEPPED = frozenset(
    {Protocol.MODBUS, Protocol.S7COMM}
)  # whose answers tell the values that were read: a step needs the last one

# The field by which one register may have several names; a step that left it open could be gone around.
ONE_PLACE = {"modbus": "unit", "s7comm": "area"}


class Clause(Strict):
    """One alternative; beside these three, the fields of its protocol."""

    operation: Annotated[tuple[Operation, ...], Many] = ()
    rate: RateWord | None = None

    @property
    def largest_step(self) -> int:
        """The largest difference that a write may make; 0 = any."""
        return getattr(self, "step", None) or 0

    @model_serializer(mode="wrap")
    def _as_written(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        return _said(handler(self))

    def ranges(self) -> dict[str, tuple[NumberRange, ...]]:
        """Return what it says of the protocol's own fields, by the fields' names."""
        own = {info.alias or name: getattr(self, name) for name, info in type(self).model_fields.items()}
        return {name: value for name, value in own.items() if value and name not in ("operation", "step", "rate")}


def _said(fields: dict[str, Any]) -> dict[str, Any]:
    """Leave out what was not written."""
    return {name: value for name, value in fields.items() if value}


def _step(value: Any) -> int:
    return whole(value, 1, MAX_STEP, CODE, "step")


def _field(protocol: Protocol, name: str) -> Any:  # noqa: C901 one type, whose parts know its field
    """Return the type of one field of a clause."""
    words = WORDS[protocol]
    most = (1 << words.bits[name]) - 1
    names = words.names.get(name, {})
    spelled = words.spelled.get(name)
    what = f"{name} of {key_of(protocol)}"

    def number(value: Any) -> int:
        if isinstance(value, str) and value in names:
            return names[value]
        if isinstance(value, str) and spelled is not None:
            try:
                return spelled(value)
            except ValueError as error:
                text, _, hint = str(error).partition("; ")
                refuse(CODE, text, hint)
        if isinstance(value, str) and names:
            refuse(CODE, f"'{value}' is no {what}", did_you_mean(value, names) or "a number, a range or a name")
        return whole(value, 0, most, CODE, what)

    def span(value: Any) -> NumberRange:
        if isinstance(value, tuple):
            return NumberRange(*value)
        ends = RANGE.match(value) if isinstance(value, str) and value not in names else None
        if ends is None:
            only = number(value)
            return NumberRange(only, only)
        low, high = int(ends[1], 0), int(ends[2], 0)
        if low > high:
            refuse(CODE, f"'{value}' runs backwards", f"write {high}-{low}")
        return NumberRange(number(low), number(high))

    def written(numbers: NumberRange) -> int | str:
        return numbers.first if numbers.first == numbers.last else f"{numbers.first}-{numbers.last}"

    schema: list[dict[str, Any]] = [
        {"type": "integer", "minimum": 0, "maximum": most},
        {"type": "string"} if spelled else {"type": "string", "pattern": rf"^\s*({NUMBER})\s*-\s*({NUMBER})\s*$"},
    ]
    if names and not spelled:
        schema.append({"enum": list(names)})
    one = Annotated[
        NumberRange,
        BeforeValidator(span),
        PlainSerializer(written, return_type=int | str, when_used="json"),
        WithJsonSchema({"anyOf": schema}),
    ]
    return Annotated[tuple[one, ...], Many]


def _clause_model(protocol: Protocol) -> type[Clause]:
    names = [name for name in FIELD_NAMES[protocol] if name in WORDS[protocol].bits]
    fields: dict[str, Any] = {
        f"{name}_": (_field(protocol, name), Field(default=(), alias=name, max_length=MOST_RANGES)) for name in names
    }
    if protocol in STEPPED:
        step = Annotated[int, BeforeValidator(_step), WithJsonSchema({"type": "integer", "minimum": 1})]
        fields["step"] = (step | None, None)
    title = "".join(part.capitalize() for part in protocol.name.split("_"))
    return create_model(f"{title}Clause", __base__=Clause, __doc__=f"One alternative for {key_of(protocol)}.", **fields)


CLAUSES: dict[Protocol, type[Clause]] = {protocol: _clause_model(protocol) for protocol in PROTOCOLS.values()}


class _Constraints(Strict):
    @model_serializer(mode="wrap")
    def _as_written(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        return _said(handler(self))

    @model_validator(mode="after")
    def _guards_whole_values(self) -> Self:
        for index, clause in enumerate(getattr(self, "s7comm", ()) or ()):
            ranges = clause.ranges()
            counts = ranges.get("count", ())
            if not (clause.largest_step or "value" in ranges):
                continue
            exact = _is_one(counts)
            if not exact or any(span.last - span.first + 1 != counts[0].first for span in ranges.get("address", ())):
                text = f"clause {index + 1} of s7comm guards a value whose bytes could be written one by one"
                refuse(CODE, text, "say how long it is and where each begins, like count: 2, address: [10-11, 12-13]")
        return self

    @model_validator(mode="after")
    def _connects_have_no_operation(self) -> Self:
        for index, clause in enumerate(getattr(self, "cotp", ()) or ()):
            if clause.operation:
                text = f"clause {index + 1} of cotp names an operation: a connect has none"
                refuse(CODE, text, "say what messages may do in 'operations', or in clauses of s7comm")
        return self

    @model_validator(mode="after")
    def _steps_know_their_places(self) -> Self:
        for key, field in ONE_PLACE.items():
            for index, clause in enumerate(getattr(self, key, ()) or ()):
                if clause.largest_step and not _is_one(clause.ranges().get(field, ())):
                    text = f"clause {index + 1} of {key} has a 'step' and not exactly one '{field}'"
                    why = "a device may answer to several as one, and each has a last value of its own"
                    refuse(CODE, text, f"{why}: name one {field}, or give each a clause")
        return self


def _is_one(spans: tuple[NumberRange, ...]) -> bool:
    return len(spans) == 1 and spans[0].first == spans[0].last


def _by_protocol() -> dict[str, Any]:
    """Return the fields of all constraints: a list of clauses for each protocol."""
    fields: dict[str, Any] = {}
    for key, protocol in PROTOCOLS.items():
        several: Any = Annotated[tuple[CLAUSES[protocol], ...], Many]  # type: ignore[valid-type]
        fields[key.replace("-", "_")] = (several | None, Field(default=None, alias=key, min_length=1))
    return fields


Constraints: Any = create_model(
    "Constraints",
    __base__=_Constraints,
    __doc__="What may be asked for, by protocol: a list of alternatives for each.",
    **_by_protocol(),
)


def clauses_of(constraints: Any) -> dict[Protocol, tuple[Clause, ...]]:
    """Return the clauses that are given, by protocol."""
    if constraints is None or not constraints.model_fields_set:
        return {}
    found = {protocol: getattr(constraints, key.replace("-", "_")) for key, protocol in PROTOCOLS.items()}
    return {protocol: clauses for protocol, clauses in found.items() if clauses}


def message_clauses_of(constraints: Any) -> dict[Protocol, tuple[Clause, ...]]:
    """Return the clauses that messages have to match; those about COTP are asked of connects alone."""
    return {protocol: some for protocol, some in clauses_of(constraints).items() if protocol is not Protocol.COTP}
