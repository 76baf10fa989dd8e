"""The commands of the service, and what terminals show of it."""
