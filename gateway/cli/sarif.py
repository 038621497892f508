"""Findings of a policy check in the form that CI systems show beside the changed lines: SARIF 2.1.0.

In: problems as `rules` found them. Out: one SARIF log as plain values. Clauses are those of the OASIS standard.
Must never claim more than was found: a waived finding is a suppressed result, not a missing one.
"""

from __future__ import annotations

import hashlib
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote

if TYPE_CHECKING:
    from collections.abc import Iterable

    from rules.problems import Problem

SCHEMA: Final = "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json"
LEVELS: Final = {"error": "error", "warning": "warning", "info": "note"}  # 3.27.10


def sarif_log(problems: Iterable[Problem]) -> dict[str, Any]:
    """Return the log of one check."""
    found = list(problems)
    codes = sorted({problem.code for problem in found})
    driver = {
        "name": "conduitctl",
        "semanticVersion": version("conduit-gateway"),
        "rules": [_rule(code) for code in codes],
    }
    run = {
        "tool": {"driver": driver},
        "columnKind": "unicodeCodePoints",
        "results": [_result(problem, codes.index(problem.code)) for problem in found],
    }
    return {"$schema": SCHEMA, "version": "2.1.0", "runs": [run]}


def _rule(code: str) -> dict[str, Any]:
    """Return a reportingDescriptor (3.49) with the code's page as its help."""
    from rules.checks.catalogue import BY_CODE  # noqa: PLC0415 (loads YAML and models; --help must not)
    from rules.checks.explain import page  # noqa: PLC0415
    from rules.checks.text_codes import TEXT_CODES  # noqa: PLC0415

    check = BY_CODE.get(code)
    text = page(code)
    rule: dict[str, Any] = {
        "id": code,
        "shortDescription": {"text": check.title if check else TEXT_CODES[code]},
        "help": {"text": text, "markdown": text},
        "defaultConfiguration": {"level": LEVELS[check.severity.value] if check else "error"},
    }
    if check is not None:
        rule["fullDescription"] = {"text": check.why}
        rule["properties"] = {"tags": ["IEC 62443", *(f"supports {check.supports}" for _ in (1,) if check.supports)]}
    return rule


def _result(problem: Problem, index: int) -> dict[str, Any]:
    """Return a result (3.27)."""
    hint = f" ({problem.hint})" if problem.hint else ""
    identity = f"{problem.code}|{problem.at}|{problem.message}"
    result: dict[str, Any] = {
        "ruleId": problem.code,
        "ruleIndex": index,
        "level": LEVELS[problem.severity.value],
        "message": {"text": f"{problem.message}{hint}"},
        "locations": [_location(problem)],
        "partialFingerprints": {"finding/v1": hashlib.sha256(identity.encode()).hexdigest()},
    }
    if problem.waived is not None:  # 3.35: the waiver stands in the policy itself
        waived = str(problem.waived)
        result["suppressions"] = [{"kind": "inSource", "status": "accepted", "justification": waived}]
    return result


def _location(problem: Problem) -> dict[str, Any]:
    physical: dict[str, Any] = {"artifactLocation": {"uri": _uri(problem.path)}}
    if problem.line:
        physical["region"] = {"startLine": problem.line, "startColumn": max(problem.column, 1)}
    location: dict[str, Any] = {"physicalLocation": physical}
    if problem.at:
        location["logicalLocations"] = [{"fullyQualifiedName": problem.at}]
    return location


def _uri(path: str) -> str:
    """Return a path as a URI reference (RFC 3986): relative ones stay relative to where the check ran."""
    return Path(path).as_uri() if path.startswith("/") else quote(path)
