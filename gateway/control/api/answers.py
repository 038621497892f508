"""What the control socket answers: one model per route.

The command line reads these same classes' JSON. Keys are only ever added.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

from pydantic import Field

from gateway.control.api.models import Changes, Model, PendingAnswer, Problem, QuarantineEntry, StageState


class EngineAnswer(Model):
    """The data plane, as the keeper sees it."""

    state: str
    pid: int | None
    restarts: int


class PolicyBrief(Model):
    """Which policy is in force."""

    site: str
    name: str
    generation: int
    digest: str
    who: str
    applied: datetime
    file_differs: bool | None = Field(description="the policy file says something else; null when it cannot be read")


class StatusAnswer(Model):
    """The gateway at a glance."""

    state: str = Field(description="ok, degraded or no policy")
    version: str
    uptime_seconds: int
    interception: str | None
    engine: EngineAnswer
    policy: PolicyBrief | None
    ceiling: str | None
    overrides: int
    quarantined: int
    followers: int
    events_lost: int
    events_file_lost: int
    journal_failures: int
    trouble: dict[str, str]
    pending: PendingAnswer | None = None


class Finding(Model):
    """One thing doctor looked at. Levels: ok, info, warning, bad."""

    level: str
    topic: str
    text: str
    hint: str = ""


class DoctorAnswer(Model):
    """What the machine can do, what is chosen, and what is degraded."""

    interception: str | None
    capabilities: dict[str, Any]
    findings: list[Finding]


class StagesAnswer(Model):
    """Every stage object."""

    ceiling: StageState
    conduits: list[StageState]
    pairs: list[StageState]


class PolicyAnswer(PolicyBrief):
    """The policy in force, with its text and the files that it includes."""

    text: str
    files: dict[str, str] = Field(description="by path relative to the text's")


class CheckAnswer(Model):
    """What a check found. `ok` means that it can be applied."""

    ok: bool
    digest: str | None
    problems: list[Problem]
    warnings: list[Problem]
    changes: Changes | None


class AppliedAnswer(Model):
    """The policy that came into force."""

    generation: int
    digest: str
    changes: Changes
    warnings: list[Problem]
    overrides_dropped: list[str]
    number: int | None = Field(default=None, description="in the history; null when that cannot be written")
    pending: PendingAnswer | None = Field(default=None, description="set: it goes back by itself unless confirmed")


class ZoneRow(Model):
    """A zone."""

    name: str
    kind: str
    sl_t: Any
    ports: list[str]
    vlans: list[int]
    prefixes: list[str]
    assets: int
    description: str


class AssetRow(Model):
    """An asset."""

    name: str
    zone: str
    function: str
    location: str
    criticality: str
    roles: list[str]
    macs: list[str]
    ips: list[str]
    behind: str | None
    quarantined: bool


class ConduitRow(Model):
    """A conduit with its stage and its traffic."""

    name: str
    source: str
    via: str | None = Field(default=None, description="the jump host asset that what passes comes from")
    destination: str
    services: list[str]
    stage: str
    effective: str
    overridden: bool
    open: bool
    fail: str
    log: str
    limit: str = Field(description="how much it carries at most, empty: as much as comes")
    inside: list[str] = Field(default=[], description="what its messages may ask for, a line each; none: not inspected")
    windows: list[str] = Field(default=[], description="it is open only while one of them is; none: always")
    next_change: datetime | None = Field(default=None, description="when its windows open or close it next")
    requires: list[str] = Field(default=[], description="what has to be proved before it opens")
    owner: str
    reason: str
    accepted: int
    dropped: int


class FlowRow(Model):
    """A conversation the engine knows."""

    opener: str | None
    opener_port: int
    responder: str | None
    responder_port: int
    protocol: str
    opener_asset: str | None
    responder_asset: str | None
    opener_zone: str
    responder_zone: str
    conduit: str | None
    service: str | None
    opener_frames: int
    responder_frames: int
    opener_bytes: int
    responder_bytes: int
    first_seen: str
    last_seen: str
    closed: bool


class LaneRow(Model):
    """One direction of a flow that stays in the kernel."""

    protocol: str
    source: str
    source_port: int
    destination: str
    destination_port: int
    source_mac: str
    packets: int = Field(description="since it entered; each stay is counted anew")
    bytes: int
    seconds_left: int = Field(description="then its next frame is judged by the engine")


class LaneAnswer(Model):
    """The fast lane."""

    open: bool
    mode: str = Field(description="what the settings ask for")
    generation: int = Field(description="grows with each change that has every flow judged again; 0 while it is closed")
    frames: int = Field(description="that took it")
    flows: list[LaneRow]
    more: bool


class ZonesAnswer(Model):
    """All zones."""

    zones: list[ZoneRow]


class AssetsAnswer(Model):
    """All assets."""

    assets: list[AssetRow]


class ConduitsAnswer(Model):
    """All conduits."""

    conduits: list[ConduitRow]


class FlowsAnswer(Model):
    """Known flows; `more` when the limit cut the list."""

    flows: list[FlowRow]
    more: bool


class EventsAnswer(Model):
    """The newest events, oldest first, in EVE form."""

    events: list[dict[str, Any]]


class QuarantineAnswer(Model):
    """Devices in quarantine."""

    entries: list[QuarantineEntry]


class JournalAnswer(Model):
    """The newest journal entries, newest first."""

    entries: list[dict[str, Any]]
    broken_at: int | None = Field(
        description="first entry that does not follow from the one before it; null: none, or not verified"
    )


class CountersAnswer(Model):
    """The account of every frame. It closes: see `unaccounted`."""

    frames_before_queue: int
    judged: int
    judged_accepted: int
    lane: int = Field(description="frames of flows that stay in the kernel; in no count of a conduit or reason")
    static: int
    static_accepted: int
    static_dropped: int
    static_would_drop: int
    lost: int
    waiting: int
    unaccounted: int = Field(
        description="frames_before_queue - judged_accepted - dropped - lane - static - lost - waiting"
    )
    accepted: int
    dropped: int
    would_drop: int
    released: int
    refused: int = Field(
        description="TCP resets and ICMP prohibited sent for what was dropped; a refused conversation counts both ends"
    )
    rewritten: int = Field(description="of the dropped: frames that went on with their message made unacceptable")
    quarantined: int
    l2: int = Field(description="frames that the brnf form cannot queue: judged by the kernel's static rules only")
    l2_accepted: int
    l2_dropped: int
    l2_would_drop: int
    by_reason: dict[str, dict[str, int]]
    by_conduit: dict[str, dict[str, int]]
    engine: dict[str, int]
    per_queue: list[dict[str, int]]
    kernel: dict[str, dict[str, int]]


class TapeAnswer(Model):
    """How much is on the decision tape. Times are UTC; null while it is empty."""

    first_seen: str | None
    last_seen: str | None
    sights: int = Field(description="different conversations and violations")
    rows: int = Field(description="of a sight in a quarter of an hour")
    bytes: int
    forgotten_rows: int = Field(description="too old, or more than there is room for")
    uncounted: int = Field(description="frames and flows that a flood left no room for, and events lost before")
