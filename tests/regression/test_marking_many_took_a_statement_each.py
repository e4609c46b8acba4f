"""To mark a thousand notifications as read took four thousand statements, one after the other.

The user's stream was locked all the while (PostgreSQL), or the whole node stood still (SQLite).
"""

from sqlalchemy import event

from core.callers import Caller
from core.ids import new_id
from core.services import accounts, notifications


def mark(database, number: int) -> list[str]:
    """Notify somebody so often, mark all as read, and give the statements that this took."""
    name = f"user-{number}"
    with database.write() as write:
        user_id = accounts.add_user(write, username=name, password_hash="none")
    admin = Caller(user_id, name, new_id(), True, 2**53)
    draft = notifications.NotificationDraft(kind="invoice", title="Due")
    for _ in range(number):
        notifications.create(
            database, admin, draft, user_ids=[user_id], usernames=[], max_bytes=65_536
        )
    statements: list[str] = []

    def note(_conn, _cursor, statement, *_more) -> None:
        statements.append(statement)

    event.listen(database.engine, "before_cursor_execute", note)
    marked, left = notifications.mark_all_read(database, admin, None)
    event.remove(database.engine, "before_cursor_execute", note)
    assert (marked, left) == (number, 0)
    return statements


class TestMarking:
    def test_many_take_as_many_statements_as_a_few(self, own_database):
        few, many = mark(own_database, 2), mark(own_database, 60)

        assert len(many) == len(few), many
