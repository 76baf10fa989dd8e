"""The values that options of data sets may have."""

from __future__ import annotations

from typing import Literal, TypeAlias

Format: TypeAlias = Literal["webdataset", "zarr", "mp4", "npz"]
Fit: TypeAlias = Literal["contain", "cover"]
Which: TypeAlias = Literal["all", "first", "middle"]
Short: TypeAlias = Literal["pad", "loop", "skip"]
