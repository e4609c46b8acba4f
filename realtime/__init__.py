"""The socket edge, and delivery.

One event's path: a service commits it and hands it to the node (`node.py`), which puts it in
order, gives it to the hub (`hub.py`) to fan out to this node's watchers, and gives a hint of it
to the bus (`bus.py`) for the other nodes. A hint that is lost is repaired from the log. Packets
of clients come in by `wire.py` and are handled in `gateway.py` and `handlers.py`.
"""
