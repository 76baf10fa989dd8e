"""Writes a job's receipts to a file, as ``transcode --report`` does."""
