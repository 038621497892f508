"""What the picture shows, and that it can be read: arrows end where they should, no label lies on another."""

from __future__ import annotations

import json
import random
import shutil
import subprocess
from itertools import combinations
from typing import Any, NamedTuple
from xml.etree import ElementTree as ET

import pytest

from gateway.drawing.dot import graph
from gateway.drawing.render import render
from gateway.drawing.scene import GROUPS, UNKNOWN, Anchor, Arrow, Attempt, Box, Row, Scene, scene
from gateway.errors import ConfigError
from rules.load import load_policy_text

KINDS = (
    "enterprise", "dmz", "engineering", "supervisory", "control", "control", "control", "safety", "vendor", "wireless",
)  # fmt: skip
SMALL = """
version: 1
site: {name: plant, ceiling: alert}
zones:
  office: {kind: enterprise, ports: [p0], prefixes: [10.0.0.0/24]}
  cell: {kind: control, sl_t: 3, ports: [p1], prefixes: [10.1.0.0/24]}
assets:
  pc-1: {zone: office, ips: [10.0.0.1], roles: [desk]}
  pc-2: {zone: office, ips: [10.0.0.2], roles: [desk]}
  hmi: {zone: office, ips: [10.0.0.3], roles: [hmi]}
  pc-3: {zone: office, ips: [10.0.0.4], roles: [desk]}
  plc-1: {zone: cell, ips: [10.1.0.1], roles: [plc]}
  plc-2: {zone: cell, ips: [10.1.0.2], roles: [plc]}
windows: {w: {weekly: [{days: [mon], from: "06:00", to: "07:00"}]}}
conduits:
  one: {from: {asset: hmi}, to: {role: plc}, services: [modbus], stage: monitor}
  two: {from: {role: desk}, to: {zone: cell}, services: [modbus], enabled: false}
  three: {from: {asset: hmi}, to: {role: plc}, services: [https], stage: monitor}
  four: {from: {asset: pc-3}, to: {asset: plc-1}, services: [https], windows: [w], stage: monitor}
  five: {from: {role: desk}, to: {role: plc}, services: [https], via: hmi, requires: [session], stage: monitor}
  cast: {from: {role: plc}, to: {group: 239.1.1.1}, services: [modbus]}
"""


def large(seed: int) -> str:
    """Return a policy of 10 zones, 200 assets and 30 conduits."""
    source = random.Random(seed)
    zones = [f"  zone-{n}: {{kind: {kind}, ports: [p{n}], prefixes: [10.{n}.0.0/16]}}" for n, kind in enumerate(KINDS)]
    assets = [
        f"  asset-{n:03}: {{zone: zone-{n % 10}, ips: [10.{n % 10}.0.{n // 10 + 1}], roles: [role-{n % 10}-{n // 80}]}}"
        for n in range(200)
    ]
    conduits = []
    for n in range(30):
        one, other = source.sample(range(10), 2)
        ends = f"from: {{role: role-{one}-{source.randrange(3)}}}, to: {{zone: zone-{other}}}"
        conduits.append(f"  conduit-{n:02}: {{{ends}, services: [modbus]}}")
    head = ["version: 1", "site: {name: large}"]
    return "\n".join([*head, "zones:", *zones, "assets:", *assets, "conduits:", *conduits])


def test_arrows_end_at_the_smallest_thing_that_a_selector_covers() -> None:
    found = scene(load_policy_text(SMALL))
    rows = {box.name: [row.title for row in box.rows] for box in found.boxes}
    assert rows == {"office": ["desk", "pc-3", "hmi"], "cell": ["plc", "plc-1"], GROUPS: []}
    ends = {arrow.labels: (arrow.source, arrow.destination, arrow.stage, arrow.open) for arrow in found.arrows}
    assert ends == {
        ("one", "three"): (Anchor("office", 2), Anchor("cell", 0), "monitor", True),
        ("two",): (Anchor("office", 0), Anchor("cell"), "alert", False),
        ("four (windows)",): (Anchor("office", 1), Anchor("cell", 1), "monitor", True),
        ("five",): (Anchor("office", 2), Anchor("cell", 0), "monitor", False),
        ("cast",): (Anchor("cell", 0), Anchor(GROUPS), "alert", True),
    }


def test_what_is_in_force_is_drawn_where_it_is_known() -> None:
    found = scene(load_policy_text(SMALL), {"one": "alert"}, closed={"cast"})
    drawn = {name: (arrow.stage, arrow.open) for arrow in found.arrows for name in arrow.labels}
    assert drawn == {
        "one": ("alert", True),
        "three": ("monitor", True),
        "two": ("alert", True),
        "four (windows)": ("monitor", True),
        "five": ("monitor", True),
        "cast": ("alert", False),
    }


def test_attempts_are_summed_and_unknown_zones_have_a_box() -> None:
    tried = [Attempt("office", "cell", 2), Attempt("office", "cell", 3), Attempt("gone", "cell", 1)]
    found = scene(load_policy_text(SMALL), attempts=tried)
    assert found.attempts == (Attempt(UNKNOWN, "cell", 1), Attempt("office", "cell", 5))
    assert found.boxes[-1].name == UNKNOWN
    assert "5 frames" in graph(found).source


class Label(NamedTuple):
    """A drawn text and the rectangle it covers, in points."""

    text: str
    left: float
    right: float
    bottom: float
    top: float

    def overlaps(self, other: Label) -> bool:
        """Tell whether two texts share ground."""
        return (
            self.left < other.right and other.left < self.right and self.bottom < other.top and other.bottom < self.top
        )


def labels(drawn: dict[str, Any]) -> list[Label]:
    """Return every text of a laid out graph; Graphviz says where each stands and how wide it is."""
    found = []
    for thing in [*drawn["objects"], *drawn["edges"]]:
        size = 0.0
        for step in thing.get("_ldraw_", []):
            if step["op"] == "F":
                size = step["size"]
            elif step["op"] == "T" and step["text"].strip():
                x, base = step["pt"]
                left = x - {"l": 0.0, "c": 0.5, "r": 1.0}[step["align"]] * step["width"]
                found.append(Label(step["text"], left, left + step["width"], base, base + size * 0.72))
    return found


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_no_label_lies_on_another_with_ten_zones_and_two_hundred_assets(seed: int) -> None:
    found = scene(load_policy_text(large(seed)), attempts=[Attempt("zone-8", "zone-4", 12_345)])
    laid_out = subprocess.run(
        ["dot", "-Tjson"], input=graph(found).source, capture_output=True, text=True, timeout=60, check=True
    )
    texts = labels(json.loads(laid_out.stdout))
    shown = " ".join(label.text for label in texts)
    assert all(f"asset-{n:03}" in shown for n in range(200))
    assert all(f"conduit-{n:02}" in shown or "more" in shown for n in range(30))
    assert [(a.text, b.text) for a, b in combinations(texts, 2) if a.overlaps(b)] == []


def test_every_form_is_what_it_says() -> None:
    picture = graph(scene(load_policy_text(SMALL)))
    assert b"<svg" in render(picture)
    assert render(picture, "png").startswith(b"\x89PNG")
    assert render(picture, "dot").startswith(b"digraph")


def test_no_text_is_taken_for_a_program_or_for_markup() -> None:
    """Whatever stands in a name is drawn as it stands: no link, no script, no label in Graphviz's own HTML."""
    evil = '<TABLE HREF="javascript:alert(1)"><TR><TD>x</TD></TR></TABLE>'
    escaped = '" URL="javascript:alert(2)" \\N ]]> &lt;'
    boxes = (Box(evil, "control", "", None, (Row(escaped, (escaped,), 2),)), Box("b", "control", "", None, ()))
    arrows = (
        Arrow(Anchor(evil), Anchor("b"), (evil, "<script>"), "enforce"),
        Arrow(Anchor("b"), Anchor(evil), (evil,), "alert"),
    )
    svg = ET.fromstring(render(graph(Scene(evil, boxes, arrows, (Attempt("b", evil, 3),)))))
    tags = {element.tag.rpartition("}")[2] for element in svg.iter()}
    assert tags <= {"svg", "g", "title", "text", "polygon", "path", "polyline", "ellipse"}
    assert not any("href" in name for element in svg.iter() for name in element.attrib)
    shown = [element.text or "" for element in svg.iter() if element.tag.endswith("}text")]
    assert shown.count(evil) >= 2
    assert any("<script>" in text for text in shown)


def test_without_graphviz_the_refusal_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    assert shutil.which("dot")
    monkeypatch.setenv("PATH", "/nonexistent")
    with pytest.raises(ConfigError, match="needs Graphviz"):
        render(graph(scene(load_policy_text(SMALL))))
