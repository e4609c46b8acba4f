"""access changes."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def _text(length: int) -> sa.String:
    return sa.String(length).with_variant(sa.String(length, collation="C"), "postgresql")


def upgrade() -> None:
    """Go forward."""
    op.create_table(
        "access_changes",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("kind", _text(16), nullable=False),
        sa.Column("user_id", _text(36), nullable=False),
        sa.Column("session_id", _text(36), nullable=False),
        sa.Column("stream", _text(48), nullable=False),
        sa.Column("at_ms", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_access_changes")),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_access_changes_at_ms", "access_changes", ["at_ms"])


def downgrade() -> None:
    """Go back."""
    op.drop_table("access_changes")
