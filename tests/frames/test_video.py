"""Frames of video transfer syntaxes, against ffmpeg."""

import io
import shutil
import subprocess
from functools import cache
from pathlib import Path

import av
import numpy as np
import pytest

import cinemill
from cinemill.dicom.source import Source
from cinemill.errors import CodecError, Refused, UnsupportedTransferSyntax
from cinemill.frames.video import VideoDecoder
from cinemill.syntaxes import TRANSFER_SYNTAXES
from tests.support import generate

SYNTAXES = {
    "mpeg2video": ("1.2.840.10008.1.2.4.100", "mpegts"),
    "libx264": ("1.2.840.10008.1.2.4.102", "mp4"),
    "libx265": ("1.2.840.10008.1.2.4.107", "hevc"),
}


VIDEOS = [row for row in TRANSFER_SYNTAXES.values() if row.coding == "video"]
CODECS = {"MPEG2": "mpeg2video", "MPEG4": "libx264", "HEVCM": "libx265"}
"""By the first letters of a keyword."""


@cache
def video(codec):
    """A video stream of frames that grow brighter."""
    pictures = [np.full((240, 320, 3), 10 + 18 * index, np.uint8) for index in range(12)]
    stream = io.BytesIO()
    with av.open(stream, "w", format=SYNTAXES[codec][1]) as output:
        track = output.add_stream(
            codec, rate=25, options={"x265-params": "log-level=none", "qmin": "1", "qmax": "3"}
        )
        track.width, track.height, track.pix_fmt = 320, 240, "yuv420p"
        for picture in pictures:
            for packet in track.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")):
                output.mux(packet)
        for packet in track.encode(None):
            output.mux(packet)
    return stream.getvalue(), np.stack(pictures)


def dicom(path, stream, pictures, syntax, fragments=1):
    header = generate.header(
        pictures, "YBR_PARTIAL_420", samples=3, sop_class=generate.ULTRASOUND_CINE, FrameTime="40"
    )
    element = generate.encapsulated_element([generate.split(stream, fragments)], table="empty")
    path.write_bytes(generate.part10(header, element, syntax))
    return path


@pytest.mark.parametrize("codec", SYNTAXES)
@pytest.mark.parametrize("fragments", [1, 3])
def test_frames_are_those_that_went_in(tmp_path, codec, fragments):
    stream, pictures = video(codec)
    source = dicom(tmp_path / "video.dcm", stream, pictures, SYNTAXES[codec][0], fragments)
    with cinemill.open(source) as cine:
        assert (len(cine), cine.coding) == (12, "video")
        assert cine.pixels.photometric_interpretation == "RGB"
        assert cine.frame_times[-1] == 440
        for index in (0, 11, 5, 6):
            assert np.abs(cine[index].astype(int) - pictures[index]).mean() < 4


@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="threads are counted by Linux")
@pytest.mark.parametrize("codec", SYNTAXES)
def test_decoding_starts_no_threads(tmp_path, codec):
    """Slices of HEVC on threads of FFmpeg 7.1 can wait for each other for ever."""
    stream, pictures = video(codec)
    source = dicom(tmp_path / "video.dcm", stream, pictures, SYNTAXES[codec][0])
    with Source(source) as opened:
        before = len(list(Path("/proc/self/task").iterdir()))
        images = VideoDecoder(opened)._open()
        assert next(images).width == 320
        assert len(list(Path("/proc/self/task").iterdir())) <= before


@pytest.mark.tools
def test_frames_are_those_of_ffmpeg(tmp_path):
    if shutil.which("ffmpeg") is None:
        pytest.skip("ffmpeg is not installed")
    stream, pictures = video("libx264")
    (tmp_path / "clip.mp4").write_bytes(stream)
    command = [
        "ffmpeg",
        "-v",
        "error",
        "-i",
        str(tmp_path / "clip.mp4"),
        "-f",
        "rawvideo",
        "-pix_fmt",
        "rgb24",
        "-",
    ]
    raw = subprocess.run(command, capture_output=True, check=True).stdout
    expected = np.frombuffer(raw, np.uint8).reshape(12, 240, 320, 3)
    source = dicom(tmp_path / "video.dcm", stream, pictures, SYNTAXES["libx264"][0])
    cinemill.extract(source, tmp_path / "out", format="npy")
    for index, frame in enumerate(expected):
        assert np.abs(np.load(tmp_path / "out" / f"video_{index:04}.npy").astype(int) - frame).max() <= 2


def test_a_video_that_ends_too_early(tmp_path):
    stream, pictures = video("libx264")
    source = dicom(tmp_path / "v.dcm", stream, np.concatenate([pictures, pictures]), SYNTAXES["libx264"][0])
    with pytest.raises(CodecError, match="24 frames are promised, the video has 12"):
        cinemill.extract(source, tmp_path / "out")
    assert not list((tmp_path / "out").iterdir())


@pytest.mark.parametrize("codec", ["mpeg2video", "libx264"])
def test_damage_is_not_concealed(tmp_path, codec):
    stream, pictures = video(codec)
    middle = len(stream) // 2
    damaged = stream[:middle] + bytes(100) + stream[middle + 100 :]
    source = dicom(tmp_path / "v.dcm", damaged, pictures, SYNTAXES[codec][0])
    with cinemill.open(source) as cine, pytest.raises(CodecError):
        list(cine)


def test_no_video_at_all(tmp_path):
    source = dicom(
        tmp_path / "v.dcm", b"nothing " * 100, np.zeros((2, 240, 320, 3), np.uint8), SYNTAXES["libx264"][0]
    )
    with cinemill.open(source) as cine, pytest.raises(CodecError, match="PyAV"):
        cine[0]


def test_frames_of_videos_are_not_copied(tmp_path):
    stream, pictures = video("libx264")
    source = dicom(tmp_path / "v.dcm", stream, pictures, SYNTAXES["libx264"][0])
    with pytest.raises(Refused, match="no codestreams"):
        cinemill.extract(source, tmp_path / "out", format="raw")


def test_without_the_extra(tmp_path, monkeypatch):
    stream, pictures = video("libx264")
    source = dicom(tmp_path / "v.dcm", stream, pictures, SYNTAXES["libx264"][0])
    monkeypatch.setattr("cinemill.frames.video.find_spec", lambda _: None)
    with pytest.raises(UnsupportedTransferSyntax, match=r"cinemill\[video\]"):
        cinemill.open(source)


def test_every_video_syntax_of_the_standard_has_a_row():
    """PS3.5 §10: 2 of MPEG-2, 5 of MPEG-4 and the fragmentable form of each, 2 of HEVC."""
    numbers = [f"{number}{form}" for number in range(100, 107) for form in ("", ".1")] + ["107", "108"]
    assert {row.uid for row in VIDEOS} == {f"1.2.840.10008.1.2.4.{number}" for number in numbers}


@pytest.mark.parametrize("row", VIDEOS, ids=str)
def test_every_video_syntax_is_copied_in_a_migration_and_extracted(tmp_path, row):
    stream, pictures = video(CODECS[row.keyword[:5]])
    pieces = 4 if row.keyword.endswith("F") else 1
    source = dicom(tmp_path / "video.dcm", stream, pictures, row.uid, pieces)
    for target in ("jpeg-ls", "jpeg-xl-jpeg", "explicit"):
        output = tmp_path / f"{target}.dcm"
        receipt = cinemill.transcode(source, output, to=target, colour="rgb")
        assert (receipt.status, receipt.transfer_syntax_after) == ("copied", row.uid)
        assert output.read_bytes() == source.read_bytes()
        assert cinemill.transcode(source, output, to=target).status == "kept"
    cinemill.extract(source, tmp_path / "frames", format="npy", frames="0,11")
    first = np.load(tmp_path / "frames" / "video_0000.npy")
    assert np.abs(first.astype(int) - pictures[0]).mean() < 12
