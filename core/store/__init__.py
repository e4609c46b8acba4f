"""The database: models, transactions, the log, and queries, one file a noun."""
