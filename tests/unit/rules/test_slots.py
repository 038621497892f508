"""Slots over many policies: a few names come and go in a range of a few slots, against a model that counts by name."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from fastpath.abi import MAX_CONDUITS
from rules.slots import assign_slots, remember_slots

CAPACITY = 5
POLICIES = st.lists(st.sets(st.sampled_from("abcdefghijkl"), max_size=CAPACITY).map(sorted), max_size=30)


@given(POLICIES)
def test_a_slot_is_its_conduits_until_all_are_given(policies: list[list[str]]) -> None:
    """A conduit finds its own slot; another's is given only when none is unused: the longest removed one's."""
    known: dict[str, int] = {}
    owners: dict[int, str] = {}
    removed_at: dict[str, int] = {}
    before: list[str] = []
    for moment, names in enumerate(policies):
        removed_at |= {name: moment for name in before if name not in names}
        given_now = assign_slots(names, known, CAPACITY)
        assert list(given_now) == names
        assert len(set(given_now.values())) == len(names)
        assert all(0 <= slot < CAPACITY for slot in given_now.values())
        remembered = {name: slot for slot, name in owners.items()}
        taken_over = [owners[slot] for name, slot in given_now.items() if owners.get(slot, name) != name]
        for name in names:
            assert given_now[name] == remembered.get(name, given_now[name])
        owners |= {slot: name for name, slot in given_now.items()}
        if taken_over:
            assert len(owners) == CAPACITY
            still = [name for name in owners.values() if name not in names]
            assert all(removed_at[lost] <= removed_at[kept] for lost in taken_over for kept in still)
        known = remember_slots(known, given_now)
        assert {slot: name for name, slot in known.items()} == owners
        before = names


def test_records_of_before_removed_ones_were_known() -> None:
    """Gaps that nobody is known to have had come after the slots above."""
    assert assign_slots(["new"], {"kept": 3}, 5) == {"new": 4}
    assert assign_slots(["new", "newer"], {"kept": 3}, 5) == {"new": 4, "newer": 0}


def test_every_slot_can_be_in_use() -> None:
    """As many conduits as there are slots, of which all but one are new."""
    names = [f"c{number}" for number in range(MAX_CONDUITS)]
    found = assign_slots(names, {"c7": 100, "gone": 4})
    assert found["c7"] == 100
    assert sorted(found.values()) == list(range(MAX_CONDUITS))
    assert found[names[-1]] == 4
