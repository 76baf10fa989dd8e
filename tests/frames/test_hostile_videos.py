"""Videos that are no videos: FFmpeg opens nothing but the bytes it is given, whatever these look like."""

import ctypes
import io
import os
import sys
from contextlib import contextmanager, suppress

import av
import numpy as np
import pytest

import cinemill
from cinemill.errors import CodecError, DamagedFile
from cinemill.frames import video
from tests.support import generate

MPEG_2, H264, HEVC = (f"1.2.840.10008.1.2.4.{number}" for number in (100, 102, 107))
ALLOWED = {"mpegvideo", "mpeg", "mpegts", "mp4", "h264", "hevc"}
NAMING_FILES = {
    "concat": b"ffconcat version 1.0\nfile secret.mp4\n",
    "hls": b"#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\nsecret.mp4\n#EXT-X-ENDLIST\n",
    "dash": b'<?xml version="1.0"?><MPD xmlns="urn:mpeg:dash:schema:mpd:2011" type="static"><Period><AdaptationSet>'
    b"<Representation id='1' mimeType='video/mp4'><BaseURL>secret.mp4</BaseURL></Representation></AdaptationSet></Period></MPD>",
    "sdp": b"v=0\no=- 0 0 IN IP4 127.0.0.1\ns=-\nc=IN IP4 127.0.0.1\nt=0 0\nm=video 50004 RTP/AVP 96\na=rtpmap:96 H264/90000\n",
    "asf redirection": b"[Reference]\nRef1=http://127.0.0.1/secret.mp4\n",
    "rtsp text": b"RTSPtextrtsp://127.0.0.1/secret\r\n",
}
linux = pytest.mark.skipif(sys.platform != "linux", reason="inotify tells what is opened")


def instance(path, stream, syntax, frames=2, shape=(64, 64, 3)):
    header = generate.header(
        np.zeros((frames, *shape), np.uint8),
        "YBR_PARTIAL_420",
        samples=3,
        sop_class=generate.ULTRASOUND_CINE,
        FrameTime="40",
    )
    path.write_bytes(
        generate.part10(header, generate.encapsulated_element([[stream]], table="empty"), syntax)
    )
    return path


def clip(container, codec="mpeg2video", shape=(64, 64)):
    """Two black pictures in a container; None where it does not take them."""
    stream = io.BytesIO()
    try:
        with av.open(stream, "w", format=container) as output:
            track = output.add_stream(codec, rate=25)
            track.height, track.width = shape
            track.pix_fmt = "yuv420p"
            for _ in range(2):
                for packet in track.encode(av.VideoFrame.from_ndarray(np.zeros((*shape, 3), np.uint8))):
                    output.mux(packet)
            for packet in track.encode(None):
                output.mux(packet)
    except (av.FFmpegError, ValueError, OSError):
        return None
    return stream.getvalue()


@contextmanager
def opened_in(folder):
    """Yield a list that has, at the end, the names of files opened in a folder, by whatever code."""
    libc = ctypes.CDLL(None, use_errno=True)
    watch = libc.inotify_init1(os.O_NONBLOCK)
    assert libc.inotify_add_watch(watch, os.fsencode(folder), 0x20) >= 0  # IN_OPEN
    names: list[str] = []
    try:
        yield names
        while events := _read(watch):
            while events:
                length = int.from_bytes(events[12:16], sys.byteorder)
                names.append(events[16 : 16 + length].rstrip(b"\0").decode())
                events = events[16 + length :]
    finally:
        os.close(watch)


def _read(watch):
    try:
        return os.read(watch, 65536)
    except BlockingIOError:
        return b""


@pytest.fixture
def secrets(tmp_path, monkeypatch):
    folder = tmp_path / "working"
    folder.mkdir()
    (folder / "secret.mp4").write_bytes(clip("mp4"))
    monkeypatch.chdir(folder)
    return folder


@pytest.fixture
def asked(secrets, monkeypatch):
    """The formats that FFmpeg is asked for, and the protocols that it may use."""
    found: list[tuple[str, str]] = []

    def recording(file, mode, honest=av.open, **how):
        if mode == "r":
            found.append((how["format"], how["options"]["protocol_whitelist"]))
        return honest(file, mode, **how)

    monkeypatch.setattr(av, "open", recording)
    return found


@linux
def test_the_tripwire_sees_what_ffmpeg_opens_by_itself(secrets):
    with (
        opened_in(secrets) as names,
        av.open(io.BytesIO(NAMING_FILES["concat"]), "r", format="concat") as other,
    ):
        assert len(list(other.decode(video=0))) == 2
    assert "secret.mp4" in names


@linux
@pytest.mark.parametrize("kind", NAMING_FILES)
@pytest.mark.parametrize("syntax", [MPEG_2, H264, HEVC])
def test_a_stream_that_names_a_file_or_an_address_opens_neither(tmp_path, secrets, asked, kind, syntax):
    source = instance(tmp_path / "v.dcm", NAMING_FILES[kind], syntax)
    with opened_in(secrets) as names, cinemill.open(source) as cine, pytest.raises(CodecError):
        cine[0]
    assert names == []
    assert {format_ for format_, _ in asked} <= ALLOWED  # the others open addresses, and wait for packets
    assert {protocols for _, protocols in asked} == {""}


@linux
@pytest.mark.parametrize("syntax", [MPEG_2, H264, HEVC])
def test_no_demuxer_of_ffmpeg_is_chosen_by_content(tmp_path, secrets, asked, syntax):
    names = sorted(av.formats_available)
    streams = {name: clip(name) for name in names}
    asked.clear()
    for name in names:
        source = instance(tmp_path / "v.dcm", streams[name] or name.encode() + b" secret.mp4\n", syntax)
        with opened_in(secrets) as opened, cinemill.open(source) as cine, suppress(CodecError):
            cine[0]
        assert opened == [], name
    assert len(asked) == len(names) > 300
    assert {format_ for format_, _ in asked} <= ALLOWED
    assert {protocols for _, protocols in asked} == {""}


@pytest.mark.parametrize(
    ("syntax", "container", "codec"),
    [
        (MPEG_2, "mpeg2video", "mpeg2video"),
        (MPEG_2, "vob", "mpeg2video"),
        (MPEG_2, "mpegts", "mpeg2video"),
        (H264, "h264", "libx264"),
        (H264, "mp4", "libx264"),
        (H264, "mpegts", "libx264"),
    ],
)
def test_containers_that_the_standard_has_are_read(tmp_path, syntax, container, codec):
    source = instance(tmp_path / "v.dcm", clip(container, codec), syntax)
    with cinemill.open(source) as cine:
        assert [frame.max() < 20 for frame in cine] == [True, True]


def test_another_codec_than_the_transfer_syntax_says_is_refused(tmp_path):
    source = instance(tmp_path / "v.dcm", clip("mp4", "mpeg4"), H264)
    with cinemill.open(source) as cine, pytest.raises(CodecError, match="expected h264, found mpeg4"):
        cine[0]


def test_pictures_far_larger_than_the_header_says_are_not_decoded(tmp_path):
    source = instance(tmp_path / "v.dcm", clip("mp4", "libx264", (720, 1280)), H264)
    with cinemill.open(source) as cine, pytest.raises(CodecError, match="PyAV"):
        cine[0]


def test_more_frames_than_bytes_are_refused_at_once(tmp_path):
    path = instance(tmp_path / "v.dcm", b"\0\0\1\xb3" + bytes(100), H264)
    path.write_bytes(
        path.read_bytes().replace(b"\x28\0\x08\0IS\x02\0002 ", b"\x28\0\x08\0IS\x0a\0001000000000")
    )
    with pytest.raises(DamagedFile, match="1000000000 frames are promised, the video has 104 bytes"):
        cinemill.open(path)


def test_nothing_can_be_opened_through_pyav():
    with pytest.raises(PermissionError, match=r"secret\.mp4"):
        video._open_nothing("secret.mp4", 0, {})
