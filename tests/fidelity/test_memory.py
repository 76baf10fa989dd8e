"""Memory does not grow with a cine: pages of the source that were read are given back."""

import struct
import sys
import tracemalloc
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from pydicom import Dataset

import cinemill
from cinemill.dicom.source import Source
from cinemill.operations.deidentify.keys import make_key
from tests.support import generate

FRAMES, ROWS, COLUMNS = 96, 1024, 1024
LIMIT = 40 << 20


def resident(*paths):
    """Bytes of mapped files that are in this process's memory."""
    inside, total = False, 0
    for line in Path("/proc/self/smaps").read_text().splitlines():
        if "-" in line.split()[0]:
            inside = line.endswith(tuple(map(str, paths)))
        elif inside and line.startswith("Rss:"):
            total += int(line.split()[1]) << 10
    return total


def long_native(path):
    """96 MiB of black frames, most of them a hole in the file."""
    frames = np.zeros((2, ROWS, COLUMNS), np.uint8)
    header = generate.header(frames, NumberOfFrames=FRAMES)
    size = FRAMES * ROWS * COLUMNS
    element = struct.pack("<HH2sHL", 0x7FE0, 0x0010, b"OW", 0, size)
    path.write_bytes(generate.part10(header, element, generate.EXPLICIT))
    with path.open("r+b") as file:
        file.truncate(path.stat().st_size + size)


def long_encapsulated(path):
    """96 MiB in fragments of 64 KiB."""
    count = FRAMES * 16
    header = generate.header(np.zeros((2, 8, 8), np.uint8), NumberOfFrames=count)
    few = generate.encapsulated_element([[bytes(64 << 10)]] * 16, table="empty", delimiter=False)
    start, items = few[:20], few[20:]
    path.write_bytes(generate.part10(header, start + items * FRAMES + generate.DELIMITER, generate.RLE))


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
@pytest.mark.parametrize("make", [long_native, long_encapsulated])
def test_frames_that_were_read_leave_memory(tmp_path, make):
    path = tmp_path / "long.dcm"
    make(path)
    with Source(path) as source:
        most = resident(path)
        for index in range(len(source)):
            assert not np.frombuffer(source.frame(index), np.uint8).any()
            if index * 16 % len(source) == 0:
                most = max(most, resident(path))
        most = max(most, resident(path))
    assert 0 < most < LIMIT


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
@pytest.mark.parametrize("make", [long_native, long_encapsulated])
@pytest.mark.parametrize("scan", [True, False])
def test_a_closed_file_is_mapped_no_longer(tmp_path, make, scan):
    path = tmp_path / "long.dcm"
    make(path)
    with Source(path, scan=scan) as source:
        assert bytes(source.frame(len(source) - 1))
        assert str(path) in Path("/proc/self/maps").read_text()
    assert str(path) not in Path("/proc/self/maps").read_text()


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_verifying_a_pair_leaves_both_files_out_of_memory(tmp_path):
    before, after = tmp_path / "before.dcm", tmp_path / "after.dcm"
    long_native(before)
    long_native(after)
    with after.open("r+b") as file:
        file.seek(-1, 2)
        file.write(b"\1")
    most = 0

    def progress(done, _frames):
        nonlocal most
        if done % 8 == 0:
            most = max(most, resident(before, after))

    with pytest.raises(cinemill.CinemillError, match="1 of 96 frames differ"):
        cinemill.verify(before, after, threads=1, progress=progress)
    assert 0 < most < 2 * LIMIT


def test_a_deflated_data_set_is_inflated_piece_by_piece(tmp_path):
    path, size = tmp_path / "deflated.dcm", 96 << 20
    made = generate.part10(generate.header(np.zeros((1, 8, 8), np.uint8)), b"", generate.DEFLATED)
    start = 144 + int.from_bytes(made[140:144], "little")
    element = struct.pack("<HH2sHL", 0x7FE0, 0x0010, b"OW", 0, size)
    data_set = zlib.decompress(made[start:], -zlib.MAX_WBITS) + element + bytes(size)
    deflater = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    path.write_bytes(made[:start] + deflater.compress(data_set) + deflater.flush())
    tracemalloc.start()
    try:
        with Source(path, scan=False) as source:
            assert source.pixel_data is not None
            assert source.pixel_data.end == len(data_set)
        assert tracemalloc.get_traced_memory()[1] < 8 << 20
    finally:
        tracemalloc.stop()


def with_large_values(path, syntax, size):
    """A still with private elements that are no pixels, as of 3D ultrasound: one by itself, one in a sequence."""
    samples = generate.noise((1, 64, 64))
    header, item = generate.header(samples), Dataset()
    for dataset in (header, item):
        dataset.add_new(0x200D0010, "LO", "VOLUMES 01")
        dataset.add_new(0x200D1010, "OB", np.random.default_rng(len(dataset)).bytes(size))
    header.add_new(0x200D1020, "SQ", [item])
    header["200D1020"].is_undefined_length = item.is_undefined_length_sequence_item = True
    element = generate.native_element(generate.native_bytes(samples), syntax)
    path.write_bytes(generate.part10(header, element, syntax))
    return header


@pytest.mark.parametrize("syntax", [generate.EXPLICIT, generate.IMPLICIT])
@pytest.mark.parametrize("target", ["jpeg-ls", "implicit", "explicit", "deflated"])
def test_large_values_are_carried_over_without_being_held(tmp_path, syntax, target):
    path, output, size = tmp_path / "in.dcm", tmp_path / "out.dcm", 32 << 20
    header = with_large_values(path, syntax, size)
    cinemill.transcode(path, tmp_path / "first.dcm", to=target, threads=1)  # imports what is needed
    tracemalloc.start()
    try:
        cinemill.transcode(path, output, to=target, threads=1)
        assert tracemalloc.get_traced_memory()[1] < size
    finally:
        tracemalloc.stop()
    written = pydicom.dcmread(output)
    assert written["200D1010"].value == header["200D1010"].value
    (item,) = written["200D1020"].value
    assert item["200D1010"].value == header["200D1020"].value[0]["200D1010"].value


def volume(path, size, creator="VOLUMES 01", number=0x200D1010):
    """A still with one large private element."""
    samples = generate.noise((1, 64, 64))
    header = generate.header(samples)
    header.add_new(0x200D0010, "LO", creator)
    header.add_new(number, "UN", np.random.default_rng(0).bytes(size))
    element = generate.native_element(generate.native_bytes(samples), generate.EXPLICIT)
    path.write_bytes(generate.part10(header, element, generate.EXPLICIT))


def peak_of(call):
    """Bytes that a call allocates at most, once what it needs is imported."""
    call()
    tracemalloc.start()
    try:
        call()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def test_large_values_are_not_held_to_be_inspected_or_verified(tmp_path):
    path, output, size = tmp_path / "in.dcm", tmp_path / "out.dcm", 32 << 20
    volume(path, size)
    cinemill.transcode(path, output, to="implicit")
    assert peak_of(lambda: cinemill.inspect(path)) < size / 2
    assert peak_of(lambda: cinemill.verify(path, output, threads=1)) < size / 2
    data = bytearray(output.read_bytes())
    data[len(data) // 2] ^= 1
    output.write_bytes(data)
    with pytest.raises(cinemill.CinemillError, match=r"\(200D,1010\)"):
        cinemill.verify(path, output, threads=1)


def test_large_private_values_that_are_safe_are_not_held_to_be_de_identified(tmp_path):
    path, output, size = tmp_path / "in.dcm", tmp_path / "out.dcm", 32 << 20
    volume(path, size, "Philips US Imaging DD 045", 0x200D10F3)
    make_key(tmp_path / "key")
    options: dict[str, Any] = {"key": str(tmp_path / "key"), "mask": "none", "option": "retain-safe-private"}
    found = peak_of(
        lambda: cinemill.deidentify(path, output, **options, threads=1, overwrite=True, recheck=True)
    )
    assert found < size / 2
    assert len(pydicom.dcmread(output)["200D10F3"].value) == size


def test_a_frame_outlives_the_pages_it_was_read_from(tmp_path):
    path = tmp_path / "long.dcm"
    long_native(path)
    with path.open("r+b") as file:
        file.seek(-FRAMES * ROWS * COLUMNS, 2)
        file.write(b"\x07" * (ROWS * COLUMNS))
    with cinemill.open(path) as cine:
        first = cine[0]
        for index in range(1, FRAMES):
            assert not cine[index].any()
        assert (first == 7).all()
