"""Decodes the frames of video transfer syntaxes (MPEG-2, H.264, HEVC: PS3.5 §8.2.5 to §8.2.11) by PyAV."""

from __future__ import annotations

import io
import threading
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from cinemill.errors import CodecError, UnsupportedTransferSyntax

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from cinemill.dicom.source import Source
    from cinemill.pixel_format import Samples


_STRICT = {"err_detect": "+crccheck+bitstream+buffer+explode"}
"""FFmpeg conceals damage unless it is told not to."""


class VideoDecoder:
    """Decodes one video in its order: to go back is to start again, so frames are best asked for ascending.

    It has the attributes of `cinemill.frames.decode.FrameDecoder`. Samples are RGB, or grey where the header says so.

    Raises
    ------
    UnsupportedTransferSyntax
        PyAV is not installed.
    DamagedFile
        The pixel data is not there as promised.
    """

    batch = 16
    coding = "video"
    stream = None
    lossy = True

    def __init__(self, source: Source) -> None:
        if find_spec("av") is None:
            raise UnsupportedTransferSyntax(
                f"{source.transfer_syntax.keyword} needs the package av; install it with: pip install 'cinemill[video]'",
                path=source.path,
            )
        source.check()
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
        self._lock = threading.Lock()
        self._position = 0
        self._images = self._open()

    def decode(self, indices: Sequence[int]) -> list[Samples]:
        """Decode frames to uint8 arrays of ``pixels.shape``.

        Raises
        ------
        IndexError
            There is no such frame.
        CodecError
            The video is damaged, ends too early, or has another geometry.
        """
        with self._lock:
            return [self._decode(index) for index in indices]

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

        try:
            with av.open(io.BytesIO(self.source.bitstream()), "r") as container:
                container.streams.video[0].codec_context.options = _STRICT
                for image in container.decode(video=0):
                    if image.is_corrupt:
                        raise self._error("the video is damaged", self._position)
                    yield image
        except (av.FFmpegError, IndexError) as error:
            raise self._error(f"PyAV: {error}", self._position) from None

    def _error(self, message: str, index: int) -> CodecError:
        error = CodecError(message, frame=index)
        error.locate(path=self.source.path, transfer_syntax=self.source.transfer_syntax.uid)
        return error
