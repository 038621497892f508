from enum import IntEnum
from typing import NamedTuple

from typing_extensions import Buffer

class Unjudged(IntEnum):
    LINK_TYPE = 1
    LINK_CUT = 2

class Talk(NamedTuple):
    kind: int
    ethertype: int
    protocol: int
    number: int
    reply: bool
    source: bytes
    destination: bytes

class Judged(NamedTuple):
    verdict: int
    policy_verdict: int
    reason: int
    stage: int
    conduit: int | None
    source_zone: int
    destination_zone: int
    source_asset: int | None
    destination_asset: int | None
    service: int

class Outcome(NamedTuple):
    time_ns: int
    length: int
    unjudged: int
    talk: Talk
    judged: Judged

class Row(NamedTuple):
    talk: Talk | None
    judged: Judged
    other: Judged | None
    unjudged: int
    frames: int
    bytes: int
    first_ns: int
    last_ns: int

class Capture:
    frames: int
    def __init__(self, buffer: Buffer) -> None: ...
    def read(self) -> int: ...
    def close(self) -> None: ...
    def time_ns(self, number: int) -> int: ...
    def frame(self, number: int) -> tuple[int, bytes, int, int]: ...
    @property
    def at(self) -> int: ...
    @property
    def damage(self) -> str | None: ...
    @property
    def is_cut(self) -> bool: ...

class Replay:
    def __init__(self, image: Buffer, state: Buffer, *, flows: int = ...) -> None: ...
    def came_in(self, *, port: int = ..., zone: int = ...) -> None: ...
    def judge(self, capture: Capture, first: int, from_ns: int, until_ns: int) -> int: ...
    def said(self, capture: Capture) -> list[Outcome]: ...
    @property
    def flows_evicted(self) -> int: ...

class Rollup:
    def __init__(self, seed: int, *, by_conversation: bool = ..., most_rows: int = ...) -> None: ...
    def add(self, capture: Capture, replay: Replay) -> None: ...
    def add_differences(self, capture: Capture, replay: Replay, other: Replay) -> None: ...
    def rows(self) -> list[Row]: ...
    @property
    def frames(self) -> int: ...
    @property
    def bytes(self) -> int: ...
    @property
    def frames_left_out(self) -> int: ...
    @property
    def bytes_left_out(self) -> int: ...
