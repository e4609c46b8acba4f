"""Flask-SocketIO as it comes: eventlet, rooms, an emit for each event."""

import eventlet

eventlet.monkey_patch()

import sys  # noqa: E402
from typing import Any  # noqa: E402

from flask import Flask  # noqa: E402
from flask_socketio import SocketIO, emit, join_room  # noqa: E402

app = Flask(__name__)
socketio = SocketIO(app, async_mode="eventlet")


@socketio.on("subscribe")
def subscribe(message: dict[str, str]) -> dict[str, bool]:
    """Join a room."""
    join_room(message["room"])
    return {"ok": True}


@socketio.on("publish")
def publish(message: dict[str, Any]) -> dict[str, bool]:
    """Tell everybody in a room."""
    emit("event", message["data"], to=message["room"])
    return {"ok": True}


if __name__ == "__main__":
    # eventlet's server takes no more than 1,024 connections unless it is told to.
    socketio.run(app, host="127.0.0.1", port=int(sys.argv[1]), log_output=False, max_size=65_536)
