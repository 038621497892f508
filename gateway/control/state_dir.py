"""What must survive a restart, as files under `state_dir`: policies in force and before, overrides, quarantine.

In: frozen records. Out: the same records after any crash; a broken file is set aside and the one before it is used.
`candidate.json` is written before the engine sees a new image and becomes `in-force.json` when the kernel has it too:
whichever generation the engine turns out to run, its text is known. Blocks on the disk; called by the enforcement core.
"""

from __future__ import annotations

import contextlib
import os
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Final, Literal, TypeVar

import structlog
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from fastpath.abi import MAX_CONDUITS
from gateway.control.deadline import Deadline
from gateway.control.durable import sync_directory, write_atomic
from gateway.errors import ConfigError
from rules.bundle import Bundle, bundle_of_texts

IN_FORCE: Final = "in-force.json"
PREVIOUS: Final = "in-force.previous.json"
CANDIDATE: Final = "candidate.json"
OVERRIDES: Final = "stage-overrides.json"
QUARANTINE: Final = "quarantine.json"
PENDING: Final = "pending.json"

StageName = Literal["monitor", "alert", "enforce"]
Slot = Annotated[int, Field(ge=0, lt=MAX_CONDUITS)]
_log = structlog.get_logger(__name__)


class _Record(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class InForceRecord(_Record):
    """One policy as it was applied: enough to compile it again to the same image."""

    text: str
    files: dict[str, str] = Field(default_factory=dict)  # what the text includes, by path relative to it
    name: str
    digest: str
    generation: int = Field(ge=1)
    slots: dict[str, Slot]  # by conduit; also of removed ones, the longest removed first
    who: str
    applied: datetime

    @model_validator(mode="after")
    def _one_conduit_a_slot(self) -> InForceRecord:
        if len(set(self.slots.values())) < len(self.slots):
            raise ValueError("a slot has two conduits")
        return self

    def bundle(self) -> Bundle:
        """Return the policy with all of its files, to be compiled again."""
        return bundle_of_texts(self.name, self.text, self.files)


class StageOverride(_Record):
    """A stage that an operator set at run time. `own` is the policy's stage of that object at the time."""

    stage: StageName
    own: StageName
    who: str
    since: datetime
    reason: str = ""


class OverridesRecord(_Record):
    """Overrides by object key (`ceiling`, `conduit:NAME`, `pair:SOURCE:DESTINATION`)."""

    overrides: dict[str, StageOverride] = Field(default_factory=dict)
    generation: int = 0  # of the policy that they stand under


class PendingRecord(_Record):
    """A change that goes back by itself unless it is confirmed in time, and what was confirmed last."""

    what: Literal["policy", "stage"]
    name: str  # of the policy, or the stage object's key
    generation: int  # of the policy in force under it
    digest: str
    who: str
    reason: str
    deadline: Deadline
    hold: bool = False  # goes back at once, too, when the connection that holds it ends
    before: InForceRecord | None = None  # None: the policy was confirmed, only stages go back
    overrides: dict[str, StageOverride] = Field(default_factory=dict)  # as they were before
    later: dict[str, StageOverride | None] = Field(default_factory=dict)  # set or (None) reset meanwhile: these stand


class QuarantineEntry(_Record):
    """One quarantined device and the addresses that stand for it in the kernel's sets."""

    number: int
    target: str
    macs: tuple[str, ...] = ()
    addresses: tuple[str, ...] = ()
    reason: str
    who: str
    since: datetime
    until: datetime | None = None


class QuarantineRecord(_Record):
    """All entries, and the next free number."""

    entries: tuple[QuarantineEntry, ...] = ()
    next_number: int = 1


COPY: Final = ".copy"
BEFORE: Final = ".before"  # of the generation before: a crash may find either policy in force

RecordT = TypeVar("RecordT", bound=_Record)
OfGeneration = TypeVar("OfGeneration", PendingRecord, OverridesRecord)


class StateDir:
    """The directory and its files."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.broken: list[str] = []  # files that could not be read, and what was used instead; for status and journal
        try:
            root.mkdir(mode=0o750, parents=True, exist_ok=True)
        except OSError as error:
            detail = f"{root}: {error.strerror}"
            raise ConfigError(
                "state_dir_unusable", detail, "state_dir must be a directory control may write"
            ) from error

    def in_force(self) -> InForceRecord | None:
        """Return the last known good policy, or the one before it when its file is broken."""
        return self._load(IN_FORCE, InForceRecord) or self._load(PREVIOUS, InForceRecord)

    def candidate(self) -> InForceRecord | None:
        """Return the policy whose apply had begun when control last died, if any."""
        return self._load(CANDIDATE, InForceRecord)

    def save_candidate(self, record: InForceRecord) -> None:
        """Remember a policy before the engine is asked to take it."""
        self._save(CANDIDATE, record)

    def promote_candidate(self) -> None:
        """Make the candidate the policy in force; the one before it is kept beside it."""
        current = self.root / IN_FORCE
        if current.exists():
            os.replace(current, self.root / PREVIOUS)
        os.replace(self.root / CANDIDATE, current)
        sync_directory(self.root)

    def save_in_force(self, record: InForceRecord) -> None:
        """Write the record in force again, with more in it; it is of the same policy."""
        self._save(IN_FORCE, record)

    def drop_candidate(self) -> None:
        """Forget a policy that was refused."""
        (self.root / CANDIDATE).unlink(missing_ok=True)
        sync_directory(self.root)

    def pending(self, generation: int) -> PendingRecord | None:
        """Return the change that waits to be confirmed, if any, when that generation is in force."""
        found = (self._kept(PENDING, PendingRecord), *self._others(PENDING, PendingRecord))
        return next((one for one in found if one is not None and one.generation == generation), None)

    @property
    def lost_pending(self) -> bool:
        """Tell whether a record of a change that waits was damaged: then nobody knows that it was confirmed."""
        return any(text.startswith(PENDING) for text in self.broken)

    def has_pending(self) -> bool:
        """Tell whether anything waits, whatever is in force."""
        return any((self.root / f"{PENDING}{suffix}").exists() for suffix in ("", COPY, BEFORE))

    def save_pending(self, record: PendingRecord | None) -> None:
        """Keep it, twice; None forgets it.

        What waited under the generation before stays beside it: should this one never come into force, that one still
        goes back by itself.
        """
        if record is not None:
            self._set_aside(PENDING, PendingRecord, record.generation)
            self._keep(PENDING, record)
            return
        # ORDER: the others first, or one would be found alone after a power cut and take back what was confirmed.
        for suffixes in ((BEFORE, COPY), ("",)):
            for suffix in suffixes:
                (self.root / f"{PENDING}{suffix}").unlink(missing_ok=True)
            sync_directory(self.root)

    def overrides(self, generation: int) -> OverridesRecord:
        """Return the stage overrides under the policy of a generation: the newest that are not a later one's."""
        found = [self._kept(OVERRIDES, OverridesRecord), *self._others(OVERRIDES, OverridesRecord)]
        known = [one for one in found if one is not None]
        fitting = [one for one in known if one.generation <= generation]
        return max(fitting, key=lambda one: one.generation, default=known[0] if known else OverridesRecord())

    def save_overrides(self, record: OverridesRecord) -> None:
        """Keep the stage overrides, and those of the generation before them."""
        self._set_aside(OVERRIDES, OverridesRecord, record.generation)
        self._keep(OVERRIDES, record)

    def quarantine(self) -> QuarantineRecord:
        """Return the quarantine entries."""
        return self._kept(QUARANTINE, QuarantineRecord) or QuarantineRecord()

    def save_quarantine(self, record: QuarantineRecord) -> None:
        """Keep the quarantine entries, and those before them."""
        self._keep(QUARANTINE, record)

    def _keep(self, name: str, record: _Record) -> None:
        """Save twice: a damaged file must not lower a stage or free a device, so a copy stands beside it."""
        self._save(name, record)
        self._save(f"{name}{COPY}", record)

    def _set_aside(self, name: str, kind: type[OfGeneration], generation: int) -> None:
        """Keep a record of another generation beside the one that takes its place."""
        now = self._load(name, kind)
        if now is not None and now.generation != generation:
            os.replace(self.root / name, self.root / f"{name}{BEFORE}")

    def _others(self, name: str, kind: type[OfGeneration]) -> list[OfGeneration | None]:
        return [self._load(f"{name}{suffix}", kind) for suffix in (COPY, BEFORE)]

    def _kept(self, name: str, kind: type[RecordT]) -> RecordT | None:
        before = len(self.broken)
        record = self._load(name, kind)
        if record is not None:
            return record
        copy = self._load(f"{name}{COPY}", kind)
        if len(self.broken) > before:
            self.broken.append(f"{name}: {'its copy is used' if copy is not None else 'and there is no copy'}")
        return copy

    def _save(self, name: str, record: _Record) -> None:
        write_atomic(self.root / name, record.model_dump_json(indent=1).encode())

    def _load(self, name: str, kind: type[RecordT]) -> RecordT | None:
        path = self.root / name
        try:
            return kind.model_validate_json(path.read_bytes())
        except FileNotFoundError:
            return None
        except (OSError, ValidationError) as error:
            aside = path.with_name(f"{name}.broken-{datetime.now(UTC):%Y%m%dT%H%M%S}")
            self.broken.append(f"{name} is damaged")
            _log.error("state_file_broken", path=str(path), set_aside=str(aside), error=str(error)[:500])
            if isinstance(error, ValidationError):
                with contextlib.suppress(OSError):  # a disk that takes nothing: it stays, and is said again
                    os.replace(path, aside)
            return None
