"""A header alone: the same elements as with pixel data, of which nothing is touched."""

import ctypes
import mmap
import os

import numpy as np
import pytest

from cinemill.dicom.header_only import HeaderOnly
from cinemill.dicom.source import Source
from cinemill.errors import CinemillError, DamagedFile
from cinemill.operations.inspect.inspect import inspect
from tests.support.generate import JPEG_BASELINE, encapsulated_element, encode, header, noise, part10

FRAMES = np.zeros((3, 8, 8), np.uint8)
FRAGMENT = 1 << 18


def told(source):
    before = source.pixel_data.start if source.pixel_data else len(source.data)
    return source.transfer_syntax.uid, [element for element in source.elements if element.end <= before]


def assert_same(path):
    try:
        with Source(path) as whole:
            expected = told(whole)
    except CinemillError:
        return
    with HeaderOnly(path) as found:
        assert told(found) == expected
        assert found.damage is None


def test_a_header_is_the_same_without_pixel_data(pydicom_file):
    assert_same(pydicom_file)


@pytest.mark.corpus
def test_a_header_of_the_corpus_is_the_same_without_pixel_data(corpus_file):
    assert_same(corpus_file)


def test_items_of_pixel_data_are_not_looked_at(source):
    path = source(part10(header(FRAMES), encapsulated_element([[b"\xff\xd8"]] * 3), JPEG_BASELINE))
    data = bytearray(path.read_bytes())
    with Source(path) as whole:
        assert whole.pixel_data is not None
        start = whole.pixel_data.value + 8
    data[start:] = b"\xee" * (len(data) - start)
    path.write_bytes(data)
    with pytest.raises(DamagedFile):
        Source(path, scan=False)
    with HeaderOnly(path) as found:
        assert len(found) == 3
        assert not found.native
        assert found.pixel_data is not None
        assert found.pixel_data.end == len(data)


def test_what_is_missing_of_native_pixel_data_is_told(source):
    native = b"\xe0\x7f\x10\0OW\0\0" + (192).to_bytes(4, "little") + bytes(100)
    path = source(part10(header(FRAMES), native, "1.2.840.10008.1.2.1"))
    with HeaderOnly(path) as found:
        assert found.native
        assert found.damage is not None
        assert "promises 192 bytes, 100 are there" in found.damage.message


@pytest.mark.parametrize("level", [b"\xff" * 4, b"\0\x10\0\0"], ids=["too deep", "cut short"])
def test_what_stands_before_damage_is_told(source, level):
    opened = b"\x28\0\x02\x30SQ\0\0" + level + b"\xfe\xff\0\xe0" + b"\xff" * 4
    nested = (b"\x08\0\x15\x11SQ\0\0" + b"\xff" * 4 + b"\xfe\xff\0\xe0" + b"\xff" * 4) * 200
    path = source(part10(header(FRAMES), opened + nested * (15 if level[0] else 0), "1.2.840.10008.1.2.1"))
    with HeaderOnly(path) as found:
        assert isinstance(found.damage, DamagedFile)
        assert found.text(0x00100010) == "Doe^Jane"
        assert found.pixel_data is None


def test_more_elements_than_any_data_set_has_are_not_all_read(source):
    many = b"\x29\0\x00\x10LO\0\0" * 40_000
    path = source(part10(header(FRAMES), many, "1.2.840.10008.1.2.1"))
    with pytest.raises(DamagedFile, match="more than 32768 elements"):
        Source(path)
    with HeaderOnly(path) as found:
        assert "more than 32768 elements" in str(found.damage)
        assert found.text(0x00100010) == "Doe^Jane"
        assert len(found.elements) == 32768
    assert any("more than 32768 elements" in each.found for each in inspect(path).findings)


def resident(path):
    """How many pages of a file are in memory."""
    size = path.stat().st_size
    libc = ctypes.CDLL(None, use_errno=True)
    with path.open("r+b") as file, mmap.mmap(file.fileno(), size) as mapped:
        pages = -(-size // mmap.PAGESIZE)
        found = (ctypes.c_ubyte * pages)()
        address = ctypes.addressof(ctypes.c_char.from_buffer(mapped))
        assert libc.mincore(ctypes.c_void_p(address), ctypes.c_size_t(size), found) == 0
        return sum(each & 1 for each in found)


def test_few_pages_of_a_long_cine_are_read(tmp_path):
    """Without an offset table, and with a page of each of 200 fragments that would have to be looked at."""
    path, fragment = tmp_path / "cine.dcm", noise((FRAGMENT,)).tobytes()
    start = part10(header(np.zeros((200, 8, 8), np.uint8)), b"", JPEG_BASELINE)
    with path.open("wb") as file:
        file.write(start + b"\xe0\x7f\x10\0OB\0\0\xff\xff\xff\xff" + b"\xfe\xff\0\xe0\0\0\0\0")
        for _ in range(200):
            file.write(b"\xfe\xff\0\xe0" + FRAGMENT.to_bytes(4, "little") + fragment)
        file.write(b"\xfe\xff\xdd\xe0\0\0\0\0")
        file.flush()
        os.fsync(file.fileno())
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
    if resident(path):
        pytest.skip("this file system keeps its pages in memory")
    with HeaderOnly(path) as found:
        assert found.pixels.rows == 8
        assert len(found) == 200
    assert 0 < resident(path) <= 16
    with Source(path, scan=False):
        pass
    assert resident(path) >= 200


def test_encoded_values_are_read_as_by_the_whole_file(source):
    dataset = header(FRAMES, PatientID="number")
    with HeaderOnly(source(bytes(128) + b"DICM" + encode(dataset, "1.2.840.10008.1.2.1"))) as found:
        assert found.text(0x00100020) == "number"
        assert found.pixel_data is None
        assert found.native
