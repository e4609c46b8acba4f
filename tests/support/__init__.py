"""What the tests and the benchmarks stand on: databases, servers, clients, and waiting."""
