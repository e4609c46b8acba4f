"""Whoever else held SQLite's write lock, a backup for one, stopped the whole node.

SQLite itself waited for the lock, five seconds for each writer, and no greenlet ran meanwhile: no
ping, no health check. The node now asks again and again, and lets others run in between.
"""

import contextlib
import json
import select
import sqlite3

from tests.regression.wires import call, dial, read_all, statuses
from tests.support.client import registered


class TestLockedByAnother:
    def test_a_writer_waits_and_nobody_else(self, start_own):
        server = start_own()
        with registered(server.url) as ada, dial(server) as writer:
            lobby = ada.post("/channels", {"name": "x", "kind": "public"}).json()["id"]
            body = json.dumps({"body": "hello"}).encode()
            database = sqlite3.connect(server.instance / "fanfare.db", isolation_level=None)
            with contextlib.closing(database):
                database.execute("BEGIN IMMEDIATE")
                writer.sendall(
                    f"POST /api/v1/channels/{lobby}/messages HTTP/1.1\r\nHost: x\r\n"
                    f"Authorization: Bearer {ada.access_token}\r\nConnection: close\r\n"
                    "Content-Type: application/json\r\n"
                    f"Content-Length: {len(body)}\r\n\r\n".encode()
                    + body
                )
                health = {call(server, "GET", "/healthz").status_code for _ in range(20)}
                answered, _, _ = select.select([writer], [], [], 0)
                database.execute("ROLLBACK")

            assert health == {200}
            assert not answered, "they waited as long as the writer did"
            assert statuses(read_all(writer)) in ([201], [503])
