"""Whole-policy checks: each with a code, a severity and a page; see `registry` for their form, `catalogue` for all."""
