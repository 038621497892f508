"""Pairs of zones as bytes read like the dict and the set that they stand for."""

from __future__ import annotations

import random
from itertools import product

import pytest

from fastpath.abi import PAIR_REFUSE, Stage
from rules.pairs import PairSet, PairStages, joined

COUNT = 5
PAIRS = list(product(range(COUNT), range(COUNT)))


def drawn(seed: int) -> dict[tuple[int, int], Stage]:
    """Return a stage for every pair."""
    chance = random.Random(seed)
    return {pair: chance.choice(list(Stage)) for pair in PAIRS}


@pytest.mark.parametrize("seed", range(5))
def test_stages_are_the_mapping_they_are_made_of(seed: int) -> None:
    """Items, length, equality and look-ups are the dict's; what is no pair is no key."""
    plain = drawn(seed)
    stages = PairStages.of(plain)
    assert dict(stages) == plain
    assert stages == plain
    assert stages == PairStages.of(dict(reversed(plain.items())))
    assert PairStages.of(stages) is stages
    assert stages != plain | {(0, 0): Stage(plain[0, 0] % 3 + 1)}
    assert (0, COUNT) not in stages
    assert (-1, 0) not in stages
    for stage in Stage:
        assert stages.count(stage) == list(plain.values()).count(stage)
        assert dict(stages.under(stage)) == {pair: min(own, stage) for pair, own in plain.items()}
    enforced = [pair for pair in PAIRS if plain[pair] is Stage.ENFORCE]
    assert list(stages.enforced(is_it=True)) == enforced
    assert list(stages.enforced(is_it=False)) == [pair for pair in PAIRS if pair not in enforced]


def test_half_a_table_is_none() -> None:
    """Every ordered pair has a cell."""
    with pytest.raises(ValueError, match="pairs"):
        PairStages(3, bytes(8))


@pytest.mark.parametrize("seed", range(5))
def test_a_set_of_pairs_is_the_set(seed: int) -> None:
    """Membership, iteration, operators and the joined cells are those of a frozenset."""
    plain = frozenset(random.Random(seed).sample(PAIRS, 7))
    pairs = PairSet.of(plain, COUNT)
    assert pairs == plain
    assert list(pairs) == sorted(plain)
    assert len(pairs) == 7
    assert pairs - {min(plain)} == plain - {min(plain)}
    assert (COUNT, 0) not in pairs
    assert "pair" not in pairs
    stages = drawn(seed)
    cells = joined(PairStages.of(stages), pairs)
    assert list(cells) == [stages[pair] | (PAIR_REFUSE if pair in plain else 0) for pair in PAIRS]
    assert joined(PairStages.of(stages), PairSet.of((), COUNT)) == PairStages.of(stages).cells
