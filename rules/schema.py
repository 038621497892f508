"""The policy language as JSON Schema (draft 2020-12) and as tables: made from the models, for editors and people.

In: the models and `descriptions`. Out: the schema, and the tables of docs/reference/policy.md.
`python -m rules.schema` writes both; a contract test compares them. What a schema can't say (references, what
contradicts what) is left to `check`: a text that the schema accepts may still be refused, never the other way round.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rules.descriptions import DESCRIPTIONS
from rules.model import Policy

if TYPE_CHECKING:
    from collections.abc import Iterator

SCHEMA_FILE = Path("docs") / "reference" / "policy.schema.json"
PAGE = Path("docs") / "reference" / "policy.md"
BEGIN, END = "<!-- keys: made by `python -m rules.schema` -->", "<!-- /keys -->"
SECTIONS = (
    ("At the top of a file", ("Policy",)),
    ("`site`", ("Site",)),
    ("`zones.NAME`", ("Zone",)),
    ("`assets.NAME`", ("Asset",)),
    ("`inventory`, each entry", ("Inventory",)),
    ("`roles.NAME`", ("Role",)),
    ("`services.NAME`", ("ServiceMember", "Service")),
    ("`conduits.NAME`", ("Conduit",)),
    ("`from` and `to` of a conduit", ("Selector",)),
    ("`constraints`", ("Constraints",)),
    ("`constraints.modbus`, each clause", ("ModbusClause",)),
    ("`constraints.s7comm`, each clause", ("S7commClause",)),
    ("`constraints.s7comm-plus`, each clause", ("S7commPlusClause",)),
    ("`constraints.enip`, each clause", ("EnipClause",)),
    ("`constraints.cip`, each clause", ("CipClause",)),
    ("`constraints.cotp`, each clause", ("CotpClause",)),
    ("`limit`", ("SourceLimit", "Limit")),
    ("`windows.NAME`", ("Window",)),
    ("`weekly`, each entry", ("Weekly",)),
    ("`rules`, each entry", ("Recurrence",)),
    ("`except` and `once`, each entry", ("Span", "Once")),
    ("`cycles.NAME`", ("Cycle",)),
    ("`denials`, each entry", ("Denial",)),
    ("`waivers`, each entry", ("Waiver",)),
)


def policy_schema(*, fragment: bool = False) -> dict[str, Any]:
    """Return the schema of a policy, or of a fragment that another file includes: there nothing is required."""
    schema = Policy.model_json_schema(by_alias=True)
    models = schema.pop("$defs")
    for name, model in [("Policy", schema), *models.items()]:
        _describe(name, model)
    if fragment:
        del schema["required"]
    schema["title"] = "conduit-gateway policy" + (", fragment" if fragment else "")
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema, "$defs": models}


def described(name: str) -> dict[str, str]:
    """Return the descriptions of a model's keys, those of the models that it extends first."""
    below = {"Service": "ServiceMember", "Opener": "Selector", "Limit": "SourceLimit", "Once": "Span"}
    return (described(below[name]) if name in below else {}) | DESCRIPTIONS.get(name, {})


def _describe(name: str, model: dict[str, Any]) -> None:
    words = described(name)
    for key, value in model.get("properties", {}).items():
        value.pop("title", None)
        model["properties"][key] = {"description": words[key], **value} if key in words else value
        _names(value)
    if name == "Opener":
        del model["properties"]["group"]


def _names(value: Any) -> None:
    """Have every entry of a section described, and its name checked: patternProperties alone lets others pass."""
    if isinstance(value, dict):
        patterns = value.pop("patternProperties", None)
        if patterns:
            ((pattern, entry),) = patterns.items()
            value |= {"propertyNames": {"pattern": pattern}, "additionalProperties": entry}
        for below in value.values():
            _names(below)
    elif isinstance(value, list):
        for below in value:
            _names(below)


def schema_text() -> str:
    """Return the schema as the file in docs/reference has it."""
    return json.dumps(policy_schema(), indent=1, ensure_ascii=False) + "\n"


def key_tables() -> str:
    """Return a table of the keys for each place in a policy."""
    return "\n".join(line for title, models in SECTIONS for line in _table(title, models))


def _table(title: str, models: tuple[str, ...]) -> Iterator[str]:
    yield from ("", f"### {title}", "", "| key | meaning |", "|---|---|")
    for name in models:
        for key, words in DESCRIPTIONS[name].items():
            yield f"| `{key}` | {words.replace('|', chr(92) + '|')} |"


def page_with_tables(page: str) -> str:
    """Return the reference page with its tables as they are now."""
    before, rest = page.split(BEGIN)
    return f"{before}{BEGIN}\n{key_tables()}\n\n{END}{rest.split(END)[1]}"


def main() -> int:
    """Write both into the documentation of the current directory."""
    if not PAGE.is_file():
        sys.stderr.write(f"{PAGE} is not here: run this in the project's directory\n")
        return 1
    SCHEMA_FILE.write_text(schema_text(), encoding="utf-8")
    PAGE.write_text(page_with_tables(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
