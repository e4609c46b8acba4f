"""What was written last lay beside the database of a server that had ended, not in it.

Whoever then copied the one file as a backup had lost all since the last checkpoint, in silence.
"""

import contextlib
import shutil
import sqlite3

from tests.support.client import registered


class TestStop:
    def test_the_file_alone_holds_everything(self, start_own, tmp_path):
        server = start_own()
        with registered(server.url) as ada:
            assert server.stop(deadline_s=30) == 0
        copy = shutil.copy(server.instance / "fanfare.db", tmp_path / "copy.db")
        with contextlib.closing(sqlite3.connect(copy)) as database:
            names = database.execute("SELECT username FROM users").fetchall()

        assert (ada.user["username"],) in names
