"""What must hold before a worker starts: settings that can't work are refused at once, not found out later."""

from __future__ import annotations

import errno
import multiprocessing
import socket
from importlib.util import find_spec

from redis.exceptions import AuthenticationError, RedisError

from cinemill.errors import UsageError, not_installed
from cinemill.processes import sharing
from cinemill_workers.ledger import rights
from cinemill_workers.ledger.connection import connect
from cinemill_workers.ledger.ledger import Ledger
from cinemill_workers.ledger.model import PRIORITIES
from cinemill_workers.settings import Settings


def check(chosen: Settings) -> None:
    """Refuse settings that no worker on this machine can work with.

    Raises
    ------
    UsageError
        A priority is none, a package is missing that they need, or the endpoint of the metrics can't be opened; or children can
        share nothing with the worker.
    """
    try:
        with sharing():
            multiprocessing.get_context("fork").Lock()
    except ChildProcessError as error:
        raise UsageError(str(error)) from None
    if unknown := set(chosen.priorities) - set(PRIORITIES):
        raise UsageError(
            f"CINEMILL_PRIORITIES: expected some of {', '.join(PRIORITIES)}, found {', '.join(sorted(unknown))}"
        )
    if chosen.metrics_port is None:
        return
    if find_spec("prometheus_client") is None:
        raise UsageError(
            not_installed("CINEMILL_METRICS_PORT", "the package prometheus-client", "metrics")
            + ", or unset the variable"
        )
    try:
        _listen(chosen.metrics_address, chosen.metrics_port)
    except OSError as error:
        if error.errno != errno.EADDRINUSE:
            raise UsageError(
                f"the metrics can't be served on {chosen.metrics_address}:{chosen.metrics_port}: "
                f"{error.strerror}; change CINEMILL_METRICS_ADDRESS or CINEMILL_METRICS_PORT"
            ) from None


def check_server(chosen: Settings) -> None:
    """Refuse a server that does not let its user do what workers do; one that does not answer is waited for, later.

    Raises
    ------
    ForeignLedger
        Another version of cinemill uses the ledger.
    UsageError
        It refuses a command, or the user.
    """
    client = connect(chosen.redis_url, patience=0)
    try:
        missing = rights.missing(client)
        if not missing:
            Ledger(client).agree()
    except AuthenticationError as error:
        raise UsageError(
            f"the server at {chosen.public_url} refuses to let us in: {str(error).rstrip('.')}; "
            "check user and password in CINEMILL_BROKER_URL"
        ) from None
    except RedisError:
        return
    if missing:
        raise UsageError(
            f"the server at {chosen.public_url} refuses what is needed: {missing}; {rights.GRANT}"
        )


def _listen(address: str, port: int) -> None:
    family, kind, protocol, _, place = socket.getaddrinfo(address, port, type=socket.SOCK_STREAM)[0]
    with socket.socket(family, kind, protocol) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        probe.bind(place)
