"""One module a suite: `run(plan)` measures and returns results."""
