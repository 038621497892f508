"""SIGKILL at any instruction leaves streams that the next engine can go on with, and none that it believes wrongly."""

from __future__ import annotations

import mmap
import os
import random
import signal
import time
from typing import Final, NoReturn

from fastpath import abi
from fastpath.abi import Inspector, Operation, Reason
from fastpath.dissect import Conversations

ACK, SYN = 16, 2
STREAMS: Final = 8
WINDOWS: Final = 2
CRASHES: Final = 40
LONGEST_S: Final = 0.03
BEGUN_WITHIN_S: Final = 20.0
REQUEST: Final = bytes.fromhex("0001 0000 0006 01 03 0000 0001")
AGAIN: Final = 30_000  # bytes, more than the largest part
PARTS: Final = (5, 12, 12 * 120, 12 * 7 + 3)  # bytes of a burst: also more than a stream holds itself


def engine(memory: mmap.mmap, flows: mmap.mmap) -> Conversations:
    """Return an engine over shared memory."""
    return Conversations(
        Inspector.MODBUS, operations=[Operation.READ], memory=memory, flows=flows, streams=STREAMS, windows=WINDOWS
    )


def stream_text(length: int) -> bytes:
    """Return the client's text: requests without end, cut."""
    return (REQUEST * (length // len(REQUEST) + 1))[:length]


def talk(memory: mmap.mmap, flows: mmap.mmap, progress: mmap.mmap, seed: int) -> NoReturn:
    """Send and acknowledge on every conversation until killed; `progress` holds, before it is sent, what is sent."""
    rng = random.Random(seed)
    held = engine(memory, flows)
    sent = [0] * STREAMS
    while True:
        number = rng.randrange(STREAMS)
        if not held.has_stream(number):
            held.segment(number, True, 99, 0, SYN, b"")
            held.segment(number, False, 199, 100, SYN | ACK, b"")
            sent[number] = 0
        size = rng.choice(PARTS)
        text = stream_text(sent[number] + size)
        progress[8 * number : 8 * number + 8] = (sent[number] + size).to_bytes(8, "little")
        if held.segment(number, True, 100 + sent[number], 200, ACK, text[sent[number] :]).reason is Reason.NONE:
            sent[number] += size
        if rng.random() < 0.5:
            held.segment(number, False, 200, 100 + rng.randrange(sent[number] + 1), ACK, b"")


def wait_until_all_talk(progress: mmap.mmap) -> None:
    """Wait until every conversation has sent something."""
    deadline = time.monotonic() + BEGUN_WITHIN_S
    while not all(any(progress[8 * number : 8 * number + 8]) for number in range(STREAMS)):
        assert time.monotonic() < deadline, "the child sends nothing"
        time.sleep(0.001)


def test_killed_at_any_instruction(seed: int) -> None:
    """What the dead engine left is sound or given up, no window is lost, and what passed can't be exchanged."""
    rng = random.Random(seed)
    survived = 0
    for number in range(CRASHES):
        memory = mmap.mmap(-1, abi.streams_table_bytes(STREAMS, WINDOWS))
        flows = mmap.mmap(-1, 2 * STREAMS * abi.FLOW.size)
        progress = mmap.mmap(-1, 8 * STREAMS)
        child = os.fork()
        if child == 0:
            try:
                talk(memory, flows, progress, number)
            finally:
                os._exit(1)
        wait_until_all_talk(progress)
        time.sleep(rng.random() * LONGEST_S)  # to be killed anywhere
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        survived += go_on(engine(memory, flows), progress)
    assert survived > CRASHES * STREAMS // 4, "most conversations were not being changed, and go on"


def go_on(heir: Conversations, progress: mmap.mmap) -> int:
    """Repeat and acknowledge as the next engine what was ever sent; return how many conversations it knows."""
    reached = [int.from_bytes(progress[8 * number : 8 * number + 8], "little") for number in range(STREAMS)]
    known = [number for number in range(STREAMS) if heir.has_stream(number)]
    for number in set(range(STREAMS)) - set(known):
        assert heir.segment(number, True, 100 + reached[number], 200, ACK, REQUEST).reason is Reason.STREAM_PICKUP
    waiting = known
    for _ in range(2):  # whoever needs a window that another one holds, after that one
        waiting = [number for number in waiting if not passes_again(heir, number, reached[number])]
    assert waiting == []
    assert heir.windows_in_use == 0
    for number in set(range(STREAMS)) - set(known):  # every place that was given up is there to be taken
        assert heir.segment(number, False, 199, 100, SYN | ACK, b"").reason is Reason.NONE
    assert heir.segment(STREAMS, False, 199, 100, SYN | ACK, b"").reason is Reason.STREAM_BUDGET
    return len(known)


def passes_again(heir: Conversations, number: int, reached: int) -> bool:
    """Repeat the end of a conversation's text, and acknowledge it if it passes; False for want of a window."""
    start = max(0, reached - AGAIN)
    reason = heir.segment(number, True, 100 + start, 200, ACK, stream_text(reached)[start:]).reason
    assert reason in {Reason.NONE, Reason.STREAM_BUDGET}
    if reason is Reason.NONE:
        heir.segment(number, False, 200, 100 + reached, ACK, b"")
    return reason is Reason.NONE
