"""The JSON file beside extracted frames: where they come from, when, and what was done to them. It names no patient."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from cinemill.storage.location import total_size
from cinemill.storage.regular import read_regular

if TYPE_CHECKING:
    from cinemill.dicom.source import Source
    from cinemill.frames.geometry import Geometry
    from cinemill.frames.render import Renderer
    from cinemill.operations.extract.formats import Format, Mode
    from cinemill.operations.extract.writers import Clip
    from cinemill.storage.location import State


def describe(
    clip: Clip, row: Format, mode: Mode, renderer: Renderer | None, geometry: Geometry
) -> dict[str, Any]:
    """Return what is known of a clip's frames before they are decoded, as JSON-ready values.

    Parameters
    ----------
    clip
        The chosen frames.
    row
        The format.
    mode
        ``display`` or ``stored``.
    renderer
        What renders them, None for stored samples.
    geometry
        What is kept of each frame.
    """
    return {
        "source": {**_uids(clip.cine.source), "frames": len(clip.cine)},
        "format": row.name,
        "mode": mode,
        "rendering": None if renderer is None else renderer.describe(clip.indices[0]),
        "geometry": {
            "crop": geometry.crop,
            "kept": geometry.keep,
            "rows": geometry.size[0],
            "columns": geometry.size[1],
        },
        "pixels": {
            "dtype": str(clip.pixels.dtype),
            "samples": clip.pixels.samples,
            "bits_stored": clip.pixels.bits_stored,
            "photometric_interpretation": clip.pixels.photometric_interpretation,
        },
        "regions": [region.to_dict() for region in clip.cine.regions],
        "frames": [
            {
                "frame": index,
                "frame_number": index + 1,
                "time_ms": None if np.isnan(moment) else round(float(moment), 6),
                "file": clip.name(index if row.per_frame else None),
                **(
                    {} if renderer is None or not renderer.varies else {"rendering": renderer.describe(index)}
                ),
            }
            for index, moment in zip(clip.indices, clip.times, strict=True)
        ],
    }


def sidecar(
    description: dict[str, Any], digests: Mapping[int, str], made_from: State | None, folder: Path
) -> bytes:
    """Encode a description.

    Parameters
    ----------
    description
        See `describe`.
    digests
        XXH3-128 of each frame's samples: by pixel, native byte order.
    made_from
        The state of the source.
    folder
        Where the outputs are.
    """
    frames = [{**frame, "digest": digests[frame["frame"]]} for frame in description["frames"]]
    about = {"made_from": _state(made_from), "bytes": _sizes(description, folder)}
    return json.dumps({**description, **about, "frames": frames}, indent=1).encode()


def judge(path: Path, description: dict[str, Any], source: State | None) -> Literal["", "kept", "outdated"]:
    """Say whether a sidecar is of these outputs, which are whole and made from this state of the source, or of earlier ones.

    Parameters
    ----------
    path
        Of the sidecar.
    description
        Of the outputs.
    source
        The state of their source.
    """
    try:
        there = json.loads(read_regular(path, follow=True))
        for frame in there["frames"]:
            del frame["digest"]
        made_from, sizes = there.pop("made_from"), there.pop("bytes")
    except (OSError, ValueError, LookupError, TypeError, AttributeError, RecursionError):
        return ""
    if there != json.loads(json.dumps(description)):
        return ""
    whole = sizes == _sizes(description, path.parent)
    return "kept" if whole and source is not None and made_from == _state(source) else "outdated"


def _state(source: State | None) -> dict[str, int] | None:
    return None if source is None else {"size": source.size, "modified": source.modified}


def _sizes(description: dict[str, Any], folder: Path) -> dict[str, int]:
    """Return the bytes of each output, 0 where it is missing."""
    names = {frame["file"] for frame in description["frames"]}
    return {name: total_size(folder / name) for name in sorted(names)}


def _uids(source: Source) -> dict[str, str]:
    return {
        "sop_instance_uid": source.text(0x00080018),
        "sop_class_uid": source.text(0x00080016),
        "study_instance_uid": source.text(0x0020000D),
        "series_instance_uid": source.text(0x0020000E),
        "transfer_syntax_uid": source.transfer_syntax.uid,
    }
