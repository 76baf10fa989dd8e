"""The JSON file beside extracted frames: where they come from, when, and what was done to them. It names no patient."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from cinemill.formats import Clip, Format, Mode
    from cinemill.geometry import Geometry
    from cinemill.render import Renderer
    from cinemill.source import Source


def sidecar(
    clip: Clip,
    row: Format,
    mode: Mode,
    renderer: Renderer | None,
    geometry: Geometry,
    digests: Mapping[int, str],
    suffix: str,
) -> bytes:
    """Encode what is known of a clip's frames.

    Parameters
    ----------
    digests
        XXH3-128 of each exported frame's samples, by frame: by pixel, native byte order.
    suffix
        Of the outputs.
    """
    described: dict[str, Any] = {
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
                "file": clip.name(suffix, index if row.per_frame else None),
                "digest": digests.get(index),
                **(
                    {"rendering": renderer.describe(index)}
                    if renderer is not None and renderer.varies
                    else {}
                ),
            }
            for index, moment in zip(clip.indices, clip.times, strict=True)
        ],
    }
    return json.dumps(described, indent=1).encode()


def _uids(source: Source) -> dict[str, str]:
    return {
        "sop_instance_uid": source.text(0x00080018),
        "sop_class_uid": source.text(0x00080016),
        "study_instance_uid": source.text(0x0020000D),
        "series_instance_uid": source.text(0x0020000E),
        "transfer_syntax_uid": source.transfer_syntax.uid,
    }
