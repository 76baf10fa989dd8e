"""Small files whose frames and regions are known."""

from pathlib import Path

import numpy as np
from pydicom import Dataset

from tests.support import generate


def write(path: Path, frames, interpretation="MONOCHROME2", **elements) -> Path:
    """Write native frames, shape (frames, rows, columns[, samples])."""
    samples = frames.shape[3] if frames.ndim == 4 else 1
    header = generate.header(frames, interpretation, samples=samples, **elements)
    pixels = generate.native_element(generate.native_bytes(frames), generate.EXPLICIT)
    path.write_bytes(generate.part10(header, pixels, generate.EXPLICIT))
    return path


def numbered(count=10, shape=(6, 8)):
    """Frames that hold their own number."""
    return np.broadcast_to(
        np.arange(count, dtype=np.uint8).reshape(-1, *(1 for _ in shape)), (count, *shape)
    ).copy()


def region(bounds, *, spatial_format=1, data_type=1, units=(3, 3), deltas=(0.05, 0.04)):
    """An item of Sequence of Ultrasound Regions."""
    item = Dataset()
    item.RegionSpatialFormat, item.RegionDataType, item.RegionFlags = spatial_format, data_type, 2
    item.RegionLocationMinX0, item.RegionLocationMinY0 = bounds[:2]
    item.RegionLocationMaxX1, item.RegionLocationMaxY1 = bounds[2:]
    item.PhysicalUnitsXDirection, item.PhysicalUnitsYDirection = units
    item.PhysicalDeltaX, item.PhysicalDeltaY = deltas
    item.ReferencePixelX0, item.ReferencePixelY0 = 4, 0
    return item
