"""A standing lab per module, under a name of its own, with a plain bridge: the control case of every experiment."""

from __future__ import annotations

import os
from itertools import count
from typing import TYPE_CHECKING

import pytest

from deploy.lab.actors import Actors
from deploy.lab.topology import Lab
from tests.support.capability import require

if TYPE_CHECKING:
    from collections.abc import Iterator

_NUMBERS = count()


def fresh_name() -> str:
    """Return a lab name that no other test, worker or run uses."""
    return f"t{os.getpid() % 10_000_000}{chr(ord('a') + next(_NUMBERS) % 26)}"


@pytest.fixture
def lab_name() -> Iterator[str]:
    """A free lab name; whatever a test leaves under it is taken down."""
    require("netns")
    name = fresh_name()
    yield name
    Lab(name).down()


@pytest.fixture(scope="module")
def plain_lab() -> Iterator[Lab]:
    """A lab whose gateway is a bridge that judges nothing."""
    require("netns")
    with Lab(fresh_name()) as lab:
        lab.plain_bridge()
        yield lab


@pytest.fixture
def actors(plain_lab: Lab) -> Iterator[Actors]:
    """The plant's machines and people; ended after each test."""
    made = Actors(plain_lab)
    yield made
    made.end_all()
