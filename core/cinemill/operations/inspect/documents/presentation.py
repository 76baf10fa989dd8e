"""A presentation state: the images that it applies to, and what it would change in them (PS3.3 A.33, C.10, C.11)."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from pydicom.dataset import Dataset

from cinemill.operations.inspect.documents.references import references_of
from cinemill.operations.inspect.documents.values import (
    floats_of,
    integers_of,
    items_of,
    quiet,
    stored_text,
    text_of,
    value_of,
    values_of,
)
from cinemill.operations.inspect.model import Change, Presentation, Reference

_PRESENTATION_STATES = "1.2.840.10008.5.1.4.1.1.11."
_SHUTTERS: dict[str, tuple[str, ...]] = {
    "RECTANGULAR": (
        "ShutterLeftVerticalEdge",
        "ShutterUpperHorizontalEdge",
        "ShutterRightVerticalEdge",
        "ShutterLowerHorizontalEdge",
    ),
    "CIRCULAR": ("CenterOfCircularShutter", "RadiusOfCircularShutter"),
    "POLYGONAL": ("VerticesOfThePolygonalShutter",),
    "BITMAP": ("ShutterOverlayGroup",),
}
_OVERLAYS = range(0x6000, 0x6020, 2)


def presentation_of(header: Dataset) -> Presentation | None:
    """Return what a presentation state says, None where the instance is none. Texts of annotations are counted, never told."""
    with quiet():
        if not text_of(header, "SOPClassUID").startswith(_PRESENTATION_STATES):
            return None
        changes = tuple(change for part in _PARTS for change in part(header))
        return Presentation(text_of(header, "ContentLabel") or None, _images(header), changes)


def _images(header: Dataset) -> tuple[Reference, ...]:
    """Return the images once each; a part of a state may name some of them again."""
    found: dict[str, Reference] = {}
    for each in references_of(header):
        if each.attribute == "ReferencedImageSequence":
            found.setdefault(each.sop_instance_uid, each)
    return tuple(found.values())


def _count(item: Dataset) -> int | None:
    """Return to how many images an item of a state applies, None for all."""
    return len(items_of(item, "ReferencedImageSequence")) or None


def _entries(item: Dataset, descriptor: str) -> str:
    """Return the size of a lookup table."""
    numbers = integers_of(item, descriptor)
    if len(numbers) < 3:
        return "table without a descriptor"
    return f"table of {numbers[0] or 65536} entries of {numbers[2]} bits, from {numbers[1]}"


def _modality(header: Dataset) -> Iterator[Change]:
    slope, intercept = stored_text(header, "RescaleSlope"), stored_text(header, "RescaleIntercept")
    if slope or intercept:
        unit = text_of(header, "RescaleType")
        yield Change("modality LUT", f"slope {slope}, intercept {intercept}" + (f", {unit}" if unit else ""))
    for item in items_of(header, "ModalityLUTSequence"):
        yield Change("modality LUT", _entries(item, "LUTDescriptor"))


def _mask(header: Dataset) -> Iterator[Change]:
    for item in items_of(header, "MaskSubtractionSequence"):
        yield Change("mask", text_of(item, "MaskOperation"))


def _voi(header: Dataset) -> Iterator[Change]:
    for item in items_of(header, "SoftcopyVOILUTSequence"):
        centers, widths = floats_of(item, "WindowCenter"), floats_of(item, "WindowWidth")
        function = text_of(item, "VOILUTFunction")
        for center, width in zip(centers, widths, strict=False):
            how = f"window {center:g}, width {width:g}" + (f", {function}" if function else "")
            yield Change("VOI", how, _count(item))
        for table in items_of(item, "VOILUTSequence"):
            yield Change("VOI", _entries(table, "LUTDescriptor"), _count(item))


def _grey(header: Dataset) -> Iterator[Change]:
    if shape := text_of(header, "PresentationLUTShape"):
        yield Change("presentation LUT", shape)
    for item in items_of(header, "PresentationLUTSequence"):
        yield Change("presentation LUT", _entries(item, "LUTDescriptor"))


def _colour(header: Dataset) -> Iterator[Change]:
    if integers_of(header, "RedPaletteColorLookupTableDescriptor"):
        yield Change("palette", _entries(header, "RedPaletteColorLookupTableDescriptor"))
    profile = value_of(header, "ICCProfile")
    if isinstance(profile, bytes):
        yield Change("ICC profile", f"{len(profile)} bytes")
    for item in items_of(header, "BlendingSequence"):
        yield Change("blending", text_of(item, "BlendingPosition") or "image")
    opacity = floats_of(header, "RelativeOpacity")
    if opacity:
        yield Change("blending", f"relative opacity {opacity[0]:g}")


def _shutter(header: Dataset) -> Iterator[Change]:
    for shape in map(str, values_of(header, "ShutterShape")):
        numbers = (number for keyword in _SHUTTERS.get(shape, ()) for number in integers_of(header, keyword))
        yield Change("shutter", " ".join((shape, *map(str, numbers))))


def _geometry(header: Dataset) -> Iterator[Change]:
    rotation = integers_of(header, "ImageRotation")
    if rotation and rotation[0]:
        yield Change("rotation", f"{rotation[0]} degrees clockwise")
    if text_of(header, "ImageHorizontalFlip") == "Y":
        yield Change("flip", "left to right")
    for item in items_of(header, "DisplayedAreaSelectionSequence"):
        corners = (
            ",".join(map(str, integers_of(item, f"DisplayedArea{corner}HandCorner")))
            for corner in ("TopLeft", "BottomRight")
        )
        how = f"{' to '.join(corners)}, {text_of(item, 'PresentationSizeMode')}"
        for name, keyword in (
            ("spacing", "PresentationPixelSpacing"),
            ("aspect", "PresentationPixelAspectRatio"),
        ):
            if numbers := floats_of(item, keyword):
                how += f", {name} " + "×".join(f"{number:g}" for number in numbers)
        if magnification := floats_of(item, "PresentationPixelMagnificationRatio"):
            how += f", magnified {magnification[0]:g}"
        yield Change("displayed area", how, _count(item))


def _annotations(header: Dataset) -> Iterator[Change]:
    for item in items_of(header, "GraphicAnnotationSequence"):
        counts = (
            (len(items_of(item, keyword)), name)
            for keyword, name in (
                ("TextObjectSequence", "texts"),
                ("GraphicObjectSequence", "graphics"),
                ("CompoundGraphicSequence", "compound graphics"),
            )
        )
        told = ", ".join(f"{count} {name}" for count, name in counts if count) or "nothing"
        layer = text_of(item, "GraphicLayer")
        yield Change("annotations", told + (f" on layer {layer}" if layer else ""), _count(item))


def _overlays(header: Dataset) -> Iterator[Change]:
    shown = [group for group in _OVERLAYS if (group, 0x1001) in header]
    if shown:
        yield Change("overlays", ", ".join(f"{group:04X}" for group in shown))


_PARTS: tuple[Callable[[Dataset], Iterator[Change]], ...] = (
    *(_modality, _mask, _voi, _grey, _colour, _shutter),
    *(_geometry, _annotations, _overlays),
)
