"""Decides what colour samples really are, codestream against label, and converts between colour spaces."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cinemill.errors import UnsupportedPixelFormat

if TYPE_CHECKING:
    from cinemill.codecs.codestream import Codestream
    from cinemill.pixel_format import Samples

_DECODED = {
    "MONOCHROME1": "MONOCHROME1",
    "MONOCHROME2": "MONOCHROME2",
    "PALETTE COLOR": "PALETTE COLOR",
    "RGB": "RGB",
    "YBR_FULL": "YBR_FULL",
    "YBR_FULL_422": "YBR_FULL",
    "YBR_RCT": "RGB",
    "YBR_ICT": "RGB",
    "XYB": "RGB",
}
"""What samples are once they are decoded, by their label (PS3.3 C.7.6.3.1.2)."""

_TRANSFORMS = frozenset(("YBR_RCT", "YBR_ICT"))
"""Labels of what only JPEG 2000 codestreams do, and undo."""

_OF_JPEG_XL = frozenset(("XYB", "YBR_FULL_422"))
"""Labels of colours as lossy JPEG XL codes them; decoders return RGB (PS3.3 C.7.6.3.1.2, PS3.5 §8.2.15)."""

GREY = frozenset(("MONOCHROME1", "MONOCHROME2", "PALETTE COLOR"))
"""Photometric interpretations of one sample per pixel."""


def decoded_interpretation(label: str, samples: int, stream: Codestream | None) -> tuple[str, str | None]:
    """Return the photometric interpretation of decoded samples, and a warning where the label is wrong.

    A codestream that tells its colour space is believed (JFIF and Adobe markers, component ids and subsampling of
    JPEG, the component transform of JPEG 2000, the colour box of JP2); else the label is.

    Parameters
    ----------
    label
        Photometric Interpretation of the header.
    samples
        Per pixel.
    stream
        What the codestream says, where it has markers.

    Raises
    ------
    UnsupportedPixelFormat
        The label is none that decoded samples can have, or does not fit Samples per Pixel.
    """
    labelled = _DECODED.get(label)
    if stream is not None and stream.coding == "jpeg-xl" and stream.colour == "RGB" and label in _OF_JPEG_XL:
        return "RGB", None
    if stream is not None and stream.colour is not None and samples == 3:
        if stream.colour == labelled:
            return labelled, _transform_mislabelled(label, stream)
        return stream.colour, (
            f"Photometric Interpretation is {label or '(empty)'}, but the {stream.process} codestream "
            f"holds {'YCbCr' if stream.colour == 'YBR_FULL' else 'RGB'}; read as {stream.colour}"
        )
    if labelled is None or (labelled in GREY) != (samples == 1) or samples not in {1, 3}:
        found = (
            f"Photometric Interpretation {label}"
            if label
            else "no Photometric Interpretation, or an empty one,"
        )
        raise UnsupportedPixelFormat(
            f"{found} with {samples} samples per pixel can't be decoded; expected one of "
            + ", ".join(name for name in _DECODED if (name in GREY) == (samples == 1))
        )
    if label in _TRANSFORMS:
        coding = "native" if stream is None else stream.process
        return (
            labelled,
            f"Photometric Interpretation is {label}, a transform that the {coding} samples don't have; read as RGB",
        )
    if stream is not None and samples == 3 and stream.hint not in {None, labelled}:
        return labelled, (
            f"Photometric Interpretation is {label}, but the markers of the {stream.process} codestream speak of "
            f"{stream.hint}; read as {labelled}"
        )
    return labelled, None


def _transform_mislabelled(label: str, stream: Codestream) -> str | None:
    """Say where a label names another component transform than JPEG 2000 has (PS3.5 §8.2.4)."""
    done = ("YBR_RCT" if stream.lossless else "YBR_ICT") if stream.colour_transform else None
    if done is None or label == done:
        return None
    wavelet = "reversible" if stream.lossless else "irreversible"
    return (
        f"Photometric Interpretation is {label}, but the {stream.process} codestream is {wavelet} and has a component "
        f"transform, which is called {done}; its samples are RGB all the same"
    )


def convert(frame: Samples, found: str, wanted: str) -> Samples:
    """Convert one frame between colour spaces by the equation of PS3.3 C.7.6.3.1.2, rounded once.

    Parameters
    ----------
    frame
        (rows, columns, 3); YBR_FULL is 8-bit. What is said to be signed is not, since colour has no sign, but stays of its type.
    found, wanted
        Photometric interpretations; equal ones return the frame itself.

    Raises
    ------
    UnsupportedPixelFormat
        There is no such conversion.
    """
    if found == wanted:
        return frame
    from cinemill.kernels import colour as kernels

    if frame.dtype.itemsize == 1 and (found, wanted) == ("YBR_FULL", "RGB"):
        return kernels.ybr_full_to_rgb(frame.view("u1")).view(frame.dtype)
    if frame.dtype.itemsize == 1 and (found, wanted) == ("RGB", "YBR_FULL"):
        return kernels.rgb_to_ybr_full(frame.view("u1")).view(frame.dtype)
    raise UnsupportedPixelFormat(f"{found} of {frame.dtype.itemsize * 8} bits can't be converted to {wanted}")
