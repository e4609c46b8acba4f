"""What any server of this protocol must do, shown by what anybody outside of it can see.

Runs against any address, with nothing but HTTP and frames of a WebSocket; as CONTRIBUTING.md tells:

    .venv/bin/python -m pytest tests/conformance --base http://127.0.0.1:5000
"""
