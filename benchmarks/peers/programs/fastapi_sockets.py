"""FastAPI with websockets: the manager of connections of its documentation, with rooms."""

import json
from collections import defaultdict
from typing import Any

from fastapi import FastAPI, WebSocket, WebSocketDisconnect

app = FastAPI()


class Manager:
    """Who is in which room."""

    def __init__(self) -> None:
        self.rooms: defaultdict[str, list[WebSocket]] = defaultdict(list)

    async def broadcast(self, room: str, text: str) -> None:
        """Tell everybody in a room."""
        for connection in self.rooms[room]:
            await connection.send_text(text)


manager = Manager()


@app.websocket("/ws")
async def serve(websocket: WebSocket) -> None:
    """Let one client watch rooms, and publish to them."""
    await websocket.accept()
    joined: list[str] = []
    try:
        while True:
            await _take(websocket, joined, json.loads(await websocket.receive_text()))
    except WebSocketDisconnect:
        for room in joined:
            manager.rooms[room].remove(websocket)


async def _take(websocket: WebSocket, joined: list[str], message: dict[str, Any]) -> None:
    if "subscribe" in message:
        joined.append(message["subscribe"])
        manager.rooms[message["subscribe"]].append(websocket)
    else:
        await manager.broadcast(message["publish"], json.dumps(message["data"]))
    if "id" in message:
        await websocket.send_text(json.dumps({"id": message["id"], "ok": True}))
