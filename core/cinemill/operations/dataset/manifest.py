"""The manifest of a data set, in Parquet: one row for each clip, with all that is known of its origin."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import islice
from typing import TYPE_CHECKING, Any

from cinemill.errors import UsageError, not_installed

if TYPE_CHECKING:
    from pathlib import Path

NAME = "manifest.parquet"
_ROWS = 4096
"""Rows of a group: what is in memory at once."""

COLUMNS = {
    "clip": "string",
    "split": "string",
    "file": "string",
    "position": "int32",
    "patient_key": "string",
    "study_key": "string",
    "series_key": "string",
    "instance_key": "string",
    "source_digest": "string",
    "sop_class_uid": "string",
    "modality": "string",
    "manufacturer": "string",
    "model": "string",
    "transfer_syntax_uid": "string",
    "burned_in_annotation": "string",
    "source_rows": "int32",
    "source_columns": "int32",
    "source_photometric_interpretation": "string",
    "region": "int32",
    "region_data_type": "string",
    "region_box": "int32s",
    "crop": "doubles",
    "scale": "doubles",
    "content": "int32s",
    "offset": "int32s",
    "columns": "int32",
    "rows": "int32",
    "mm_per_pixel": "double",
    "mm_from": "string",
    "colour_space": "string",
    "rendering": "string",
    "fps": "double",
    "frames": "int32",
    "true_frames": "int32",
    "short": "string",
    "frame": "int32s",
    "time_ms": "doubles",
    "moment_ms": "doubles",
    "largest_deviation_ms": "double",
    "masked": "string",
    "fan_found": "bool",
    "fan_confidence": "double",
    "fan_kind": "string",
    "fan_box": "doubles",
    "fan_apex": "doubles",
    "fan_angles": "doubles",
    "fan_radii": "doubles",
    "fan_up": "bool",
    "fan_aspect": "double",
    "digest": "string",
}
"""Name and type of each column, in order: see docs/DATASET.md."""


def check_installed() -> None:
    """Check that Parquet can be written.

    Raises
    ------
    UsageError
        It can't.
    """
    try:
        import pyarrow.parquet  # noqa: F401
    except ImportError:
        raise UsageError(not_installed("the manifest", "the package pyarrow", "index")) from None


def write_manifest(path: Path, rows: Iterable[dict[str, Any]], about: dict[str, str]) -> None:
    """Write the manifest.

    Parameters
    ----------
    path
        The file.
    rows
        A row a clip, in the order of the data set; what is missing is null.
    about
        Text that the file carries beside its rows.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    fields = [pa.field(name, _type(kind)) for name, kind in COLUMNS.items()]
    schema = pa.schema(fields, metadata=about)
    with pq.ParquetWriter(path, schema, compression="zstd") as writer:
        left = iter(rows)
        while some := list(islice(left, _ROWS)):
            table = [{name: row.get(name) for name in COLUMNS} for row in some]
            writer.write_table(pa.Table.from_pylist(table, schema=schema))


def _type(kind: str) -> Any:
    import pyarrow as pa

    if kind.endswith("s"):
        return pa.list_(getattr(pa, _NAMES.get(kind[:-1], kind[:-1]))())
    return getattr(pa, _NAMES.get(kind, kind))()


_NAMES = {"double": "float64", "bool": "bool_"}
