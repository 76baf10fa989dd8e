"""Exchange with nodes: what is sent, fetched, tried again, transcoded on the way, and reconciled."""
