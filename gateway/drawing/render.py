"""Laying a picture out and writing it: Graphviz's `dot` does it, as a process that is given a time limit.

In: a graph. Out: SVG, or PNG. Raises ConfigError when `dot` is not installed or gives up.
"""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING, Final, Literal

from gateway.errors import ConfigError

if TYPE_CHECKING:
    from graphviz import Digraph

SECONDS_MAX: Final = 60.0
Form = Literal["svg", "png", "dot"]


def render(graph: Digraph, form: Form = "svg") -> bytes:
    """Return the laid out picture. Blocks for as long as `dot` takes, SECONDS_MAX at most."""
    source: bytes = graph.source.encode()
    if form == "dot":
        return source
    try:
        done = subprocess.run(["dot", f"-T{form}"], input=source, capture_output=True, timeout=SECONDS_MAX, check=False)
    except FileNotFoundError:
        hint = "install Debian's package graphviz (and fonts-dejavu-core), or write --form dot"
        raise ConfigError("graphviz_missing", "drawing needs Graphviz's program 'dot'", hint) from None
    except subprocess.TimeoutExpired:
        detail = f"'dot' needed more than {SECONDS_MAX:.0f} s for this picture"
        raise ConfigError("drawing_too_large", detail, "draw fewer zones (--zone)") from None
    if done.returncode or not done.stdout:
        raise ConfigError("drawing_failed", f"'dot' failed: {done.stderr.decode(errors='replace').strip()[:400]}", "")
    return done.stdout
