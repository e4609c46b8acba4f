"""The package of clients/python: its core alone, and both of its flavours against real servers."""
