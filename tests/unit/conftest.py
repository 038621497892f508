"""What several files of unit tests start from."""

from __future__ import annotations

import pytest

from tests.support.stream_wire import Wire


@pytest.fixture
def wire() -> Wire:
    """Return an inspected conversation after its handshake."""
    wire = Wire()
    wire.shake_hands()
    return wire
