from mmap import mmap

from typing_extensions import Buffer

POLLING: dict[str, int]
POLLING_NS_DEFAULT: int

def new_limits() -> mmap: ...

class Worker:
    def __init__(
        self,
        fd: int,
        index: int,
        counters: Buffer,
        events: Buffer,
        flows: Buffer,
        streams: Buffer,
        copy_bytes: int,
        *,
        limits: Buffer | None = None,
        answer_fd: int = -1,
        polling: int = ...,
        polling_ns: int = ...,
    ) -> None: ...
    def install(self, image: Buffer, state: Buffer) -> None: ...
    def adopted(self, generation: int) -> bool: ...
    def run(self) -> None: ...
    def stop(self) -> None: ...
