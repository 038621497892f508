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
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from bench import site
from bench.engine_process import engine
from fastpath.abi import Form
from fastpath.judge import validate_image
from gateway.kernel import nft, sync
from gateway.kernel.namespace import in_throw_away_namespace
from gateway.settings import Settings
from rules.check import Examination
from rules.compile import Compiled, compile_bundle, uncollected
from rules.image import build_image
from rules.load import load_bundle
from rules.lower import lower
from rules.problems import Severity
from rules.state import build_state
from rules.static import render_parts
from rules.static_declarations import BANKS
from rules.workshop import Workshop

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rules.bundle import Bundle
    from rules.records import LoweredPolicy

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
    bundle = site.bundle(zones)
    with timed(figures, "load_s"):
        policy = load_bundle(bundle, workshop.files)
    with timed(figures, "check_s"):
        population = workshop.population(policy)
        examination = Examination(policy, None, population)
        found = examination.before_lowering()
    if any(problem.severity is Severity.ERROR for problem in found):
        raise RuntimeError(f"the site is refused: {found[0]}")
    with timed(figures, "lower_s"):
        lowered = lower(policy, None, population, workshop.texts)
    with timed(figures, "check_lowered_s"):
        examination.after_lowering(lowered)
    with timed(figures, "image_s"):
        image = build_image(lowered, 1, workshop.image)
        state = build_state(lowered, 1, {})
    figures["compile_s"] = sum(figures.values())
    figures["image_bytes"] = len(image)
    figures["peak_kib"] = peak_kib()
    return Compiled(policy, lowered, tuple(found)), image, state


def changed(bundle: Bundle) -> Bundle:
    """Return the site with one conduit that somebody else opens: an endpoint class goes and another one comes."""
    line = next(line for line in bundle.text.splitlines() if line.startswith(f"  {CHANGED}: "))
    other = line.replace(site.asset_name(0, 0), site.asset_name(0, 7))
    if other == line:
        raise RuntimeError(f"conduit {CHANGED} is not what it was")
    return replace(bundle, text=bundle.text.replace(line, other))


async def change(
    figures: Figures, before: Compiled, image: bytes, state: bytearray, zones: int, workshop: Workshop
) -> None:
    """Compile the change against what is in force and have the engine take it."""
    bundle = changed(site.bundle(zones))
    async with engine(Settings(), image, state) as running:
        gc.freeze()
        began = time.perf_counter()
        slots = {conduit.name: conduit.slot for conduit in before.lowered.conduits}
        with timed(figures, "change_compile_s"):
            after = compile_bundle(bundle, slots, workshop=workshop)
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


def fallback(figures: Figures, lowered: LoweredPolicy) -> None:
    """Load the kernel's fallback where it does no harm, as a swap does: while the other bank is in use."""
    for bank in BANKS:
        with timed(figures, "static_text_s"):
            prepare, switch = render_parts(lowered, form=Form.BRNF, bank=bank)
        with timed(figures, "static_load_s"):
            nft.apply(prepare)
            nft.apply(switch)
        with timed(figures, "static_readback_s"):
            sync.kernel_digest()


def main() -> None:
    """Measure and print."""
    figures: Figures = {}
    workshop = Workshop()
    zones = int(sys.argv[1])
    before, image, state = first(figures, zones, workshop)
    with contextlib.redirect_stdout(sys.stderr):
        asyncio.run(change(figures, before, image, state, zones, workshop))
    in_throw_away_namespace(lambda: fallback(figures, before.lowered))
    print(json.dumps(figures))


if __name__ == "__main__":
    main()
