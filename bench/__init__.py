"""Measurements and big differential runs; never imported by the product."""
