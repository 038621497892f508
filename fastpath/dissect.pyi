from typing import Any, TypeAlias

from fastpath import abi

Access: TypeAlias = dict[str, Any]

class Dissection:
    def __init__(self, inspector: abi.Inspector) -> None: ...
    def measure(self, data: bytes | memoryview, from_opener: bool) -> tuple[abi.Reason, int]: ...
    def read(
        self, data: bytes | memoryview, from_opener: bool, length: int | None = None
    ) -> tuple[abi.Reason, list[Access]]: ...
    def messages(
        self, data: bytes | memoryview, from_opener: bool
    ) -> tuple[list[tuple[int, int, abi.Reason, list[Access]]], bytes]: ...
