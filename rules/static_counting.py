"""What counts every frame, as text: chains of one rule each, a counter in the rule itself and where the frame goes on.

In: nothing. Out: the chains' declarations, and a script that gives each its rule, which starts at zero. A counter with
a name is an object, which the kernel calls indirectly: as dear as five other steps of a rule. One inside a rule is gone
with the rule; hence chains that no policy owns, and no swap touches. Called by `static` and gateway/kernel.
"""

from __future__ import annotations

from typing import Final

from rules.static_script import TABLE, Script

OFFERED: Final = "offered"  # holds the queue statements alone, so that it can be taken out for a planned stop
# counter → where a counted frame goes. Frames of the lane are counted as such, not as `frames_before_queue`.
COUNTED: Final = {
    "frames_before_queue": f"goto {OFFERED}",  # empty where br_netfilter offers: the frame leaves the hook
    "judged_accepted": "accept",
    "lane": "accept",
}


def counting_chain(counter: str) -> str:
    """Return the chain that counts by this name."""
    return f"counted_{counter}"


def declare_counting(script: Script) -> None:
    """Append the chains; declaring again changes nothing, and leaves counts alone."""
    for chain in (OFFERED, *map(counting_chain, COUNTED)):
        script.line(f"add chain {TABLE} {chain}")


def counting_script() -> str:
    """Return the transaction that makes each chain count from zero, whatever was in it."""
    script = Script(0, ("nothing",))
    script.line(f"add table {TABLE}")
    declare_counting(script)
    for counter, onward in COUNTED.items():
        script.hook(counting_chain(counter), [f"counter {onward}"])
    return script.text()
