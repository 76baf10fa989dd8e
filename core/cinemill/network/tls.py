"""TLS for associations, both ways: certificates are checked, versions and ciphers are those of BCP 195 (PS3.15 §B.12)."""

from __future__ import annotations

import ssl
from dataclasses import dataclass
from pathlib import Path

from cinemill.errors import UsageError

_CIPHERS = "ECDHE+AESGCM:ECDHE+CHACHA20:DHE+AESGCM:!aNULL:!eNULL"


@dataclass(frozen=True, slots=True)
class Tls:
    """The files that a node's entry names, or a receiver was given.

    Attributes
    ----------
    authority
        Certificates that are trusted, PEM; who connects trusts those of the system by default, and who accepts asks for none.
    certificate, key
        One's own, PEM; a node may ask for them.
    check_host
        Whether the peer's certificate has to name its host, as well as to be trusted.
    """

    authority: Path | None
    certificate: Path | None = None
    key: Path | None = None
    check_host: bool = True


def client_context(tls: Tls) -> ssl.SSLContext:
    """Return what a requestor connects with.

    Raises
    ------
    UsageError
        A file can't be read, or is none.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = tls.check_host
    if tls.authority is None:
        context.load_default_certs()
    return _with_files(context, tls)


def server_context(tls: Tls) -> ssl.SSLContext:
    """Return what an acceptor takes connections with: where authorities are named, who has no certificate of theirs is not let in.

    Raises
    ------
    UsageError
        A file can't be read, or is none; or there is no certificate of one's own.
    """
    if tls.certificate is None:
        raise UsageError(
            "to accept associations by TLS takes a certificate of one's own; add certificate and key"
        )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.verify_mode = ssl.CERT_NONE if tls.authority is None else ssl.CERT_REQUIRED
    return _with_files(context, tls)


def _with_files(context: ssl.SSLContext, tls: Tls) -> ssl.SSLContext:
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_ciphers(_CIPHERS)
    if tls.authority is not None:
        try:
            context.load_verify_locations(tls.authority)
        except (OSError, ssl.SSLError) as error:
            raise UsageError(
                f"no trusted certificates can be read from it: {error}; expected a PEM file",
                path=tls.authority,
            ) from None
    if tls.certificate is not None:
        try:
            context.load_cert_chain(tls.certificate, tls.key)
        except (OSError, ssl.SSLError) as error:
            raise UsageError(
                f"no certificate and its key can be read from it and {tls.key or 'the same file'}: {error}; expected PEM files",
                path=tls.certificate,
            ) from None
    return context
