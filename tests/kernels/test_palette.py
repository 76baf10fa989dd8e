"""Palette kernels against pydicom."""

from __future__ import annotations

import numpy as np
import pydicom
import pytest
from pydicom.dataset import Dataset
from pydicom.pixels.processing import apply_color_lut

from cinemill.errors import UsageError
from cinemill.kernels.palette import apply_palette, palette_table
from tests.support.files import bundled


def random_tables(entries: int, bits: int) -> list[np.ndarray]:
    rng = np.random.default_rng(entries)
    return [rng.integers(0, 1 << bits, entries).astype(f"u{bits // 8}") for _ in range(3)]


@pytest.mark.parametrize("bits", [8, 16])
@pytest.mark.parametrize(
    ("index_type", "entries", "first_mapped"),
    [
        ("u1", 256, 0),
        ("u1", 1, 5),
        ("u1", 100, 20),
        ("i1", 100, -50),
        ("u2", 65536, 0),
        ("u2", 300, 65000),
        ("u2", 256, 20),
        ("i2", 65536, -32768),
        ("i2", 4096, -1000),
    ],
)
def test_indices_outside_get_the_nearest_entry(index_type, entries, first_mapped, bits):
    tables = random_tables(entries, bits)
    info = np.iinfo(index_type)
    indices = np.random.default_rng(1).integers(info.min, info.max, (9, 31), index_type, endpoint=True)
    table = palette_table(*tables, first_mapped=first_mapped, index_type=indices.dtype)
    colours = apply_palette(indices, table)
    assert colours.dtype == tables[0].dtype
    for (row, column), index in np.ndenumerate(indices):
        entry = min(max(int(index) - first_mapped, 0), entries - 1)
        assert colours[row, column].tolist() == [int(table[entry]) for table in tables]


@pytest.mark.parametrize(("index_type", "bits"), [("u1", 8), ("u1", 16), ("u2", 16)])
def test_as_pydicom(index_type, bits):
    tables = random_tables(200, bits)
    dataset = Dataset()
    dataset.PixelRepresentation = 0
    for colour, table in zip(("Red", "Green", "Blue"), tables, strict=True):
        keyword = f"{colour}PaletteColorLookupTable"
        dataset.add_new(f"{keyword}Descriptor", "US", [200, 30, bits])
        dataset.add_new(f"{keyword}Data", "OW", table.tobytes())
    indices = np.random.default_rng(1).integers(0, 256, (9, 31)).astype(index_type)
    table = palette_table(*tables, first_mapped=30, index_type=indices.dtype)
    np.testing.assert_array_equal(apply_palette(indices, table), apply_color_lut(indices, dataset))


def test_read_only_and_strided_indices():
    table = palette_table(*random_tables(256, 8), first_mapped=0, index_type=np.dtype("u1"))
    indices = np.arange(200, dtype=np.uint8).reshape(10, 20)
    indices.flags.writeable = False
    np.testing.assert_array_equal(apply_palette(indices, table), table[indices])
    np.testing.assert_array_equal(apply_palette(indices[::2, ::3], table), table[indices[::2, ::3]])


def test_a_real_cine():
    dataset = pydicom.dcmread(bundled("examples_palette.dcm"))
    tables = [
        np.frombuffer(dataset[f"{colour}PaletteColorLookupTableData"].value, "<u2")
        for colour in ("Red", "Green", "Blue")
    ]
    indices = dataset.pixel_array
    table = palette_table(*tables, first_mapped=0, index_type=indices.dtype)
    np.testing.assert_array_equal(apply_palette(indices, table), apply_color_lut(indices, dataset))


@pytest.mark.parametrize(
    "call",
    [
        lambda u1, u2: palette_table(u1, u1, u2, first_mapped=0, index_type=np.dtype("u1")),
        lambda u1, _: palette_table(u1, u1[1:], u1, first_mapped=0, index_type=np.dtype("u1")),
        lambda u1, _: palette_table(u1, u1, u1, first_mapped=0, index_type=np.dtype("u4")),
        lambda u1, _: palette_table(u1[:0], u1[:0], u1[:0], first_mapped=0, index_type=np.dtype("u1")),
        lambda u1, u2: apply_palette(
            u2, palette_table(u1, u1, u1, first_mapped=0, index_type=np.dtype("u1"))
        ),
    ],
)
def test_wrong_arrays_are_named(call):
    with pytest.raises(UsageError, match=r"tables|indices"):
        call(np.zeros(4, np.uint8), np.zeros(4, np.uint16))
