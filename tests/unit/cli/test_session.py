"""What commands print: texts of policies, errors and people are shown as they stand."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gateway.cli.session import console, print_pairs

if TYPE_CHECKING:
    import pytest

BRACKETS = "trouble: [/run/conduit] [red]x[/red] [link=http://x]y[/link]"


def test_brackets_are_no_commands(capsys: pytest.CaptureFixture[str]) -> None:
    """`status` must not fail on the very text that tells what is wrong."""
    console().print(BRACKETS, style="red")
    print_pairs([("ceiling", BRACKETS)])
    assert capsys.readouterr().out.count(BRACKETS) == 2
