"""Names for EtherNet/IP and CIP in policies: fields that exist, and the page's examples are policies."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

import pytest

from fastpath.abi import FIELD_NAMES, Protocol
from rules.compile import compile_text
from rules.protocols import cip, enip

PAGE: Final = Path(__file__).resolve().parents[3] / "docs/reference/protocols/enip.md"
POLICY: Final = """
version: 1
site: {name: works}
zones:
  hall: {kind: supervisory, ports: [p0], prefixes: [10.1.0.0/16]}
  plant: {kind: control, ports: [p1], prefixes: [10.2.0.0/16]}
conduits:
  c:
    from: {zone: hall}
    to: {zone: plant}
    services: [enip]
    owner: me
    reason: it
"""


def test_every_name_is_of_a_field() -> None:
    """No names for fields that the protocols lack."""
    assert set(cip.NAMES) | set(cip.SPELLED) <= set(FIELD_NAMES[Protocol.CIP])
    assert set(enip.NAMES) <= set(FIELD_NAMES[Protocol.ENIP])


def test_the_examples_of_the_page_are_policies() -> None:
    """Each clause becomes ranges of its fields; a tag's name its number."""
    (example,) = re.findall(r"```yaml\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    profile = (
        compile_text(POLICY + "".join(f"    {line}\n" for line in example.splitlines())).lowered.conduits[0].profile
    )
    assert profile is not None
    assert len(profile.clauses) == example.count("- {")
    tag = FIELD_NAMES[Protocol.CIP].index("tag")
    named = {one.low for clause in profile.clauses for one in clause.ranges if one.field == tag}
    assert named == {cip.tag_number(name) for name in ("Level", "Program:Main.Motor", "Setpoint")}


def test_an_element_is_not_named_in_the_tag() -> None:
    """The refusal says where it belongs."""
    wrong = POLICY + '    constraints: {cip: [{tag: "A[3]"}]}\n'
    with pytest.raises(Exception, match=r"tag") as caught:
        compile_text(wrong)
    assert "offset: 3" in str(caught.value) + str(getattr(caught.value, "problems", ""))
