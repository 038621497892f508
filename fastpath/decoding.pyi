from collections.abc import Mapping
from typing import TypeAlias

from fastpath.abi import Inspector

Field: TypeAlias = int | tuple[int, int]
Message: TypeAlias = tuple[int, int, bool, int, dict[str, Field], list[dict[str, Field]]]
Ends: TypeAlias = tuple[bytes, int, bytes, int]

class Decoder:
    def __init__(self, tcp: Mapping[int, Inspector], udp: Mapping[int, Inspector]) -> None: ...
    def frame(self, time_ns: int, content: bytes, length: int, link_type: int) -> tuple[Ends, list[Message]] | None: ...
