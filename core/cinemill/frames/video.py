"""Decodes the frames of video transfer syntaxes (MPEG-2, H.264, HEVC: PS3.5 §8.2.5 to §8.2.11) by PyAV.

FFmpeg would choose among hundreds of formats by what the bytes look like, and some of them name other files or addresses, which
it opens. Here the transfer syntax says what the bytes are, and FFmpeg may open nothing.
"""

from __future__ import annotations

import io
import threading
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, NamedTuple, NoReturn

from cinemill.errors import CodecError, DamagedFile, UnsupportedTransferSyntax, not_installed
from cinemill.frames import colour
from cinemill.frames.depth import Depth

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from cinemill.dicom.source import Source
    from cinemill.pixel_format import Buffer, Samples


_STRICT = {"err_detect": "+crccheck+bitstream+buffer+explode"}
"""FFmpeg conceals damage unless it is told not to."""

_CLOSED = {
    "protocol_whitelist": "",
    "enable_drefs": "0",
    "probesize": "5000000",
    "analyzeduration": "5000000",
}
"""FFmpeg opens nothing, follows no references, and looks at so many bytes and microseconds before it decodes."""

_MARGIN = 128
"""Rows and columns that coded pictures may have beyond those shown."""


class _Kind(NamedTuple):
    """What a video transfer syntax holds, in FFmpeg's names."""

    elementary: str
    """The format of a stream without a container."""
    programs: bool
    """Whether it may be an MPEG-2 program stream."""
    codecs: tuple[str, ...]


_MPEG_2 = _Kind("mpegvideo", programs=True, codecs=("mpeg2video", "mpeg1video"))
_H264 = _Kind("h264", programs=False, codecs=("h264",))
_HEVC = _Kind("hevc", programs=False, codecs=("hevc",))
_KINDS: Mapping[str, _Kind] = {"MPEG2": _MPEG_2, "MPEG4": _H264, "HEVCM": _HEVC}
"""By the first letters of the transfer syntax's keyword."""

_MP4_BOXES = frozenset((b"ftyp", b"styp", b"moov", b"mdat", b"free", b"skip", b"wide"))
_TS_PACKET = 188


class VideoDecoder:
    """Decodes one video in its order: to go back is to start again, so frames are best asked for ascending.

    It has the attributes of `cinemill.frames.decode.FrameDecoder`. Samples are RGB, or grey where the header says so.

    Raises
    ------
    UnsupportedTransferSyntax
        PyAV is not installed.
    DamagedFile
        The pixel data is not there as promised, or promises more frames than it has bytes.
    """

    batch = 16
    coding = "video"
    stream = None
    lossy = True

    def __init__(self, source: Source) -> None:
        if find_spec("av") is None:
            raise UnsupportedTransferSyntax(
                not_installed(source.transfer_syntax.keyword, "the package av", "video"), path=source.path
            )
        source.check()
        if len(source) > source.encoded_bytes:
            raise DamagedFile(
                f"{len(source)} frames are promised, the video has {source.encoded_bytes} bytes",
                path=source.path,
            )
        self.source = source
        self.warnings: list[str] = []
        grey = source.pixels.samples == 1
        self.pixels = source.pixels.with_(
            bits_allocated=8,
            bits_stored=8,
            signed=False,
            photometric_interpretation="MONOCHROME2" if grey else "RGB",
            planar_configuration=0,
        )
        self.depth = Depth.of(source, None, self.pixels)
        self._lock = threading.Lock()
        self._position = 0
        self._images = self._open()

    def decode(self, indices: Sequence[int], interpretation: str | None = None) -> list[Samples]:
        """Decode frames to uint8 arrays of ``pixels.shape``.

        Parameters
        ----------
        interpretation
            Colour space to convert to, that of ``pixels`` by default.

        Raises
        ------
        IndexError
            There is no such frame.
        CodecError
            The video is damaged, ends too early, or has another geometry.
        """
        with self._lock:
            frames = [self._decode(index) for index in indices]
        found = self.pixels.photometric_interpretation
        return [colour.convert(frame, found, interpretation or found) for frame in frames]

    samples = decode

    def _decode(self, index: int) -> Samples:
        if not 0 <= index < len(self.source):
            raise IndexError(f"frame {index} of {len(self.source)}")
        if index < self._position:
            self._images, self._position = self._open(), 0
        for image in self._images:
            self._position += 1
            if self._position > index:
                return self._samples(image, index)
        raise self._error(f"{len(self.source)} frames are promised, the video has {self._position}", index)

    def _samples(self, image: Any, index: int) -> Samples:
        samples: Samples = image.to_ndarray(format="gray" if self.pixels.samples == 1 else "rgb24")
        if samples.shape != self.pixels.shape:
            raise self._error(
                f"expected a frame of {self.pixels.shape}, the video has {samples.shape}", index
            )
        return samples

    def _open(self) -> Iterator[Any]:
        import av

        stream = self.source.bitstream()
        kind = _KINDS[self.source.transfer_syntax.keyword[:5]]
        container_format = _container(stream, kind)
        if container_format == kind.elementary:
            stream = bytes(stream).rstrip(b"\0")  # the pad byte of a fragment would be a picture of its own
        most = (self.pixels.rows + _MARGIN) * (self.pixels.columns + _MARGIN)
        options = {**_CLOSED, "codec_whitelist": ",".join(kind.codecs), "max_pixels": str(most)}
        try:
            with av.open(
                io.BytesIO(stream),
                "r",
                format=container_format,
                options=options,
                io_open=_open_nothing,
                **_lenient(av.__version__),
            ) as container:
                decoder = container.streams.video[0].codec_context
                found = getattr(decoder, "name", "what has no decoder")
                if found not in kind.codecs:
                    raise self._error(f"expected {' or '.join(kind.codecs)}, found {found}", self._position)
                decoder.options = {**_STRICT, "max_pixels": str(most)}
                decoder.thread_count = 1  # slices on threads can wait for each other for ever
                for image in container.decode(video=0):
                    if image.is_corrupt:
                        raise self._error("the video is damaged", self._position)
                    yield image
        except (av.FFmpegError, IndexError, ValueError) as error:
            syntax = self.source.transfer_syntax.keyword
            raise self._error(f"the {syntax} video does not decode (PyAV: {error})", self._position) from None

    def _error(self, message: str, index: int) -> CodecError:
        error = CodecError(message, frame=index)
        error.locate(path=self.source.path, transfer_syntax=self.source.transfer_syntax.uid)
        return error


def _lenient(version: str) -> dict[str, Any]:
    """Return what keeps a PyAV of this version from failing for metadata that are no UTF-8, which none from 19 on does."""
    return {"metadata_errors": "replace"} if int(version.partition(".")[0]) < 19 else {}


def _container(stream: Buffer, kind: _Kind) -> str:
    """Name the format of a stream: one of the containers that the transfer syntaxes allow, else none.

    MPEG-4 AVC and HEVC come in MPEG-2 transport streams or MP4 (PS3.5 §A.4.6 to §A.4.11), MPEG-2 also in program streams.
    """
    start = bytes(stream[: 2 * _TS_PACKET + 1])
    if start[::_TS_PACKET] == b"GGG" or (start[:1] == b"G" and len(start) <= _TS_PACKET):
        return "mpegts"
    if start[4:8] in _MP4_BOXES:
        return "mp4"
    if kind.programs and start.startswith(b"\0\0\1\xba"):
        return "mpeg"
    return kind.elementary


def _open_nothing(url: str, flags: int, options: dict[str, str]) -> NoReturn:  # noqa: ARG001  # as PyAV calls it
    raise PermissionError(f"the video names another file, {url!r}; nothing is opened")
