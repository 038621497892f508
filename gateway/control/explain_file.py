"""`explain` without a daemon: the question put to a policy file, through the same compiled engine code."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

from gateway.control.api.models import Explanation
from gateway.control.explain import Explainer, Question
from gateway.control.names import Names
from gateway.simulate.openings import Openings, moment
from rules.image import build_image
from rules.state import build_state

if TYPE_CHECKING:
    from collections.abc import Mapping

    from rules.compile import Compiled

GENERATION: Final = 1  # nobody judges by it: it only has to be the same in image and state


def explain_policy(compiled: Compiled, asked: Mapping[str, str]) -> dict[str, Any]:
    """Return the same answer as GET /v1/explain; conduits with windows are as they would be at `at`, else now.

    Raises ConfigError.
    """
    image = build_image(compiled.lowered, GENERATION)
    state = build_state(compiled.lowered, GENERATION, {})
    question = dict(asked)
    at = question.pop("at", None)
    Openings(compiled, state).turn_to(moment(compiled, at) if at else datetime.now(UTC))
    explainer = Explainer(compiled, Names(compiled.lowered, GENERATION), image, state)
    return Explanation.model_validate(explainer.answer(Question(**question))).model_dump()
