"""What may be slipped in between by numbers, flags and checksums that a device does not believe.

In: the message (`real`), as many harmless bytes (`decoy`), one whole permitted message (`other`). Out: scripts.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

from tests.evasion.disguise_bytes import PUSH_S, middle, whole
from tests.evasion.packets import ACK, FIN, PSH, RST, SYN, URG, Form
from tests.evasion.script import Acked, Event, Pause, Reopen, Script, Segment, Step

if TYPE_CHECKING:
    from collections.abc import Iterator

LOW_HOPS: Final = 3  # the far side discards what has fewer than 5 left, as a router on the way would
BELOW: Final = -200_000
BEYOND: Final = 500_000


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


def odd_flags(real: bytes, _decoy: bytes, _other: bytes) -> Iterator[Script]:
    """Send it with flags that change nothing: without push, with congestion signals, all of them."""
    for flags in (ACK, ACK | 0x40, ACK | 0x80, ACK | PSH | 0xC0):
        yield Script(real, (Segment(0, real, flags),))


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
