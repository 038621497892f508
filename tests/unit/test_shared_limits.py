"""A limit is one, however many queues count against it: two threads at once in the engine's own loop."""

from __future__ import annotations

import threading
from array import array
from dataclasses import replace
from typing import Any, Final

import pytest

from bench.extension import classify_module
from bench.messages import payload_at, traffic
from bench.policies import Plant, plant
from bench.suites.classify import counters_segment, events_segment, flows_segment
from fastpath.abi import MAX_BATCH, Reason
from fastpath.worker import new_limits
from rules.conduit_model import Limit

BURST: Final = 300_000
BATCHES: Final = 5_000  # each thread judges as many frames as the burst has room for, and some more
CONVERSATIONS: Final = 64
ROUNDS: Final = 5
QUEUES: Final = 2


def limited(rate: str) -> Plant:
    """Return a plant with one conduit, which has a limit."""
    place = plant(1)
    limit = Limit.model_validate({"packets": rate})
    conduits = {name: conduit.model_copy(update={"limit": limit}) for name, conduit in place.policy.conduits.items()}
    return replace(place, policy=place.policy.model_copy(update={"conduits": conduits}))


def judged_by(classifier: Any) -> dict[int, int]:
    """Return how many frames were judged for each reason."""
    by_reason, _, _ = classifier.counts()
    return {reason: passed + dropped for reason, (passed, dropped) in by_reason.items()}


@pytest.mark.parametrize("number", range(ROUNDS))
def test_two_queues_together_pass_what_the_limit_says_and_not_a_frame_more(number: int) -> None:
    """Both race for the same clock; what passes is the burst, exactly: the next one is due a minute later."""
    place = limited(f"1/min burst {BURST}")
    found = traffic(place, CONVERSATIONS, number)
    image, state = place.compiled()
    limits = new_limits()
    queues = [
        classify_module().Classifier(
            *(bytes(image), bytes(state), flows_segment(1024), counters_segment(), events_segment()),
            *(found.messages, payload_at(found.messages)),
            limits=limits,
        )
        for _ in range(QUEUES)
    ]
    order = array("I", list(found.opening) * (BATCHES * MAX_BATCH // CONVERSATIONS))
    ready = threading.Barrier(QUEUES)

    def judge(queue: Any) -> None:
        ready.wait()
        queue.run(order, array("Q", bytes(8 * BATCHES)))

    threads = [threading.Thread(target=judge, args=(queue,)) for queue in queues]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    judged = [judged_by(queue) for queue in queues]
    passed = [sum(count for reason, count in one.items() if reason != Reason.LIMIT_PACKETS) for one in judged]
    assert sum(sum(one.values()) for one in judged) == QUEUES * BATCHES * MAX_BATCH
    assert sum(passed) == BURST, passed
