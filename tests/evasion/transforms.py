"""The disguises: a table of transforms, each of which turns one message into scripts.

In: the message (`real`), the same number of harmless bytes (`decoy`: permitted messages, one after the other, cut to
length), one whole permitted message (`other`). Out: scripts, always the same ones for the same message length, so that
a case is named by transform and number. `by_design` says why a permitted message may be refused under it; where it is
empty, permitted ones must come through. `ring` is "vm" for what only native interception shows to the engine.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import pairwise, permutations, product
from typing import TYPE_CHECKING, Final

from tests.evasion.packets import ACK, FIN, PLAIN, PSH, RST, SYN, URG, Form, Piece
from tests.evasion.script import Acked, Event, Pause, Reopen, Script, Segment, Step

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

LOW_HOPS: Final = 3  # the far side discards what has fewer than 5 left, as a router on the way would
BELOW: Final = -200_000
BEYOND: Final = 500_000
PUSH_S: Final = 0.05
HELD: Final = "bytes that passed may not be changed, nor bytes come before their predecessors"


@dataclass(frozen=True, slots=True)
class Transform:
    """One family of disguises."""

    name: str
    make: Callable[[bytes, bytes, bytes], Iterator[Script]]
    by_design: str = ""
    ring: str = "netns"
    protocols: tuple[str, ...] = ("modbus", "s7comm", "cip")


def whole(stream: bytes, *, form: Form = PLAIN, at: int = 0, end: int | None = None) -> Segment:
    """Return the segment that carries a stretch of a stream."""
    return Segment(at, stream[at:end], form=form)


def middle(stream: bytes) -> int:
    """Return where a message is cut in two: behind its function, in front of its numbers."""
    return len(stream) * 2 // 3


def plain(real: bytes, _decoy: bytes, _other: bytes) -> Iterator[Script]:
    """Send it as everybody does."""
    yield Script(real, (whole(real),))


def split(real: bytes, _decoy: bytes, _other: bytes) -> Iterator[Script]:
    """Cut in two at every byte."""
    for at in range(1, len(real)):
        yield Script(real, (whole(real, end=at), whole(real, at=at)))


def single_bytes(real: bytes, _decoy: bytes, _other: bytes) -> Iterator[Script]:
    """Send every byte alone: at once, each after the last was acknowledged, and from the end to the beginning."""
    ones = [whole(real, at=at, end=at + 1) for at in range(len(real))]
    yield Script(real, tuple(ones))
    yield Script(real, tuple(step for one in ones for step in (one, Acked(one.at + 1))))
    yield Script(real, tuple(reversed(ones)))


def orders(real: bytes, _decoy: bytes, _other: bytes) -> Iterator[Script]:
    """Send two, three and four segments in all orders."""
    for count in (2, 3, 4):
        cuts = [len(real) * part // count for part in range(count + 1)]
        parts = [whole(real, at=start, end=end) for start, end in pairwise(cuts)]
        for order in permutations(parts):
            yield Script(real, order)


def stretches(real: bytes) -> tuple[tuple[int, int], ...]:
    """Return head, middle and tail of a message."""
    third = len(real) // 3
    return ((0, third), (third, 2 * third), (2 * third, len(real)))


def same_overlaps(real: bytes, _decoy: bytes, _other: bytes) -> Iterator[Script]:
    """Send a stretch twice with the same bytes: as of its own, inside another, in front of its predecessor."""
    for start, end in stretches(real):
        yield Script(real, (whole(real, end=end), whole(real, at=start)))
        yield Script(real, (whole(real, end=end), whole(real, at=start, end=end), whole(real, at=end)))
        yield Script(real, (whole(real, at=start, end=end), whole(real)))


def other_overlaps(real: bytes, decoy: bytes, _other: bytes) -> Iterator[Script]:
    """Send two versions of a stretch, either first: in order, ahead of a missing byte, the second in a longer one."""
    for (start, end), (one, two) in product(((0, len(real)), *stretches(real)), ((decoy, real), (real, decoy))):
        changed = real[:start] + one[start:end] + real[end:]
        again = real[:start] + two[start:end] + real[end:]
        yield Script(real, (whole(changed, end=end), whole(again, at=start)))
        yield Script(real, (whole(changed, end=end), whole(again)))
        if start:
            ahead = (whole(changed, at=start, end=end), whole(again, at=start, end=end))
            yield Script(real, (*ahead, whole(real, at=end), whole(real, end=start)))
            yield Script(real, (whole(changed, at=start, end=end), whole(again, at=1), whole(real, end=1)))
    for at in range(1, len(real) - 1):
        yield Script(real, (whole(decoy, at=at), whole(real, at=at), whole(real, end=at)))


def changed_repeats(real: bytes, decoy: bytes, _other: bytes) -> Iterator[Script]:
    """Repeat with other bytes: what was acknowledged (the device ignores it), what was not, and both at once."""
    for cut in sorted({1, len(real) // 2, middle(real), len(real) - 1}):
        first = whole(real, end=cut)
        yield Script(real, (first, Acked(cut), whole(decoy, end=cut), whole(real, at=cut)))
        yield Script(real, (first, whole(decoy, end=cut), whole(real, at=cut)))
        yield Script(real, (first, Acked(cut), Segment(0, decoy[:cut] + real[cut:])))
        yield Script(real, (first, Acked(cut), whole(decoy, end=cut), Segment(0, real)))


def _pushed(stream: bytes, cuts: tuple[int, ...], answers: int, other: bytes) -> Script:
    """Cut a stream of several messages, and let permitted ones follow: pymodbus looks at one message per arrival."""
    ends = (0, *cuts, len(stream))
    steps: list[Step] = [whole(stream, at=start, end=end) for start, end in pairwise(ends)]
    for _ in range(2):
        steps += [Pause(PUSH_S), Segment(len(stream), other)]
        stream += other
    return Script(stream, tuple(steps), answers)


def several(real: bytes, _decoy: bytes, other: bytes) -> Iterator[Script]:
    """Send it beside permitted messages: two and three a segment, first, last and between; cut across segments."""
    for stream, answers in ((other + real, 2), (real + other, 1), (other + real + other, 2), (other + other + real, 3)):
        yield _pushed(stream, (), answers, other)
        yield _pushed(stream, (len(other) // 2,), answers, other)
        yield _pushed(stream, (len(stream) - len(real) // 2,), answers, other)
        yield _pushed(stream, (len(stream) // 3, len(stream) * 2 // 3), answers, other)


def opening_data(real: bytes, decoy: bytes, other: bytes) -> Iterator[Script]:
    """Put data into the SYN, which a device without TCP fast open ignores: harmless bytes, then the real ones."""
    for data in (decoy, other, real, real[: len(real) // 2], decoy[:1]):
        yield Script(real, (whole(real),), opening_data=data)


def _inserted(real: bytes, decoy: bytes, form: Form, *, shift: int = 0, **more: int) -> Iterator[Script]:
    """Slip harmless bytes in that the device discards: in place of the whole, of the rest, before and between."""
    cut = middle(real)
    timed = form.stale

    def bad(at: int, end: int | None = None) -> Segment:
        return replace(whole(decoy, at=at, end=end, form=form), at=at + shift, **more)

    for steps in (
        (bad(0), whole(real)),
        (whole(real, end=cut), bad(cut), whole(real, at=cut)),
        (whole(real, end=1), bad(1), whole(real, at=1)),
        (bad(0, cut), whole(real, end=cut), bad(cut), whole(real, at=cut)),
    ):
        yield Script(real, steps, with_timestamps=timed)


def insertions(real: bytes, decoy: bytes, _other: bytes) -> Iterator[Script]:
    """Insert by bad checksum, old timestamp, few hops, numbers below and beyond the window, false acknowledgement."""
    yield from _inserted(real, decoy, Form(true_checksum=False))
    yield from _inserted(real, decoy, Form(stale=True))
    yield from _inserted(real, decoy, Form(hops=LOW_HOPS))
    yield from _inserted(real, decoy, Form(), shift=BELOW)
    yield from _inserted(real, decoy, Form(), shift=BEYOND)
    yield from _inserted(real, decoy, Form(), acknowledge=1 << 28)
    yield from _inserted(real, decoy, Form(), acknowledge=-(1 << 28))
    yield from _inserted(real, decoy, Form(), flags=PSH)


def _between(real: bytes, *steps: Step, with_timestamps: bool = False) -> Iterator[Script]:
    """Put steps in front of a message, and behind its first part."""
    yield Script(real, (*steps, whole(real)), with_timestamps=with_timestamps)
    for cut in (1, middle(real)):
        yield Script(real, (whole(real, end=cut), *steps, whole(real, at=cut)), with_timestamps=with_timestamps)


def resets(real: bytes, _decoy: bytes, _other: bytes) -> Iterator[Script]:
    """Send resets that the device does not believe, and go on."""
    for at in (7, BELOW, BEYOND):
        yield from _between(real, Segment(at, b"", RST))
        yield from _between(real, Segment(at, b"", RST | ACK))
    for form in (Form(true_checksum=False), Form(hops=LOW_HOPS)):
        yield Script(real, (Segment(0, b"", RST | ACK, form), whole(real)))
        cut = middle(real)
        yield Script(real, (whole(real, end=cut), Segment(cut, b"", RST | ACK, form), whole(real, at=cut)))


def endings(real: bytes, decoy: bytes, _other: bytes) -> Iterator[Script]:
    """Send ends that the device does not believe, and go on; end together with the message; end and add to it."""
    for at in (BELOW, BEYOND):
        yield from _between(real, Segment(at, b"", FIN | ACK))
    cut = middle(real)
    for form in (Form(true_checksum=False), Form(hops=LOW_HOPS)):
        yield Script(real, (Segment(0, b"", FIN | ACK, form), whole(real)))
        yield Script(real, (whole(real, end=cut), Segment(cut, decoy[cut:], FIN | ACK, form), whole(real, at=cut)))
    yield Script(real, (Segment(0, real, FIN | PSH | ACK),), repeats=False)
    yield Script(real, (whole(real, end=cut), Segment(cut, real[cut:], FIN | PSH | ACK)), repeats=False)
    yield Script(real, (Segment(cut, real[cut:], FIN | PSH | ACK), whole(real, end=cut)), repeats=False)
    yield Script(
        real, (whole(real, end=cut), Segment(cut, b"", FIN | ACK), Segment(cut + 1, real[cut:])), repeats=False
    )


def urgent(real: bytes, _decoy: bytes, other: bytes) -> Iterator[Script]:
    """Put a byte into the stream that the device takes out as urgent data; point at bytes without adding any."""
    for at in sorted({1, 2, len(real) // 2, middle(real), len(real) - 1}):
        stream = real[:at] + b"\x00" + real[at:]
        yield Script(stream, (Segment(0, stream, PSH | ACK | URG, urgent=at + 1),), repeats=False)
        head, tail = Segment(0, stream[: at + 1], PSH | ACK | URG, urgent=at + 1), whole(stream, at=at + 1)
        yield Script(stream, (head, tail), repeats=False)
    yield Script(real, (Segment(0, real, PSH | ACK, urgent=3),))  # a pointer without its flag means nothing
    stream = other[:7] + b"\x00" + other[7:] + real
    steps = (Segment(0, stream, PSH | ACK | URG, urgent=8), Pause(PUSH_S), Segment(len(stream), other))
    yield Script(stream, steps, 2, repeats=False)


def wrapping(real: bytes, _decoy: bytes, _other: bytes) -> Iterator[Script]:
    """Let the sequence numbers wrap at every fourth byte of the message, with the cut there and elsewhere."""
    for at in (0, *range(1, len(real), 4), len(real)):
        yield Script(real, (whole(real),), wrap_at=at)
        if 0 < at < len(real):
            yield Script(real, (whole(real, end=at), whole(real, at=at)), wrap_at=at)


def keep_alive(real: bytes, decoy: bytes, _other: bytes) -> Iterator[Script]:
    """Send keep-alives: without a byte, and with a byte that the device has already and ignores."""
    for byte in (b"", b"\x00"):
        yield Script(real, (Segment(-1, byte, ACK), whole(real)))
        for cut in (1, middle(real)):
            head, tail = whole(real, end=cut), whole(real, at=cut)
            yield Script(real, (head, Acked(cut), Segment(cut - 1, byte and decoy[:1], ACK), tail))


def windows(real: bytes, _decoy: bytes, _other: bytes) -> Iterator[Script]:
    """Probe a closed window byte by byte, and close and open our own."""
    probe = whole(real, end=1)
    yield Script(real, (probe, probe, probe, whole(real, at=1)))
    yield Script(real, (probe, Acked(1), probe, whole(real)))
    yield Script(real, (replace(whole(real), window=0), Segment(len(real), b"", ACK)))
    yield Script(real, (Segment(0, b"", ACK, window=0), whole(real), Segment(len(real), b"", ACK)))


def reuse(real: bytes, decoy: bytes, other: bytes) -> Iterator[Script]:
    """Begin again by the same addresses and ports, with half a message left behind; open where one is open."""
    for how in ("rst", "fin"):
        yield Script(real, (Reopen(how), whole(real)))
        for left in (other[: len(other) // 2], real[: len(real) // 2], decoy[:-1], other[:7]):
            yield Script(real, (Segment(0, left), Acked(len(left)), Reopen(how), whole(real)))
    for at in (0, 1000, BEYOND):
        yield from _between(real, Segment(at, b"", SYN))
        yield from _between(real, Segment(at, b"", SYN, Form(true_checksum=False)))


def pick_up(real: bytes, _decoy: bytes, other: bytes) -> Iterator[Script]:
    """Let the engine be killed and started again, or the policy be swapped, before the message and within."""
    for event in ("engine killed", "policy swapped"):
        yield Script(real, (Event(event), whole(real)))
        for cut in (1, len(real) // 2, middle(real), len(real) - 1):
            yield Script(real, (whole(real, end=cut), Acked(cut), Event(event), whole(real, at=cut)))
        stream = other + real
        cut = len(other) + middle(real)
        steps = (whole(stream, end=cut), Acked(cut), Event(event), whole(stream, at=cut))
        yield Script(stream + other, (*steps, Pause(PUSH_S), Segment(len(stream), other)), 2)


def late_inspection(real: bytes, _decoy: bytes, _other: bytes) -> Iterator[Script]:
    """Open before anything is inspected, and speak when it is."""
    yield Script(real, (Event("inspection begins"), whole(real)))
    for cut in (1, len(real) // 2, middle(real), len(real) - 1):
        yield Script(real, (whole(real, end=cut), Acked(cut), Event("inspection begins"), whole(real, at=cut)))


def _fragmented(real: bytes, decoy: bytes, version: int) -> Iterator[Script]:
    tiny = tuple(Piece(at, at + 8) for at in range(0, 20 + len(real), 8))
    header = (Piece(0, 8), Piece(8, None))
    body = (Piece(0, 24), Piece(24, None))
    fill = bytes(4) + decoy
    for pieces in (
        tiny,
        tuple(reversed(tiny)),
        header,
        header[::-1],
        body,
        body[::-1],
        (Piece(0, 24), Piece(16, None)),
        (Piece(0, 24), Piece(24, None, fill), Piece(24, None)),
        (Piece(24, None, fill), Piece(24, None), Piece(0, 24)),
    ):
        form = Form(pieces=pieces)
        yield Script(real, (whole(real, form=form),), version=version, form=form)


def fragments(real: bytes, decoy: bytes, _other: bytes) -> Iterator[Script]:
    """Fragment by IPv4: tiny, within the TCP header, behind it, out of order, overlapping."""
    yield from _fragmented(real, decoy, 4)


def fragments6(real: bytes, decoy: bytes, _other: bytes) -> Iterator[Script]:
    """Fragment by IPv6 the same ways, and into a single fragment."""
    yield from _fragmented(real, decoy, 6)
    form = Form(pieces=(Piece(0, None),))
    yield Script(real, (whole(real, form=form),), version=6, form=form)


PADDING6: Final = b"\x00\x01\x04" + bytes(4)  # 8 bytes of options: PadN
ROUTING6: Final = b"\x00\x00\x00" + bytes(4)  # type 0 without segments left


def extensions6(real: bytes, _decoy: bytes, _other: bytes) -> Iterator[Script]:
    """Put IPv6 extension headers in front of TCP: hop by hop, destination, routing, several."""
    chains = (
        ((0, PADDING6),),
        ((60, PADDING6),),
        ((43, ROUTING6),),
        ((0, PADDING6), (60, PADDING6)),
        ((60, PADDING6),) * 3,
    )
    for chain in chains:
        form = Form(extensions=chain)
        yield Script(real, (whole(real, form=form),), version=6, form=form)
        cut = middle(real)
        yield Script(real, (whole(real, end=cut), whole(real, at=cut, form=form)), version=6, form=form)


def plain6(real: bytes, decoy: bytes, other: bytes) -> Iterator[Script]:
    """Send it by IPv6: whole, cut, out of order, twice."""
    for script in (*plain(real, decoy, other), *split(real, decoy, other), *orders(real, decoy, other)):
        yield replace(script, version=6)


def options4(real: bytes, _decoy: bytes, _other: bytes) -> Iterator[Script]:
    """Put IPv4 and TCP options in front of the message: alerts, padding, unknown ones."""
    for form in (
        Form(ip_options=b"\x94\x04\x00\x00"),
        Form(ip_options=b"\x01" * 40),
        Form(tcp_options=b"\x01" * 36),
        Form(tcp_options=b"\xfd\x06evas"),
    ):
        yield Script(real, (whole(real, form=form),), form=form)


def odd_flags(real: bytes, _decoy: bytes, _other: bytes) -> Iterator[Script]:
    """Send it with flags that change nothing: without push, with congestion signals, all of them."""
    for flags in (ACK, ACK | 0x40, ACK | 0x80, ACK | PSH | 0xC0):
        yield Script(real, (Segment(0, real, flags),))


def tags(real: bytes, _decoy: bytes, _other: bytes) -> Iterator[Script]:
    """Tag the frames: priority only, twice, as a service provider, for another VLAN; wrap them into SNAP."""
    for form in (
        Form(tags=b"\x81\x00\x00\x00"),
        Form(tags=b"\x81\x00\x00\x00\x81\x00\x00\x00"),
        Form(tags=b"\x88\xa8\x00\x00\x81\x00\x00\x00"),
        Form(tags=b"\x81\x00\x00\x64"),
        Form(snap=True),
    ):
        yield Script(real, (whole(real, form=form),), form=form)


TRANSFORMS: Final = (
    Transform("plain", plain),
    Transform("split at every byte", split),
    Transform("one-byte segments", single_bytes),
    Transform("orders of up to 4 segments", orders),
    Transform("identical overlaps", same_overlaps),
    Transform("conflicting overlaps", other_overlaps, HELD),
    Transform("changed retransmissions", changed_repeats, HELD),
    Transform("several messages", several),
    Transform("data in SYN", opening_data),
    Transform("insertions", insertions, HELD),
    Transform("RST tricks", resets, "a reset that does not fit ends the conversation or is dropped"),
    Transform("FIN tricks", endings, "bytes behind an end, and ends that do not fit, are refused"),
    Transform("urgent pointer", urgent, "urgent data is read differently by different devices"),
    Transform("sequence wrap", wrapping),
    Transform("keep-alive bytes", keep_alive, "a keep-alive's byte differs from the one that passed"),
    Transform("windows and probes", windows),
    Transform("port reuse", reuse, "an opening inside a conversation ends it; rests of the old one are not its own"),
    Transform("pick-up after restart or swap", pick_up, "a conversation without memory begins anew"),
    Transform("opened before inspection", late_inspection, "a conversation without memory begins anew"),
    Transform("IPv4 fragments", fragments, "fragments are refused"),
    Transform("IP and TCP options", options4),
    Transform("odd flags", odd_flags),
    Transform("IPv6", plain6, protocols=("modbus",)),
    Transform("IPv6 fragments", fragments6, "fragments are refused", protocols=("modbus",)),
    Transform("IPv6 extension headers", extensions6, "extension headers are refused", protocols=("modbus",)),
    Transform("VLAN, QinQ, SNAP", tags, "the zones own untagged frames", ring="vm"),
)
