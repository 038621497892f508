"""A `Scene` in Graphviz's language: one table per zone, nested zones as clusters, arrows from row to row.

In: a scene. Out: a graph that `render` has laid out. Every text comes from a policy and is escaped. Stages differ in
line style as well as in colour, for those who print in grey or can't tell green from red.
"""

from __future__ import annotations

from html import escape
from textwrap import wrap
from typing import TYPE_CHECKING, Final, NamedTuple

from graphviz import Digraph, nohtml

from gateway.drawing.scene import GROUPS, UNKNOWN, Anchor, Arrow, Box, Row, Scene

if TYPE_CHECKING:
    from collections.abc import Iterable

FONT: Final = "DejaVu Sans"
LINE_CHARACTERS: Final = 44  # a row's asset names are wrapped at
LABELS_MAX: Final = 3  # conduits named on one arrow; the others are counted
INK: Final = "#1f2933"


class Line(NamedTuple):
    """How an arrow is drawn."""

    colour: str
    style: str
    meaning: str


LINES: Final = {
    "monitor": Line("#2b6cb0", "dotted", "monitor: passes, counted"),
    "alert": Line("#b7791f", "dashed", "alert: passes, alerted"),
    "enforce": Line("#276749", "solid", "enforce: all else is dropped"),
}
CLOSED: Final = Line("#718096", "dashed", "closed")
FORBIDDEN: Final = Line("#c53030", "bold", "forbidden attempts")
FILLS: Final = {
    "safety": "#fde8e8",
    "control": "#e6f4ea",
    "supervisory": "#e8f1fb",
    "engineering": "#fdf6e3",
    "dmz": "#f3e8fd",
    "enterprise": "#eef1f4",
}
OTHER_FILL: Final = "#fbeee6"  # vendor, remote, wireless: what comes from elsewhere


def graph(scene: Scene) -> Digraph:
    """Return the scene as a graph."""
    whole = Digraph("policy", engine="dot")
    whole.attr(
        "graph", rankdir="LR", label=_plain(scene.title), labelloc="t", fontname=FONT, fontsize="20", fontcolor=INK,
        nodesep="0.35", ranksep="1.3", splines="true", pad="0.3", newrank="true", forcelabels="true", compound="true",
    )  # fmt: skip
    whole.attr("node", shape="plain", fontname=FONT, fontsize="11", fontcolor=INK)
    whole.attr("edge", fontname=FONT, fontsize="9", arrowsize="0.7", penwidth="1.4")
    ids = {box.name: f"zone{number}" for number, box in enumerate(scene.boxes)}
    _place(whole, scene.boxes, ids, None)
    for arrow in scene.arrows:
        _conduits(whole, arrow, ids)
    for attempt in scene.attempts:
        ends = ids[attempt.source_zone], ids[attempt.destination_zone]
        _edge(whole, f"{ends[0]}:head", f"{ends[1]}:head", f"{attempt.frames:,} frames", FORBIDDEN, arrowhead="tee")
    _legend(whole, scene)
    return whole


def _place(graph: Digraph, boxes: Iterable[Box], ids: dict[str, str], parent: str | None) -> None:
    """Draw the zones of one parent, and within each what it contains."""
    listed = list(boxes)
    for box in (box for box in listed if box.parent == parent):
        if not any(other.parent == box.name for other in listed):
            graph.node(ids[box.name], label=_table(box))
            continue
        with graph.subgraph(name=f"cluster_{ids[box.name]}") as inner:
            inner.attr(style="rounded", color="#a0aec0", bgcolor="#fafbfc", margin="14", label="")
            inner.node(ids[box.name], label=_table(box))
            _place(inner, listed, ids, box.name)


def _table(box: Box) -> str:
    fill = FILLS.get(box.kind, OTHER_FILL if box.name not in (GROUPS, UNKNOWN) else "#ffffff")
    about = escape(" · ".join(part for part in (box.kind, box.level) if part))
    head = _heading(f"<B>{escape(box.name)}</B>", about)
    rows = "".join(f'<TR><TD PORT="r{number}">{_row(row)}</TD></TR>' for number, row in enumerate(box.rows))
    return (
        f'<<TABLE BORDER="1" CELLBORDER="1" CELLSPACING="0" CELLPADDING="5" COLOR="#a0aec0" BGCOLOR="#ffffff">'
        f'<TR><TD PORT="head" BGCOLOR="{fill}">{head}</TD></TR>{rows}</TABLE>>'
    )


def _row(row: Row) -> str:
    if not row.count:
        return escape(row.title)
    lines = wrap(", ".join(row.assets), LINE_CHARACTERS, break_long_words=False, break_on_hyphens=False)
    names = "".join(f'{escape(line)}<BR ALIGN="LEFT"/>' for line in lines)
    if not names:
        return f"<I>{escape(row.title)} ({row.count})</I>"
    return _heading(f"<I>{escape(row.title)} ({row.count})</I>", names)


def _heading(title: str, below: str) -> str:
    """Two cells, because Graphviz measures a line of two font sizes too low."""
    small = f'<TR><TD><FONT POINT-SIZE="9">{below}</FONT></TD></TR>'
    return f'<TABLE BORDER="0" CELLBORDER="0" CELLSPACING="1" CELLPADDING="0"><TR><TD>{title}</TD></TR>{small}</TABLE>'


def _conduits(graph: Digraph, arrow: Arrow, ids: dict[str, str]) -> None:
    more = len(arrow.labels) - LABELS_MAX
    lines = [*arrow.labels[:LABELS_MAX], *([f"and {more} more"] if more > 0 else [])]
    line = LINES.get(arrow.stage, CLOSED) if arrow.open else CLOSED
    if not arrow.open:
        lines.append("(closed)")
    _edge(graph, _port(arrow.source, ids), _port(arrow.destination, ids), "\n".join(lines), line)


def _port(anchor: Anchor, ids: dict[str, str]) -> str:
    return f"{ids[anchor.zone]}:{'head' if anchor.row is None else f'r{anchor.row}'}"


def _edge(graph: Digraph, source: str, destination: str, label: str, line: Line, arrowhead: str = "normal") -> None:
    graph.edge(
        source, destination, label=_plain(label), color=line.colour, fontcolor=line.colour, style=line.style,
        arrowhead=arrowhead,
    )  # fmt: skip


def _legend(graph: Digraph, scene: Scene) -> None:
    """List the lines that the picture has, each in its own colour and style word."""
    used = {arrow.stage for arrow in scene.arrows if arrow.open}
    lines = [line for stage, line in LINES.items() if stage in used]
    lines += [CLOSED] if any(not arrow.open for arrow in scene.arrows) else []
    lines += [FORBIDDEN] if scene.attempts else []
    if not lines:
        return
    rows = "".join(
        f'<TR><TD ALIGN="LEFT"><FONT COLOR="{line.colour}" POINT-SIZE="9">{line.style}: {escape(line.meaning)}</FONT>'
        "</TD></TR>"
        for line in lines
    )
    graph.node("legend", label=f'<<TABLE BORDER="0" CELLBORDER="0" CELLSPACING="0">{rows}</TABLE>>')


def _plain(text: str) -> str:
    """Return a label without Graphviz's own escapes, and never as its HTML (<...>); line ends stay."""
    plain: str = nohtml(text.replace("\\", "\\\\"))
    return plain
