"""Which codec serves which coding, and why: the one place to change when a codec is added.

The first decoder is the one used; the others are independent implementations. A verifier shares no code with the
encoder of its row, except where no other implementation exists: what is uncompressed is read by what wrote it, and so is JPEG XL
where jxl-oxide is not installed, for all other readers of it wrap libjxl.
"""

from __future__ import annotations

from functools import cache
from importlib import import_module
from importlib.util import find_spec
from itertools import islice
from typing import TYPE_CHECKING, Any

from cinemill.errors import UnsupportedTransferSyntax

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from cinemill.codecs.codec import Codec, Encoder

_DECODERS: dict[str, tuple[str, ...]] = {
    "native": ("native:Native",),
    "encapsulated-uncompressed": ("native:Native",),
    "deflated-frame": ("native:DeflatedFrame", "libdeflate:Libdeflate"),
    "rle": ("rle:Rle",),
    "jpeg": (
        "jpeg.sequential:fastest",  # the kernels where they run, else libjpeg-turbo
        "jpeg.libjpeg_turbo:LibjpegTurboOfSound",
        "jpeg.pylibjpeg:Pylibjpeg",
    ),
    "jpeg-lossless": (
        "jpeg.lossless:JpegLossless",
        "jpeg.libjpeg_turbo:LibjpegTurbo",
        "jpeg.pylibjpeg:Pylibjpeg",
    ),
    "jpeg-ls": ("jpeg_ls.codec:JpegLs", "jpeg_ls.charls:CharLS"),
    "jpeg-2000": ("jpeg_2000.codec:fastest", "jpeg_2000.openjpeg:OpenJpeg"),
    "jpeg-2000-lossy": ("jpeg_2000.openjpeg:OpenJpeg",),  # the kernels have the reversible wavelet only
    "htj2k": (
        "jpeg_2000.htj2k:fastest_decoder",
        "jpeg_2000.openjpeg:OpenJpeg",
    ),  # imagecodecs keeps OpenJPH's errors to itself, and returns half a frame
    "jpeg-xl": ("jpeg_xl.libjxl:Libjxl", "jpeg_xl.jxl_oxide:JxlOxide"),
}
_ARBITERS: dict[str, tuple[str, ...]] = {
    "jpeg-2000": ("jpeg_2000.ffmpeg:Ffmpeg",),
    "jpeg-2000-lossy": ("jpeg_2000.ffmpeg:Ffmpeg",),
}
"""Asked where two others disagree: slower, or not always installed."""
_IRREGULAR = "jpeg_2000.irregular:ByKernels", "jpeg_2000.irregular:ByOpenJpeg", "jpeg_2000.irregular:ByFfmpeg"
_EXACT = frozenset(("cinemill-jpeg",))
"""Decoders of lossy codestreams that give the very samples of the next one."""
_ENCODERS: dict[str, str] = {
    "native": "native:Native",
    "rle": "rle:Rle",
    "jpeg-ls": "jpeg_ls.codec:JpegLs",
    "jpeg-2000": "jpeg_2000.codec:fastest",  # the kernels where they run, else OpenJPEG
    "htj2k": "jpeg_2000.htj2k:fastest",  # the kernels where they run, else OpenJPH
    "jpeg-xl": "jpeg_xl.libjxl:Libjxl",
    "encapsulated-uncompressed": "native:Native",
    "deflated-frame": "libdeflate:Libdeflate",
}
_VERIFIERS: dict[str, tuple[str, ...]] = {
    "native": ("native:Native",),
    "rle": ("rle:RleOfBytes", "dicomrle:DicomRle"),
    "jpeg-ls": ("jpeg_ls.codec:JpegLs", "jpeg_ls.charls:CharLS"),
    "jpeg-2000": ("jpeg_2000.codec:fastest", "jpeg_2000.openjpeg:OpenJpeg"),
    "htj2k": ("jpeg_2000.htj2k:verifier", "jpeg_2000.htj2k:second_decoder"),
    "jpeg-xl": (
        "jpeg_xl.libjxl:Libjxl",  # the encoder's own library: what is independent is jxl-oxide, where installed
        "jpeg_xl.jxl_oxide:JxlOxide",
    ),
    "encapsulated-uncompressed": ("native:Native",),
    "deflated-frame": ("native:DeflatedFrame",),
}
_TRANSIENT = {"jpeg_ls.codec:JpegLs": "jpeg_ls.codec:Transient"}
"""Verifiers that need less memory where their frames are compared at once, and let go."""
_INDEPENDENT: dict[str, tuple[str, ...]] = {
    "htj2k": ("jpeg_2000.openjpeg:OpenJpeg",),
    "jpeg": ("jpeg.libjpeg_turbo:LibjpegTurbo",),
}
"""Of codestreams that others may have written, or damaged."""


def decoder(coding: str) -> Codec:
    """Return the decoder of a coding.

    Raises
    ------
    UnsupportedTransferSyntax
        No codec here reads it.
    """
    if coding not in _DECODERS:
        raise UnsupportedTransferSyntax(f"{coding} can't be decoded")
    codec: Codec = _load(_DECODERS[coding][0])
    return codec


def second_opinions(coding: str) -> Iterator[Codec]:
    """Return the other decoders of a coding; pylibjpeg-libjpeg, which is under the GPL, may be missing, and others too.

    Each is loaded when it is asked for: most often the first one settles it.
    """
    return islice(_different(_DECODERS[coding]), 1, None)


def exact(codec: Codec) -> bool:
    """Whether a decoder of lossy codestreams gives the very samples of the next one, which can then have a second opinion."""
    return codec.name in _EXACT


def arbiters(coding: str) -> Iterator[Codec]:
    """Return the decoders that settle a dissent of the others."""
    return _installed(_ARBITERS.get(coding, ()))


def irregular_decoders() -> Iterator[Codec]:
    """Return the decoders of JPEG 2000 that is not conformant, best first; two have to agree."""
    return _installed(_IRREGULAR)


def encoder(coding: str) -> Encoder:
    """Return the lossless encoder of a coding."""
    codec: Encoder = _load(_ENCODERS[coding])
    return codec


def verifiers(coding: str, *, first: bool = False, transient: bool = False) -> list[Codec]:
    """Return the decoders that check what the encoder wrote.

    Parameters
    ----------
    coding
        What it wrote.
    first
        Leave out all but the first one, which decodes every frame; the others decode some.
    transient
        Frames may be gone with the next call that their thread makes of a codec.
    """
    names = _VERIFIERS[coding]
    if transient:
        names = _TRANSIENT.get(names[0], names[0]), *names[1:]
    return list(_different(names[: 1 if first else None]))


def independent(coding: str) -> Codec:
    """Return a decoder of a lossless coding that shares no code with the encoder here, nor with the decoder, if there is one."""
    return list(_different(_INDEPENDENT.get(coding) or _VERIFIERS.get(coding, _DECODERS[coding][:2])))[-1]


def _different(names: Sequence[str]) -> Iterator[Codec]:
    """Load codecs; where the kernels don't run, the library that stands in for them is there once."""
    known = set[str]()
    for codec in _installed(names):
        if codec.name not in known:
            known.add(codec.name)
            yield codec


def _installed(names: Sequence[str]) -> Iterator[Codec]:
    """Load codecs one by one, without those whose library or processor is missing."""
    return (_load(name) for name in names if _is_installed(name.partition(":")[2]))


def _is_installed(name: str) -> bool:
    if name in {"Ffmpeg", "ByFfmpeg"}:
        from cinemill.codecs.jpeg_2000 import ffmpeg

        return ffmpeg.available()
    if name == "ByKernels":
        from cinemill.kernels.machine import x86

        return x86.available()
    package = {"Pylibjpeg": "libjpeg", "JxlOxide": "micro_reader_codecs"}.get(name)
    return package is None or find_spec(package) is not None


@cache
def _load(name: str) -> Any:
    module, _, codec = name.partition(":")
    return getattr(import_module(f"cinemill.codecs.{module}"), codec)()
