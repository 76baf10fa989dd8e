"""What a job does to each of its instances, as the plain JSON values that the ledger keeps."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from cinemill import syntaxes
from cinemill.batch import Options
from cinemill.errors import UsageError
from cinemill.operations.extract.extract import Extraction
from cinemill.storage.tree import Item
from cinemill_workers.ledger.model import JobSpec

KINDS: dict[str, type[Options | Extraction]] = {"transcode": Options, "extract": Extraction}


def to_json(work: Options | Extraction) -> dict[str, Any]:
    """Return the kind of work and its options."""
    kind = next(name for name, known in KINDS.items() if isinstance(work, known))
    return {"kind": kind, **asdict(work)}


def describe(values: Mapping[str, Any]) -> str:
    """Name the work in a word or two: the target syntax, or what is extracted."""
    if values.get("kind") == "transcode":
        try:
            return f"to {syntaxes.target(values['to'])}"
        except UsageError:
            return f"to {values['to']}"
    return f"{values.get('kind')} {values.get('format', '')}"


def from_json(values: Mapping[str, Any]) -> Options | Extraction:
    """Undo `to_json`.

    Raises
    ------
    UsageError
        Another version of cinemill submitted the job, or a package that its work needs is missing here.
    """
    options = dict(values)
    kind = options.pop("kind", None)
    try:
        return KINDS[kind](**options)
    except (KeyError, TypeError) as error:
        raise UsageError(
            f"the job asks for something this version of cinemill does not know ({error}); "
            "install the version that submitted it on all workers"
        ) from None


def discover(spec: JobSpec, *, after: Item | None = None) -> Iterator[Item]:
    """Find the instances of a job: see `cinemill.storage.tree.discover`.

    Raises
    ------
    UsageError
        The job can't be carried out.
    """
    sources, destination = [Path(source) for source in spec.sources], Path(spec.destination)
    return from_json(spec.work).discover(sources, destination, after=after)
