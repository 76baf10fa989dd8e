"""Exports chosen frames of one instance: select → decode → render → encode → commit."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import xxhash

from cinemill.errors import Refused, UsageError
from cinemill.frames import selection
from cinemill.frames.geometry import Geometry, black
from cinemill.frames.timing import UNKNOWN_FRAME_TIME, durations
from cinemill.operations.extract.formats import Format, Mode
from cinemill.operations.extract.layout import lay_out
from cinemill.operations.extract.sidecar import describe, judge, sidecar
from cinemill.operations.extract.writers import Clip, Writer
from cinemill.pipeline import Pipeline, chunks, pipeline
from cinemill.storage.digests import named
from cinemill.storage.names import safe_stem

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from cinemill.frames.cine import Cine
    from cinemill.frames.render import Renderer
    from cinemill.operations.extract.request import Extract
    from cinemill.operations.operation import Control
    from cinemill.pixel_format import PixelFormat, Samples
    from cinemill.storage.folder import Staging

_SILENT = frozenset(("png", "npy", "jpeg-ls"))
"""Formats that can't say that their samples are no RGB."""

_FEW = 8
"""One frame in so many is read by itself; more are read in one go with those between them."""


class Export:
    """The extraction of one instance, from its options to its outputs.

    Parameters
    ----------
    single
        The one output, where its name was given.

    Raises
    ------
    CinemillError
        The options can't be carried out for this instance.
    """

    def __init__(self, cine: Cine, request: Extract, row: Format, single: Path | None) -> None:
        self.cine, self.request, self.row = cine, request, row
        if row.copies and cine.coding == "video":
            raise Refused(
                f"the frames of a video have no codestreams that {row.name} could copy; use another format"
            )
        self.mode: Mode = request.mode or row.modes[0]
        self.renderer: Renderer | None = None
        if self.mode == "display":
            self.renderer = cine.renderer(window=request.window, voi=request.voi)
        self.warnings = [] if self.renderer is None else self.renderer.warnings
        self._interpretation = self._stored_interpretation()
        self.geometry = lay_out(cine, request, display=self.mode == "display")
        self.size = 0
        self._digests: dict[int, str] = {}
        indices = _choose(cine, request)
        if single is not None and row.per_frame and len(indices) > 1:
            raise UsageError(
                f"is a file of one frame, {len(indices)} are chosen; name a directory, or choose one by --frames",
                path=single,
            )
        pixels = self._pixels()
        self._black = (0,) * pixels.samples if self.renderer is not None else black(pixels)
        times = cine.frame_times
        self.clip = Clip(
            cine=cine,
            indices=indices,
            times=times[indices],
            durations=self._durations(times, indices),
            pixels=pixels,
            as_coded=self._as_coded(),
            stem=single.stem if single is not None else safe_stem(cine.source.path.name),
            suffix=row.suffix_for(cine.coding),
            single=None if single is None else single.name,
            frames=self._frames,
        )

    def _stored_interpretation(self) -> str:
        """Return the photometric interpretation of samples before any is rendered."""
        found = self.cine.photometric_interpretation
        if self.renderer is not None or self.cine.pixels.samples == 1:
            if found == "PALETTE COLOR" and self.renderer is None and self.request.colour == "rgb":
                raise Refused(
                    "--colour rgb: the samples are entries of a palette; use --display, which applies it"
                )
            return found
        if self.request.colour == "rgb":
            return "RGB"
        if found != "RGB" and self.row.name in _SILENT and not self.request.sidecar:
            self.warnings.append(
                f"the samples are {found}, which {self.row.name} can't say; see --sidecar and --colour rgb"
            )
        return found

    def _pixels(self) -> PixelFormat:
        rows, columns = self.geometry.size
        pixels = self.cine.pixels.with_(rows=rows, columns=columns)
        if self.renderer is None:
            return pixels.with_(photometric_interpretation=self._interpretation)
        grey = pixels.photometric_interpretation.startswith("MONOCHROME")
        return pixels.with_(
            samples=1 if grey else 3,
            bits_allocated=8,
            bits_stored=8,
            signed=False,
            photometric_interpretation="MONOCHROME2" if grey else "RGB",
        )

    def _as_coded(self) -> bool:
        before = self.cine.pixels
        whole = self.geometry == Geometry(
            (0, 0, before.columns - 1, before.rows - 1), None, (before.rows, before.columns)
        )
        if self.renderer is not None:
            return whole and self.renderer.changes_nothing
        return whole and self._interpretation == before.photometric_interpretation

    def _durations(self, times: NDArray[np.float64], indices: list[int]) -> NDArray[np.float64]:
        if np.isfinite(times).all():
            shown = durations(times[indices])
            if len(indices) == 1 and len(times) > 1:
                shown = durations(times)[indices]
            if len(indices) > 1 and shown.min() < self.row.shortest:
                self.warnings.append(
                    f"frames of less than {self.row.shortest:g} ms are shown for longer by many {self.row.name} viewers; "
                    "use mp4 or webp, or fewer frames"
                )
            return shown
        if "display" in self.row.modes and not self.row.per_frame:
            self.warnings.append(
                f"the header gives no frame times; each frame is shown for {UNKNOWN_FRAME_TIME:g} ms"
            )
        return np.full(len(indices), UNKNOWN_FRAME_TIME)

    def _frames(self, indices: Sequence[int]) -> list[Samples]:
        """Decode and render some frames."""
        done = []
        frames = self.cine.decode(indices, self._interpretation)
        for index, decoded in zip(indices, frames, strict=True):
            rendered: Samples = decoded
            if self.renderer is not None:
                rendered = self.renderer.render(decoded, index)
            frame = self.geometry.apply(rendered, self._black)
            if self.request.sidecar:
                self._digests[index] = named(xxhash.xxh3_128(np.ascontiguousarray(frame).data))
            done.append(frame)
        return done

    def judge(self, directory: Path) -> Literal["", "kept", "outdated"]:
        """Say what a sidecar tells of these outputs in a directory: see `cinemill.operations.extract.sidecar.judge`."""
        if not self.request.sidecar:
            return ""
        beside = directory / f"{self.clip.stem}.json"
        return judge(beside, self._description(), self.cine.source.state)

    def run(self, staging: Staging, control: Control) -> bool:
        """Write the outputs; return whether anything is new."""
        if len(self.clip.indices) > len(self.cine) // _FEW:
            self.cine.source.read_in_order()
        writer = self.row.open(self.clip, staging)
        beside = staging.reserve(f"{self.clip.stem}.json") if self.request.sidecar else None
        try:
            with pipeline(control.cores_for(len(self.clip.indices)), control.cancelled) as pipe:
                self._write(writer, pipe, control)
        except BaseException:
            with suppress(Exception):
                writer.close()
            raise
        writer.close()
        self.size = staging.size
        if beside is not None:
            state = self.cine.source.state
            staging.write(beside, sidecar(self._description(), self._digests, state, beside.parent))
        return staging.commit()

    def _description(self) -> dict[str, Any]:
        return describe(self.clip, self.row, self.mode, self.renderer, self.geometry)

    def _write(self, writer: Writer, pipe: Pipeline, control: Control) -> None:
        indices, done = self.clip.indices, 0
        cut = chunks(len(indices), self.cine.pixels.nbytes, self.cine.batch, control.cores)
        parts = (indices[part.start : part.stop] for part in cut)
        for part, encoded in pipe.stage(lambda part: (part, self._encode(writer, part)), parts):
            writer.write(encoded)
            done += len(part)
            control.advance(done, len(indices))

    def _encode(self, writer: Writer, part: Sequence[int]) -> Any:
        encoded = writer.encode(part)
        if self.request.sidecar and part[0] not in self._digests:
            self._frames(part)
        return encoded


def _choose(cine: Cine, request: Extract) -> list[int]:
    if request.frames:
        return selection.by_number(str(request.frames), len(cine))
    if request.every is not None:
        return selection.by_time(float(request.every), cine.frame_times)
    if request.count is not None:
        return selection.evenly(request.count, len(cine))
    return list(range(len(cine)))
