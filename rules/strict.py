"""What every model of the policy language has in common: frozen, and strict about keys.

In: nothing. Out: the base class and the two ways to be lenient: one value for a list, nothing for an empty section.
Must never accept a key that nobody declared: a misspelt key is a wish that would not be granted.
"""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, GetJsonSchemaHandler
from pydantic_core import CoreSchema


class Strict(BaseModel):
    """Frozen, and a key that nobody declared is a mistake."""

    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True, arbitrary_types_allowed=True)


def one_or_many(value: Any) -> Any:
    """Take a scalar as a list of one."""
    return [] if value is None else value if isinstance(value, (list, tuple)) else [value]


def empty_mapping(value: Any) -> Any:
    """Take a section that was left empty as one without entries."""
    return {} if value is None else value


class _Many(BeforeValidator):
    """A list, one of its items, or nothing."""

    def __get_pydantic_json_schema__(self, core: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        several = handler(core)
        return {"anyOf": [several["items"], several, {"type": "null"}]}


class _Section(BeforeValidator):
    """A mapping, or nothing."""

    def __get_pydantic_json_schema__(self, core: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        return {"anyOf": [handler(core), {"type": "null"}]}


Many = _Many(one_or_many)
Section = _Section(empty_mapping)
