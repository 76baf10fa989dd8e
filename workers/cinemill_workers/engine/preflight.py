"""What must hold before a worker starts: settings that can't work are refused at once, not found out later."""

from __future__ import annotations

import errno
import socket
from importlib.util import find_spec

from cinemill.errors import UsageError
from cinemill_workers.settings import Settings


def check(chosen: Settings) -> None:
    """Refuse settings that no worker on this machine can work with.

    Raises
    ------
    UsageError
        A package is missing that they need, or the endpoint of the metrics can't be opened.
    """
    if chosen.metrics_port is None:
        return
    if find_spec("prometheus_client") is None:
        raise UsageError(
            "CINEMILL_METRICS_PORT is set, but the package prometheus-client is not installed: "
            "install the extra `metrics` (pip install 'cinemill[metrics]', in a clone pip install '.[metrics]'), "
            "or unset the variable"
        )
    try:
        _listen(chosen.metrics_address, chosen.metrics_port)
    except OSError as error:
        if error.errno != errno.EADDRINUSE:
            raise UsageError(
                f"the metrics can't be served on {chosen.metrics_address}:{chosen.metrics_port}: "
                f"{error.strerror}; change CINEMILL_METRICS_ADDRESS or CINEMILL_METRICS_PORT"
            ) from None


def _listen(address: str, port: int) -> None:
    family, kind, protocol, _, place = socket.getaddrinfo(address, port, type=socket.SOCK_STREAM)[0]
    with socket.socket(family, kind, protocol) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        probe.bind(place)
