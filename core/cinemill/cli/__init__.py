"""The command line: parsing, progress and printing only. Heavy imports wait until a command needs them."""

from __future__ import annotations

import os
import sys
from typing import Annotated

import typer

from cinemill import __version__
from cinemill.cli.bench import bench
from cinemill.cli.deidentify import audit, keys, maps
from cinemill.cli.forecast import forecast
from cinemill.cli.options import current_name
from cinemill.cli.policy import policies, syntaxes
from cinemill.cli.review import or_review, review
from cinemill.cli.run import command
from cinemill.cli.warmup import warmup
from cinemill.errors import CinemillError
from cinemill.operations.table import OPERATIONS
from cinemill.operations.verify.request import Verify

# numpy's linear algebra is not used, and would start a thread on every core.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

_HELP = """Move ultrasound cine archives to lossless compression, and prove that nothing was lost.

Examples:

\b
  cinemill transcode /archive/2019 /archive/2019-small --report 2019.jsonl
  cinemill extract echo.dcm frames/ --frames 0,5,10-20
  cinemill extract echo.dcm clip.mp4
  cinemill up            # a server and a worker; in a second terminal:
  cinemill submit /archive /migrated --wait
  cinemill demo          # every target, on a cine that is there already

`cinemill COMMAND --help` says more of each."""

app = typer.Typer(
    name="cinemill",
    help=_HELP,
    rich_markup_mode=None,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"], "token_normalize_func": current_name},
)
for operation in OPERATIONS.values():
    app.command(operation.kind)(or_review(command(operation)))
app.command(Verify.kind)(command(Verify))
app.add_typer(keys, name="key")
app.add_typer(maps, name="map")
app.command()(audit)
app.add_typer(policies, name="policy")
app.command()(syntaxes)
app.command()(forecast)
app.command()(review)
app.command()(bench)
app.command()(warmup)


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"cinemill {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    pass


def main() -> None:
    """Run the command line: exit code 0 if all went well, 1 if something failed, 2 for wrong usage."""
    try:
        app()
    except CinemillError as error:
        typer.echo(f"cinemill: {error}", err=True)
        sys.exit(error.exit_code)
    except KeyboardInterrupt:
        typer.echo("stopped", err=True)
        sys.exit(130)
    except BrokenPipeError:
        sys.exit(1)
