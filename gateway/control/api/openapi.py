"""The OpenAPI 3.1 document, made from the route table and the models; nothing of it is written by hand.

Pure. Called for /openapi.json, by the generator of docs/reference/api.md and by the tests.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from pydantic.json_schema import models_json_schema

from gateway.control.api.models import ErrorAnswer, Model

if TYPE_CHECKING:
    from collections.abc import Iterable

    from gateway.control.api.routes import Route

REFERENCE: Final = "#/components/schemas/{model}"
_REFUSALS: Final = {
    "400": "the request cannot be read",
    "403": "this user may not",
    "404": "no such object",
    "413": "the request is larger than 64 MiB",
    "422": "understood and refused; nothing in force has changed",
    "503": "kernel or engine did not follow; nothing in force has changed",
}


def document(routes: Iterable[Route]) -> dict[str, Any]:
    """Return the whole document."""
    table = list(routes)
    used: set[type[Model]] = {ErrorAnswer}
    for route in table:
        used |= {model for model in (route.body, route.reply) if model is not None}
    ordered = sorted(used, key=lambda model: model.__name__)
    mapping, schemas = models_json_schema([(model, "validation") for model in ordered], ref_template=REFERENCE)
    references = {model: mapping[(model, "validation")] for model in ordered}
    paths: dict[str, dict[str, Any]] = {}
    for route in table:
        paths.setdefault(route.path, {})[route.method.lower()] = _operation(route, references)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "conduit-gateway control socket",
            "version": "1",
            "description": "HTTP over a Unix socket. The peer's user decides its role; there are no tokens.",
        },
        "paths": paths,
        "components": {"schemas": schemas["$defs"]},
    }


def _operation(route: Route, references: dict[type[Model], Any]) -> dict[str, Any]:
    refusal = {"content": {"application/json": {"schema": references[ErrorAnswer]}}}
    reply = {"schema": references[route.reply]} if route.reply else {}
    words = route.path.strip("/").replace("{", "").replace("}", "").replace(".", "/").split("/")
    operation: dict[str, Any] = {
        "operationId": "_".join([route.method.lower(), *(word for word in words if word != "v1")]),
        "summary": route.summary,
        "description": f"Needs the role {route.rank.name.lower()} or a higher one.",
        "responses": {
            "200": {"description": "done", "content": {route.content_type.partition(";")[0]: reply}},
            **{code: {"description": text} | refusal for code, text in _REFUSALS.items()},
        },
    }
    if route.body is not None:
        body = {"application/json": {"schema": references[route.body]}}
        operation["requestBody"] = {"required": True, "content": body}
    if parameters := _parameters(route):
        operation["parameters"] = parameters
    return operation


def _parameters(route: Route) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = [
        {"name": part.strip("{}"), "in": "path", "required": True, "schema": {"type": "string"}}
        for part in route.path.split("/")
        if part.startswith("{")
    ]
    schema = route.query.model_json_schema()
    for name, field in schema.get("properties", {}).items():
        parameter = {"name": name, "in": "query", "required": name in schema.get("required", ()), "schema": field}
        found.append(parameter)
    return found
