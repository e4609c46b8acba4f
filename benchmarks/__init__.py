"""How fast one node is, and how much it needs: `make bench`.

A real server on one core, its database and a load generator (a process of its own, on raw
sockets) on the others. The load is checked for completeness: a figure for acks that were errors,
or for offsets with gaps, is no figure.
"""
