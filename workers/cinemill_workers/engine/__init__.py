"""The Celery application: what gets work, keeps it alive, lists it, and decides what becomes of an error."""
