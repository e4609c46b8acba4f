"""The stock Socket.IO clients, each through the whole of the socket protocol."""
