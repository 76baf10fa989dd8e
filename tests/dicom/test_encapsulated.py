"""Any frame of a long cine at once: offset tables and kept indexes are believed, and never to the loss of a frame."""

import itertools
import os
import pickle

import numpy as np
import pytest
import xxhash
from pydicom import Dataset

import cinemill
from cinemill.dicom import encapsulated as frame_index
from cinemill.dicom import kept_index
from cinemill.dicom.fragments import read_fragments
from cinemill.dicom.source import Source
from cinemill.errors import DamagedFile
from tests.support import generate

FRAMES = generate.noise((6, 9, 11))
STREAMS = [generate.rle_stream(frame) for frame in FRAMES]


def write(path, *, pieces=1, streams=STREAMS, **options):
    fragments = [generate.split(stream, pieces) for stream in streams]
    element = generate.encapsulated_element(fragments, **options)
    path.write_bytes(generate.part10(generate.header(FRAMES), element, generate.RLE))
    return path


def offsets(pieces=1):
    sizes = (
        sum(8 + len(piece) + len(piece) % 2 for piece in generate.split(stream, pieces)) for stream in STREAMS
    )
    return [0, *itertools.accumulate(sizes)][: len(STREAMS)]


@pytest.fixture
def scans(monkeypatch):
    """Count how often all items of a file are looked at."""
    seen = []

    def counted(*args):
        seen.append(args)
        return read_fragments(*args)

    monkeypatch.setattr(frame_index, "read_fragments", counted)
    return seen


@pytest.mark.parametrize("pieces", [1, 3])
@pytest.mark.parametrize("table", ["basic", "extended"])
def test_a_table_spares_the_scan(tmp_path, scans, table, pieces):
    path = write(tmp_path / "cine.dcm", pieces=pieces, table=table)
    with cinemill.open(path) as cine:
        assert np.array_equal(cine[-1], FRAMES[-1])
        assert np.array_equal(np.stack(list(cine)), FRAMES)
        assert not cine.warnings
    assert not scans
    with cinemill.open(write(tmp_path / "bare.dcm", pieces=pieces, table="empty")) as cine:
        assert np.array_equal(cine[-1], FRAMES[-1])
    assert len(scans) == 1


@pytest.mark.parametrize(
    "wrong",
    [
        pytest.param(lambda right: [value + 2 for value in right], id="shifted"),
        pytest.param(lambda right: [0, *(value + 2 for value in right[1:])], id="shifted but for the first"),
        pytest.param(lambda right: right[:-1], id="entry missing"),
        pytest.param(lambda right: [0] * len(right), id="all zero"),
        pytest.param(lambda right: [value + 8 for value in right], id="from the table's item"),
        pytest.param(lambda right: [*right[:2], right[2] + 2, *right[3:]], id="one entry wrong"),
        pytest.param(lambda right: [*right[:-1], right[-1] + (1 << 31)], id="past the end"),
        pytest.param(lambda right: [right[0], right[2], right[1], *right[3:]], id="out of order"),
    ],
)
@pytest.mark.parametrize("pieces", [1, 3])
def test_a_wrong_table_misleads_nobody(tmp_path, wrong, pieces):
    path = write(tmp_path / "cine.dcm", pieces=pieces, entries=wrong(offsets(pieces)))
    for order in (range(6), range(5, -1, -1), [2], [1], [3, 0]):
        with cinemill.open(path) as cine:
            assert all(np.array_equal(cine[index], FRAMES[index]) for index in order)
            if len(order) == 6:
                assert any("offset table" in warning.lower() for warning in cine.warnings)


def test_a_table_of_fragments_misleads_nobody(tmp_path):
    pieces = [generate.split(stream, 3) for stream in STREAMS]
    sizes = [8 + len(piece) + len(piece) % 2 for frame in pieces for piece in frame]
    flat = [0, *itertools.accumulate(sizes)]
    inside = offsets(3)
    inside[2] = flat[7]
    for entries, order in ((flat[:6], range(6)), (inside, [2, 1, 3])):
        with cinemill.open(write(tmp_path / "cine.dcm", pieces=3, entries=entries)) as cine:
            assert all(np.array_equal(cine[index], FRAMES[index]) for index in order)


@pytest.mark.parametrize("table", ["basic", "extended", "empty"])
@pytest.mark.parametrize("empty", [[], [[b""]]], ids=["whole", "empty fragment in front"])
def test_the_number_of_frames_may_stand_behind_them(tmp_path, table, empty):
    element = generate.encapsulated_element([*empty, *([stream] for stream in STREAMS)], table=table)
    path = tmp_path / "cine.dcm"
    path.write_bytes(
        generate.part10(
            Dataset(), element + generate.encode(generate.header(FRAMES), generate.EXPLICIT), generate.RLE
        )
    )
    with cinemill.open(path) as cine:
        assert np.array_equal(cine[-1], FRAMES[-1])
        assert np.array_equal(np.stack(list(cine)), FRAMES)


def test_frames_that_would_move_are_an_error(tmp_path):
    """The table passes two fragments off as the first frame, which shows at the third."""
    first, _, third, *more = offsets()
    path = write(tmp_path / "cine.dcm", entries=[first, third, third + 2, *more])
    with cinemill.open(path) as cine:
        cine.source.frame(0)
        with pytest.raises(DamagedFile, match="index is wrong, and frames were read by it"):
            cine.source.frame(1)
    with cinemill.open(path) as cine:
        assert np.array_equal(cine[2], FRAMES[2])
        assert np.array_equal(cine[0], FRAMES[0])


def test_a_kept_index_spares_the_second_scan(tmp_path, scans):
    path = write(tmp_path / "cine.dcm", table="empty", pieces=2)
    for _ in range(3):
        with cinemill.open(path, keep_index=True) as cine:
            assert np.array_equal(cine[-1], FRAMES[-1])
            assert np.array_equal(pickle.loads(pickle.dumps(cine))[3], FRAMES[3])
            assert not cine.warnings
    assert len(scans) == 1
    assert [entry.name for entry in tmp_path.iterdir() if entry != path] == [".cine.dcm.frames"]
    with cinemill.open(path) as cine:
        assert np.array_equal(cine[-1], FRAMES[-1])
    assert len(scans) == 2


def test_no_index_is_kept_beside_a_table(tmp_path):
    path = write(tmp_path / "cine.dcm")
    with cinemill.open(path, keep_index=True) as cine:
        assert len(cine) == 6
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("table", ["basic", "empty"])
def test_no_index_of_a_still_is_kept(tmp_path, table):
    path = tmp_path / "still.dcm"
    element = generate.encapsulated_element([generate.split(STREAMS[0], 3)], table=table)
    path.write_bytes(generate.part10(generate.header(FRAMES[:1]), element, generate.RLE))
    with cinemill.open(path, keep_index=True) as cine:
        assert np.array_equal(cine[0], FRAMES[0])
    assert list(tmp_path.iterdir()) == [path]


def longer(path):
    path.write_bytes(path.read_bytes() + bytes(2))


def touched(path):
    os.utime(path, ns=(0, 0))


def cut(path):
    kept = kept_index.kept_path(path)
    kept.write_bytes(kept.read_bytes()[:-5])


def flipped(path):
    kept = kept_index.kept_path(path)
    data = bytearray(kept.read_bytes())
    data[-30] ^= 1
    kept.write_bytes(data)


def emptied(path):
    kept_index.kept_path(path).write_bytes(b"")


@pytest.mark.parametrize("change", [longer, touched, cut, flipped, emptied])
def test_a_stale_index_is_not_believed(tmp_path, scans, change):
    path = write(tmp_path / "cine.dcm", table="empty")
    for expected in (1, 2):
        with cinemill.open(path, keep_index=True) as cine:
            assert np.array_equal(np.stack(list(cine)), FRAMES)
        assert len(scans) == expected
        change(path)


def test_an_index_of_other_bytes_under_the_same_name_and_time(tmp_path):
    path = write(tmp_path / "cine.dcm", table="empty")
    state = path.stat()
    with cinemill.open(path, keep_index=True) as cine:
        assert len(cine) == 6
    write(path, table="empty", streams=STREAMS[::-1])
    assert path.stat().st_size == state.st_size
    os.utime(path, ns=(state.st_atime_ns, state.st_mtime_ns))
    with cinemill.open(path, keep_index=True) as cine:
        assert np.array_equal(np.stack(list(cine)), FRAMES[::-1])


def test_an_index_that_cannot_be_kept_is_a_warning(tmp_path):
    path = write(tmp_path / "cine.dcm", table="empty")
    kept_index.kept_path(path).mkdir()
    with cinemill.open(path, keep_index=True) as cine:
        assert np.array_equal(cine[2], FRAMES[2])
        assert any("frame index can't be written" in warning for warning in cine.warnings)


def test_transcoding_looks_at_all_items(tmp_path, scans):
    path = write(tmp_path / "cine.dcm")
    cinemill.transcode(path, tmp_path / "out.dcm", to="explicit")
    assert len(scans) == 1
    with Source(path) as source:
        assert not source.warnings


def forge(path, change):
    """Change the kept index of a file in its numbers; its checksum is right."""
    kept = kept_index.kept_path(path)
    body = kept.read_bytes()[:-16]
    head = len(body) - 8 * (len(FRAMES) + 1)
    starts = np.frombuffer(body, "<i8", offset=head).copy()
    state = bytearray(body[:head])
    starts = change(starts, state, path)
    body = bytes(state) + np.asarray(starts, "<i8").tobytes()
    kept.write_bytes(body + xxhash.xxh3_128_digest(body))


def rolled(starts, *_):
    return [*starts[1:], starts[-1]]


def backwards(starts, *_):
    return starts[::-1]


def elsewhere(starts, _, path):
    """All frames are items that stand in a private element in front of the pixel data."""
    decoy = path.read_bytes().index(DECOY)
    return starts - starts[0] + decoy


def negative(starts, _, path):
    return starts - path.stat().st_size


def merged(starts, *_):
    """The second frame is left out, and the last one cut in two."""
    return [starts[0], *starts[2:-1], starts[-1] - 2, starts[-1]]


def split_in_the_middle(starts, *_):
    return [*starts[:2], *starts[3:5], starts[4] + 2, *starts[5:]]


def fewer(starts, *_):
    return starts[:-2]


def torn(starts, state, _):
    """What stands behind the state is no whole number of offsets."""
    state.extend(b"\1\2\3")
    return starts[:-1]


def beyond(starts, state, _):
    state[-16:-8] = (1 << 40).to_bytes(8, "little")
    return starts


def shorter(starts, state, _):
    """The Pixel Data is said to end where the last frame begins: its bytes would be read as elements."""
    state[-16:-8] = int(starts[-2]).to_bytes(8, "little")
    return starts


FORGERIES = [
    rolled,
    backwards,
    elsewhere,
    negative,
    merged,
    split_in_the_middle,
    fewer,
    torn,
    beyond,
    shorter,
]
DECOY = b"".join(generate.item(stream + bytes(len(stream) % 2)) for stream in STREAMS[::-1])


@pytest.mark.parametrize("forgery", FORGERIES)
@pytest.mark.parametrize("order", [range(6), [3, 2, 1, 0, 5, 4]], ids=["in order", "anyhow"])
def test_a_forged_index_shows_no_wrong_frame(tmp_path, scans, forgery, order):
    path = write(tmp_path / "cine.dcm", table="empty", pieces=2)
    whole = path.read_bytes()
    at = whole.index(b"\x28\0\x02\0")
    private = b"\x09\0\x10\x10OB\0\0" + len(DECOY).to_bytes(4, "little") + DECOY
    path.write_bytes(whole[:at] + private + whole[at:])
    with cinemill.open(path, keep_index=True) as cine:
        assert np.array_equal(np.stack(list(cine)), FRAMES)
    forge(path, forgery)
    with cinemill.open(path, keep_index=True) as cine:
        assert len(cine) == 6
        for index in order:
            assert np.array_equal(cine[index], FRAMES[index])
        assert any("does not fit the items" in warning for warning in cine.warnings)
    with cinemill.open(path, keep_index=True) as cine:
        assert np.array_equal(np.stack(list(cine)), FRAMES)
        assert not cine.warnings
    assert len(scans) == 2
