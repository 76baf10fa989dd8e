"""Opens associations with nodes: connection, TLS, negotiation."""

from __future__ import annotations

import socket
import ssl
from collections.abc import Callable, Collection, Sequence
from functools import partial

from cinemill.errors import NodeError
from cinemill.network import negotiation
from cinemill.network.association import Association
from cinemill.network.nodes import Dimse, Node
from cinemill.network.pdu import Proposed
from cinemill.network.stream import Stream
from cinemill.network.tls import client_context

_PATIENCE = 10.0


def associate(
    node: Node,
    contexts: Sequence[Proposed],
    *,
    roles: Collection[str] = (),
    passed: Callable[[int], None] | None = None,
) -> Association:
    """Return an association with a node, negotiated.

    Parameters
    ----------
    node
        Reached by DIMSE.
    contexts
        At most 128.
    roles
        SOP classes of which one is the SCP oneself.
    passed
        See `cinemill.network.association.Association`; called with 0, too, while the node is waited for.

    Raises
    ------
    NodeError
        Nobody answers, or the association was refused.
    UsageError
        The node's entry has no DIMSE, or its TLS files can't be read.
    """
    way = node.by_dimse
    stream = Stream(_connected(way), way.timeout, (lambda: None) if passed is None else partial(passed, 0))
    try:
        return negotiation.request(stream, way.called, way.calling, contexts, roles=roles, passed=passed)
    except BaseException:
        stream.part()
        raise


def _connected(way: Dimse) -> socket.socket:
    """Return a connection, by TLS where the entry says so."""
    where = f"{way.host}:{way.port}"
    context = None if way.tls is None else client_context(way.tls)
    try:
        connection = socket.create_connection((way.host, way.port), timeout=min(_PATIENCE, way.timeout))
    except OSError as error:
        said = error.strerror or error
        raise NodeError(
            f"nobody answers at {where}: {said}; check host, port and firewall, and that the node runs",
            outcome="down",
        ) from None
    connection.settimeout(way.timeout)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    if context is None:
        return connection
    try:
        return context.wrap_socket(connection, server_hostname=way.host)
    except ssl.SSLCertVerificationError as error:
        connection.close()
        raise NodeError(
            f"the certificate of {where} is not trusted: {error.verify_message}; check authority in the nodes file",
            outcome="tls",
        ) from None
    except OSError as error:
        connection.close()
        lost = isinstance(error, ConnectionError | ssl.SSLEOFError)
        name = "stalled" if isinstance(error, TimeoutError) else "lost" if lost else "tls"
        raise NodeError(
            f"TLS with {where} failed: {error}; check that this port takes TLS", outcome=name
        ) from None
