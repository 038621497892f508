"""The engine's reading of CIP requests and the slow twin's, side by side over built and damaged messages."""

from __future__ import annotations

from typing import Any

from hypothesis import assume, given
from hypothesis import strategies as st

from fastpath.abi import Inspector, Operation, Protocol, Reason
from fastpath.dissect import Dissection
from tests.support import enip_messages as build
from tests.support import twin_cip

KNOWN = (1, 2, 4, 6, 0x37, 0x43, 0x44, 0x47, 0x64, 0x67, 0x6B, 0x6C, 0x72, 0x8B, 0x8E, 0xA1, 0xAC, 0xF5, 0xF6)
NUMBERS = st.sampled_from(KNOWN) | st.integers(0, 0xFFFF)
NAMES = st.from_regex(r"\A[A-Za-z_][A-Za-z0-9_:]{0,14}\Z")


@st.composite
def logicals(draw: st.DrawFn) -> bytes:
    """A logical segment of any kind and width."""
    return build.logical(draw(st.integers(0, 4)), draw(NUMBERS), draw(st.sampled_from((None, 4))))


PLACES = st.builds(build.place, NUMBERS, NUMBERS, st.none() | st.integers(0, 300))
MEMBERS = st.builds(lambda numbers: b"".join(build.logical(2, one) for one in numbers), st.lists(NUMBERS, max_size=3))
TAGS = st.lists(
    st.builds(lambda name, member: build.symbol(name) + member, NAMES, MEMBERS), min_size=1, max_size=3
).map(b"".join)
KEYS = st.sampled_from((b"", bytes.fromhex("3404") + bytes(8)))
PATHS = st.builds(
    lambda key, path: key + path, KEYS, PLACES | TAGS | st.tuples(PLACES, TAGS | PLACES).map(b"".join)
) | (st.lists(logicals() | NAMES.map(build.symbol), max_size=5).map(b"".join))
TYPES = st.sampled_from((0xC1, 0xC3, 0xC4, 0xCA, 0xCB, 0xD0, 0x02A0))


@st.composite
def writes(draw: st.DrawFn) -> bytes:
    """The data of a Write Tag."""
    kind, count = draw(TYPES), draw(st.integers(0, 5))
    size = twin_cip.SIZES.get(kind, 3) * count
    head = kind.to_bytes(2, "little") + (b"\x12\x34" if kind == 0x02A0 else b"") + count.to_bytes(2, "little")
    return head + draw(st.binary(min_size=size, max_size=size))


@st.composite
def attribute_lists(draw: st.DrawFn) -> bytes:
    """The data of a Get_Attribute_List."""
    numbers = draw(st.lists(st.integers(0, 0xFFFF), max_size=6))
    return b"".join(number.to_bytes(2, "little") for number in [len(numbers), *numbers])


PCCC = st.builds(
    lambda command, function: bytes.fromhex("07 4d00 78563412".replace(" ", "")) + bytes((command, 0, 1, 0, function)),
    st.sampled_from((0, 1, 6, 8, 15)) | st.integers(0, 255),
    st.integers(0, 255),
)
ONE = st.builds(build.request, st.integers(0, 0x7F), PATHS, st.binary(max_size=12) | writes() | attribute_lists())
LIKELY = (
    st.builds(
        build.request, st.sampled_from((0x4C, 0x4D, 0x4E, 0x52, 0x53, 0x55)), TAGS, writes() | st.binary(max_size=6)
    )
    | st.builds(build.request, st.just(0x4D), TAGS, writes())
    | st.builds(build.request, st.sampled_from((3, 4)), PLACES, attribute_lists())
    | st.builds(build.request, st.just(0x4B), st.just(build.place(0x67, 1)), PCCC)
    | st.builds(build.request, st.just(0x10), PLACES, st.binary(max_size=9))
)
ROUTES = st.lists(
    st.sampled_from((b"\x01\x00", b"\x02\x05", b"\x12\x0710.0.0.\0", b"\x0f\x01\x12\x00")), max_size=3
).map(b"".join)
MESSAGES = st.recursive(
    ONE | LIKELY,
    lambda inner: st.lists(inner, min_size=1, max_size=3).map(build.multiple) | st.builds(build.routed, inner, ROUTES),
    max_leaves=6,
)


def read(message: bytes, *, over: bool) -> tuple[Reason, list[dict[str, Any]]]:
    """Let the engine read a request, unconnected or connected; the fields that the comparison is about."""
    whole = build.connected(message) if over else build.unconnected(message)
    reason, found = Dissection(Inspector.ENIP, taken_up=True).read(whole, True)
    keys = ("protocol", "operation", "answer", "depth", "further", "fields")
    return reason, [{key: one[key] for key in keys} for one in found if one["protocol"] is Protocol.CIP]


def plainly(message: bytes, *, over: bool) -> tuple[Reason, list[dict[str, Any]]]:
    """Let the twin read it."""
    try:
        return Reason.NONE, twin_cip.accesses(message, {"connection": 0x1000} if over else {})
    except twin_cip.Refused as refused:
        return refused.reason, []


def has_opening(found: list[dict[str, Any]]) -> bool:
    """Tell whether a message opens or ends a connection, which the twin does not read."""
    return any(one["fields"].get("class") == 6 and one["fields"]["service"] in (0x54, 0x5B, 0x4E) for one in found)


def compare(message: bytes, *, over: bool) -> None:
    """Compare the two readings."""
    assume(message and message[0] < 0x80)
    reason, found = read(message, over=over)
    assume(not has_opening(found))
    expected = plainly(message, over=over)
    assert reason is expected[0]
    if reason is Reason.NONE:
        assert found == expected[1]


@given(MESSAGES, st.booleans())
def test_built_requests_are_read_as_the_twin_reads_them(message: bytes, over: bool) -> None:
    """Services, paths, tags, lists, values and embedded messages: the same accesses, or the same refusal."""
    compare(message, over=over)


@given(
    MESSAGES, st.lists(st.tuples(st.integers(0, 200), st.integers(0, 255)), min_size=1, max_size=3), st.integers(0, 6)
)
def test_damaged_requests_are_refused_or_read_alike(message: bytes, changes: list[tuple[int, int]], cut: int) -> None:
    """Bytes changed and the end cut off: neither reads what the other refuses."""
    data = bytearray(message)
    for place, value in changes:
        data[place % len(data)] = value
    compare(bytes(data[: len(data) - cut if cut < len(data) else None]), over=False)


def band(value: int | tuple[int, int]) -> tuple[int, int]:
    """Return a field's numbers from lowest to highest."""
    return value if isinstance(value, tuple) else (value, value)


def lies_within(early: dict[str, Any], whole: dict[str, Any]) -> bool:
    """Tell whether the whole names all that was named early, and at least its numbers: elements are counted last."""
    return all(
        name in whole and band(whole[name])[0] <= band(value)[0] <= band(value)[1] <= band(whole[name])[1]
        for name, value in early.items()
    )


@given(MESSAGES, st.booleans(), st.data())
def test_what_is_certain_early_holds_later(message: bytes, over: bool, data: st.DataObject) -> None:
    """A beginning puts nothing that the whole message does not say: its operation is that of the whole, or NONE yet."""
    whole = build.connected(message) if over else build.unconnected(message)
    reason, found = Dissection(Inspector.ENIP, taken_up=True).read(whole, True)
    assume(reason is Reason.NONE)
    count = data.draw(st.integers(0, len(whole) - 1))
    early, seen = Dissection(Inspector.ENIP, taken_up=True).read(whole[:count], True, len(whole))
    assert early is Reason.NONE
    later = iter(found)
    for one in seen:
        assert one["partial"]
        assert any(
            lies_within(one["fields"], full["fields"]) and one["operation"] in (full["operation"], Operation.NONE)
            and one["depth"] == full["depth"] and one["further"] == full["further"] for full in later
        )  # fmt: skip
