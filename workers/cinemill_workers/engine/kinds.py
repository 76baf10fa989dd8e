"""The operation that a job does to each of its instances, as the plain JSON values that the ledger keeps."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from cinemill.errors import UsageError
from cinemill.operations.exchange.request import EXCHANGES
from cinemill.operations.operation import Operation
from cinemill.operations.policy.targets import read_wanted
from cinemill.operations.table import OPERATIONS
from cinemill.operations.transcode.request import Transcode
from cinemill.storage.tree import Item
from cinemill_workers.ledger.model import LAYOUT, JobSpec

KINDS: Mapping[str, type[Operation]] = {**OPERATIONS, **EXCHANGES}


def to_json(operation: Operation) -> dict[str, Any]:
    """Return the kind of operation and its options."""
    return {"kind": operation.kind, **asdict(operation)}  # type: ignore[call-overload]


def describe(values: Mapping[str, Any]) -> str:
    """Name the operation in a word or two: the target syntax or the policy, what is extracted, or the node."""
    kind = values.get("kind")
    if kind == "migrate":
        return f"migrate {values.get('node')} {describe({**values, 'kind': 'transcode'})}"
    if kind in EXCHANGES:
        return f"{kind} {values.get('node')}"
    if kind == "transcode":
        try:
            asked = Transcode(
                **{name: values[name] for name in ("to", "policy", "readable_by") if name in values}
            )
            return f"to {read_wanted(asked.to).named}" if asked.to else f"by {asked.rules.name}"
        except UsageError:
            return f"to {values['to']}"
    return f"{kind} {values.get('format', '')}".rstrip()


def of_studies(values: Mapping[str, Any]) -> bool:
    """Whether the items of the operation are studies."""
    return values.get("kind") in {"pull", "migrate"}


def from_json(values: Mapping[str, Any]) -> Operation:
    """Undo `to_json`.

    Raises
    ------
    UsageError
        Another version of cinemill submitted the job, or a package that its work needs is missing here.
    """
    options = dict(values)
    if "ledger" in options:
        raise UsageError(
            f"another version of cinemill submitted the job, by a ledger of layout {options['ledger']}, not {LAYOUT}: "
            "let that version finish it, or cancel it and submit it again; finished outputs are kept"
        )
    kind = options.pop("kind", None)
    try:
        operation: Operation = KINDS[kind](**options)
    except (KeyError, TypeError) as error:
        raise UsageError(
            f"the job asks for something this version of cinemill does not know ({error}); "
            "install the version that submitted it on all workers"
        ) from None
    return operation


def discover(spec: JobSpec, *, after: Item | None = None) -> Iterator[Item]:
    """Find the instances of a job: see `cinemill.storage.tree.discover`.

    Raises
    ------
    UsageError
        The job can't be carried out.
    """
    sources, destination = [Path(source) for source in spec.sources], Path(spec.destination)
    return from_json(spec.work).discover(sources, destination, after=after)
