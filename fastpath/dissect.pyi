from collections.abc import Iterable
from typing import Any, NamedTuple, TypeAlias

from typing_extensions import Buffer

from fastpath import abi

Access: TypeAlias = dict[str, Any]

class Dissection:
    def __init__(self, inspector: abi.Inspector, taken_up: bool = False) -> None: ...
    def measure(self, data: bytes | memoryview, from_opener: bool) -> tuple[abi.Reason, int]: ...
    def read(
        self, data: bytes | memoryview, from_opener: bool, length: int | None = None
    ) -> tuple[abi.Reason, list[Access]]: ...
    def messages(
        self, data: bytes | memoryview, from_opener: bool
    ) -> tuple[list[tuple[int, int, abi.Reason, list[Access]]], bytes]: ...

class Judged(NamedTuple):
    reason: abi.Reason
    accesses: list[Access]
    message: int
    message_bytes: int
    passes: bool
    edits: list[tuple[int, int]]

class Conversations:
    def __init__(
        self,
        inspector: abi.Inspector,
        *,
        operations: Iterable[abi.Operation],
        memory: Buffer,
        flows: Buffer,
        streams: int,
        windows: int,
        shuts: bool = True,
        fail: abi.FailMode = ...,
        answers: bool = False,
    ) -> None: ...
    def segment(
        self,
        number: int,
        from_opener: bool,
        sequence: int,
        acknowledgement: int,
        flags: int,
        data: bytes,
        *,
        enforced: bool = True,
        now_ns: int = 0,
        cut: int = 0,
        changeable: bool = True,
    ) -> Judged: ...
    def datagram(
        self, number: int, from_opener: bool, data: bytes, *, enforced: bool = True, now_ns: int = 0
    ) -> Judged: ...
    def opened_by(self, number: int, address: int, *, asset: bool = True, zone: int = 0) -> None: ...
    def forget(self, number: int) -> None: ...
    def tear(self, number: int) -> None: ...
    def has_stream(self, number: int) -> bool: ...
    @property
    def windows_in_use(self) -> int: ...

def s7_memory() -> tuple[int, int]: ...
