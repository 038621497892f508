"""How the bytes of a message may be cut, ordered and repeated.

In: the message (`real`), as many harmless bytes (`decoy`), one whole permitted message (`other`). Out: scripts.
"""

from __future__ import annotations

from itertools import pairwise, permutations, product
from typing import TYPE_CHECKING, Final

from tests.evasion.packets import PLAIN, Form
from tests.evasion.script import Acked, Pause, Script, Segment, Step

if TYPE_CHECKING:
    from collections.abc import Iterator

PUSH_S: Final = 0.05


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
