"""How connections to the database are made: pools, timeouts, and what is kept out of logs."""

from typing import Any


def config_of_database(uri: str, pool_size: int) -> dict[str, Any]:
    """Give what Flask-SQLAlchemy is to be told."""
    is_sqlite = uri.startswith("sqlite")
    options: dict[str, Any] = {
        # PostgreSQL has two pools: what reads by single statements, and all else.
        "pool_size": pool_size if is_sqlite else pool_size // 2,
        "max_overflow": 0,
        "pool_timeout": 10,
        # An error's text goes to the log, and what people wrote does not.
        "hide_parameters": True,
    }
    config: dict[str, Any] = {
        "SQLALCHEMY_DATABASE_URI": uri,
        "SQLALCHEMY_ENGINE_OPTIONS": options,
    }
    if not is_sqlite:
        options["connect_args"] = _FOR_POSTGRESQL
        reads = {
            **options,
            "url": uri,
            "isolation_level": "AUTOCOMMIT",
            # There is never anything to roll back.
            "skip_autocommit_rollback": True,
        }
        config["SQLALCHEMY_BINDS"] = {"reads": reads}
    return config


_FOR_POSTGRESQL = {
    "connect_timeout": 5,
    # A greenlet can be given up on, but not its query: the server ends it. So is a transaction
    # whose node is frozen: it would hold its locks for ever.
    "options": "-c statement_timeout=15000 -c idle_in_transaction_session_timeout=15000",
    # A host that vanishes without a word is noticed within half a minute.
    "keepalives_idle": 10,
    "keepalives_interval": 5,
    "keepalives_count": 3,
    "tcp_user_timeout": 20_000,
}
