"""Tests of conduit-gateway; never imported by the product."""
