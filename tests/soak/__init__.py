"""A node under mixed load for as long as one likes, and whether it ends as it began: `make soak`.

A short run of the same code, and one of a server that leaks, are in every run of the tests.
"""
