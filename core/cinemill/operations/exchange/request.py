"""What can be asked of an exchange with nodes: `pull`, `push` and `migrate`, the options of each declared once."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from cinemill.operations.operation import Operation, option
from cinemill.operations.transcode.request import Transcode

if TYPE_CHECKING:
    from cinemill.network.nodes import Node
    from cinemill.network.nodes import Push as Way
    from cinemill.operations.exchange.migrate import Migration
    from cinemill.operations.exchange.pull import By
    from cinemill.storage.tree import Item
    from cinemill.syntaxes import TransferSyntax

BODY = "cinemill.operations.exchange.items"


def _node(text: str) -> Any:
    """Declare the node that is asked."""
    return option("", metavar="NODE", help=text)


def _via() -> Any:
    """Declare the option how instances are sent."""
    return option("auto", help="C-STORE or STOW-RS; auto: what the node has.")


def _fallback() -> Any:
    """Declare the option what instances are transcoded to that the node refuses."""
    return option(
        "",
        metavar="TARGETS",
        help="Where the node refuses a transfer syntax: transcode to the first of these that it takes.",
    )


def _force() -> Any:
    """Declare the option to send what may not come back."""
    return option(default=False, help="Send by STOW-RS what the node may not be able to give back.")


class _OfStudies(Operation):
    """What is done to the studies of lists."""

    __slots__ = ()

    @property
    def by(self) -> By:
        """How folders are arranged: see `cinemill.operations.exchange.pull.folder_of`."""
        return "study"

    def discover(
        self, sources: Sequence[Path], destination: Path, *, after: Item | None = None
    ) -> Iterator[Item]:
        """Find the studies, each with its folder: see `cinemill.operations.exchange.worklist`.

        Parameters
        ----------
        sources
            The lists.
        destination
            What holds the folders.
        after
            Begin behind this one.
        """
        from cinemill.operations.exchange.worklist import items

        return items(sources, destination, self.by, after)


class _Sends(Operation):
    """What sends instances, and transcodes those that the node refuses."""

    __slots__ = ()

    fallback: str

    @property
    def targets(self) -> tuple[TransferSyntax, ...]:
        """What is transcoded to where the node refuses a transfer syntax, the best first."""
        from cinemill.operations.exchange.push import read_fallback

        return read_fallback(self.fallback)


@dataclass(frozen=True, slots=True)
class Pull(_OfStudies):
    """Studies are fetched from a node: see `cinemill.operations.exchange.pull`.

    Attributes
    ----------
    at_once
        Studies that are fetched at the same time by all who do: each of them has its share of the node's rate.
    """

    kind: ClassVar[str] = "pull"
    body: ClassVar[str] = BODY

    node: str = _node("Fetch studies from this node.")
    by: Literal["study", "day"] = option(
        "study", help="Folders: of each study, or of each day with its studies."
    )
    at_once: int = 1

    def check_here(self) -> None:
        """See that the node can be asked."""
        from cinemill.network import archive
        from cinemill.network.nodes import node_named

        archive.check(node_named(self.node))


@dataclass(frozen=True, slots=True)
class Push(_Sends):
    """Files are sent to a node: see `cinemill.operations.exchange.push`."""

    kind: ClassVar[str] = "push"
    body: ClassVar[str] = BODY
    only_reads: ClassVar[bool] = True

    node: str = _node("Send to this node.")
    via: Literal["auto", "dimse", "web"] = _via()
    fallback: str = _fallback()
    force: bool = _force()
    at_once: int = 1

    def __post_init__(self) -> None:
        _ = self.targets

    def way(self, node: Node) -> Way:
        """Return how instances are sent to a node, which its entry has.

        Raises
        ------
        UsageError
            It has not.
        """
        from cinemill.operations.exchange.push import way_to

        return way_to(node, self.via)

    def check_here(self) -> None:
        """See that the node can be sent to."""
        from cinemill.network.nodes import node_named

        self.way(node_named(self.node))


@dataclass(frozen=True, slots=True)
class Migrate(_OfStudies, _Sends, Transcode):
    """Studies of a node are transcoded there, or to another node: see `cinemill.operations.exchange.migrate`."""

    kind: ClassVar[str] = "migrate"
    body: ClassVar[str] = BODY
    mirrors: ClassVar[bool] = False
    meets: ClassVar[bool] = False

    node: str = _node("Transcode what this node holds.")
    target: str = option(
        "", names=("--to-node",), metavar="NODE", help="Where it goes; default: back to where it came from."
    )
    via: Literal["auto", "dimse", "web"] = _via()
    fallback: str = _fallback()
    force: bool = _force()
    at_once: int = 1

    overwrite: bool = False
    repair: bool = False
    recheck: bool = False
    preserve: bool = False
    copy_rest: bool = False

    def __post_init__(self) -> None:
        Transcode.__post_init__(self)
        _ = self.targets

    def wanted(self, target: Node) -> Transcode:
        """Return what is made of instances that go to a node."""
        asked = {each.name: getattr(self, each.name) for each in fields(Transcode)}
        readers = self.readable_by or target.readable_by
        return Transcode(**{**asked, "readable_by": readers}).in_bulk()

    def between(self, source: Node, target: Node, spool: Path) -> Migration:
        """Return the migration.

        Parameters
        ----------
        source, target
            The nodes; which may be the same.
        spool
            Folder for the ledger, and for the files on their way.

        Raises
        ------
        UsageError
            A node's entry lacks what is needed.
        """
        from cinemill.operations.exchange.migrate import Migration, check

        wanted, way = self.wanted(target), target.push if self.via == "auto" else self.via
        migration = Migration(source, target, spool, wanted, way, self.targets, self.force)
        check(migration)
        return migration

    def check_here(self) -> None:
        """See that the nodes can be asked and sent to."""
        from cinemill.network.nodes import node_named

        self.between(node_named(self.node), node_named(self.target or self.node), Path())


def spared(node: Node, at_once: int) -> Node:
    """Return a node of which one takes the share that one of so many has."""
    rate = node.limits.rate
    share = replace(node.limits, associations=1, rate=rate and rate / at_once, window=None)
    return replace(node, limits=share)


EXCHANGES = {each.kind: each for each in (Pull, Push, Migrate)}
"""The operations that need nodes, by name."""
