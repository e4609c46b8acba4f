"""Tests that hold the whole against a model of it."""
