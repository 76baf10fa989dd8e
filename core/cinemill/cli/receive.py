"""`cinemill receive`: a Storage SCP that writes what arrives into a directory, and may transcode it behind the acknowledgement."""

from __future__ import annotations

import threading
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from click.exceptions import Exit

from cinemill.cli.options import PATH, Number, Whole, accepting, examples, given, made
from cinemill.cli.run import interruption, jobs_option, quiet_option
from cinemill.operations.exchange.request import Push
from cinemill.operations.transcode.request import Transcode

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable

    from cinemill.network.incoming import Rules
    from cinemill.network.receive.limits import Limits

_MEGABYTE = 1_000_000
_WITHOUT = ("overwrite", "recheck", "preserve", "copy_rest")


def _several(name: str, metavar: str, text: str) -> Callable[[Any], Any]:
    return click.option(name, metavar=metavar, multiple=True, help=f"{text} May be repeated.")


@click.command(
    epilog=examples("cinemill receive /inbox", "cinemill receive /inbox --to jpeg-ls --forward pacs")
)
@click.argument("folder", metavar="DIR", type=PATH, help="Where instances go: DIR/STUDY/SERIES/INSTANCE.dcm.")
@click.option(
    "--port", metavar="N", type=click.IntRange(0, 65535), default=11112, show_default=True, help="TCP port."
)
@click.option("--host", metavar="ADDRESS", default="", help="Listen at this address only; default: at all.")
@click.option("--aet", metavar="TITLE", default="CINEMILL", show_default=True, help="AE title.")
@click.option(
    "--duplicates",
    type=click.Choice(("keep", "replace", "both")),
    default="keep",
    show_default=True,
    help="A different instance of a UID that is there: keep the first and answer 0x0111; replace it; or keep both.",
)
@accepting(Transcode, without=_WITHOUT)
@click.option(
    "--forward", metavar="NODE", help="Send on what is safe, or its output, to this node of the nodes file."
)
@accepting(Push, without=("node", "via", "force"))
@_several("--accept", "UID", "Store this private SOP class, or what is in this private transfer syntax, too.")
@_several("--allow-aet", "TITLE", "Only these AE titles may call.")
@_several("--allow-address", "ADDRESS", "Only these addresses, or networks such as 10.1.0.0/16, may connect.")
@_several("--report-to", "AET=HOST:PORT", "Where this peer takes reports of storage commitment.")
@click.option("--tls-cert", metavar="FILE", type=PATH, help="Certificate (PEM): peers have to speak TLS.")
@click.option("--tls-key", metavar="FILE", type=PATH, help="Its key.")
@click.option(
    "--tls-ca", metavar="FILE", type=PATH, help="Peers have to show a certificate of these authorities."
)
@click.option(
    "--associations", metavar="N", type=Whole(min=1), default=32, show_default=True, help="At once."
)
@click.option("--per-address", metavar="N", type=Whole(min=1), help="Associations of one address at once.")
@click.option(
    "--max-pdu",
    metavar="KB",
    type=Whole(min=4, max=16384),
    default=256,
    show_default=True,
    help="Largest PDU.",
)
@click.option(
    "--max-instance",
    metavar="MB",
    type=Number(min=1),
    default=16000,
    show_default=True,
    help="Largest instance.",
)
@click.option(
    "--reserve",
    metavar="MB",
    type=Number(min=0),
    default=256,
    show_default=True,
    help="Room to leave on the disk.",
)
@click.option(
    "--idle",
    metavar="SECONDS",
    type=Number(min=1),
    default=120,
    show_default=True,
    help="Most between two messages.",
)
@click.option(
    "--timeout", metavar="SECONDS", type=Number(min=1), default=60, show_default=True, help="Most for a PDU."
)
@click.option("--report", metavar="FILE", type=PATH, help="Write a JSON line for each instance received.")
@jobs_option
@quiet_option
def receive(
    folder: Path,
    *,
    port: int,
    host: str,
    aet: str,
    forward: str | None,
    fallback: str,
    report: Path | None,
    jobs: int | None,
    quiet: bool,
    **options: Any,
) -> None:
    """Receive instances by C-STORE, and answer for them.

    Every storage SOP class and transfer syntax is taken, byte for byte. An instance is acknowledged once it is whole, is
    what its UIDs say, and is on the disk under its name; so what was acknowledged is there, even after a kill. With --to or
    --policy it is transcoded behind the acknowledgement, as `cinemill transcode` does, and DIR holds the outputs. With
    --forward it is sent on once it is safe, or its output is; what could not be sent is named at the end, and goes at the
    next start. Storage commitment is answered. Ctrl-C or SIGTERM ends it, once instances under way are done.
    """
    from cinemill.cli.forwarding import forward_arrivals, forwarded_to, name_left
    from cinemill.cli.receiving import Board, Log, made_of, transcode_arrivals
    from cinemill.network.receive.inbox import Inbox
    from cinemill.network.receive.reports import Reports, places
    from cinemill.network.receive.server import Server

    transcode = _transcode(options)
    known = places(options["report_to"])
    limits, tls = _limits(aet, options), _tls(options)
    sender = forwarded_to(forward, fallback, transcode)
    of = None if transcode is None else made_of
    with (
        Log(report, folder) as log,
        Inbox(folder, _rules(options), made_of=of, outbox=sender is not None) as inbox,
        interruption() as stopping,
        Board(log, hidden=quiet) as board,
    ):
        reports = Reports(inbox, aet, known, board)
        with Server(host, port, inbox, limits, board, reports, tls) as listener:
            board.begin(aet, host, listener.port, inbox.root, secure=tls is not None)
            workers = []
            if transcode is not None:
                workers.append(partial(transcode_arrivals, transcode, inbox, jobs, board, stopping))
            if sender is not None and inbox.outbox is not None:
                workers.append(partial(forward_arrivals, sender, inbox.outbox, board, stopping))
            threads = [threading.Thread(target=worker) for worker in workers]
            for thread in threads:
                thread.start()
            while not stopping():
                board.wait(listener.associations)
            listener.stop()
            whole = listener.join(limits.network_seconds)
            for thread in threads:
                thread.join()
    if sender is not None and inbox.outbox is not None:
        name_left(inbox.outbox, sender.node.name)
    if not whole:
        click.echo("instances were still being sent; they were not acknowledged", err=True)
    raise Exit(0)


def _transcode(options: dict[str, Any]) -> Transcode | None:
    """Return what is done to instances once they are there, None where nothing is."""
    from cinemill.errors import UsageError

    asked = given(Transcode, options)
    if not asked:
        return None
    if not (options["to"] or options["policy"]):
        raise UsageError(f"{asked[0]} goes with --to or --policy, without which nothing is transcoded")
    more = {"copy_rest": True, "overwrite": options["duplicates"] == "replace"}
    return made(Transcode, {**options, **more}).in_bulk()


def _rules(options: dict[str, Any]) -> Rules:
    from cinemill.network.incoming import Rules

    return Rules(
        duplicates=options["duplicates"],
        reserve=int(options["reserve"] * _MEGABYTE),
        most=int(options["max_instance"] * _MEGABYTE),
    )


def _limits(aet: str, options: dict[str, Any]) -> Limits:
    from cinemill.errors import UsageError
    from cinemill.network.identity import TITLE, is_title, is_uid
    from cinemill.network.receive.limits import Limits, networks

    if wrong := [uid for uid in options["accept"] if not is_uid(uid)]:
        raise UsageError(f"{wrong[0]!r} is no UID; --accept takes the UID of a SOP class or transfer syntax")
    if wrong := [title for title in (aet, *options["allow_aet"]) if not is_title(title)]:
        raise UsageError(f"expected {TITLE}, found {wrong[0]!r}")
    return Limits(
        titles=frozenset(options["allow_aet"]),
        networks=networks(options["allow_address"]),
        private=frozenset(options["accept"]),
        associations=options["associations"],
        per_address=options["per_address"] or options["associations"],
        pdu=options["max_pdu"] << 10,
        network_seconds=options["timeout"],
        idle_seconds=options["idle"],
    )


def _tls(options: dict[str, Any]) -> ssl.SSLContext | None:
    from cinemill.errors import UsageError

    certificate, key, authorities = (options[name] for name in ("tls_cert", "tls_key", "tls_ca"))
    if certificate is None and key is None and authorities is None:
        return None
    if certificate is None or key is None:
        raise UsageError("TLS needs --tls-cert and --tls-key; give both, or leave out --tls-ca")
    from cinemill.network.tls import Tls, server_context

    return server_context(Tls(authorities, certificate, key))
