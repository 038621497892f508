"""What a simulation found: every frame that was read, added up. The counts of each part add up to the frames read.

In: rollups and names. Out: frozen records for other parts of control (rows of conversations), and the JSON form of
`conduitctl simulate -o json`. Holds no policy and no capture.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

from gateway.control.event_text import timestamp

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Iterable

    from gateway.simulate.words import Said, Spoken


@dataclass(frozen=True, slots=True)
class Sum:
    """Frames of which the same was said. Times in nanoseconds since the epoch, bytes on the wire."""

    said: Said
    frames: int
    bytes: int
    first_ns: int
    last_ns: int
    unjudged: str | None = None  # why nothing was said
    other: Said | None = None  # what the policy says that it was compared with


@dataclass(frozen=True, slots=True)
class Conversation(Sum):
    """The same, of one pair of addresses and one service in one direction."""

    spoken: Spoken | None = None  # None when it was not judged


@dataclass(frozen=True, slots=True)
class Reading:
    """How far a file was read."""

    path: str
    frames: int
    bytes: int
    ingress: str | None
    damage: str | None  # what is wrong with the file
    at: int  # byte: of the damage, else the file's size
    cut: bool = False  # it only ends too early, as a capture does whose writer was stopped


@dataclass(frozen=True, slots=True)
class LeftOut:
    """Conversations that found no room, or that the summary was told to leave out."""

    rows: int | None  # None: nobody knows
    frames: int
    bytes: int


@dataclass(frozen=True, slots=True)
class Summary:
    """The outcome of one run. `sums` hold every frame; `conversations` all but those left out."""

    policy: str
    digest: str
    stages: str
    readings: tuple[Reading, ...]
    sums: tuple[Sum, ...]
    conversations: tuple[Conversation, ...]
    left_out: LeftOut
    flows_evicted: int = 0
    other: str | None = None
    other_digest: str | None = None
    differences: tuple[Conversation, ...] = field(default=())
    difference_sums: tuple[Sum, ...] = field(default=())
    differences_left_out: LeftOut = field(default=LeftOut(0, 0, 0))

    @property
    def frames(self) -> int:
        """Frames read."""
        return sum(reading.frames for reading in self.readings)

    def as_dict(self) -> dict[str, Any]:
        """Return the JSON form."""
        judged = [one for one in self.sums if one.unjudged is None]
        found: dict[str, Any] = {
            "policy": {"name": self.policy, "digest": self.digest, "stages": self.stages},
            "files": [asdict(reading) for reading in self.readings],
            "frames": self.frames,
            "bytes": sum(reading.bytes for reading in self.readings),
            "judged": sum(one.frames for one in judged),
            "unjudged": _counted(self.sums, lambda one: one.unjudged),
            "would_drop": sum(one.frames for one in judged if one.said.verdict != one.said.policy_verdict),
            "verdicts": _counted(judged, lambda one: one.said.verdict),
            "policy_verdicts": _counted(judged, lambda one: one.said.policy_verdict),
            "flows_evicted": self.flows_evicted,
            "by_conduit": _grouped(judged, conduit=lambda one: one.said.conduit),
            "by_pair": _grouped(judged, src_zone=lambda one: one.said.source_zone, dst_zone=_to),
            "by_reason": _grouped(judged, reason=lambda one: one.said.reason),
            "rows": [sum_row(one) for one in self.sums],
        }
        found |= _page("conversations", self.conversations, self.left_out)
        if self.other is not None:
            found["other"] = {"name": self.other, "digest": self.other_digest, "stages": self.stages}
            found["differing"] = sum(one.frames for one in self.difference_sums)
            found["difference_rows"] = [difference_row(one) for one in self.difference_sums]
            found |= _page("differences", self.differences, self.differences_left_out)
        return found


def _to(one: Sum) -> str | None:
    return one.said.destination_zone


def _counted(rows: Iterable[Sum], key: Callable[[Sum], str | None]) -> dict[str, int]:
    frames: Counter[str] = Counter()
    for row in rows:
        word = key(row)
        if word is not None:
            frames[word] += row.frames
    return dict(frames)


def _grouped(rows: Iterable[Sum], **keys: Callable[[Sum], Hashable]) -> list[dict[str, Any]]:
    """Return sums by the given keys, the largest first."""
    groups: dict[tuple[Hashable, ...], list[Sum]] = {}
    for row in rows:
        groups.setdefault(tuple(key(row) for key in keys.values()), []).append(row)
    found = [dict(zip(keys, values, strict=True)) | _totals(members) for values, members in groups.items()]
    return sorted(found, key=lambda group: -group["frames"])


def _totals(rows: list[Sum]) -> dict[str, Any]:
    return {
        "frames": sum(row.frames for row in rows),
        "bytes": sum(row.bytes for row in rows),
        "accepted": sum(row.frames for row in rows if row.said.verdict == "accept"),
        "dropped": sum(row.frames for row in rows if row.said.verdict == "drop"),
        "would_drop": sum(row.frames for row in rows if row.said.verdict != row.said.policy_verdict),
        "first_seen": timestamp(min(row.first_ns for row in rows)),
        "last_seen": timestamp(max(row.last_ns for row in rows)),
    }


def _page(name: str, rows: tuple[Conversation, ...], left_out: LeftOut) -> dict[str, Any]:
    return {name: [conversation_row(row) for row in rows], f"{name}_left_out": asdict(left_out)}


def _measured(row: Sum) -> dict[str, Any]:
    return {
        "frames": row.frames,
        "bytes": row.bytes,
        "first_seen": timestamp(row.first_ns),
        "last_seen": timestamp(row.last_ns),
    }


def _judgement(said: Said) -> dict[str, Any]:
    return {
        "verdict": said.verdict,
        "policy_verdict": said.policy_verdict,
        "stage": said.stage,
        "reason": said.reason,
        "conduit": said.conduit,
        "src_zone": said.source_zone,
        "dst_zone": said.destination_zone,
    }


def sum_row(row: Sum) -> dict[str, Any]:
    """Return a sum as JSON."""
    return _judgement(row.said) | {"unjudged": row.unjudged} | _measured(row)


def difference_row(row: Sum) -> dict[str, Any]:
    """Return a sum of frames of which two policies say otherwise."""
    other = row.other
    return sum_row(row) | {
        "other_verdict": other.verdict if other else None,
        "other_policy_verdict": other.policy_verdict if other else None,
        "other_stage": other.stage if other else None,
        "other_reason": other.reason if other else None,
        "other_conduit": other.conduit if other else None,
    }


def said_fields(said: Said, spoken: Spoken | None) -> dict[str, Any]:
    """Return what every form of a frame or conversation says of it."""
    return _judgement(said) | {
        "src_asset": said.source_asset,
        "dst_asset": said.destination_asset,
        "service": said.service or (spoken.service if spoken else None),
    }


def conversation_row(row: Conversation) -> dict[str, Any]:
    """Return a conversation as JSON."""
    spoken = row.spoken
    found = said_fields(row.said, spoken) | {
        "src": spoken.source if spoken else None,
        "dst": spoken.destination if spoken else None,
        "number": spoken.service if spoken else None,
        "reply": spoken.reply if spoken else None,
        "unjudged": row.unjudged,
    }
    if row.other is not None:
        found["other"] = said_fields(row.other, spoken)
    return found | _measured(row)
