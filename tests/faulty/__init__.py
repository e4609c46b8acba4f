"""Servers that are broken on purpose, so that the conformance suite is seen to fail."""
