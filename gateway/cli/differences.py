"""Plans and differences as people read them: objects and their fields, paths by pair of zones, stages, conversations.

In: answers of the control plane. Out: lines on the terminal; the first of each kind, with how many more there are.
`-o json` has everything.
"""

from __future__ import annotations

import json
from collections import defaultdict
from typing import TYPE_CHECKING, Any, Final

from gateway.cli.policy_check import print_problems
from gateway.cli.session import console

if TYPE_CHECKING:
    from collections.abc import Sequence

SHOWN: Final = 10  # of each kind, or of each pair of zones
NAMES_SHOWN: Final = 4
SIGNS: Final = {"added": "+", "removed": "-", "changed": "~", "gained": "+", "lost": "-"}
STYLES: Final = {"+": "green", "-": "red", "~": "yellow"}


def line(text: str, style: str = "") -> None:
    """Print one line as it is."""
    console().print(text, style=style, markup=False, soft_wrap=True)


def show_plan(content: dict[str, Any]) -> None:
    """Print a plan."""
    print_problems(content["warnings"])
    show_differences(content["changes"])
    if (flows := content["flows"]) is not None:
        show_flows(flows)
    for key in content["overrides_dropped"]:
        line(f"the stage set at run time for {key} would give way to the new text", "yellow")
    if (recorded := content["recorded"]) is not None:
        show_recorded(recorded)
    _proof(content["raised"], content["missing"])


def _proof(raised: Sequence[str], missing: Sequence[str]) -> None:
    if not raised:
        return
    line(f"raises to enforce: {', '.join(raised[:SHOWN])}", "yellow")
    _more(len(raised) - SHOWN, "stage objects")
    if not missing:
        line("its proof is complete", "green")
        return
    line("an apply would be refused (not_ready) without --force --reason TEXT, for want of:", "red")
    for text in missing:
        line(f"  {text}", "red")


def show_differences(found: dict[str, Any]) -> None:
    """Print what one policy changes against another."""
    _objects(found["objects"])
    _paths(found)
    for stage in found["stages"][:SHOWN]:
        line(f"~ stage of {stage['object']}: {stage['old']} → {stage['new']}", "yellow")
    _more(len(found["stages"]) - SHOWN, "stages")
    same = "both mean the same" if found["same"] else "they do not mean the same"
    line(f"{same}: {(found['old_digest'] or 'no policy')[:12]} → {found['new_digest'][:12]}")


def _objects(objects: Sequence[dict[str, Any]]) -> None:
    by_section = defaultdict(list)
    for found in objects:
        by_section[found["section"]].append(found)
    for section, members in by_section.items():
        for found in members[:SHOWN]:
            sign = SIGNS[found["how"]]
            name = "" if found["name"] == section else f" {found['name']}"
            line(f"{sign} {section}{name}", STYLES[sign])
            for field in found["fields"]:
                line(f"    {field['field']}: {_value(field['old'])} → {_value(field['new'])}")
        _more(len(members) - SHOWN, section)


def _paths(found: dict[str, Any]) -> None:
    by_zones = defaultdict(list)
    for path in found["paths"]:
        by_zones[path["source_zone"], path["destination_zone"]].append(path)
    for (source, destination), paths in by_zones.items():
        counts = {how: sum(_pairs(path) for path in paths if path["how"] == how) for how in ("gained", "lost")}
        what = ", ".join(f"{count} pairs {how}" for how, count in counts.items() if count)
        line(f"paths {source} → {destination}: {what}")
        for path in paths[:SHOWN]:
            sign = SIGNS[path["how"]]
            ends = f"{_names(path, 'source')} → {_names(path, 'destination')}"
            text = f"  {sign} {ends}: {', '.join(path['services'][:NAMES_SHOWN])} (by {', '.join(path['conduits'])})"
            line(text, STYLES[sign])
        _more(len(paths) - SHOWN, "paths")


def show_flows(flows: dict[str, Any]) -> None:
    """Print what live conversations would notice."""
    line(f"live conversations: {flows['judged']} judged, {flows['cut']} cut, {flows['would_drop']} would drop")
    for group in flows["groups"][:SHOWN]:
        style = "red" if group["verdict"] == "cut" else "yellow"
        way = f"{group['source_zone']} → {group['destination_zone']} {group['service']}"
        line(f"  {group['count']} {group['verdict']}: {way} ({group['conduit']}), {group['reason']}", style)
        for example in group["examples"][:NAMES_SHOWN]:
            line(f"      {example}")
    _more(len(flows["groups"]) - SHOWN, "groups")


def show_recorded(found: dict[str, Any]) -> None:
    """Print what a policy says of recorded traffic: what it forbids that was permitted, and the reverse."""
    would = found["would_drop"]["frames"]
    line(f"recorded in {found['days']} days: {found['observations']} conversations, would drop {would} frames by stage")
    for part, title, style in (("lost", "permitted then", "red"), ("gained", "forbidden then", "green")):
        sums = found[part]
        if sums["flows"] or sums["frames"]:
            line(f"  {title}, not so by this policy: {sums['flows']} flows, {sums['frames']} frames", style)
        for row in sums["rows"][:SHOWN]:
            ends = " → ".join(f"{row[f'{end}_asset'] or row[end]} in {row[f'{end}_zone']}" for end in ("src", "dst"))
            line(f"      {ends} {row['service']}, {row['frames']} frames, last {row['last_seen'][:19]}")
        _more(len(sums["rows"]) + sums["more"] - SHOWN, "conversations")


def _pairs(path: dict[str, Any]) -> int:
    return int(path["source_count"] * path["destination_count"])


def _names(path: dict[str, Any], end: str) -> str:
    names, count = path[f"{end}s"][:NAMES_SHOWN], path[f"{end}_count"]
    return ", ".join(names) + (f" and {count - NAMES_SHOWN} more" if count > NAMES_SHOWN else "")


def _more(count: int, what: str) -> None:
    if count > 0:
        line(f"  … and {count} more {what}: -o json shows all")


def _value(value: Any) -> str:
    return value if isinstance(value, str) and value else json.dumps(value, ensure_ascii=False)
