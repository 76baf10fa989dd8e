"""Celery workers on Redis that call cinemill for whole archives: paths and options travel, never pixels."""
