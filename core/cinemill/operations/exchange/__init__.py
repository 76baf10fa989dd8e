"""To nodes and from them: what is sent, fetched, tried again, transcoded on the way, and reconciled."""
