"""What peers are allowed: who may come, how many at once, how much, and how long they may take."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TypeAlias

from cinemill.errors import UsageError

Network: TypeAlias = "ipaddress.IPv4Network | ipaddress.IPv6Network"


@dataclass(frozen=True, slots=True)
class Limits:
    """Limits of a receiver.

    Attributes
    ----------
    titles
        AE titles that may call; any where there is none.
    networks
        Addresses that may connect; any where there is none.
    called
        AE titles that may be called; any where there is none.
    private
        SOP classes and transfer syntaxes that are stored besides those of the standard.
    associations
        At once, over all peers.
    per_address
        At once, of one address.
    pdu
        Bytes of a PDU.
    request_seconds
        From the connection to the whole association request.
    network_seconds
        For a PDU, and for an answer to be taken.
    idle_seconds
        Between two messages.
    compressed_first
        Whether of several transfer syntaxes of a presentation context one that is compressed is chosen.
    """

    titles: frozenset[str] = frozenset()
    networks: tuple[Network, ...] = ()
    called: frozenset[str] = frozenset()
    private: frozenset[str] = frozenset()
    associations: int = 32
    per_address: int = 32
    pdu: int = 1 << 18
    request_seconds: float = 10.0
    network_seconds: float = 60.0
    idle_seconds: float = 120.0
    compressed_first: bool = False

    def allows_title(self, title: str) -> bool:
        """Whether an AE title may call."""
        return not self.titles or title in self.titles

    def answers_to(self, title: str) -> bool:
        """Whether an AE title may be called."""
        return not self.called or title in self.called

    def allows_address(self, address: str) -> bool:
        """Whether an address may connect."""
        if not self.networks:
            return True
        found = ipaddress.ip_address(address)
        return any(found.version == network.version and found in network for network in self.networks)


def networks(texts: Iterable[str]) -> tuple[Network, ...]:
    """Read addresses and networks, such as ``10.1.2.3`` or ``10.1.0.0/16``.

    Raises
    ------
    UsageError
        One is neither.
    """
    found: list[Network] = []
    for text in texts:
        try:
            found.append(ipaddress.ip_network(text, strict=False))
        except ValueError:
            raise UsageError(
                f"{text!r} is no address; expected one such as 10.1.2.3, or a network such as 10.1.0.0/16"
            ) from None
    return tuple(found)
