"""What a policy says of a tape, added up: every observation in one of the sums, and rows for what would change.

In: replayed observations. Out: the JSON form of `conduitctl simulate --tape`. Frames and flows of each part add up to
those read. Pure.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

from gateway.control.event_text import timestamp

if TYPE_CHECKING:
    from collections.abc import Iterable

    from gateway.simulate.words import Said
    from gateway.tape.replay import Replayed

SERVICES = {1: "icmp", 6: "tcp", 17: "udp", 58: "icmpv6"}


def summary(found: Iterable[Replayed], name: str, digest: str, limit_rows: int) -> dict[str, Any]:
    """Return the sums, and of what would be lost or gained the rows with most frames, at most so many of each."""
    rows = list(found)
    judged = [row for row in rows if row.said is not None]
    lost, gained = ([row for row in judged if getattr(row, which)] for which in ("is_lost", "is_gained"))
    would_drop = [row for row in judged if row.said is not None and row.said.verdict != row.said.policy_verdict]
    return {
        "policy": {"name": name, "digest": digest},
        "observations": len(rows),
        **_counts(rows),
        "not_replayed": _counts([row for row in rows if row.said is None]),
        "accepted": _counts([row for row in judged if row.said is not None and row.said.verdict == "accept"]),
        "dropped": _counts([row for row in judged if row.said is not None and row.said.verdict == "drop"]),
        "would_drop": _counts(would_drop),
        "by_conduit": _by(judged, "conduit"),
        "by_reason": _by(judged, "reason"),
        "lost": _counts(lost) | {"rows": _rows(lost, limit_rows), "more": max(0, len(lost) - limit_rows)},
        "gained": _counts(gained) | {"rows": _rows(gained, limit_rows), "more": max(0, len(gained) - limit_rows)},
    }


def _counts(rows: Iterable[Replayed]) -> dict[str, int]:
    flows = frames = size = 0
    for row in rows:
        flows += row.sum.flows
        frames += row.sum.frames
        size += row.sum.bytes
    return {"flows": flows, "frames": frames, "bytes": size}


def _by(rows: Iterable[Replayed], key: str) -> dict[str, int]:
    """Return frames by a word of what was said; at least the flow's opening where no frame was counted."""
    sums: Counter[str] = Counter()
    for row in rows:
        sums[getattr(row.said, key) or ""] += max(row.sum.frames, row.sum.flows)
    return dict(sums.most_common())


def _rows(rows: list[Replayed], limit: int) -> list[dict[str, Any]]:
    rows.sort(key=lambda row: (-row.sum.frames, row.sight))
    return [_row(row) for row in rows[:limit]]


def _row(row: Replayed) -> dict[str, Any]:
    sight = row.sight
    return {
        "src": sight.source,
        "dst": sight.destination,
        "src_asset": sight.source_asset or None,
        "dst_asset": sight.destination_asset or None,
        "src_zone": sight.source_zone,
        "dst_zone": sight.destination_zone,
        "service": service_text(sight.ethertype, sight.protocol, sight.number),
        "flows": row.sum.flows,
        "frames": row.sum.frames,
        "first_seen": timestamp(row.sum.first_ns),
        "last_seen": timestamp(row.sum.last_ns),
        "then": {"verdict": sight.verdict, "policy_verdict": sight.policy_verdict, "reason": sight.reason,
                 "conduit": sight.conduit or None},
        "now": _said(row.said),
    }  # fmt: skip


def _said(said: Said | None) -> dict[str, Any] | None:
    if said is None:
        return None
    return {
        "verdict": said.verdict,
        "policy_verdict": said.policy_verdict,
        "reason": said.reason,
        "stage": said.stage,
        "conduit": said.conduit,
    }


def service_text(ethertype: int, protocol: int, number: int) -> str:
    """Return what was asked for as `simulate` writes it: tcp/502, icmp/8, ip/47, arp, ethertype/0x88b8."""
    if not protocol:
        return "arp" if ethertype == 0x0806 else f"ethertype/{ethertype:#06x}"
    return f"{SERVICES[protocol]}/{number}" if protocol in SERVICES else f"ip/{protocol}"
