"""Tests of the core, without a server."""
