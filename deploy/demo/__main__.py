"""`python -m deploy.demo`: the live story where the machine permits it, else the same story offline, and says which.

In: nothing (`--offline` forces the offline story). Out: a readable story; exit 0 only if every statement held.
"""

from __future__ import annotations

import argparse
import sys

from deploy.demo import ability, live, offline
from deploy.demo.narrator import Narrator


def main() -> int:
    """Choose the story and play it."""
    parser = argparse.ArgumentParser(prog="python -m deploy.demo", description=__doc__)
    parser.add_argument("--offline", action="store_true", help="offline even where live is possible")
    given = parser.parse_args()
    narrator = Narrator()
    reason = "asked for with --offline" if given.offline else ability.denied()
    return live.play(narrator) if reason is None else offline.play(narrator, reason)


if __name__ == "__main__":
    sys.exit(main())
