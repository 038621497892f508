"""Noise for the policy loader: whatever comes, a policy or PolicyError comes out."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from rules.load import load_policy_bytes, load_policy_text
from rules.problems import MOST_PROBLEMS, PolicyError, Severity

HEAD = "version: 1\nsite: {name: works}\n"


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.binary(max_size=300))
def test_arbitrary_bytes_are_refused_politely(content: bytes) -> None:
    """Nothing but PolicyError comes out of noise."""
    with pytest.raises(PolicyError):
        load_policy_bytes(content)


YAML_PIECES = st.sampled_from(
    [
        *("version: 1", "site:", "zones:", "assets:", "conduits:", "services:", "denials:", "kind: control", "zone"),
        *("name", "from", "to", "10.0.0.1", "10.0.0.0/8", "02:00:00:00:00:01", "0x88b8", "~", "null", "-1", "1.5"),
        *("<<", ": ", ", ", "\n", "\n  ", "\n    ", "{", "}", "[", "]", "- ", "&a ", "*a ", "'", '"', "#", "!x ", "? "),
        *("--- ", "|", ">", "\t", "%YAML 1.2"),
    ]
)


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(YAML_PIECES, max_size=40))
def test_arbitrary_yaml_is_loaded_or_refused_politely(pieces: list[str]) -> None:
    """Half-right texts end in a policy or in PolicyError."""
    with contextlib.suppress(PolicyError):
        load_policy_text(HEAD + "".join(pieces))


@pytest.mark.parametrize("section", ["", "zones:\n  a:\n    kind: control\n    ports: [p0]\n"])
def test_of_very_many_mistakes_the_first_are_listed_and_the_others_counted(section: str) -> None:
    """Each with its place; a hint costs a comparison with every known word, so only the first ones get one."""
    indent = "    " if section else ""
    keys = "".join(f"{indent}zonez{number}: 1\n" for number in range(5000))
    with pytest.raises(PolicyError, match=r"^50\d\d problems\n") as caught:
        load_policy_text(f"version: 1\n{section}{keys}")
    *listed, last = caught.value.problems
    assert len(listed) == MOST_PROBLEMS
    assert [problem.line for problem in listed] == sorted(problem.line for problem in listed)
    assert (last.code, last.severity) == ("POL079", Severity.ERROR)
    assert int(last.message.split()[0]) + len(listed) >= 5000
    assert 0 < sum(bool(problem.hint) for problem in listed) < 100
