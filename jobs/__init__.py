"""Background work. Embedded, it runs in greenlets of the node."""
