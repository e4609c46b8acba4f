"""Fanfare beside others, on this machine: `make bench ARGS=--peers`.

Each peer is installed by name at a pinned version, and is a small honest program as its
documentation recommends. All are loaded by the same generator (benchmarks/load), in turn, and
a run in which anything was lost, doubled or out of order is marked and never counted.
"""
