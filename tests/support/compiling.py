"""One compilation with a workshop or without, as plain values that are equal exactly when the compilations are.

In: a bundle, slots, a workshop or None. Out: problems, or policy, places of every value, records, warnings and image.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from rules.compile import compile_bundle
from rules.image import build_image
from rules.problems import PolicyError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from rules.bundle import Bundle
    from rules.nodes import Node
    from rules.workshop import Workshop


def outcome(bundle: Bundle, slots: Mapping[str, int], workshop: Workshop | None) -> tuple[Any, ...]:
    """Return everything that a compilation says."""
    try:
        found = compile_bundle(bundle, slots, workshop=workshop)
    except PolicyError as error:
        return ("refused", error.problems, error.beside)
    image = build_image(found.lowered, 7, workshop.image if workshop is not None else None)
    source = found.policy._text
    assert source is not None
    return ("compiled", found.policy.model_dump(), shape(source.root), found.lowered, found.warnings, image)


def shape(node: Node) -> tuple[Any, ...]:
    """Return where a value and everything in it stands, in its order."""
    size = (node.place, node.size, node.depth)
    if node.entries():
        return (*size, [(key, node.key_place(key), shape(below)) for key, below in node.entries().items()])
    if isinstance(node.value, list):
        return (*size, [shape(below) for below in node.value])
    return (*size, node.value)
