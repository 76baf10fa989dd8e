"""The ``cinemill`` command. It imports nothing before it can tell what Ctrl-C did."""

from __future__ import annotations

import sys


def main() -> None:
    """Run the command line: exit code 0 if all went well, 1 if something failed, 2 for wrong usage, 130 after Ctrl-C."""
    try:
        from cinemill_workers.cli.commands import run

        run()
    except KeyboardInterrupt:
        sys.stderr.write("stopped\n")
        sys.exit(130)
