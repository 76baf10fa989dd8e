"""``python -m cinemill_workers.cli``: the ``cinemill`` command."""

from cinemill_workers.cli.main import main

main()
