"""Makes the clips of one instance: choose places → find fans → cut by time → decode → render → scale → write → record."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import numpy as np
import xxhash

from cinemill.dicom.source import Source
from cinemill.errors import CinemillError
from cinemill.frames import selection
from cinemill.frames.cine import Cine
from cinemill.operations.dataset import places, scaling
from cinemill.operations.dataset.evidence import find_evidence
from cinemill.operations.dataset.fit import fit_fan
from cinemill.operations.dataset.moments import Moments, cut
from cinemill.operations.dataset.pieces import WRITERS, Made
from cinemill.operations.dataset.splits import split_of
from cinemill.operations.deidentify.identity import Identity
from cinemill.operations.receipt import Receipt
from cinemill.storage.digests import data_digest, named
from cinemill.storage.location import state
from cinemill.storage.regular import read_regular
from cinemill.storage.workroom import put

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from cinemill.frames.render import Renderer
    from cinemill.operations.dataset.fan import Fan
    from cinemill.operations.dataset.places import Place
    from cinemill.operations.dataset.request import MakeClips
    from cinemill.operations.operation import Control

Skipped: TypeAlias = Literal[
    "no pixel data",
    "a still",
    "not de-identified",
    "no regions",
    "no region holds 2D",
    "no frame times",
    "none of its frames is chosen",
    "shorter than a clip",
    "frames too far apart",
    "no fan found",
]
"""Why there are no clips of an instance."""

_REMOVED, _BURNED_IN, _SOP_INSTANCE = 0x00120062, 0x00280301, 0x00080018
_STUDY, _SERIES = 0x0020000D, 0x0020000E
_TOLD = {"sop_class_uid": 0x00080016, "modality": 0x00080060, "manufacturer": 0x00080070, "model": 0x00081090}
_LOOKED_AT = 24
"""Frames, spread over a cine, from which its fan is found."""


def run(request: MakeClips, src: Path, dst: Path, control: Control) -> Receipt:
    """Make the clips of one instance, and the record of them; what an earlier run has finished is kept.

    Parameters
    ----------
    request
        The options.
    src
        Source file.
    dst
        What the record and the clips are called, in the room of this run.
    control
        Cancellation and progress.
    """
    there = _Recorded(request, src, dst)
    if there.kept:
        return Receipt(str(src), str(dst), "kept")
    with Source(src, scan=False) as source:
        try:
            digest = data_digest(source.file)
            skipped, clips = _clips(request, source, digest, dst, control)
        except CinemillError as error:
            raise error.locate(path=src, transfer_syntax=source.transfer_syntax.uid) from None
    there.write({"digest": digest, "skipped": skipped, "clips": clips})
    return Receipt(
        str(src), str(dst), "extracted" if clips else "skipped", warnings=(skipped,) if skipped else ()
    )


class _Recorded:
    """The record of one instance beside its clips: with which options they were made, and of which state of the source."""

    def __init__(self, request: MakeClips, src: Path, dst: Path) -> None:
        self._path = dst.parent / f"{dst.name}.json"
        now = state(src)
        self._made_from = None if now is None else [request.digest(), now.size, now.modified]

    @property
    def kept(self) -> bool:
        """Whether it is there, and holds."""
        try:
            there = json.loads(read_regular(self._path))
        except (OSError, ValueError, RecursionError):
            return False
        return self._made_from is not None and there.get("made_from") == self._made_from

    def write(self, found: dict[str, Any]) -> None:
        """Write it; the clips stand there already."""
        put(self._path, json.dumps({"made_from": self._made_from, **found}).encode())


def _clips(
    request: MakeClips, source: Source, digest: str, dst: Path, control: Control
) -> tuple[Skipped | None, list[dict[str, Any]]]:
    """Return the rows of an instance's clips, or why there are none."""
    if source.pixel_data is None:
        return "no pixel data", []
    if request.deidentified == "required" and source.text(_REMOVED) != "YES":
        return "not de-identified", []
    return _clips_of(request, Cine(source), digest, dst, control)


def _clips_of(
    request: MakeClips, cine: Cine, digest: str, dst: Path, control: Control
) -> tuple[Skipped | None, list[dict[str, Any]]]:
    if len(cine) == 1:
        return "a still", []
    chosen = places.choose(cine, each=request.regions == "each", whole=request.no_regions == "whole")
    if not chosen:
        return "no region holds 2D" if cine.regions else "no regions", []
    times = cine.frame_times
    if request.untimed == "skip" and not np.isfinite(times).all():
        return "no frame times", []
    frames = _usable(request.frames, len(cine))
    if not frames:
        return "none of its frames is chosen", []
    found = cut(
        times, frames, fps=request.fps, length=request.length, which=request.clips, short=request.short
    )
    if not found:
        return "shorter than a clip" if found is None else "frames too far apart", []
    maker = _Maker(request, cine, digest, dst)
    rows = []
    for done, place in enumerate(chosen):
        rows += maker.place(place, found, control)
        control.advance(done + 1, len(chosen))
    return (None if rows else "no fan found"), rows


def _usable(text: str, count: int) -> list[int]:
    """Return the frames that a list names of those that are there, ascending; all where it is empty."""
    found: set[int] = set()
    for item in selection.read_numbers(text or ":"):
        found.update(
            range(count)[item] if isinstance(item, slice) else range(item.start, min(item.stop, count))
        )
    return sorted(found)


class _Maker:
    """Makes the clips of one cine."""

    def __init__(self, request: MakeClips, cine: Cine, digest: str, dst: Path) -> None:
        self._request, self._cine, self._dst = request, cine, dst
        deep = cine.pixels.bits_stored > 8 and cine.pixels.photometric_interpretation.startswith("MONOCHROME")
        self._renderer: Renderer = cine.renderer(window="auto" if deep else None)
        self._known = self._provenance(digest)
        self._made = 0

    def _provenance(self, digest: str) -> dict[str, Any]:
        """Return what all clips of the cine have in common, and nothing that names the patient."""
        source, key = self._cine.source, self._request.secret()
        known: dict[str, Any] = {
            "source_digest": digest,
            **{name: source.text(tag) or None for name, tag in _TOLD.items()},
            "burned_in_annotation": source.text(_BURNED_IN) or None,
            "transfer_syntax_uid": source.transfer_syntax.uid,
            "source_rows": self._cine.pixels.rows,
            "source_columns": self._cine.pixels.columns,
            "source_photometric_interpretation": self._cine.photometric_interpretation,
        }
        patient = ""
        if key is not None:
            patient = Identity.of(source, key).pseudonym
            known["patient_key"] = patient
            for name, tag in ("study_key", _STUDY), ("series_key", _SERIES), ("instance_key", _SOP_INSTANCE):
                uid = source.text(tag)
                known[name] = key.uid(uid) if uid else None
        known["split"] = split_of(patient, self._request.splits, key)
        return known

    def place(self, place: Place, found: Sequence[Moments], control: Control) -> list[dict[str, Any]]:
        """Make the clips of one place; return a row for each."""
        request = self._request
        fan = self._fan(place) if request.looks_for_fans else None
        used = fan if fan is not None and fan.confidence >= request.fan_confidence else None
        if used is None and request.no_fan == "skip":
            return []
        how = scaling.scale(place, request.shape, request.fit)
        rows = []
        for number, moments in enumerate(found):
            control.check("what is finished is kept")
            frames = self._frames(how, moments, used)
            row = self._row(how, moments, fan, used)
            row |= {"clip": self._name(place, number), "digest": _digest(frames)}
            rows.append(self._written(row, frames, how.mask(used) if request.fan_mask else None))
        return rows

    def _fan(self, place: Place) -> Fan | None:
        """Return the fan of a place, in pixels of the image."""
        from PIL import Image

        count = len(self._cine)
        indices = np.unique(np.linspace(0, count - 1, min(count, _LOOKED_AT)).round().astype(int)).tolist()
        grey = (
            np.asarray(Image.fromarray(picture).convert("L")) for _, picture in self._pictures(indices, place)
        )
        fan = fit_fan(find_evidence(grey), place.aspect)
        return None if fan is None else fan.moved(*place.bounds[:2])

    def _pictures(self, indices: Sequence[int], place: Place) -> Iterator[tuple[int, NDArray[np.uint8]]]:
        """Decode and render frames of a place, a few at once."""
        left, top, right, bottom = place.bounds
        batch = max(1, self._cine.batch)
        for start in range(0, len(indices), batch):
            part = indices[start : start + batch]
            for index, frame in zip(part, self._cine.decode(part), strict=True):
                picture = self._renderer.render(frame, index)
                yield index, np.ascontiguousarray(picture[top : bottom + 1, left : right + 1])

    def _frames(self, how: scaling.Scaling, moments: Moments, fan: Fan | None) -> NDArray[np.uint8]:
        """Return the frames of one clip."""
        columns, rows = how.size
        grey = self._request.colour == "grey"
        frames = np.zeros((len(moments.frames), rows, columns, *(() if grey else (3,))), np.uint8)
        places: dict[int, list[int]] = {}
        for at, index in enumerate(moments.frames):
            if index >= 0:
                places.setdefault(index, []).append(at)
        left, top = how.place.bounds[:2]
        inside = None
        if self._request.mask_outside_regions and fan is not None:
            inside = fan.mask(*how.place.size, left, top).view(np.uint8)[:, :, *(() if grey else (None,))]
        for index, picture in self._pictures(sorted(places), how.place):
            shown = _coloured(picture, grey=grey)
            if inside is not None:
                shown = shown * inside
            frames[places[index]] = how.apply(shown)
        return frames

    def _name(self, place: Place, number: int) -> str:
        """Return the name of a clip, by which nothing is told but whether two are the same."""
        key, uid = self._request.secret(), self._cine.source.text(_SOP_INSTANCE)
        which = f"region {place.region} clip {number}"
        if key is not None and uid:
            return key.digest("clip", f"{uid} {which}".encode()).rpartition(":")[2]
        return xxhash.xxh3_128_hexdigest(f"{self._known['source_digest']} {which}".encode())

    def _row(
        self, how: scaling.Scaling, moments: Moments, fan: Fan | None, used: Fan | None
    ) -> dict[str, Any]:
        """Return what the manifest says of a clip."""
        place, request = how.place, self._request
        ends = moments.true == len(moments.frames)
        row = {
            **self._known,
            "region": place.region,
            "region_data_type": place.shows or None,
            "region_box": list(place.bounds),
            "crop": [round(edge, 6) for edge in how.box],
            "scale": [round(factor, 9) for factor in how.factors],
            "content": list(how.content),
            "offset": list(how.offset),
            "columns": how.size[0],
            "rows": how.size[1],
            "mm_per_pixel": how.mm_per_pixel,
            "mm_from": place.measured or None,
            "colour_space": "RGB" if request.colour == "rgb" else "grey",
            "fps": request.fps,
            "frames": len(moments.frames),
            "true_frames": moments.true,
            "short": None if ends else {"pad": "padded", "loop": "looped"}[request.short],
            "frame": list(moments.frames),
            "time_ms": [None if np.isnan(time) else time for time in moments.times],
            "moment_ms": list(moments.wanted),
            "largest_deviation_ms": moments.deviation,
            "masked": self._masked(used),
            "fan_found": used is not None,
        }
        if fan is not None:
            row |= {
                "fan_confidence": fan.confidence,
                "fan_kind": fan.kind,
                "fan_box": _rounded(fan.box),
                "fan_apex": _rounded(fan.apex) if fan.kind != "rectangle" else None,
                "fan_angles": _rounded(fan.angles) if fan.kind == "sector" else None,
                "fan_radii": _rounded(fan.radii) if fan.kind != "rectangle" else None,
                "fan_up": fan.up,
                "fan_aspect": fan.aspect,
            }
        row["rendering"] = json.dumps(
            self._renderer.describe(max(0, moments.frames[0])), sort_keys=True, default=str
        )
        return row

    def _masked(self, used: Fan | None) -> str | None:
        if not self._request.mask_outside_regions:
            return None
        return "region" if used is None else "fan"

    def _written(self, row: dict[str, Any], frames: NDArray[np.uint8], mask: Any) -> dict[str, Any]:
        """Write a clip, and return its row with what was written."""
        request = self._request
        stem = f"{self._dst.name}.{self._made}"
        self._made += 1
        told = {name: row.get(name) for name in _BESIDE}
        made = Made(row["clip"], frames, mask, told, request.fps, self._cine)
        suffixes = WRITERS[request.format](made, self._dst.parent, stem)
        sizes = {suffix: (self._dst.parent / f"{stem}{suffix}").stat().st_size for suffix in suffixes}
        return {**row, "stem": stem, "pieces": sizes}


_BESIDE = (
    *("clip", "split", "fps", "frames", "true_frames", "short", "frame", "time_ms", "mm_per_pixel"),
    *("colour_space", "patient_key", "fan_found", "fan_confidence", "masked"),
)
"""What stands beside the frames of each clip, too."""


def _coloured(picture: NDArray[np.uint8], *, grey: bool) -> NDArray[np.uint8]:
    """Return a picture in the colour space of the clip."""
    from PIL import Image

    if grey:
        return picture if picture.ndim == 2 else np.asarray(Image.fromarray(picture).convert("L"))
    return picture if picture.ndim == 3 else np.repeat(picture[:, :, None], 3, axis=2)


def _rounded(values: Sequence[float]) -> list[float]:
    return [round(value, 4) for value in values]


def _digest(frames: NDArray[np.uint8]) -> str:
    return named(xxhash.xxh3_128(frames.data))
