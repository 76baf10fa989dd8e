"""Headers are copied and compared in runs of elements: nothing is lost, moved or overlooked by that."""

import random
import struct
from operator import itemgetter

import pytest
from pydicom.dataset import Dataset

from cinemill.dicom import compare
from cinemill.dicom.compare import compare_elements
from cinemill.dicom.elements import EXPLICIT_LE, tag_name
from cinemill.dicom.recode import Recoder
from cinemill.dicom.source import Source
from cinemill.errors import CinemillError, VerificationError
from tests.support.files import bundled
from tests.support.generate import EXPLICIT, part10


def explicit(tag, vr, value):
    """An element in Explicit VR Little Endian, of a VR with a short header."""
    return struct.pack("<HH2sH", tag >> 16, tag & 0xFFFF, vr, len(value)) + value


def with_changes(pieces, changes):
    """What a header becomes whose elements are sorted, and into which some are put."""
    told = [
        *((element.tag, encoded) for element, encoded in pieces),
        *((tag, b"%08x" % tag) for tag in changes),
    ]
    return b"".join(encoded for _, encoded in sorted(told, key=itemgetter(0)))


def assert_runs_are_elements(path):
    try:
        source = Source(path)
    except CinemillError:
        return
    chance = random.Random(str(path.name))
    there = [element.tag for element in source.elements]
    changes = {*chance.sample(there, min(3, len(there))), *(chance.randrange(1 << 32) for _ in range(6))}
    kept = [element for element in source.elements if element.tag not in changes]

    def recoder():
        return Recoder(source.data, source.encoding, EXPLICIT_LE, signed=False)

    try:
        one_by_one = with_changes(recoder().encode(kept), changes)
    except CinemillError:
        return
    assert with_changes(recoder().encode_runs(kept, changes), changes) == one_by_one


def test_runs_hold_what_their_elements_hold(pydicom_file):
    assert_runs_are_elements(pydicom_file)


@pytest.mark.corpus
def test_runs_of_the_corpus_hold_what_their_elements_hold(corpus_file):
    assert_runs_are_elements(corpus_file)


@pytest.mark.parametrize(
    "tags",
    [(0x00100010, 0x00080005, 0x00100020), (0x00100010, 0xFFFF0010, 0xFFFF1001)],
    ids=["unsorted", "last"],
)
def test_elements_in_no_order_and_behind_all_groups_are_runs_too(tmp_path, tags):
    path = tmp_path / "odd.dcm"
    path.write_bytes(part10(Dataset(), b"".join(explicit(tag, b"LO", b"ab") for tag in tags), EXPLICIT))
    assert [element.tag for element in Source(path).elements] == [*tags]
    assert_runs_are_elements(path)


def test_what_stands_in_another_order_is_compared_without_going_down_into_it(tmp_path, monkeypatch):
    """A sequence may have a million items."""
    monkeypatch.setattr(compare, "_normal", None)
    items = struct.pack("<HH2sHL", 0x0008, 0x1140, b"SQ", 0, 80) + struct.pack("<HHL", 0xFFFE, 0xE000, 0) * 10
    others = [explicit(tag, b"LO", b"ab") for tag in (0x00100010, 0x00080070)]
    for name, elements in {"found": [*others, items], "sorted": [others[1], items, others[0]]}.items():
        (tmp_path / name).write_bytes(part10(Dataset(), b"".join(elements), EXPLICIT))
    compare_elements(Source(tmp_path / "found"), Source(tmp_path / "sorted"), ())
    compare_elements(Source(tmp_path / "sorted"), Source(tmp_path / "found"), ())


@pytest.mark.parametrize("changed", range(3))
def test_what_differs_is_found_in_another_order(tmp_path, changed):
    elements = [(0x00100010, b"ab"), (0x00080070, b"cd"), (0x00080080, b"ef")]
    written = [(tag, b"xy" if number == changed else value) for number, (tag, value) in enumerate(elements)]
    for name, told in {"found": elements, "sorted": sorted(written)}.items():
        data = b"".join(explicit(tag, b"LO", value) for tag, value in told)
        (tmp_path / name).write_bytes(part10(Dataset(), data, EXPLICIT))
    with pytest.raises(VerificationError) as found:
        compare_elements(Source(tmp_path / "found"), Source(tmp_path / "sorted"), ())
    assert tag_name(elements[changed][0]) in str(found.value)


def damaged_elements(source, damaged):
    """Yield each element that has a value, after a copy of the file was written in which one byte of that differs."""
    data = source.path.read_bytes()
    for element in source.elements:
        if element.end == element.value or element.vr == b"SQ":
            continue
        damaged.write_bytes(
            data[: element.end - 1] + bytes((data[element.end - 1] ^ 1,)) + data[element.end :]
        )
        yield element


def test_one_byte_that_differs_is_found_in_any_element(tmp_path):
    source, damaged = Source(bundled("CT_small.dcm")), tmp_path / "damaged.dcm"
    for element in damaged_elements(source, damaged):
        with pytest.raises(VerificationError) as found, Source(damaged) as written:
            compare_elements(source, written, ())
        assert tag_name(element.tag) in str(found.value)


@pytest.mark.parametrize("tag", [0x00080018, 0x00100020, 0x00280103])
def test_an_element_that_is_missing_longer_or_new_is_found(tmp_path, tag):
    path = bundled("CT_small.dcm")
    source, data = Source(path), path.read_bytes()
    (element,) = (each for each in source.elements if each.tag == tag)
    own = data[element.start : element.end]
    longer = explicit(tag, element.vr or b"", own[8:] + b"1 ")
    for other, named in (
        (b"", tag),
        (longer, tag),
        (own + explicit(tag + 1, b"LO", b"new "), tag + 1),
    ):
        changed = tmp_path / "changed.dcm"
        changed.write_bytes(data[: element.start] + other + data[element.end :])
        with Source(changed) as written:
            with pytest.raises(VerificationError) as found:
                compare_elements(source, written, ())
            assert tag_name(named) in str(found.value)
            compare_elements(source, written, {tag, tag + 1})
