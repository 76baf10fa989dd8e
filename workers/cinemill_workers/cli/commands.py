"""The commands of ``cinemill``: the core's, and those of the service."""

from __future__ import annotations

import sys

import click

from cinemill.cli import app, main
from cinemill.errors import printable

app.places |= {
    "demo": "cinemill_workers.cli.demo:demo",
    "submit": "cinemill_workers.cli.submit:submit",
    "worker": "cinemill_workers.cli.service:worker",
    "up": "cinemill_workers.cli.service:up",
    "doctor": "cinemill_workers.cli.service:doctor",
    "policy": app.places.pop("policy"),  # groups come last
    "jobs": "cinemill_workers.cli.jobs:jobs",
}


def run() -> None:
    """Run the command line; errors become one-line messages and exit codes 1 and 2."""
    try:
        main()
    except OSError as error:
        click.echo(f"cinemill: {printable(str(error))}", err=True)
        sys.exit(1)
    except Exception as error:
        if not type(error).__module__.startswith("redis."):
            raise
        click.echo(f"cinemill: the server has gone: {printable(str(error))}", err=True)
        sys.exit(1)
