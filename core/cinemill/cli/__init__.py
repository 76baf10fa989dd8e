"""The command line: parsing, progress and printing only. What a command needs is imported when it is asked for."""

from __future__ import annotations

import io
import os
import sys
import warnings

import click

from cinemill import __version__
from cinemill.cli.commands import Commands
from cinemill.cli.options import current_name
from cinemill.errors import CinemillError, printable
from cinemill.processes import collect_seldom

# numpy's linear algebra is not used, and would start a thread on every core. Huge pages hold what is never touched, too:
# half the memory of encoders, which make room for the worst case, and no time gained.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
os.environ.setdefault("NUMPY_MADVISE_HUGEPAGE", "0")

_HELP_OPTIONS = "-h", "--help"
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

_PLACES = {
    "transcode": "cinemill.operations.transcode.request:Transcode",
    "deidentify": "cinemill.cli.deidentify:deidentify",
    "restore": "cinemill.operations.restore.request:Restore",
    "extract": "cinemill.operations.extract.request:Extract",
    "split": "cinemill.operations.split.request:Split",
    "dataset": "cinemill.cli.dataset:dataset",
    "verify": "cinemill.operations.verify.request:Verify",
    "audit": "cinemill.cli.deidentify:audit",
    "inspect": "cinemill.cli.inspect:inspect",
    "index": "cinemill.cli.index:index",
    "serve": "cinemill.cli.serve:serve",
    "syntaxes": "cinemill.cli.policy:syntaxes",
    "forecast": "cinemill.cli.forecast:forecast",
    "review": "cinemill.cli.review:review",
    "receive": "cinemill.cli.receive:receive",
    "pull": "cinemill.cli.pull:pull",
    "push": "cinemill.cli.push:push",
    "migrate": "cinemill.cli.migrate:migrate",
    "bench": "cinemill.cli.bench:bench",
    "warmup": "cinemill.cli.warmup:warmup",
    "nodes": "cinemill.cli.nodes:nodes",
    "key": "cinemill.cli.deidentify:keys",
    "map": "cinemill.cli.deidentify:maps",
    "policy": "cinemill.cli.policy:policies",
}


def _install_completion(context: click.Context, _: click.Parameter, shell: str | None) -> None:
    if shell is not None and not context.resilient_parsing:
        from cinemill.cli.completion import install

        click.echo(f"completion for {shell} is in {install(app, shell)}; it works in new terminals")
        context.exit()


def _show_completion(context: click.Context, _: click.Parameter, shell: str | None) -> None:
    if shell is not None and not context.resilient_parsing:
        from cinemill.cli.completion import script

        click.echo(script(app, shell))
        context.exit()


@click.command(
    "cinemill",
    cls=Commands,
    places=_PLACES,
    help=_HELP,
    context_settings={"help_option_names": _HELP_OPTIONS, "token_normalize_func": current_name},
)
@click.version_option(
    __version__, prog_name="cinemill", message="%(prog)s %(version)s", help="Print the version."
)
@click.option(
    "--install-completion",
    metavar="[SHELL]",
    is_flag=False,
    flag_value="",
    is_eager=True,
    expose_value=False,
    callback=_install_completion,
    help="Install completion for bash, zsh or fish; default: the shell in use.",
)
@click.option(
    "--show-completion",
    metavar="[SHELL]",
    is_flag=False,
    flag_value="",
    is_eager=True,
    expose_value=False,
    callback=_show_completion,
    help="Print what would be installed.",
)
def app() -> None:
    """Run a command; what a variable can't be is told before, and not of each file. Who asks for help gets it."""
    if "CINEMILL_KERNELS" in os.environ and not {*_HELP_OPTIONS} & {*sys.argv}:
        from cinemill.codecs.compiling import kernels_wanted

        kernels_wanted()


def main() -> None:
    """Run the command line: exit code 0 if all went well, 1 if something failed, 2 for wrong usage.

    Raises
    ------
    KeyboardInterrupt
        It was stopped.
    """
    collect_seldom()
    warnings.formatwarning = lambda message, *_, **__: f"note: {printable(str(message))}\n"
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # what a terminal's encoding lacks ends nothing
    try:
        sys.exit(app.main(standalone_mode=False))
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except CinemillError as error:
        click.echo(f"cinemill: {error}", err=True)
        sys.exit(error.exit_code)
    except click.Abort:
        raise KeyboardInterrupt from None
    except BrokenPipeError:
        sys.exit(1)
