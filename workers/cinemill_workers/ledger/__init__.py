"""Job and item states in Redis, changed by atomic transitions: the truth about a job."""
