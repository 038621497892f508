from typing import NamedTuple

from typing_extensions import Buffer

from fastpath import abi

class Judgement(NamedTuple):
    verdict: abi.Verdict
    policy_verdict: abi.Verdict
    reason: abi.Reason
    stage: abi.Stage
    conduit: int | None
    source_zone: int
    destination_zone: int
    source_asset: int | None
    destination_asset: int | None
    service: int
    answer: bytes | None

def validate_image(image: Buffer) -> None: ...
def validate_state(image: Buffer, state: Buffer) -> None: ...

class Judge:
    def __init__(self, image: Buffer, state: Buffer, *, flows: int = ...) -> None: ...
    def install(self, image: Buffer, state: Buffer) -> None: ...
    def forget_flows(self) -> None: ...
    def judge(
        self,
        payload: bytes,
        *,
        ethertype: int,
        in_ifindex: int,
        out_ifindex: int,
        source_mac: bytes,
        destination_mac: bytes | None = None,
        vlan: int = 0,
        tagged: bool | None = None,
        length: int | None = None,
        time_ns: int = 0,
    ) -> Judgement: ...
