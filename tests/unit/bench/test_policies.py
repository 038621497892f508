"""Generated plants are policies that the product itself accepts, and their traffic is judged as it is meant."""

from __future__ import annotations

import random
from array import array

import pytest

from bench.messages import STRIDE_BYTES, payload_at, traffic
from bench.policies import plant
from bench.suites.classify import check_counts, counters_segment, events_segment, flows_segment
from fastpath.abi import MAX_BATCH
from rules.check import check
from rules.problems import Severity

CONDUITS = 50


def test_a_generated_plant_is_a_correct_policy() -> None:
    """The whole-policy checks, which generated policies skip for speed, find no error."""
    policy = plant(CONDUITS).policy
    assert (len(policy.assets), len(policy.conduits)) == (10 * CONDUITS, CONDUITS)
    assert [str(problem) for problem in check(policy) if problem.severity is Severity.ERROR] == []


def test_a_plant_is_the_same_every_time() -> None:
    """Image and traffic follow from the size alone."""
    assert plant(CONDUITS).compiled() == plant(CONDUITS).compiled()
    assert traffic(plant(CONDUITS), 10, 1).messages == traffic(plant(CONDUITS), 10, 1).messages


def test_an_order_has_the_shares_that_were_asked_for() -> None:
    """Misses and fresh conversations in the asked shares, the rest established."""
    found = traffic(plant(CONDUITS), 64, 1)
    order = found.order(1000, random.Random(1), misses=0.1, fresh=0.02)
    denied = {*found.no_conduit, *found.unknown_source, *found.wrong_mac}
    assert len(order) == 1000
    assert sum(index in denied for index in order) == 100
    assert sum(index in set(found.fresh) for index in order) == 20


def test_messages_all_hold_their_ip_header_at_the_same_place() -> None:
    """The compiled loop changes ports there."""
    messages = traffic(plant(CONDUITS), 16, 1).messages
    places = {payload_at(messages[at : at + STRIDE_BYTES]) for at in range(0, len(messages), STRIDE_BYTES)}
    assert len(places) == 1


def test_the_timed_loop_judges_the_traffic_as_meant() -> None:
    """The compiled bench loop: established, fresh and denied frames get the reasons they were made for."""
    from bench.extension import classify_module

    place = plant(CONDUITS)
    found = traffic(place, 256, 1)
    segments = (flows_segment(8192), counters_segment(), events_segment())
    parts = (*place.compiled(), *segments, found.messages, payload_at(found.messages))
    classifier = classify_module().Classifier(*parts)
    classifier.prepare(found.opening)
    order = found.order(64 * MAX_BATCH, random.Random(1), misses=0.09, fresh=0.02)
    spent_ns = array("Q", bytes(8 * 64))
    classifier.run(order, spent_ns)
    check_counts(classifier, CONDUITS)
    assert all(spent_ns)


def test_an_order_beyond_the_messages_is_refused() -> None:
    """No index is followed unchecked."""
    from bench.extension import classify_module

    place = plant(CONDUITS)
    found = traffic(place, 16, 1)
    segments = (flows_segment(1024), counters_segment(), events_segment())
    classifier = classify_module().Classifier(*place.compiled(), *segments, found.messages, payload_at(found.messages))
    with pytest.raises(ValueError, match="not there"):
        classifier.run(array("I", [len(found.messages) // STRIDE_BYTES]), array("Q", [0]))
