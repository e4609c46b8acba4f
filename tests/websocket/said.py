"""A packet whose text comes back in its ack: what a server has understood, a test can see."""

import json
from typing import Any

from tests.websocket.line import Line

ACK = 7
TEXT = "für 🎺 größe"


def packet(body: str = TEXT, *, size: int = 0, ack_id: int = ACK) -> bytes:
    """Render a packet that writes a message; spaces fill it up to a size."""
    text = json.dumps(["message.create", {"channel": "said", "body": body}], ensure_ascii=False)
    start = f"42{ack_id}{text[:-1]}".encode()
    return start.ljust(size - 1) + b"]"


def heard(line: Line, ack_id: int = ACK) -> Any:
    """Give what the server took the text of the message for."""
    ack = line.hear_ack(ack_id)
    assert ack["ok"], ack
    return ack["message"]["body"]


def text_of(ack: bytes) -> str:
    """Give the text of the message in an ack."""
    body = json.loads(ack[ack.index(b"[") :])[0]
    assert body["ok"], body
    return str(body["message"]["body"])
