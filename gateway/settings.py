"""The daemon's own settings: TOML text in, one frozen `Settings` out, or a ConfigError that names file, key and remedy.

Every key has a default, an unknown key is refused, nothing is clamped or guessed. Parsed once per process and passed
down. Must never read the environment, and never hold what belongs to the policy (zones, assets, conduits, stages).
Called by conduitd, by control and by the commands that need the control socket's place.
"""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Annotated, Final, Literal

import orjson
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, model_validator

from fastpath.abi import MAX_QUEUES
from gateway.errors import ConfigError

DEFAULT_SETTINGS: Final = Path("/etc/conduit/conduitd.toml")
INTERFACE_NAME_BYTES: Final = 15  # linux/if.h: IFNAMSIZ less the terminating zero
COPY_BYTES_MAX: Final = 65531  # NFQA_CFG_PARAMS: 0xffff less the attribute header
PRIORITY_MAX: Final = 50  # the kernel's own interrupt threads run at 50 (sched_set_fifo): never above them
SETTINGS_BYTES_MAX: Final = 1 << 20

Polling = Literal["off", "adaptive", "always"]
Role = Literal["viewer", "operator", "engineer", "admin", "approver"]


def _absolute(path: Path) -> Path:
    if not path.is_absolute():
        raise ValueError("must be an absolute path")
    return path


def _principal(text: str) -> str:
    kind, colon, value = text.partition(":")
    if not colon or not value or kind not in {"user", "uid", "group", "gid"}:
        raise ValueError("must be user:NAME, uid:NUMBER, group:NAME or gid:NUMBER")
    if kind in {"uid", "gid"} and not (value.isascii() and value.isdigit()):
        raise ValueError(f"{kind}: needs a number")
    return text


AbsolutePath = Annotated[Path, AfterValidator(_absolute)]
Principal = Annotated[str, AfterValidator(_principal)]
InterfaceName = Annotated[str, Field(min_length=1, max_length=INTERFACE_NAME_BYTES, pattern=r"^[A-Za-z0-9_.-]+$")]


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class BridgeSettings(_Section):
    """The bridge that frames cross; `manage = false` leaves its creation and ports to the host."""

    name: InterfaceName = "br-conduit"
    manage: bool = True


class QueueSettings(_Section):
    """The NFQUEUE range and what is kept per queue."""

    first: int = Field(default=0, ge=0, le=65535)
    count: int = Field(default=1, ge=1, le=MAX_QUEUES)
    layer2: bool = True  # frames without IP on a queue of their own behind the others; native bridge form only
    max_length: int = Field(default=1024, ge=1, le=65536)  # packets; memory is not bounded by it, so keep it modest
    copy_bytes: int = Field(default=COPY_BYTES_MAX, ge=128, le=COPY_BYTES_MAX)  # inspection reads all of a packet
    receive_buffer_bytes: int = Field(default=8 << 20, ge=1 << 16, le=1 << 30)
    flows: int = Field(default=65536, ge=1024, le=1 << 24)  # per queue; a power of two

    @model_validator(mode="after")
    def _consistent(self) -> QueueSettings:
        if self.flows & (self.flows - 1):
            raise ValueError("flows must be a power of two")
        if self.first + len(self.numbers) > 65536:
            raise ValueError("first + count, and one more with layer2, must not exceed 65536")
        if len(self.numbers) > MAX_QUEUES:
            raise ValueError(f"count, and one more with layer2, must not exceed {MAX_QUEUES}")
        return self

    @property
    def layer2_number(self) -> int | None:
        """Return the number of the queue for frames without IP, None when they share the others."""
        return self.first + self.count if self.layer2 else None

    @property
    def numbers(self) -> tuple[int, ...]:
        """Return every queue number, lowest first; that for frames without IP is the last."""
        return tuple(range(self.first, self.first + self.count + self.layer2))


class EngineSettings(_Section):
    """How the queue threads wait, where they run and how urgent they are: docs/how-to/tune-the-engine.md."""

    polling: Polling = "off"
    polling_us: int = Field(default=1000, ge=10, le=100_000)  # how long `adaptive` spins after the last packet
    cpus: tuple[Annotated[int, Field(ge=0)], ...] = ()  # one per queue, cycled; empty: the kernel decides
    priority: int = Field(default=0, ge=0, le=PRIORITY_MAX)  # SCHED_FIFO; 0 is the normal scheduler

    @model_validator(mode="after")
    def _consistent(self) -> EngineSettings:
        if len(set(self.cpus)) != len(self.cpus):
            raise ValueError("cpus must name each CPU once")
        return self


class InterceptionSettings(_Section):
    """How frames are taken: `auto` probes the kernel and prefers the native bridge queue."""

    form: Literal["auto", "bridge", "brnf"] = "auto"


class LaneSettings(_Section):
    """Whether established flows of conduits that need no inspection stay in the kernel.

    `off` first: exact counts per conduit come before speed. `auto` is on wherever the kernel has what it takes.
    """

    mode: Literal["off", "auto"] = "off"


class HistorySettings(_Section):
    """How many policies that were in force are remembered with their text."""

    keep: int = Field(default=200, ge=2, le=100_000)


class TapeSettings(_Section):
    """How much of what was seen is kept for later questions: simulate, learn, readiness."""

    keep_days: int = Field(default=400, ge=1, le=3660)
    max_mib: int = Field(default=256, ge=1, le=65536)


class ControlSettings(_Section):
    """Where operators reach the control plane."""

    socket: AbsolutePath = Path("/run/conduit/control.sock")


class Settings(_Section):
    """Everything `conduitd` is told besides the policy."""

    run_dir: AbsolutePath = Path("/run/conduit")
    state_dir: AbsolutePath = Path("/var/lib/conduit")
    log_dir: AbsolutePath = Path("/var/log/conduit")
    policy: AbsolutePath = Path("/etc/conduit/policy.yaml")
    bridge: BridgeSettings = BridgeSettings()
    queue: QueueSettings = QueueSettings()
    engine: EngineSettings = EngineSettings()
    interception: InterceptionSettings = InterceptionSettings()
    lane: LaneSettings = LaneSettings()
    tape: TapeSettings = TapeSettings()
    control: ControlSettings = ControlSettings()
    history: HistorySettings = HistorySettings()
    roles: dict[Role, tuple[Principal, ...]] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _threads_have_cpus(self) -> Settings:
        engine, threads = self.engine, self.queue.count
        if len(engine.cpus) > threads:
            raise ValueError(f"engine.cpus names {len(engine.cpus)} CPUs for queue.count = {threads} threads")
        if engine.polling != "off" and engine.priority > 0 and len(engine.cpus) != threads:
            why = "a thread that spins at a SCHED_FIFO priority lets nothing else run on its CPU"
            raise ValueError(f"engine.polling with engine.priority needs one of engine.cpus for each queue: {why}")
        return self


def _describe(path: Path, error: ValidationError) -> str:
    """Return one line per problem: file, key, what is wrong."""
    lines = []
    for problem in error.errors(include_url=False):
        key = ".".join(str(part) for part in problem["loc"]) or "(file)"
        lines.append(f"{path}: {key}: {problem['msg']}")
    return "\n".join(lines)


def _hint(error: ValidationError) -> str:
    kinds = {problem["type"] for problem in error.errors(include_url=False)}
    if "extra_forbidden" in kinds:
        return "remove or correct the unknown key; `conduitd --help` lists the keys"
    return "correct the named keys; `conduitd --check --settings FILE` tries the file without starting"


def load_settings_text(text: str, path: Path) -> Settings:
    """Return the settings that a TOML text states; `path` is only named in errors. Raises ConfigError."""
    try:
        document = tomllib.loads(text)
        # JSON input lets strict models take an array for a tuple and a string for a path, and nothing laxer.
        canonical = orjson.dumps(document)
    except (tomllib.TOMLDecodeError, orjson.JSONEncodeError, RecursionError) as error:
        raise ConfigError("settings_syntax", f"{path}: {error}", "the file must be TOML: key = value") from error
    try:
        return Settings.model_validate_json(canonical)
    except ValidationError as error:
        raise ConfigError("settings_value", _describe(path, error), _hint(error)) from error


def load_settings(path: Path) -> Settings:
    """Return the settings of a TOML file. Raises ConfigError with file, key and hint; blocks on the disk."""
    try:
        with path.open("rb") as file:
            raw = file.read(SETTINGS_BYTES_MAX + 1)
    except OSError as error:
        hint = "name the file with --settings, and see that this user may read it"
        raise ConfigError("settings_unreadable", f"{path}: {error.strerror}", hint) from error
    if len(raw) > SETTINGS_BYTES_MAX:
        detail = f"{path}: larger than {SETTINGS_BYTES_MAX} bytes"
        raise ConfigError("settings_too_large", detail, "this is not a settings file of conduitd")
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError as error:
        raise ConfigError("settings_syntax", f"{path}: not UTF-8 at byte {error.start}", "save it as UTF-8") from error
    return load_settings_text(text, path)
