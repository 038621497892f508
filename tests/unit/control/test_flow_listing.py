"""`/v1/flows`: the filters speak of names as they were when the flow was last judged."""

from __future__ import annotations

import struct
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, Final, cast

import pytest

from fastpath import abi
from gateway import segments
from gateway.control import listings
from gateway.control.api.models import FlowsQuery
from gateway.control.names import NameBook, Names
from gateway.segment_readers import FlowsReader
from gateway.segments import SegmentKind, attach
from rules.compile import compile_text
from tests.support.policies import policy_text
from tests.vectors.plant import POLICY

if TYPE_CHECKING:
    from gateway.control.plane import ControlPlane

GENERATION: Final = 3
FORGOTTEN: Final = 2
LOWERED: Final = compile_text(policy_text(POLICY), "plant.yaml", {}).lowered


@pytest.fixture
def plane() -> ControlPlane:
    """Return a control plane that knows four flows: three of this generation, one of a forgotten one."""
    fd = segments.create_flows(1, 1024)
    view = attach(SegmentKind.FLOWS, fd, writable=True).view
    (first, second), assets = LOWERED.conduits[:2], LOWERED.assets
    entries: list[dict[str, int]] = [
        {"conduit": first.slot, "opener_asset": assets[0].number, "responder_asset": assets[1].number},
        {"conduit": second.slot, "opener_asset": assets[1].number, "responder_asset": assets[0].number},
        {"conduit": second.slot, "opener_asset": abi.NO_ASSET, "responder_asset": assets[1].number},
        {"conduit": first.slot, "opener_asset": assets[0].number, "generation": FORGOTTEN},
    ]
    for index, entry in enumerate(entries):
        place = abi.FLOWS_HEADER_BYTES + index * abi.FLOW.size
        for name, value in ({"in_use": 1, "generation": GENERATION, "opener_port": index} | entry).items():
            struct.pack_into("<" + abi.FLOW.fields[name], view, place + abi.FLOW.offsets[name], value)
    book = NameBook()
    book.add(Names(LOWERED, GENERATION))
    stand_in: Any = SimpleNamespace(flows=FlowsReader(attach(SegmentKind.FLOWS, fd)), core=SimpleNamespace(book=book))
    return cast("ControlPlane", stand_in)


def ports(plane: ControlPlane, **asked: str) -> list[int]:
    """Return the opener ports of the flows that a query finds."""
    return [row.opener_port for row in listings.flows(plane, FlowsQuery(**asked))]


def test_without_a_filter_every_flow_is_listed(plane: ControlPlane) -> None:
    """Also one whose generation's names are forgotten: it has numbers then."""
    assert ports(plane) == [0, 1, 2, 3]


def test_filters_hold_for_either_end_and_together(plane: ControlPlane) -> None:
    """An asset may be opener or responder; with a conduit both must hold; a forgotten generation has no names."""
    first, second = (conduit.name for conduit in LOWERED.conduits[:2])
    one, other = (asset.name for asset in LOWERED.assets[:2])
    assert ports(plane, conduit=first) == [0]
    assert ports(plane, conduit=second) == [1, 2]
    assert ports(plane, asset=one) == [0, 1]
    assert ports(plane, asset=other, conduit=second) == [1, 2]
    assert ports(plane, asset="nobody") == []
