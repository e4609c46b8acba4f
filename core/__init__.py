"""What every edge does: the log, the rules and the services. Knows no HTTP, no socket, no Redis."""
