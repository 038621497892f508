from collections.abc import Iterable, Mapping
from typing import Any

from fastpath import abi

class ProfileJudge:
    def __init__(self, image: bytes, state: bytes | bytearray | memoryview) -> None: ...
    def install(self, image: bytes, state: bytes | bytearray | memoryview) -> None: ...
    def inspector(self, conduit: int, service_class: int) -> abi.Inspector: ...
    def judge(
        self,
        conduit: int,
        accesses: Iterable[Mapping[str, Any]],
        *,
        responder: bytes,
        space: int = 0,
        now_ns: int = 0,
        enforced: bool = True,
    ) -> abi.Reason: ...
    @property
    def compared(self) -> int: ...
