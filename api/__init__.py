"""The HTTP edge: one module of views a noun, each view one call of one service."""
