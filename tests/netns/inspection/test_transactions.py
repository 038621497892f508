"""Real clients at real servers through the enforcing gateway: a short run of `python -m bench.transactions`."""

from __future__ import annotations

from typing import Final

import pytest

from bench.stations import STATIONS
from bench.transactions import run
from tests.support.capability import require

pytestmark = [pytest.mark.netns, pytest.mark.timeout(240)]

COUNT: Final = 200


def test_no_permitted_transaction_fails() -> None:
    """Each library's reads are answered rightly, also with header and body in segments of their own."""
    require("nfqueue")
    said: list[str] = []
    rows = run(list(STATIONS), COUNT, inspected=True, say=said.append)
    assert [row.station for row in rows if row.failed or row.done != COUNT] == [], "\n".join(said)
