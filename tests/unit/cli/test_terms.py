"""What operators are told of a change that goes back by itself."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from gateway.cli import terms

if TYPE_CHECKING:
    from collections.abc import Iterator

    import pytest

PENDING = {"digest": "0123456789abcdef", "seconds_left": 9.0}


class Client:
    """A daemon that lets one change wait, then another in its place."""

    def __init__(self) -> None:
        self.asked: list[Any] = []

    def follow(self, _path: str) -> Iterator[dict[str, Any]]:
        """Two lines of the held change, then its end."""
        yield {"pending": PENDING, "ended": None}
        yield {"pending": PENDING, "ended": None}
        yield {"pending": None, "ended": "confirmed"}

    def request(self, method: str, path: str, body: Any) -> None:
        """Note a request."""
        self.asked.append((method, path, body))


class Here:
    """A session."""

    client = Client()


def test_the_command_to_confirm_names_the_change_that_it_means(capsys: pytest.CaptureFixture[str]) -> None:
    """Another operator may have put his own in its place: that one is not confirmed by mistake."""
    terms.say_pending(PENDING)
    assert "conduitctl policy confirm --digest 0123456789ab`" in capsys.readouterr().out.replace("\n", "")


def test_a_holder_confirms_what_it_holds(monkeypatch: pytest.MonkeyPatch) -> None:
    here: Any = Here()
    monkeypatch.setattr(terms.sys, "stdin", ["confirm\n"])
    terms._confirm_when_told(here, {"digest": "0123"})
    assert here.client.asked == [("POST", "/v1/policy/confirm", {"digest": "0123"})]
