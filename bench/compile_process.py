"""One compilation of a large site in a process of its own, and a change of one conduit after it.

In: the number of zones, as the command line. Out: one line of JSON: seconds per phase, bytes of the image, peak memory
in KiB (the kernel's high-water mark) after the first compilation and after the change, when both policies are held.
The engine that takes the images is a real one (bench/engine_process.py). Run by the suite `compile`; needs root.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import json
import resource
import sys
import time
from typing import TYPE_CHECKING, Final

from bench import site
from bench.engine_process import engine
from fastpath.abi import Form
from fastpath.judge import validate_image
from gateway.settings import Settings
from rules import static
from rules.check import Examination
from rules.compile import Compiled, compile_policy, uncollected
from rules.image import build_image
from rules.lower import lower
from rules.problems import Severity
from rules.state import build_state
from rules.workshop import Workshop

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rules.model import Policy

CHANGED: Final = site.zone_name(5) + "-poll"
Figures = dict[str, float]


@contextlib.contextmanager
def timed(figures: Figures, name: str) -> Iterator[None]:
    """Note how many seconds something takes."""
    began = time.perf_counter()
    with uncollected():
        yield
    figures[name] = time.perf_counter() - began


def peak_kib() -> int:
    """Return the most that this process has held."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def first(figures: Figures, zones: int, workshop: Workshop) -> tuple[Compiled, bytes, bytearray]:
    """Compile the site, phase by phase as `rules.compile` does."""
    with timed(figures, "load_s"):
        policy = site.policy(zones)
    with timed(figures, "check_s"):
        population = workshop.population(policy)
        examination = Examination(policy, None, population)
        found = examination.before_lowering()
    if any(problem.severity is Severity.ERROR for problem in found):
        raise RuntimeError(f"the site is refused: {found[0]}")
    with timed(figures, "lower_s"):
        lowered = lower(policy, None, population)
    with timed(figures, "check_lowered_s"):
        examination.after_lowering(lowered)
    with timed(figures, "image_s"):
        image = build_image(lowered, 1, workshop.image)
        state = build_state(lowered, 1, {})
    figures["image_bytes"] = len(image)
    figures["peak_kib"] = peak_kib()
    return Compiled(policy, lowered, tuple(found)), image, state


def changed(policy: Policy) -> Policy:
    """Return the policy with one conduit that carries something else."""
    conduit = policy.conduits[CHANGED].model_copy(update={"services": ("opcua",)})
    return policy.model_copy(update={"conduits": {**policy.conduits, CHANGED: conduit}})


async def change(figures: Figures, before: Compiled, image: bytes, state: bytearray, workshop: Workshop) -> None:
    """Compile the change against what is in force and have the engine take it."""
    policy = changed(before.policy)
    async with engine(Settings(), image, state) as running:
        gc.freeze()
        began = time.perf_counter()
        slots = {conduit.name: conduit.slot for conduit in before.lowered.conduits}
        with timed(figures, "change_compile_s"):
            after = compile_policy(policy, slots, workshop=workshop)
        with timed(figures, "change_image_s"):
            image = build_image(after.lowered, 2, workshop.image)
            state = build_state(after.lowered, 2, {})
            validate_image(image)
        with timed(figures, "change_install_s"):
            await running.install(2, image, state)
        figures["change_s"] = time.perf_counter() - began
    if after.lowered.digest == before.lowered.digest:
        raise RuntimeError("the change changed nothing")
    figures["change_peak_kib"] = peak_kib()


def main() -> None:
    """Measure and print."""
    figures: Figures = {}
    workshop = Workshop()
    before, image, state = first(figures, int(sys.argv[1]), workshop)
    with contextlib.redirect_stdout(sys.stderr):
        asyncio.run(change(figures, before, image, state, workshop))
    with timed(figures, "static_s"):
        static.render_parts(before.lowered, form=Form.BRNF)
    print(json.dumps(figures))


if __name__ == "__main__":
    main()
