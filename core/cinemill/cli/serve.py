"""``cinemill serve``: a tree for DICOMweb viewers and for browsers; nothing in it is changed."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

import click
from click.exceptions import Exit

from cinemill.cli.options import PATH, Whole, examples, sources_argument
from cinemill.cli.run import interruption, jobs_option, quiet_option
from cinemill.errors import UsageError, not_installed


@click.command(
    epilog=examples(
        "cinemill serve /archive/2019",
        "cinemill serve /archive --index archive.sqlite",
    )
)
@sources_argument("Files and directories.")
@click.option("--host", default="127.0.0.1", show_default=True, help="Where to listen; there is no login.")
@click.option(
    "--port", metavar="N", type=Whole(min=0), default=8080, show_default=True, help="0: one that is free."
)
@click.option(
    "--index",
    "kept",
    metavar="FILE.sqlite",
    type=PATH,
    help="Keep the index (as by index --phi), so that the next start reads what is new only.",
)
@click.option(
    "--allow-origin",
    "origins",
    metavar="URL",
    multiple=True,
    help="A viewer that is served elsewhere, such as http://localhost:3000; * for any. May be repeated.",
)
@jobs_option
@quiet_option
def serve(
    sources: tuple[Path, ...],
    *,
    host: str,
    port: int,
    kept: Path | None,
    origins: tuple[str, ...],
    jobs: int | None,
    quiet: bool,
) -> None:
    """Serve files to DICOMweb viewers, and a page to browsers.

    Studies are searched (QIDO-RS) and fetched (WADO-RS): as files in any transfer syntax that transcode writes, frame by frame as
    they are coded or decoded, or as pictures. Nothing can be changed. New files are found as time goes by. There is no login:
    for others than this machine's users, put a proxy with one before it.
    """
    from cinemill.cli.forecast import phases

    if not all(map(find_spec, ("starlette", "uvicorn"))):
        raise UsageError(not_installed("serve", "the packages starlette and uvicorn", "serve"))
    from cinemill.operations.pages import counted
    from cinemill.serve.server import LOOPBACK, Server, Serving

    serving = Serving(sources, host, port, kept, origins, jobs)
    with interruption() as stopping, Server(serving, stopping) as server:
        with phases(hidden=quiet) as shown:
            found, left_out = server.look(lambda what, done: shown(what, done, None))
        if stopping():
            raise Exit(130)
        if not quiet:
            noun = "study" if found.studies == 1 else "studies"
            click.echo(f"{counted(found.instances, 'instance')} of {found.studies:,} {noun}")
            if left_out:
                click.echo(f"not served, for they lack a UID or have another's: {left_out:,}")
        if host not in LOOPBACK:
            click.echo("note: whoever reaches this address sees all patients; there is no login", err=True)
        address = f"{server.address}, for DICOMweb {server.address}/dicom-web; Ctrl-C ends it"
        server.run(lambda: None if quiet else click.echo(address))
