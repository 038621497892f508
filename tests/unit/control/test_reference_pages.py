"""The generated reference pages say what the code does."""

from __future__ import annotations

from pathlib import Path

from gateway.cli.reference import api_page, check_pages, cli_page

REFERENCE = Path(__file__).resolve().parents[3] / "docs" / "reference"


def test_api_page_is_current() -> None:
    """docs/reference/api.md is what the route table says."""
    assert (REFERENCE / "api.md").read_text(encoding="utf-8") == api_page()


def test_cli_page_is_current() -> None:
    """docs/reference/cli.md is what the commands say."""
    assert (REFERENCE / "cli.md").read_text(encoding="utf-8") == cli_page()


def test_check_pages_are_current() -> None:
    """docs/reference/checks is what the checks and their pages say, and nothing else is there."""
    found = {path.name: path.read_text(encoding="utf-8") for path in (REFERENCE / "checks").iterdir()}
    assert found == check_pages()
