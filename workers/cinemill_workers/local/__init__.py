"""One machine: a private server and a worker, started and stopped together."""
