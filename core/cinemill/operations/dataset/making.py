"""The making of a data set: select → make clips of many instances → put together → manifest → publish, as a whole or not at all."""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeVar

import xxhash

from cinemill.errors import Cancelled, CinemillError, NoRoom, OutputExists, UsageError, not_installed
from cinemill.operations.dataset import manifest
from cinemill.operations.dataset.assemble import Assembly, Ready, write_text
from cinemill.operations.dataset.select import select
from cinemill.pipeline import pipeline
from cinemill.storage.digests import data_digest, named
from cinemill.storage.mapped import map_file
from cinemill.storage.regular import read_regular
from cinemill.storage.tree import Item
from cinemill.storage.workroom import Workroom

if TYPE_CHECKING:
    from cinemill.operations.dataset.request import MakeClips
    from cinemill.operations.operation import Run

ABOUT = "dataset.json"
_VERSION = 1

_Each = TypeVar("_Each")


@dataclass(frozen=True, slots=True)
class Outcome:
    """The result of `cinemill.dataset`.

    Attributes
    ----------
    status
        ``made``; ``kept``: it exists already, from the same files with the same options; ``empty``: there are no clips, and
        nothing was published.
    instances
        Number of files read.
    clips
        Number of clips in each split.
    patients
        Number of patients in each split; empty without a key.
    skipped
        Number of instances without clips, by reason.
    failed
        Number of instances that could not be read, by kind of error.
    duplicates
        Clips left out because the same instance was read before.
    without_fan
        Clips in which a fan was looked for and not found.
    problems
        The message for each instance that failed.
    """

    status: Literal["made", "kept", "empty"]
    instances: int
    clips: dict[str, int]
    patients: dict[str, int]
    skipped: dict[str, int]
    failed: dict[str, int]
    duplicates: int
    without_fan: int
    problems: tuple[str, ...] = field(default=(), compare=False)


class Making:
    """The making of one data set.

    Parameters
    ----------
    request
        The options.
    sources
        Files and directories.
    destination
        The directory of the data set.
    run
        Does the making of clips to many instances.
    jobs
        Instances under way at once.
    stop
        Polled; True ends it, and the same call goes on later.
    show
        Told what is done, how far it is, and of how much.
    """

    def __init__(
        self,
        request: MakeClips,
        sources: Sequence[Path],
        destination: Path,
        run: Run,
        jobs: int,
        stop: Callable[[], bool] = lambda: False,
        show: Callable[[str, int, int | None], None] = lambda *_: None,
    ) -> None:
        self._request, self._destination = request, destination
        self._run, self._jobs, self._stop, self._show = run, jobs, stop, show
        request.check_destination(destination)
        _check_installed(request)
        request.secret()
        _check_apart(request, sources, destination)
        self._paths = select(sources, request.index, request.where)

    def make(self) -> Outcome:
        """Make it, or keep the one that stands there.

        Raises
        ------
        Cancelled
            It was stopped; what is finished is kept for the next time.
        OutputExists
            Another data set stands there.
        OutputError
            It can't be written.
        """
        request = self._request
        if _holds_anything(self._destination) and (there := self._standing()) is not None:
            return there
        with Workroom(self._destination, request.digest()) as room:
            made = room.path / "made"
            made.mkdir(exist_ok=True)
            names = {str(path): _name(path) for path in self._paths}
            problems, failed = self._make_clips(made, names)
            ready, skipped, digests = _gather(made, self._until_stopped(self._paths), names)
            unique = list({each.clip: each for each in reversed(ready)}.values())[::-1]
            folder = room.fresh("published")
            assembly = Assembly(request, made, folder)
            tally = _Tally(request)
            made_from = _made_from(digests)
            manifest.write_manifest(
                folder / manifest.NAME,
                tally.counted(self._until_stopped(assembly.rows(sorted(unique)))),
                {"cinemill": request.told()["cinemill"], "made_from": made_from},
            )
            outcome = Outcome(
                "made" if ready else "empty",
                len(self._paths),
                tally.clips,
                {name: len(patients) for name, patients in tally.patients.items()},
                dict(sorted(skipped.items())),
                dict(sorted(failed.items())),
                len(ready) - len(unique),
                tally.without_fan,
                tuple(problems),
            )
            about = {
                "version": _VERSION,
                "made_from": made_from,
                "options": request.digest(),
                "shard_size": request.shard_size,
                "made_with": request.told(),
                "files": assembly.files,
                "outcome": {
                    name: value
                    for name, value in asdict(outcome).items()
                    if name not in {"problems", "status"}
                },
            }
            write_text(folder / ABOUT, about)
            self._check()
            if ready:
                room.publish(folder, overwrite=request.overwrite, check=self._check)
        return outcome

    def _check(self) -> None:
        if self._stop():
            raise Cancelled("stopped on request; what is finished is kept")

    def _until_stopped(self, each: Iterable[_Each]) -> Iterator[_Each]:
        """Yield each, as long as nobody asks for a stop."""
        for one in each:
            self._check()
            yield one

    def _standing(self) -> Outcome | None:
        """Return what became of the data set that stands there, None where it is to be replaced."""
        about: dict[str, Any] | None = None
        try:
            about = json.loads(read_regular(self._destination / ABOUT))
            same = [about[name] for name in ("version", "options", "shard_size")] == [
                _VERSION,
                self._request.digest(),
                self._request.shard_size,
            ]
            if same and about["made_from"] == self._made_from_now():
                outcome = about["outcome"]
                for name in ("clips", "patients"):
                    outcome[name] = {split: outcome[name][split] for split, _ in self._request.splits}
                return Outcome(status="kept", **outcome)
        except (OSError, ValueError, LookupError, TypeError, RecursionError):
            pass
        if about is None:
            raise OutputExists(
                "exists already and is no data set; choose another name", path=self._destination
            )
        if self._request.overwrite:
            return None
        raise OutputExists(
            "another data set stands there, of other files or with other options; use --overwrite to replace it",
            path=self._destination,
        )

    def _made_from_now(self) -> str:
        with pipeline(self._jobs, self._stop) as pipe:
            digests = []
            for done, digest in enumerate(pipe.stage(_digest_of, self._paths), 1):
                self._show("comparing files", done, len(self._paths))
                digests.append(digest)
        return _made_from(digests)

    def _make_clips(self, made: Path, names: dict[str, str]) -> tuple[list[str], Counter[str]]:
        """Make the clips of all instances; return what could not be read, and how much of it there is by kind."""
        items = (Item(path, made / names[str(path)]) for path in self._paths)
        problems: list[str] = []
        failed: Counter[str] = Counter()
        receipts = self._run(items, self._request, jobs=self._jobs, stop=self._stop)
        for done, receipt in enumerate(receipts, 1):
            self._show("making clips", done, len(self._paths))
            error = receipt.error
            if error is None:
                continue
            if error["kind"] == NoRoom.__name__:
                raise NoRoom(error["message"], path=self._destination)
            failed[error["kind"]] += 1
            if receipt.status != "ignored":
                problems.append(f"{receipt.status}: {receipt.source}: {error['message']}")
        self._check()
        return sorted(problems), failed


class _Tally:
    """Counts clips as they are put together."""

    def __init__(self, request: MakeClips) -> None:
        self._looked = request.looks_for_fans
        self.clips = {name: 0 for name, _ in request.splits}
        self.patients: dict[str, set[str]] = {name: set() for name, _ in request.splits}
        self.without_fan = 0

    def counted(self, rows: Iterator[dict[str, Any]]) -> Iterator[dict[str, Any]]:
        """Yield rows, and count them."""
        for row in rows:
            self.clips[row["split"]] += 1
            if row.get("patient_key"):
                self.patients[row["split"]].add(row["patient_key"])
            self.without_fan += self._looked and not row["fan_found"]
            yield row


def _gather(
    made: Path, paths: Iterable[Path], names: dict[str, str]
) -> tuple[list[Ready], Counter[str], list[str]]:
    """Read all records: return the clips in order, why there are none of others, and the digests of all files."""
    ready: list[Ready] = []
    skipped: Counter[str] = Counter()
    digests: list[str] = []
    for path in paths:
        name = f"{names[str(path)]}.json"
        try:
            record = json.loads(read_regular(made / name))
        except OSError:
            digests.append(_digest_of(path))
            continue
        digests.append(record["digest"])
        if record["skipped"]:
            skipped[record["skipped"]] += 1
        for at, row in enumerate(record["clips"]):
            ready.append(Ready(row["split"], row["clip"], row["source_digest"], name, at))
    return sorted(ready), skipped, digests


def _name(path: Path) -> str:
    return xxhash.xxh3_128_hexdigest(os.fsencode(path.absolute()))


def _digest_of(path: Path) -> str:
    try:
        return data_digest(map_file(path))
    except CinemillError as error:
        return error.kind


def _made_from(digests: Sequence[str]) -> str:
    return named(xxhash.xxh3_128(chr(10).join(sorted(digests)).encode()))


def _holds_anything(folder: Path) -> bool:
    """Whether there is anything but an empty directory."""
    return folder.exists() and not (folder.is_dir() and next(folder.iterdir(), None) is None)


def _check_apart(request: MakeClips, sources: Sequence[Path], destination: Path) -> None:
    """Check that a data set neither lies in a source, nor where it is replaced anything is lost that it is made of."""
    place = destination.resolve()
    if any(place.is_relative_to(source.resolve()) for source in sources):
        raise UsageError("the data set would be, or lie in, a source; choose another place", path=destination)
    needed = [*sources, *(Path(each) for each in (request.key, request.index) if each)]
    if any(each.resolve().is_relative_to(place) for each in needed):
        raise UsageError("a source, the key or the index lies in it; choose another place", path=destination)


def _check_installed(request: MakeClips) -> None:
    """Check that what writes the format is installed."""
    from importlib.util import find_spec

    manifest.check_installed()
    for name, (module, extra) in {"zarr": ("zarr", "zarr"), "mp4": ("av", "video")}.items():
        if request.format == name and find_spec(module) is None:
            raise UsageError(not_installed(name, f"the package {module}", extra))
