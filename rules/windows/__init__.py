"""Windows: when conduits are open, to the second. semantics.md, "Windows", says what the times mean."""

from rules.windows.schedule import Schedule, governed, schedule

__all__ = ["Schedule", "governed", "schedule"]
