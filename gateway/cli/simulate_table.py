"""The outcome of a simulation as tables for people: by conduit, by pair of zones, by reason, then who spoke to whom.

In: the JSON form of a summary. Out: text on the terminal; what the page leaves out is said below it.
"""

from __future__ import annotations

from typing import Any, Final

from gateway.cli.session import console, print_pairs, print_rows

_TOTALS: Final = ("frames", "bytes", "dropped", "would_drop", "last_seen")  # JSON has more; a terminal is narrow
_MINUTE: Final = 16  # characters of a time down to the minute


def show_summary(content: dict[str, Any]) -> None:
    """Print a summary."""
    policy = content["policy"]
    print_pairs(
        [
            ("policy", f"{policy['name']}, {policy['digest'][:12]}, stages {policy['stages']}"),
            ("frames", f"{content['frames']} in {len(content['files'])} files, {content['bytes']} bytes"),
            ("accepted", content["verdicts"].get("accept", 0)),
            ("dropped", content["verdicts"].get("drop", 0)),
            ("policy forbids", content["policy_verdicts"].get("drop", 0)),
            *((f"not judged: {why}", frames) for why, frames in content["unjudged"].items()),
        ]
    )
    if "differing" in content:
        _show_differences(content)
        return
    _show_groups(content["by_conduit"], "conduit")
    _show_groups(content["by_pair"], "src_zone", "dst_zone")
    _show_groups(content["by_reason"], "reason")
    _show_conversations(content["conversations"], content["conversations_left_out"])


def _show_groups(groups: list[dict[str, Any]], *keys: str) -> None:
    titles = {"src_zone": "from", "dst_zone": "to"}
    columns = [titles.get(key, key) for key in keys] + [name.replace("_", " ") for name in _TOTALS]
    print_rows(columns, ([group[key] for key in keys] + [_short(group, name) for name in _TOTALS] for group in groups))


def _short(row: dict[str, Any], name: str) -> Any:
    return row[name][:_MINUTE].replace("T", " ") if name.endswith("_seen") else row[name]


def _show_conversations(rows: list[dict[str, Any]], left_out: dict[str, Any]) -> None:
    columns = ("verdict", "reason", "conduit", "from", "to", "service", "frames", "last seen")
    print_rows(
        columns,
        (
            (
                row["verdict"] if row["verdict"] == row["policy_verdict"] else "would drop",
                row["reason"] or row["unjudged"],
                row["conduit"],
                _end(row, "src"),
                _end(row, "dst"),
                _service(row),
                row["frames"],
                _short(row, "last_seen"),
            )
            for row in rows
        ),
    )
    _show_left_out(left_out)


def _show_differences(content: dict[str, Any]) -> None:
    other = content["other"]
    console().print(
        f"{content['differing']} of {content['frames']} frames differ under {other['name']}, {other['digest'][:12]}:",
        markup=False,
    )
    print_rows(
        ("policy says", "the other says", "from", "to", "service", "frames", "bytes", "last seen"),
        (
            (
                _opinion(row),
                _opinion(row["other"]),
                _end(row, "src"),
                _end(row, "dst"),
                _service(row),
                row["frames"],
                row["bytes"],
                _short(row, "last_seen"),
            )
            for row in content["differences"]
        ),
    )
    _show_left_out(content["differences_left_out"])


def _opinion(said: dict[str, Any]) -> str:
    verdict = said["verdict"]
    would = "" if verdict == said["policy_verdict"] else f" (policy {said['policy_verdict']})"
    return " ".join(word for word in (f"{verdict}{would}", said["reason"], said["conduit"]) if word)


def _end(row: dict[str, Any], side: str) -> str:
    who = row[f"{side}_asset"] or row[side] or "?"
    return f"{who} in {row[f'{side}_zone']}" if row[f"{side}_zone"] else str(who)


def _service(row: dict[str, Any]) -> str:
    return f"{row['service'] or '?'}{' (reply)' if row['reply'] else ''}"


def _show_left_out(left_out: dict[str, Any]) -> None:
    if left_out["frames"]:
        rows = "some" if left_out["rows"] is None else left_out["rows"]
        text = f"and {rows} more conversations with {left_out['frames']} frames: --limit-rows"
        console().print(text, style="yellow", markup=False)
